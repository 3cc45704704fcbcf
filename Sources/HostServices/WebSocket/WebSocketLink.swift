// The libwebsockets side of one socket. It lives on the I/O thread: connecting, joining fragments, pings, and the
// deadlines.
//
// Deadlines are our own timers and not libwebsockets' policies, which count in whole seconds and close without saying
// why.

import Clws
import Glibc
import PluginABI

/// A peer that is alive answers a ping in a round trip; ten seconds are a network that is of no use to a call.
private let pongTimeoutMsMax: UInt32 = 10_000
/// The bound of the contract, `service/ws.h`.
private let closeTimeoutUs: Int64 = 2_000_000

/// A connection to a vendor, on the I/O thread and nowhere else.
final class WebSocketLink: @unchecked Sendable {
    /// Where to, and how.
    struct Target: Sendable {
        var origin: Origin
        /// With the query.
        var path: String
        var protocols: String
        var headers: [(name: String, value: String)]
        var connectMs: UInt32
        var pingMs: UInt32
    }

    enum Phase { case resolving, connecting, open, closing, ended }

    let socket: WebSocket
    let target: Target

    private(set) var phase = Phase.resolving
    private(set) var wsi: OpaquePointer?
    private var lws: OpaquePointer?
    private var timer: UnsafeMutablePointer<vc_lws_timer>?
    /// Addresses that were not tried yet.
    private var addresses: [String] = []
    private var connectDeadlineNs: UInt64 = 0
    /// The present attempt is over.
    private var hasFailed = false

    /// The fragments of the message that is arriving.
    private var partial: [UInt8] = []
    private var lastHeardNs: UInt64 = 0
    private var pingSentNs: UInt64?
    private var owesPing = false

    private var peerClose: (code: UInt32, reason: String)?
    /// Why we end it ourselves.
    private var failure: ServiceFailure?

    init(_ socket: WebSocket, to target: Target) {
        self.socket = socket
        self.target = target
    }

    // MARK: Connecting

    func begin(_ lws: OpaquePointer, now: UInt64) {
        self.lws = lws
        connectDeadlineNs = now + UInt64(target.connectMs) * 1_000_000
        timer = vc_lws_timer_create(Unmanaged.passUnretained(self).toOpaque())
        setTimer(lws, afterUs: Int64(target.connectMs) * 1_000)
    }

    func resolved(_ addresses: [String], lws: OpaquePointer) {
        guard phase == .resolving else { return }
        guard !addresses.isEmpty else {
            return finish(
                ServiceFailure(
                    code: .network,
                    message: "the host name of \(target.origin) has no address: check the spelling and the DNS server",
                    isRetryable: true), lws: lws)
        }
        self.addresses = addresses
        phase = .connecting
        connectNext(lws)
    }

    private func connectNext(_ lws: OpaquePointer) {
        let address = addresses.removeFirst()
        var info = lws_client_connect_info()
        info.context = lws
        info.port = Int32(target.origin.port)
        info.ssl_connection = target.origin.isSecure ? Int32(LCCSCF_USE_SSL.rawValue) : 0
        info.ietf_version_or_minus_one = -1
        info.opaque_user_data = Unmanaged.passUnretained(self).toOpaque()
        // libwebsockets copies the texts only when it gets to them, and that may be in a later turn.
        let texts = [address, target.path, target.origin.authority, target.protocols, "http/1.1", "client"].map {
            (text: String) in strdup(text)!
        }
        info.address = UnsafePointer(texts[0])
        info.path = UnsafePointer(texts[1])
        info.host = UnsafePointer(texts[2])
        if !target.protocols.isEmpty { info.protocol = UnsafePointer(texts[3]) }
        info.alpn = UnsafePointer(texts[4])
        info.local_protocol_name = UnsafePointer(texts[5])
        hasFailed = false
        wsi = lws_client_connect_via_info(&info)
        for text in texts { free(text) }
        // It may have failed at once, with or without its callback.
        if wsi == nil, !hasFailed { connectFailed("", httpStatus: 0, lws: lws) }
    }

    /// Adds our headers to the upgrade. False when there is no room.
    func appendHeaders(_ wsi: OpaquePointer, _ next: UnsafeMutablePointer<UnsafeMutablePointer<UInt8>?>, _ room: Int)
        -> Bool
    {
        let end = next.pointee! + room
        for header in target.headers {
            let value = Array(header.value.utf8)
            guard lws_add_http_header_by_name(wsi, header.name + ":", value, Int32(value.count), next, end) == 0 else {
                return false
            }
        }
        return true
    }

    /// `words` and `retryAfterS`: what a refusal says in its headers.
    func connectFailed(
        _ reason: String, httpStatus: UInt32, words: String = "", retryAfterS: UInt32 = 0, lws: OpaquePointer
    ) {
        wsi = nil
        guard !hasFailed else { return }
        hasFailed = true
        guard phase == .connecting else { return finish(failure, lws: lws) }
        // Another address may answer where this one did not; an answer of HTTP is one. Not from here: libwebsockets may
        // still be within the call that made this attempt.
        if httpStatus == 0, !addresses.isEmpty { return setTimer(lws, afterUs: 1) }
        let origin = target.origin
        let code: vc_status
        var message: String
        switch httpStatus {
        case 401, 403:
            code = .auth
            message = "\(origin) refused the credential with status \(httpStatus): check the secret and its rights"
        case 429:
            code = .quota
            message = "\(origin) has no room for another connection (status 429): ask the vendor for a higher limit"
        case 0 where reason.contains("SSL") || reason.contains("certificate") || reason.contains("tls"):
            code = .network
            message =
                "TLS with \(origin) could not be set up: check the host name, the certificate and the authorities"
        case 0:
            code = .network
            message = "no WebSocket at \(origin): start the server, or correct the address or the firewall"
        default:
            code = .vendor
            message = "\(origin) did not upgrade to WebSocket and answered with status \(httpStatus): check the path"
        }
        if !reason.isEmpty { message += " (\(reason))" }
        if !words.isEmpty { message += ": \(words)" }
        finish(
            ServiceFailure(
                code: code, message: message, isRetryable: code == .network || httpStatus == 429 || httpStatus >= 500,
                retryAfterMs: retryAfterS * 1_000, protocolStatus: httpStatus), lws: lws)
    }

    // MARK: Open

    func established(_ wsi: OpaquePointer, lws: OpaquePointer) {
        self.wsi = wsi
        guard phase == .connecting else { return vc_lws_kill(wsi) }
        phase = .open
        lastHeardNs = Monotonic.nowNs()
        setTimer(lws, afterUs: Int64(target.pingMs) * 1_000)
        socket.opened()
        if socket.hasOutgoing || socket.closeRequest != nil { lws_callback_on_writable(wsi) }
    }

    /// Takes a fragment, or a part of one. False closes the connection.
    func take(_ bytes: UnsafeRawBufferPointer, wsi: OpaquePointer) -> Bool {
        heard()
        guard partial.count + bytes.count <= WebSocket.messageBytesMax else {
            failure = ServiceFailure(
                code: .vendor,
                message: "\(target.origin) sent a message larger than \(WebSocket.messageBytesMax) bytes")
            lws_close_reason(wsi, lws_close_status(rawValue: 1009), nil, 0)
            return false
        }
        partial.append(contentsOf: bytes)
        guard lws_is_final_fragment(wsi) != 0, lws_remaining_packet_payload(wsi) == 0 else { return true }
        let message = partial
        partial = []
        if !socket.received(message, isBinary: lws_frame_is_binary(wsi) != 0) { lws_rx_flow_control(wsi, 0) }
        return true
    }

    func heard() {
        lastHeardNs = Monotonic.nowNs()
        pingSentNs = nil
    }

    /// The socket takes one frame. False closes the connection.
    func writeOne(_ wsi: OpaquePointer, lws: OpaquePointer) -> Bool {
        let pre = Int(vc_lws_pre)
        if owesPing {
            owesPing = false
            var frame = [UInt8](repeating: 0, count: pre)
            let written = frame.withUnsafeMutableBufferPointer {
                lws_write(wsi, $0.baseAddress! + pre, 0, LWS_WRITE_PING)
            }
            guard written >= 0 else { return false }
        } else if let message = socket.nextOutgoing() {
            var frame = [UInt8](repeating: 0, count: pre) + message.bytes
            let kind = message.isBinary ? LWS_WRITE_BINARY : LWS_WRITE_TEXT
            let written = frame.withUnsafeMutableBufferPointer {
                lws_write(wsi, $0.baseAddress! + pre, message.bytes.count, kind)
            }
            guard written >= 0 else { return false }
        } else if let request = socket.closeRequest, phase == .open {
            phase = .closing
            setTimer(lws, afterUs: closeTimeoutUs)
            var reason = Array(request.reason.utf8)
            lws_close_reason(wsi, lws_close_status(rawValue: UInt32(request.code)), &reason, reason.count)
            return false
        }
        if owesPing || socket.hasOutgoing || (socket.closeRequest != nil && phase == .open) {
            lws_callback_on_writable(wsi)
        }
        return true
    }

    // MARK: The end

    func peerCloses(_ payload: UnsafeRawBufferPointer) {
        guard payload.count >= 2 else {
            peerClose = (0, "")
            return
        }
        let code = UInt32(payload[0]) << 8 | UInt32(payload[1])
        peerClose = (code, String(decoding: payload.dropFirst(2), as: UTF8.self))
    }

    /// The connection is down.
    func ended(lws: OpaquePointer) {
        wsi = nil
        if failure == nil, peerClose == nil, phase == .open {
            failure = ServiceFailure(
                code: .network,
                message: "\(target.origin) broke the connection off without a close frame: connect again",
                isRetryable: true)
        }
        finish(failure, lws: lws)
    }

    /// `close`, or the owner's end, before the connection was up; afterwards it goes by `writeOne`.
    func closeEarly(lws: OpaquePointer) {
        if phase == .open, let wsi = wsi {
            // A resting socket would not see the peer's close frame.
            lws_rx_flow_control(wsi, 1)
            lws_callback_on_writable(wsi)
        } else if phase == .resolving || phase == .connecting {
            kill(nil, lws: lws)
        }
    }

    /// Tells the plugin at once, and ends the connection at the next turn of the loop.
    private func kill(_ failure: ServiceFailure?, lws: OpaquePointer) {
        finish(failure, lws: lws)
        if let wsi { vc_lws_kill(wsi) }
    }

    private func finish(_ failure: ServiceFailure?, lws: OpaquePointer) {
        guard phase != .ended else { return }
        phase = .ended
        self.failure = failure
        freeTimer()
        socket.closed(code: peerClose?.code ?? 0, reason: peerClose?.reason ?? "", failure)
    }

    // MARK: Time

    func freeTimer() {
        if let lws, let timer { vc_lws_timer_free(lws, timer) }
        timer = nil
    }

    private func setTimer(_ lws: OpaquePointer, afterUs: Int64) {
        if let timer { vc_lws_timer_set(lws, timer, webSocketTimer, max(1, afterUs)) }
    }

    fileprivate func timeUp() {
        guard let lws else { return }
        let now = Monotonic.nowNs()
        switch phase {
        case .connecting where hasFailed && now < connectDeadlineNs:
            setTimer(lws, afterUs: Int64((connectDeadlineNs - now) / 1_000))
            connectNext(lws)
        case .resolving, .connecting:
            kill(
                ServiceFailure(
                    code: .timeout,
                    message: "no WebSocket to \(target.origin) within \(target.connectMs) ms: "
                        + "check the address, the route and the firewall", isRetryable: true), lws: lws)
        case .open:
            checkPeer(now: now, lws: lws)
        case .closing:
            kill(
                ServiceFailure(
                    code: .timeout, message: "\(target.origin) did not answer the close frame within 2 s",
                    isRetryable: true), lws: lws)
        case .ended:
            break
        }
    }

    private func checkPeer(now: UInt64, lws: OpaquePointer) {
        let pingNs = UInt64(target.pingMs) * 1_000_000
        let pongNs = UInt64(min(target.pingMs, pongTimeoutMsMax)) * 1_000_000
        if socket.isPaused {
            // While the plugin is behind we do not listen, so silence says nothing about the peer.
            heard()
        } else if let sent = pingSentNs, now >= sent + pongNs {
            return kill(
                ServiceFailure(
                    code: .network, message: "\(target.origin) does not answer pings any more: connect again",
                    isRetryable: true), lws: lws)
        } else if pingSentNs == nil, now >= lastHeardNs + pingNs {
            pingSentNs = now
            owesPing = true
            if let wsi { lws_callback_on_writable(wsi) }
        }
        let nextNs = pingSentNs.map { $0 + pongNs } ?? lastHeardNs + pingNs
        setTimer(lws, afterUs: Int64((nextNs - min(now, nextNs)) / 1_000))
    }
}

private func webSocketTimer(_ sorted: UnsafeMutablePointer<lws_sorted_usec_list_t>?) {
    let timer = UnsafeMutableRawPointer(sorted!).assumingMemoryBound(to: vc_lws_timer.self)
    let link = Unmanaged<WebSocketLink>.fromOpaque(timer.pointee.context!).takeUnretainedValue()
    link.timeUp()
}
