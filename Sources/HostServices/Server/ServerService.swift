// "vc.server/1": the door. A provider names a path; whoever calls it is answered by that provider, or gets a WebSocket.
//
// The service is there in every host. Without a listener in the configuration `route` refuses with VC_E_CONFIG, and the
// log names the key: a table that is NULL would look to a plugin like a host too old for it, and an operator would
// never learn what to write where.

import Glibc
import PluginABI
import Providers
import Synchronization

let serverTable = ServiceTable(
    vc_server(
        size: UInt32(MemoryLayout<vc_server>.size), reserved: 0, route: serverRoute, respond: serverRespond,
        upgrade: serverUpgrade))

final class ServerService: Sendable {
    let settings: ServerSettings
    private let logger: Logger
    private let counters: ServerCounters
    private let lanes: DeliveryLanes
    private let sockets: WebSocketService
    private let loop: ServedSocketLoop
    private let routes = Mutex(RouteTable())
    private let exchanges: OwnedTable<Exchange>
    /// When each exchange is overdue. All have the same time, so the first one is the next one.
    private let deadlines = Mutex<[(ns: UInt64, exchange: vc_handle)]>([])
    private let listener = Mutex<Listener?>(nil)

    init(
        _ settings: ServerSettings, lanes: DeliveryLanes, sockets: WebSocketService, logger: Logger,
        metrics: MetricsRegistry
    ) {
        self.settings = settings
        self.lanes = lanes
        self.sockets = sockets
        self.logger = logger
        counters = ServerCounters(in: metrics)
        loop = ServedSocketLoop(pingMs: settings.pingMs)
        exchanges = OwnedTable(kind: 7, limitPerOwner: settings.exchangesPerProviderMax) {
            _ = $0.answer(.refusal(.stopping))
        }
    }

    // MARK: The listener

    /// Takes the port. Returns it: the one of the settings, or a free one where that is 0. Nil without a listener.
    func reserve() throws(ListenFailure) -> UInt16? {
        guard let address = settings.listen else { return nil }
        let identity = try TLSIdentity(certificatePath: settings.certificatePath, keyPath: settings.keyPath)
        let listener = Listener(
            limits: settings, identity: identity, counters: counters,
            desk: Listener.Desk(
                begin: { [unowned self] in begin($0, on: $1) },
                forget: { [unowned self] in exchanges.remove($0.handle) },
                upgraded: { [unowned self] in loop.adopt($0, $1) }, wake: { [unowned self] in loop.wake() }))
        let port = try listener.reserve(address)
        self.listener.withLock { $0 = listener }
        return port
    }

    /// Lets clients in; to be called when all routes are there.
    func open() throws(ListenFailure) {
        guard let listener = listener.withLock({ $0 }) else { return }
        loop.start { [unowned self] in chores(now: $0, listener) }
        try listener.open()
    }

    func stop() {
        let listener = listener.withLock { listener in
            defer { listener = nil }
            return listener
        }
        guard let listener else { return }
        let isAtRest = listener.stopAccepting {
            for exchange in exchanges.all { _ = exchange.answer(.refusal(.stopping)) }
        }
        loop.stop()
        if isAtRest {
            listener.end()
        } else {
            // libmicrohttpd ends the process when it is stopped with a suspended connection; so it is left behind.
            logger.error("the listener could not be stopped: a request was never resumed")
            _ = Unmanaged.passRetained(listener)
            _ = Unmanaged.passRetained(self)
        }
    }

    var connectionCount: Int { listener.withLock { $0?.connectionCount ?? 0 } }

    /// 504 for what is overdue, and an end for connections that take too long. Returns when to look again.
    private func chores(now: UInt64, _ listener: Listener) -> UInt64? {
        let (overdue, nextNs) = deadlines.withLock { deadlines in
            let due = deadlines.prefix { $0.ns <= now }.map(\.exchange)
            deadlines.removeFirst(due.count)
            return (due, deadlines.first?.ns)
        }
        for handle in overdue {
            guard let exchange = exchanges.remove(handle), exchange.answer(.refusal(.late)) else { continue }
            logger.pluginFault(
                "a request was not answered within \(settings.answerMs / 1_000) s, and the client was told 504",
                LogField("path", exchange.request.target.path), of: LogSubject(exchange.route.owner))
        }
        guard listener.cutOverdue(now: now) else { return nextNs }
        // Connections have seconds, so it is enough to look at them each second.
        return min(nextNs ?? .max, now + 1_000_000_000)
    }

    // MARK: The listener's thread

    private func begin(_ request: ReceivedRequest, on connection: OpaquePointer) -> Result<Exchange, HostAnswer> {
        guard let route = routes.withLock({ $0.route(for: request.target.path) }) else { return .failure(.notFound) }
        let mailbox = lanes.mailbox(of: route.owner)
        let deadlineNs = Monotonic.nowNs() + settings.answerMs * 1_000_000
        let insertion = exchanges.insert(for: route.owner) { handle in
            Exchange(
                handle: handle, request: request, route: route, deadlineNs: deadlineNs, connection: connection,
                mailbox: mailbox)
        }
        guard case .inserted(let handle) = insertion else { return .failure(.overloaded) }
        // Gone already when the owner ended in between.
        guard let exchange = exchanges.resolve(handle) else { return .failure(.stopping) }
        let isFirst = deadlines.withLock { deadlines in
            deadlines.append((deadlineNs, handle))
            return deadlines.count == 1
        }
        if isFirst { loop.wake() }
        return .success(exchange)
    }

    // MARK: Plugins

    func route(
        _ path: String, for owner: PluginObject, _ handle: vc_server_request_fn, _ context: UnsafeMutableRawPointer?
    ) -> vc_status {
        func refuse(_ reason: String) -> vc_status {
            logger.pluginFault(reason, LogField("path", path), of: LogSubject(owner))
            return .badArgument
        }
        guard owner.level == .provider else { return refuse("a path is served for a provider, not for a session") }
        do throws(RequestTarget.Refusal) {
            try RequestTarget.check(path)
        } catch {
            return refuse("this path cannot be served: \(error.rawValue)")
        }
        guard settings.listen != nil else {
            logger.error(
                "\(path) cannot be served: the host has no listener; set listen in [server], 127.0.0.1:8080 say",
                of: LogSubject(owner))
            return .config
        }
        let route = Route(path: path, owner: owner, handle: handle, context: context)
        switch routes.withLock({ $0.add(route, perOwnerMax: settings.routesPerProviderMax) }) {
        case .taken(let name): return refuse("this path is served by \(name) already: give one of them another path")
        case .full: return refuse("a provider may serve \(settings.routesPerProviderMax) paths")
        case nil: break
        }
        owner.whenEnded { [weak self] in self?.routes.withLock { $0.removeAll(of: owner) } }
        return .ok
    }

    func exchange(_ handle: vc_handle) -> Exchange? { exchanges.resolve(handle) }

    func respond(_ exchange: Exchange, _ response: ExchangeResponse) -> vc_status {
        guard exchanges.remove(exchange.handle) != nil, exchange.answer(.response(response)) else { return .stale }
        return .ok
    }

    func upgrade(
        _ exchange: Exchange, for owner: PluginObject, protocol subprotocol: String, events: vc_ws_events,
        context: UnsafeMutableRawPointer?, tell: (vc_handle) -> Void
    ) -> vc_status {
        let (status, socket) = sockets.accept(owner: owner, carrier: loop, events: events, context: context)
        guard let socket else { return status }
        // The plugin has its handle before anything can be called with it.
        tell(socket.handle)
        guard exchanges.remove(exchange.handle) != nil, exchange.answer(.upgrade(socket, protocol: subprotocol)) else {
            sockets.withdraw(socket)
            tell(0)
            return .stale
        }
        return .ok
    }
}

private func serverRoute(
    _ provider: vc_handle, _ path: UnsafePointer<CChar>, _ handle: @escaping vc_server_request_fn,
    _ context: UnsafeMutableRawPointer?
) -> vc_status {
    guard let services = HostServices.current else { return .closed }
    guard !isNull(path), !isNullFunction(handle), strnlen(path, 513) <= 512 else { return .badArgument }
    guard let owner = HandleTable.shared.resolve(provider) else { return .stale }
    return services.server.route(String(cString: path), for: owner, handle, context)
}

private func serverRespond(
    _ handle: vc_handle, _ status: UInt32, _ fields: UnsafePointer<vc_field>?, _ count: UInt32, _ body: vc_str
) -> vc_status {
    guard let services = HostServices.current else { return .closed }
    guard let exchange = services.server.exchange(handle) else { return .stale }
    let owner = exchange.route.owner
    let settings = services.server.settings
    func refuse(_ reason: String) -> vc_status { HTTPHeaders.refuse(reason, owner, services).status }

    guard (200...599).contains(status) else {
        return refuse("an answer has a status from 200 to 599; a WebSocket is accepted with upgrade")
    }
    guard body.isValid, body.length <= UInt64(settings.responseBytesMax) else {
        return refuse("an answer may have a body of \(settings.responseBytesMax) bytes")
    }
    guard body.length == 0 || status != 204 && status != 304 else {
        return refuse("an answer with status \(status) has no body")
    }
    let headers: [(name: String, value: String)]
    switch HTTPHeaders.copy(
        fields, count, owner: owner, services: services, fillsSecrets: false, leftOut: HTTPHeaders.ofListener)
    {
    case .success(let copies): headers = copies
    case .failure(let failure): return failure.status
    }
    guard headers.reduce(0, { $0 + $1.name.utf8.count + $1.value.utf8.count + 4 }) <= settings.responseHeadBytesMax
    else {
        return refuse("the headers of an answer may have \(settings.responseHeadBytesMax) bytes together")
    }
    return services.server.respond(exchange, ExchangeResponse(status: status, headers: headers, body: body.bytes))
}

private func serverUpgrade(
    _ handle: vc_handle, _ owner: vc_handle, _ subprotocol: UnsafePointer<CChar>, _ events: UnsafePointer<vc_ws_events>,
    _ context: UnsafeMutableRawPointer?, _ socket: UnsafeMutablePointer<vc_handle>
) -> vc_status {
    guard let services = HostServices.current else { return .closed }
    guard !isNull(socket), let events = copy(events) else { return .badArgument }
    socket.pointee = 0
    guard let exchange = services.server.exchange(handle), let object = HandleTable.shared.resolve(owner) else {
        return .stale
    }
    func refuse(_ reason: String) -> vc_status { HTTPHeaders.refuse(reason, exchange.route.owner, services).status }

    guard object.plugin == exchange.route.owner.plugin else {
        return refuse("a WebSocket can only be accepted for an object of the plugin that serves the path")
    }
    guard let upgrade = exchange.request.upgrade else {
        _ = refuse("this request does not ask for a WebSocket: answer it with respond")
        return vc_status(VC_E_STATE)
    }
    // Empty, or NULL in C: none.
    guard isNull(subprotocol) || strnlen(subprotocol, 257) <= 256 else { return .badArgument }
    let chosen = isNull(subprotocol) ? "" : String(cString: subprotocol)
    guard chosen.isEmpty || upgrade.protocols.contains(chosen) else {
        return refuse("the client does not offer this subprotocol, and would close the WebSocket (RFC 6455, 4.1)")
    }
    return services.server.upgrade(exchange, for: object, protocol: chosen, events: events, context: context) {
        socket.pointee = $0
    }
}
