// "vc.ws/1": the door. Arguments are checked and copied here, on the plugin's thread; the rest happens on the I/O
// thread (`WebSocketLoop`, `WebSocketLink`) and on the plugin's lane (`WebSocket.deliver`).

import Ccurl
import Glibc
import PluginABI
import Providers

let webSocketTable = ServiceTable(
    vc_ws(size: UInt32(MemoryLayout<vc_ws>.size), reserved: 0, connect: wsConnect, send: wsSend, close: wsClose))

final class WebSocketService: Sendable {
    /// The bound of the contract, `service/ws.h`.
    static let perOwnerMax = 8
    static let defaultConnectMs: UInt32 = 5_000
    static let defaultPingMs: UInt32 = 20_000
    /// The upgrade request is built in one buffer of 32 KiB.
    static let headerBytesMax = 24 << 10

    private let lanes: DeliveryLanes
    private let loop: WebSocketLoop
    /// Those to vendors, and those that came in through the host's listener. They differ in how many an owner may have,
    /// and their handles say which they are.
    private let sockets: OwnedTable<WebSocket>
    private let served: OwnedTable<WebSocket>
    private let outcomes: OutcomeCounters
    private let servedOutcomes: OutcomeCounters

    /// - Parameter servedMax: Connections of the host's listener; one provider may have all of them.
    init(
        authoritiesPath: String?, servedMax: Int, lanes: DeliveryLanes, logger: Logger, metrics: MetricsRegistry
    ) {
        let outcomes = OutcomeCounters("vchost_websockets", help: "WebSockets of plugins to vendors", in: metrics)
        self.outcomes = outcomes
        self.lanes = lanes
        let loop = WebSocketLoop(authoritiesPath: authoritiesPath, logger: logger)
        self.loop = loop
        sockets = OwnedTable(kind: 3, limitPerOwner: Self.perOwnerMax) { socket in
            outcomes.canceled.increment()
            socket.orphan()
            socket.carrier.close(socket)
        }
        let servedOutcomes = OutcomeCounters(
            "vchost_served_websockets", help: "WebSockets that came in through the host's listener", in: metrics)
        self.servedOutcomes = servedOutcomes
        served = OwnedTable(kind: 6, limitPerOwner: servedMax) { socket in
            servedOutcomes.canceled.increment()
            socket.orphan()
            socket.carrier.close(socket)
        }
    }

    /// Takes a socket in whose connection `carrier` has, or is about to have.
    func accept(
        owner: PluginObject, carrier: any SocketCarrier, events: vc_ws_events, context: UnsafeMutableRawPointer?
    ) -> (status: vc_status, socket: WebSocket?) {
        let mailbox = lanes.mailbox(of: owner)
        let insertion = served.insert(for: owner) { handle in
            WebSocket(
                handle: handle, carrier: carrier, mailbox: mailbox, events: events, context: context, service: self)
        }
        guard case .inserted(let handle) = insertion else {
            servedOutcomes.refused.increment()
            return (.again, nil)
        }
        guard let socket = served.resolve(handle) else { return (.stale, nil) }
        return (.ok, socket)
    }

    /// Takes back what `accept` gave, before anything was told of it.
    func withdraw(_ socket: WebSocket) {
        served.remove(socket.handle)
        socket.orphan()
    }

    private func table(of handle: vc_handle) -> OwnedTable<WebSocket> { served.isOurs(handle) ? served : sockets }

    /// Starts the I/O thread.
    func begin() { loop.begin() }

    func connect(
        owner: PluginObject, _ target: WebSocketLink.Target, events: vc_ws_events, context: UnsafeMutableRawPointer?
    ) -> (status: vc_status, socket: vc_handle) {
        let mailbox = lanes.mailbox(of: owner)
        let insertion = sockets.insert(for: owner) { handle in
            WebSocket(
                handle: handle, carrier: loop, mailbox: mailbox, events: events, context: context, service: self)
        }
        guard case .inserted(let handle) = insertion else {
            outcomes.refused.increment()
            return (.again, 0)
        }
        // Gone already when the owner ended in between.
        guard let socket = sockets.resolve(handle) else { return (.stale, 0) }
        loop.connect(socket, to: target)
        return (.ok, handle)
    }

    func send(_ handle: vc_handle, _ message: WebSocket.Outgoing) -> vc_status {
        guard let socket = table(of: handle).resolve(handle) else { return .stale }
        let status = socket.send(message)
        if status == .ok { socket.carrier.write(socket) }
        return status
    }

    func close(_ handle: vc_handle, _ request: WebSocket.CloseRequest) -> vc_status {
        guard let socket = table(of: handle).resolve(handle) else { return .stale }
        let status = socket.close(request)
        if status == .ok { socket.carrier.close(socket) }
        return status
    }

    func forget(_ socket: WebSocket, _ failure: ServiceFailure?) {
        let table = table(of: socket.handle)
        guard table.remove(socket.handle) != nil else { return }
        let outcomes = table === served ? servedOutcomes : outcomes
        (failure == nil ? outcomes.completed : outcomes.failed).increment()
    }

    var count: Int { sockets.count }

    var servedCount: Int { served.count }

    func stop() { loop.stop() }
}

private func wsConnect(
    _ owner: vc_handle, _ request: UnsafePointer<vc_ws_connect>, _ events: UnsafePointer<vc_ws_events>,
    _ context: UnsafeMutableRawPointer?, _ handle: UnsafeMutablePointer<vc_handle>
) -> vc_status {
    guard let services = HostServices.current else { return .closed }
    guard !isNull(handle), let request = copy(request), let events = copy(events) else { return .badArgument }
    handle.pointee = 0
    guard let object = HandleTable.shared.resolve(owner) else { return .stale }
    func refuse(_ reason: String) -> vc_status { HTTPHeaders.refuse(reason, object, services).status }

    guard request.url.isValid, request.protocols.isValid else {
        return refuse("a connection has a length without text")
    }
    let url = request.url.text(limit: 16 << 10)
    guard let origin = Origin(of: url, schemes: ["ws", "wss"]), let path = pathAndQuery(of: url) else {
        return refuse("a WebSocket's URL must be absolute, ws or wss, without spaces, and of at most 8 KiB")
    }
    let protocols = request.protocols.text(limit: 1 << 10)
    let names = protocols.split(separator: ",").map { $0.drop { $0 == " " } }
    guard names.allSatisfy({ HTTPHeaders.isToken(String($0)) }) else {
        return refuse("the subprotocols of a WebSocket must be tokens, separated by commas")
    }
    let headers: [(name: String, value: String)]
    switch HTTPHeaders.copy(request.headers, request.header_count, owner: object, services: services) {
    case .success(let copies): headers = copies
    case .failure(let failure): return failure.status
    }
    guard
        headers.reduce(url.utf8.count, { $0 + $1.name.utf8.count + $1.value.utf8.count + 4 })
            <= WebSocketService.headerBytesMax
    else {
        return refuse("the URL and headers of a WebSocket may have \(WebSocketService.headerBytesMax) bytes together")
    }
    let target = WebSocketLink.Target(
        origin: origin, path: path, protocols: names.joined(separator: ","), headers: headers,
        connectMs: request.connect_ms == 0 ? WebSocketService.defaultConnectMs : request.connect_ms,
        pingMs: request.ping_ms == 0 ? WebSocketService.defaultPingMs : request.ping_ms)
    let result = services.webSockets.connect(owner: object, target, events: events, context: context)
    handle.pointee = result.socket
    return result.status
}

private func wsSend(_ handle: vc_handle, _ bytes: vc_str, _ isBinary: UInt32) -> vc_status {
    guard let services = HostServices.current else { return .closed }
    guard bytes.isValid, bytes.length <= UInt64(WebSocket.messageBytesMax), isBinary <= 1 else { return .badArgument }
    return services.webSockets.send(handle, WebSocket.Outgoing(bytes: bytes.bytes, isBinary: isBinary == 1))
}

private func wsClose(_ handle: vc_handle, _ code: UInt32, _ reason: vc_str) -> vc_status {
    guard let services = HostServices.current else { return .closed }
    // What an application may send (RFC 6455, 7.4), and what fits into a control frame (5.5).
    let isSendable = (1000...1003).contains(code) || (1007...1011).contains(code) || (3000...4999).contains(code)
    guard isSendable, reason.isValid, reason.length <= 123 else { return .badArgument }
    return services.webSockets.close(handle, WebSocket.CloseRequest(code: UInt16(code), reason: reason.text()))
}

/// `/v1/listen?model=a`, without the fragment.
private func pathAndQuery(of url: String) -> String? {
    guard let parser = curl_url() else { return nil }
    defer { curl_url_cleanup(parser) }
    guard curl_url_set(parser, CURLUPART_URL, url, UInt32(CURLU_NON_SUPPORT_SCHEME)) == CURLUE_OK else { return nil }
    func part(_ part: CURLUPart) -> String? {
        var text: UnsafeMutablePointer<CChar>?
        guard curl_url_get(parser, part, &text, 0) == CURLUE_OK, let text else { return nil }
        defer { curl_free(text) }
        return String(cString: text)
    }
    return (part(CURLUPART_PATH) ?? "/") + (part(CURLUPART_QUERY).map { "?" + $0 } ?? "")
}
