// The I/O thread of the vendors' WebSockets: one libwebsockets context, apart from those that carry media and from the
// console's. Others talk to it through a list of commands and a wake-up. It never takes an owner's lock and never calls
// a plugin.

import Clws
import Glibc
import Synchronization

final class WebSocketLoop: SocketCarrier {
    fileprivate enum Command: Sendable {
        case connect(WebSocket, WebSocketLink.Target)
        case resolved(WebSocket, [String])
        case write(WebSocket)
        case close(WebSocket)
        case resume(WebSocket)
    }

    private struct Context: @unchecked Sendable { let pointer: OpaquePointer }

    private struct Inbox {
        var commands: [Command] = []
        var isOver = false
        /// Set while the thread runs: for the wake-up alone, which libwebsockets allows from any thread.
        var context: Context?
    }

    private let inbox = Mutex(Inbox())
    private let thread = Mutex<ServiceThread?>(nil)
    private let resolver = NameResolver()
    private let authoritiesPath: String?
    private let logger: Logger

    init(authoritiesPath: String?, logger: Logger) {
        self.authoritiesPath = authoritiesPath
        self.logger = logger
    }

    /// Starts the thread. Commands that were sent before are carried out then.
    func begin() { thread.withLock { $0 = ServiceThread("websocket") { [self] in run() } } }

    func connect(_ socket: WebSocket, to target: WebSocketLink.Target) { send(.connect(socket, target)) }

    func resolved(_ socket: WebSocket, _ addresses: [String]) { send(.resolved(socket, addresses)) }

    func write(_ socket: WebSocket) { send(.write(socket)) }

    func close(_ socket: WebSocket) { send(.close(socket)) }

    func resume(_ socket: WebSocket) { send(.resume(socket)) }

    private func send(_ command: Command) {
        inbox.withLock { inbox in
            guard !inbox.isOver else { return }
            inbox.commands.append(command)
            if let context = inbox.context { lws_cancel_service(context.pointer) }
        }
    }

    func stop() {
        inbox.withLock { inbox in
            inbox.isOver = true
            if let context = inbox.context { lws_cancel_service(context.pointer) }
        }
        thread.withLock { thread in
            thread?.join()
            thread = nil
        }
    }

    private func run() {
        guard let lws = makeContext() else {
            logger.error("libwebsockets could not be set up: WebSockets to vendors do not work")
            inbox.withLock { $0.isOver = true }
            return
        }
        inbox.withLock { $0.context = Context(pointer: lws) }
        var driver = WebSocketDriver(lws: lws, loop: self, resolver: resolver)
        while true {
            let (commands, isOver) = inbox.withLock { inbox in
                defer { inbox.commands = [] }
                return (inbox.commands, inbox.isOver)
            }
            if isOver { break }
            for command in commands { driver.carryOut(command) }
            if lws_service(lws, 0) < 0 { break }
            driver.forgetEnded()
        }
        inbox.withLock { inbox in
            inbox.isOver = true
            inbox.context = nil
            inbox.commands = []
        }
        driver.freeTimers()
        lws_context_destroy(lws)
    }

    private func makeContext() -> OpaquePointer? {
        lws_set_log_level(0, nil)
        // One more empty entry ends the list. Both live as long as the process.
        let protocols = UnsafeMutablePointer<lws_protocols>.allocate(capacity: 2)
        protocols.initialize(repeating: lws_protocols(), count: 2)
        protocols[0].name = UnsafePointer(strdup("client"))
        protocols[0].callback = webSocketEvent
        protocols[0].rx_buffer_size = 0
        var info = lws_context_creation_info()
        info.port = CONTEXT_PORT_NO_LISTEN
        info.protocols = UnsafePointer(protocols)
        info.gid = -1
        info.uid = -1
        info.options = UInt64(LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT) | UInt64(LWS_SERVER_OPTION_VALIDATE_UTF8)
        info.alpn = UnsafePointer(strdup("http/1.1"))
        // Its own deadlines must be behind ours, which say what happened.
        info.timeout_secs = 120
        info.connect_timeout_secs = 120
        // The upgrade with its headers is built in one buffer; tokens of some vendors have 4 KiB.
        info.pt_serv_buf_size = 32 << 10
        info.max_http_header_data = 16 << 10
        // Empty: no proxy. Left out, libwebsockets would take http_proxy of the environment, for this machine too.
        info.http_proxy_address = UnsafePointer(strdup(""))
        if let authoritiesPath { info.client_ssl_ca_filepath = UnsafePointer(strdup(authoritiesPath)) }
        return lws_create_context(&info)
    }
}

/// What the thread does between two turns of libwebsockets.
private struct WebSocketDriver {
    let lws: OpaquePointer
    unowned let loop: WebSocketLoop
    let resolver: NameResolver
    /// Keeps the links alive that libwebsockets knows by address.
    var links: [ObjectIdentifier: WebSocketLink] = [:]

    init(lws: OpaquePointer, loop: WebSocketLoop, resolver: NameResolver) {
        self.lws = lws
        self.loop = loop
        self.resolver = resolver
    }

    mutating func carryOut(_ command: WebSocketLoop.Command) {
        switch command {
        case .connect(let socket, let target):
            guard !socket.isOver else { return }
            let link = WebSocketLink(socket, to: target)
            links[ObjectIdentifier(socket)] = link
            link.begin(lws, now: Monotonic.nowNs())
            resolver.resolve(target.origin.host) { [weak loop] addresses in loop?.resolved(socket, addresses) }
        case .resolved(let socket, let addresses):
            links[ObjectIdentifier(socket)]?.resolved(addresses, lws: lws)
        case .write(let socket):
            if let link = links[ObjectIdentifier(socket)], link.phase == .open, let wsi = link.wsi {
                lws_callback_on_writable(wsi)
            }
        case .close(let socket):
            links[ObjectIdentifier(socket)]?.closeEarly(lws: lws)
        case .resume(let socket):
            if let wsi = links[ObjectIdentifier(socket)]?.wsi { lws_rx_flow_control(wsi, 1) }
        }
    }

    /// Lets go of what libwebsockets let go of.
    mutating func forgetEnded() {
        guard links.contains(where: { $0.value.phase == .ended && $0.value.wsi == nil }) else { return }
        links = links.filter { $0.value.phase != .ended || $0.value.wsi != nil }
    }

    func freeTimers() {
        for link in links.values { link.freeTimer() }
    }
}

/// libwebsockets' callback for all client connections.
private func webSocketEvent(
    _ wsi: OpaquePointer?, _ reason: lws_callback_reasons, _ user: UnsafeMutableRawPointer?,
    _ bytes: UnsafeMutableRawPointer?, _ length: Int
) -> Int32 {
    guard let wsi, let opaque = lws_get_opaque_user_data(wsi) else { return 0 }
    let link = Unmanaged<WebSocketLink>.fromOpaque(opaque).takeUnretainedValue()
    let lws = lws_get_context(wsi)!
    switch reason {
    case LWS_CALLBACK_CLIENT_APPEND_HANDSHAKE_HEADER:
        let next = bytes!.assumingMemoryBound(to: UnsafeMutablePointer<UInt8>?.self)
        return link.appendHeaders(wsi, next, length) ? 0 : -1
    case LWS_CALLBACK_CLIENT_ESTABLISHED:
        link.established(wsi, lws: lws)
    case LWS_CALLBACK_CLIENT_RECEIVE:
        return link.take(UnsafeRawBufferPointer(start: bytes, count: length), wsi: wsi) ? 0 : -1
    case LWS_CALLBACK_CLIENT_RECEIVE_PONG:
        link.heard()
    case LWS_CALLBACK_CLIENT_WRITEABLE:
        return link.writeOne(wsi, lws: lws) ? 0 : -1
    case LWS_CALLBACK_WS_PEER_INITIATED_CLOSE:
        link.peerCloses(UnsafeRawBufferPointer(start: bytes, count: length))
    case LWS_CALLBACK_CLIENT_CONNECTION_ERROR:
        lws_set_opaque_user_data(wsi, nil)
        let reason =
            bytes.map { String(decoding: UnsafeRawBufferPointer(start: $0, count: length), as: UTF8.self) } ?? ""
        link.connectFailed(
            reason, httpStatus: lws_http_client_http_response(wsi), words: refusal(wsi),
            retryAfterS: retryAfter(wsi), lws: lws)
    case LWS_CALLBACK_CLIENT_CLOSED, LWS_CALLBACK_CLOSED_CLIENT_HTTP, LWS_CALLBACK_WSI_DESTROY:
        lws_set_opaque_user_data(wsi, nil)
        link.ended(lws: lws)
    default:
        break
    }
    return 0
}

/// Where vendors say why they refuse an upgrade: its body is read by nobody. Deepgram's only, so far.
private let refusalHeaders = ["dg-error:"]

private func refusal(_ wsi: OpaquePointer) -> String {
    for name in refusalHeaders {
        var text = [CChar](repeating: 0, count: 200)
        let length = lws_hdr_custom_copy(wsi, &text, Int32(text.count), name, Int32(name.utf8.count))
        guard length > 0 else { continue }
        let bytes = text.prefix(Int(length)).map { UInt8(bitPattern: $0) }
        return String(decoding: bytes.filter { $0 >= 0x20 && $0 != 0x7f }, as: UTF8.self)
    }
    return ""
}

/// Of a refusal, in seconds; 0 when it says none, or a date.
private func retryAfter(_ wsi: OpaquePointer) -> UInt32 {
    var text = [CChar](repeating: 0, count: 16)
    guard lws_hdr_copy(wsi, &text, Int32(text.count), WSI_TOKEN_HTTP_RETRY_AFTER) > 0 else { return 0 }
    let digits = text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }
    return min(3600, UInt32(String(decoding: digits, as: UTF8.self)) ?? 0)
}
