// The host's own listener for HTTP/1.1: libmicrohttpd with one thread, which parses requests and writes answers. It
// never waits for a plugin: while one thinks, its connection is suspended, and `Exchange.answer` wakes it up.
//
// libwebsockets, which we have for the way out, was refused for this way in: it decides about an upgrade within its
// callback, and it does not list header fields that it has no number for, where a vendor's signature stands. Here a
// connection is handed over once it is upgraded, and wslay frames it on a thread of its own (`ServedSocketLoop`).
//
// Everything that libmicrohttpd calls is a function at the end of this file. The lock of the table of connections is
// never held while libmicrohttpd is called, since it calls us with its own.

import Cmicrohttpd
import Glibc
import Synchronization

/// Why the listener cannot be opened.
public struct ListenFailure: Error, CustomStringConvertible {
    public let description: String
}

final class Listener: @unchecked Sendable {
    /// Where requests go once they are whole.
    struct Desk: Sendable {
        /// Finds whom the request is for, and makes an exchange of it, without asking the plugin yet.
        var begin: @Sendable (ReceivedRequest, _ connection: OpaquePointer) -> Result<Exchange, HostAnswer>
        /// Nobody will answer it any more, or see its answer.
        var forget: @Sendable (Exchange) -> Void
        var upgraded: @Sendable (WebSocket, ServedSocketLoop.Upgraded) -> Void
        /// There is a first connection to watch.
        var wake: @Sendable () -> Void
    }

    private let limits: ServerSettings
    private let counters: ServerCounters
    private let desk: Desk
    private let table: Mutex<ConnectionTable>
    private let suspended = Atomic<Int>(0)
    private let isStopping = Atomic<Bool>(false)

    // Touched before the listener's thread begins and after it ended.
    private var descriptor: Int32 = -1
    private var daemon: OpaquePointer?

    init(limits: ServerSettings, counters: ServerCounters, desk: Desk) {
        self.limits = limits
        self.counters = counters
        self.desk = desk
        table = Mutex(ConnectionTable(limits: limits))
    }

    // MARK: Beginning and end

    /// Takes the port, so that a wrong address is found before anything else is started. Nobody is let in yet.
    func reserve(_ address: ListenAddress) throws(ListenFailure) -> UInt16 {
        let descriptor = socket(
            address.isIPv6 ? AF_INET6 : AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        var yes: Int32 = 1
        setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &yes, socklen_t(MemoryLayout<Int32>.size))
        guard address.withSocketAddress({ bind(descriptor, $0, $1) }) == 0 else {
            let reason = String(cString: strerror(errno))
            close(descriptor)
            throw ListenFailure(
                description: "[server] listen = \(address) does not work: \(reason); choose a free port and an address "
                    + "of this machine")
        }
        self.descriptor = descriptor
        var own = sockaddr_storage()
        var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
        return withUnsafeMutablePointer(to: &own) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { own in
                getsockname(descriptor, own, &length)
                // Both families have the port at the same place.
                return own.withMemoryRebound(to: sockaddr_in.self, capacity: 1) { $0.pointee.sin_port.bigEndian }
            }
        }
    }

    /// Lets clients in. `certificate` and `key` are PEM texts, both or none.
    func open(certificate: String?, key: String?) throws(ListenFailure) {
        // A burst of webhooks, before the thread gets to them.
        guard descriptor >= 0, listen(descriptor, 256) == 0 else {
            throw ListenFailure(description: "the listener's port is not there: it was not reserved, or was stopped")
        }
        var settings = vc_mhd_settings(
            listen_descriptor: descriptor,
            // Ours comes first and counts what it refuses.
            connections_max: UInt32(limits.connectionsMax + 16),
            // Ours are shorter: this is for a connection that we would not see.
            timeout_s: UInt32(max(limits.idleMs, limits.sendMs) / 1_000 + 10),
            // The request's head, and the answer's beside it.
            connection_bytes: limits.headBytesMax * 3 / 2 + limits.responseHeadBytesMax, certificate: nil, key: nil,
            context: Unmanaged.passUnretained(self).toOpaque(), accept: acceptConnection,
            connection: connectionChanged, target: targetArrived, request: requestArrived,
            completed: requestCompleted)
        func start() -> OpaquePointer? { vc_mhd_start(&settings) }
        if let certificate, let key {
            daemon = certificate.withCString { certificate in
                key.withCString { key in
                    settings.certificate = certificate
                    settings.key = key
                    return start()
                }
            }
        } else {
            daemon = start()
        }
        guard daemon != nil else {
            close(descriptor)
            descriptor = -1
            throw ListenFailure(
                description: "the listener could not be started: "
                    + (certificate == nil
                        ? "libmicrohttpd refused" : "check that the certificate and the key are PEM and fit each other")
            )
        }
    }

    /// Requests are answered with 503 from here on. True when no request rests any more, which `close` needs.
    func stopAccepting(answerAll: () -> Void) -> Bool {
        isStopping.store(true, ordering: .sequentiallyConsistent)
        // Two seconds, for clients that take their answers slowly are not waited for: only our own thread is.
        for _ in 0..<400 {
            answerAll()
            if suspended.load(ordering: .sequentiallyConsistent) == 0 { return true }
            usleep(5_000)
        }
        return false
    }

    /// Ends the thread and closes all connections.
    func end() {
        if let daemon {
            MHD_stop_daemon(daemon)
        } else if descriptor >= 0 {
            close(descriptor)
        }
        daemon = nil
        descriptor = -1
    }

    // MARK: Connections

    /// Shuts down what takes too long. False when there is nothing to watch.
    func cutOverdue(now: UInt64) -> Bool {
        table.withLock { table in
            // Under the lock, in which libmicrohttpd tells us before it closes a descriptor.
            for (descriptor, phase) in table.overdue(now: now) {
                counters.connection("cut_\(phase)")
                shutdown(descriptor, Int32(SHUT_RDWR))
            }
            return table.count > 0
        }
    }

    var connectionCount: Int { table.withLock { $0.count } }

    fileprivate func mayEnter(_ address: String) -> Bool {
        guard let refusal = table.withLock({ $0.refusal(of: address) }) else { return true }
        counters.connection("refused_\(refusal)")
        return false
    }

    fileprivate func began(_ connection: OpaquePointer) {
        let address = vc_mhd_peer(connection).map(addressText) ?? ""
        let descriptor = vc_mhd_descriptor(connection)
        let isFirst = table.withLock { table in
            table.began(identity(connection), descriptor: descriptor, address: address, now: Monotonic.nowNs())
            return table.count == 1
        }
        counters.connection("accepted")
        if isFirst { desk.wake() }
    }

    fileprivate func ended(_ connection: OpaquePointer) {
        table.withLock { $0.ended(identity(connection)) }
    }

    private func moved(_ connection: OpaquePointer, to phase: ConnectionTable.Phase) {
        table.withLock { $0.moved(identity(connection), to: phase, now: Monotonic.nowNs()) }
    }

    private func identity(_ connection: OpaquePointer) -> ConnectionTable.Identity { UInt(bitPattern: connection) }

    // MARK: Requests, on the listener's thread

    fileprivate func begins(_ connection: OpaquePointer, rawTarget: String) -> IncomingRequest {
        moved(connection, to: .receiving)
        return IncomingRequest(rawTarget: rawTarget)
    }

    /// A head, a part of a body, the end of it, and once more after a rest. False cuts the connection off.
    fileprivate func arrived(
        _ connection: OpaquePointer, _ incoming: IncomingRequest, method: String, version: String,
        body: UnsafeRawBufferPointer
    ) -> Bool {
        if !incoming.isHeadRead {
            let address = table.withLock { $0.address(of: identity(connection)) }
            incoming.readHead(connection, method: method, version: version, peer: address, limits: limits)
            guard incoming.mustAnswerAtOnce, let refusal = incoming.refusal else { return true }
            return send(refusal, on: connection)
        }
        if !body.isEmpty {
            if incoming.take(body, limits: limits) { return true }
            counters.request(.bodyTooLarge)
            counters.connection("cut_body")
            return false
        }
        if let exchange = incoming.exchange { return resumed(connection, incoming, exchange) }
        if let refusal = incoming.refusal { return send(refusal, on: connection) }
        guard let request = incoming.request else { return false }
        guard !isStopping.load(ordering: .sequentiallyConsistent) else { return send(.stopping, on: connection) }
        switch desk.begin(request, connection) {
        case .failure(let refusal):
            return send(refusal, on: connection)
        case .success(let exchange):
            moved(connection, to: .serving)
            incoming.exchange = exchange
            incoming.isSuspended = true
            suspended.wrappingAdd(1, ordering: .sequentiallyConsistent)
            MHD_suspend_connection(connection)
            exchange.suspended()
            return true
        }
    }

    private func resumed(_ connection: OpaquePointer, _ incoming: IncomingRequest, _ exchange: Exchange) -> Bool {
        rested(incoming)
        switch exchange.takeAnswer() {
        case .response(let response):
            counters.request("answered")
            return send(response, on: connection)
        case .refusal(let refusal):
            return send(refusal, on: connection)
        case .upgrade(let socket, let subprotocol):
            incoming.socket = socket
            guard let upgrade = exchange.request.upgrade else { return false }
            return accept(upgrade, subprotocol, on: connection)
        case nil:
            return false
        }
    }

    private func rested(_ incoming: IncomingRequest) {
        guard incoming.isSuspended else { return }
        incoming.isSuspended = false
        suspended.wrappingSubtract(1, ordering: .sequentiallyConsistent)
    }

    private func send(_ refusal: HostAnswer, on connection: OpaquePointer) -> Bool {
        counters.request(refusal)
        return send(
            ExchangeResponse(
                status: refusal.status, headers: refusal.headers, body: Array((refusal.sentence + "\n").utf8)),
            on: connection)
    }

    private func send(_ answer: ExchangeResponse, on connection: OpaquePointer) -> Bool {
        moved(connection, to: .sending)
        var body = answer.body
        guard let response = MHD_create_response_from_buffer(body.count, &body, .RESPMEM_MUST_COPY) else {
            return false
        }
        defer { MHD_destroy_response(response) }
        for header in answer.headers { MHD_add_response_header(response, header.name, header.value) }
        return MHD_queue_response(connection, answer.status, response) == MHD_Result.YES
    }

    private func accept(_ upgrade: UpgradeRequest, _ subprotocol: String, on connection: OpaquePointer) -> Bool {
        moved(connection, to: .sending)
        let context = Unmanaged.passUnretained(self).toOpaque()
        guard let response = MHD_create_response_for_upgrade(connectionUpgraded, context) else { return false }
        defer { MHD_destroy_response(response) }
        MHD_add_response_header(response, "Upgrade", "websocket")
        MHD_add_response_header(response, "Sec-WebSocket-Accept", upgrade.accept)
        if !subprotocol.isEmpty { MHD_add_response_header(response, "Sec-WebSocket-Protocol", subprotocol) }
        return MHD_queue_response(connection, 101, response) == MHD_Result.YES
    }

    fileprivate func upgraded(
        _ connection: OpaquePointer, _ incoming: IncomingRequest, _ upgraded: ServedSocketLoop.Upgraded
    ) {
        guard let socket = incoming.socket else { return vc_mhd_close_upgraded(upgraded.response) }
        counters.request("upgraded")
        moved(connection, to: .serving)
        incoming.isUpgraded = true
        var yes: Int32 = 1
        // A frame of 20 ms must not wait for the next one.
        setsockopt(
            vc_mhd_descriptor(connection), Int32(IPPROTO_TCP), TCP_NODELAY, &yes, socklen_t(MemoryLayout<Int32>.size))
        desk.upgraded(socket, upgraded)
    }

    /// The end of a request, in whatever way. libmicrohttpd may hold its lock.
    fileprivate func completed(_ connection: OpaquePointer, _ incoming: IncomingRequest) {
        rested(incoming)
        if let exchange = incoming.exchange {
            var socket = incoming.socket
            if case .upgrade(let unseen, _) = exchange.abandon() { socket = unseen }
            desk.forget(exchange)
            if let socket, !incoming.isUpgraded {
                socket.closed(
                    code: 0, reason: "",
                    ServiceFailure(
                        code: .network, message: "\(exchange.request.peer) hung up before the WebSocket was open",
                        isRetryable: false))
            }
        }
        if !incoming.isUpgraded { moved(connection, to: .idle) }
    }
}

// MARK: What libmicrohttpd calls

/// The address in digits; an IPv4 address that came in by IPv6 as what it is.
private func addressText(_ address: UnsafePointer<sockaddr>) -> String {
    var text = [CChar](repeating: 0, count: Int(INET6_ADDRSTRLEN))
    switch Int32(address.pointee.sa_family) {
    case AF_INET:
        address.withMemoryRebound(to: sockaddr_in.self, capacity: 1) { address in
            var number = address.pointee.sin_addr
            _ = inet_ntop(AF_INET, &number, &text, socklen_t(text.count))
        }
    case AF_INET6:
        address.withMemoryRebound(to: sockaddr_in6.self, capacity: 1) { address in
            var number = address.pointee.sin6_addr
            _ = inet_ntop(AF_INET6, &number, &text, socklen_t(text.count))
        }
    default:
        return ""
    }
    let plain = String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    return plain.hasPrefix("::ffff:") && plain.contains(".") ? String(plain.dropFirst(7)) : plain
}

private func listener(_ context: UnsafeMutableRawPointer?) -> Listener {
    Unmanaged<Listener>.fromOpaque(context!).takeUnretainedValue()
}

private func acceptConnection(
    _ context: UnsafeMutableRawPointer?, _ address: UnsafePointer<sockaddr>?, _ length: socklen_t
) -> MHD_Result {
    listener(context).mayEnter(address.map(addressText) ?? "") ? MHD_Result.YES : MHD_Result.NO
}

private func connectionChanged(
    _ context: UnsafeMutableRawPointer?, _ connection: OpaquePointer?,
    _ own: UnsafeMutablePointer<UnsafeMutableRawPointer?>?, _ change: MHD_ConnectionNotificationCode
) {
    guard let connection else { return }
    if change == .CONNECTION_NOTIFY_STARTED {
        listener(context).began(connection)
    } else {
        listener(context).ended(connection)
    }
}

private func targetArrived(
    _ context: UnsafeMutableRawPointer?, _ target: UnsafePointer<CChar>, _ connection: OpaquePointer
) -> UnsafeMutableRawPointer? {
    let incoming = listener(context).begins(connection, rawTarget: String(cString: target))
    return Unmanaged.passRetained(incoming).toOpaque()
}

private func requestArrived(
    _ context: UnsafeMutableRawPointer?, _ connection: OpaquePointer?, _ url: UnsafePointer<CChar>?,
    _ method: UnsafePointer<CChar>?, _ version: UnsafePointer<CChar>?, _ body: UnsafePointer<CChar>?,
    _ bodyBytes: UnsafeMutablePointer<Int>?, _ own: UnsafeMutablePointer<UnsafeMutableRawPointer?>?
) -> MHD_Result {
    guard let connection, let opaque = own?.pointee, let method, let version else { return MHD_Result.NO }
    let incoming = Unmanaged<IncomingRequest>.fromOpaque(opaque).takeUnretainedValue()
    let bytes = UnsafeRawBufferPointer(start: body, count: bodyBytes?.pointee ?? 0)
    let goesOn = listener(context).arrived(
        connection, incoming, method: String(cString: method), version: String(cString: version), body: bytes)
    if goesOn { bodyBytes?.pointee = 0 }
    return goesOn ? MHD_Result.YES : MHD_Result.NO
}

private func requestCompleted(
    _ context: UnsafeMutableRawPointer?, _ connection: OpaquePointer?,
    _ own: UnsafeMutablePointer<UnsafeMutableRawPointer?>?, _ how: MHD_RequestTerminationCode
) {
    guard let connection, let opaque = own?.pointee else { return }
    own?.pointee = nil
    listener(context).completed(connection, Unmanaged<IncomingRequest>.fromOpaque(opaque).takeRetainedValue())
}

private func connectionUpgraded(
    _ context: UnsafeMutableRawPointer?, _ connection: OpaquePointer?, _ own: UnsafeMutableRawPointer?,
    _ early: UnsafePointer<CChar>?, _ earlyBytes: Int, _ descriptor: Int32, _ response: OpaquePointer?
) {
    guard let connection, let own, let response else { return }
    let incoming = Unmanaged<IncomingRequest>.fromOpaque(own).takeUnretainedValue()
    let read = [UInt8](UnsafeRawBufferPointer(start: early, count: earlyBytes))
    listener(context).upgraded(
        connection, incoming,
        ServedSocketLoop.Upgraded(
            descriptor: descriptor, response: response, early: read, peer: incoming.request?.peer ?? ""))
}
