// One WebSocket that came in, on its I/O thread: wslay has the frames (RFC 6455), this has the descriptor, the bounds
// and the deadlines. It is the counterpart of `WebSocketLink`, which has the connections that we make.
//
// wslay checks what a server must refuse: unmasked frames and broken framing (1002), text that is not UTF-8 (1007),
// messages past 1 MiB (1009). It writes a header and its payload in two calls, so what it writes is gathered here and
// leaves in one: with one small message every 20 ms, a second packet for each would be as costly as the first.

import CPlatform
import Cmicrohttpd
import Cwslay
import Glibc
import PluginABI

final class ServedSocketLink {
    enum Phase {
        case open
        /// Our close frame is queued or sent, and the peer's is awaited.
        case closing
        /// The peer broke the protocol and was told. What it still sends is read and dropped for a while: a socket that
        /// is closed with unread bytes resets the connection, and the close frame would be lost with it.
        case lingering
        case ended
    }

    /// Between two other sockets.
    private static let readBytesPerTurn = 64 << 10
    /// What waits for the descriptor beside the 256 KiB that wait in the socket.
    private static let gatheredBytesMax = 64 << 10
    /// Pongs that wait. A peer that pings without reading is not read from any more.
    private static let controlsMax = 64
    /// The bound of the contract, `service/ws.h`.
    private static let closeNs: UInt64 = 2_000_000_000
    /// A peer that is alive answers a ping in a round trip.
    private static let pongNsMax: UInt64 = 10_000_000_000

    let key: UInt64
    private(set) var phase = Phase.open
    /// `deadlineNs` is another one than before.
    var isTimerDue = false

    private let socket: WebSocket
    private let peer: String
    private let descriptor: Int32
    private let epoll: Int32
    private let response: OpaquePointer
    private let pingNs: UInt64
    private var frames: wslay_event_context_ptr?

    private var early: ArraySlice<UInt8>
    private var readBytes = 0
    /// Nothing more will come; `brokenBy` is the error that said so, or 0 for a plain end.
    private var isAtEnd = false
    private var brokenBy: Int32 = 0

    private var gathered: [UInt8] = []
    private var written = 0
    private var watched: UInt32?

    private var lastHeardNs: UInt64 = 0
    private var pingSentNs: UInt64?
    private var closeDeadlineNs: UInt64?
    private var peerClose: (code: UInt32, reason: String)?

    init(_ socket: WebSocket, _ upgraded: ServedSocketLoop.Upgraded, epoll: Int32, key: UInt64, pingMs: UInt32) {
        self.socket = socket
        self.epoll = epoll
        self.key = key
        peer = upgraded.peer
        descriptor = upgraded.descriptor
        response = upgraded.response
        early = upgraded.early[...]
        pingNs = UInt64(pingMs) * 1_000_000
    }

    deinit { precondition(frames == nil, "a WebSocket was dropped before its end") }

    func begin(now: UInt64) {
        var callbacks = wslay_event_callbacks()
        callbacks.recv_callback = readForFrames
        callbacks.send_callback = writeFromFrames
        callbacks.on_msg_recv_callback = messageArrived
        let result = wslay_event_context_server_init(
            &frames, &callbacks, Unmanaged.passUnretained(self).toOpaque())
        guard result == 0, let frames else {
            return finish(ServiceFailure(code: .memory, message: "there is not enough memory for a WebSocket"))
        }
        wslay_event_config_set_max_recv_msg_length(frames, UInt64(WebSocket.messageBytesMax))
        lastHeardNs = now
        isTimerDue = true
        socket.opened()
        if socket.closeRequest != nil { close(now: now) }
        read()
    }

    // MARK: In

    func read() {
        guard phase != .ended, let frames else { return }
        if phase == .lingering { return drain() }
        repeat {
            readBytes = 0
            if wslay_event_recv(frames) == WSLAY_ERR_NOMEM.rawValue {
                return finish(
                    ServiceFailure(code: .memory, message: "there is not enough memory for a message of \(peer)"))
            }
            pump()
        } while !early.isEmpty && mayRead
    }

    private var brokenOff: ServiceFailure {
        let reason = brokenBy == 0 ? "" : " (\(String(cString: strerror(brokenBy))))"
        return ServiceFailure(
            code: .network, message: "\(peer) broke the connection off without a close frame\(reason)",
            isRetryable: false)
    }

    fileprivate func read(into buffer: UnsafeMutablePointer<UInt8>, _ room: Int) -> Int? {
        guard mayRead, readBytes < Self.readBytesPerTurn else { return nil }
        if !early.isEmpty {
            let count = min(room, early.count)
            for (index, byte) in early.prefix(count).enumerated() { buffer[index] = byte }
            early = early.dropFirst(count)
            return heard(count)
        }
        while true {
            let count = recv(descriptor, buffer, room, 0)
            if count > 0 { return heard(count) }
            if count < 0, errno == EINTR { continue }
            if count < 0, errno == EAGAIN || errno == EWOULDBLOCK { return nil }
            isAtEnd = true
            brokenBy = count < 0 ? errno : 0
            return nil
        }
    }

    private func heard(_ count: Int) -> Int {
        readBytes += count
        lastHeardNs = Monotonic.nowNs()
        pingSentNs = nil
        return count
    }

    /// A socket whose plugin is behind rests, but not one that waits for the peer's close frame.
    private var mayRead: Bool {
        guard let frames, !isAtEnd, wslay_event_want_read(frames) != 0 else { return false }
        return (phase == .closing || !socket.isPaused) && wslay_event_get_queued_msg_count(frames) < Self.controlsMax
    }

    fileprivate func arrived(_ message: wslay_event_on_msg_recv_arg) {
        let bytes = UnsafeRawBufferPointer(start: message.msg, count: message.msg_length)
        switch UInt32(message.opcode) {
        case WSLAY_TEXT_FRAME.rawValue, WSLAY_BINARY_FRAME.rawValue:
            // While we close, a plugin that is behind gets no more than it has.
            if phase == .closing, socket.isPaused { return }
            _ = socket.received([UInt8](bytes), isBinary: UInt32(message.opcode) == WSLAY_BINARY_FRAME.rawValue)
        case WSLAY_CONNECTION_CLOSE.rawValue:
            let reason = String(decoding: bytes.dropFirst(min(2, bytes.count)), as: UTF8.self)
            peerClose = (UInt32(message.status_code), reason)
        default:
            break
        }
    }

    // MARK: Out

    /// Moves what waits towards the descriptor, as far as that takes it.
    func pump() {
        guard phase != .ended, phase != .lingering, let frames else { return }
        while true {
            wslay_event_send(frames)
            flush()
            if isAtEnd || !gathered.isEmpty { break }
            if wslay_event_want_write(frames) != 0 { continue }
            guard phase == .open, wslay_event_want_read(frames) != 0 else { break }
            if let message = socket.nextOutgoing() {
                queue(message.bytes, message.isBinary ? WSLAY_BINARY_FRAME : WSLAY_TEXT_FRAME)
            } else if let request = socket.closeRequest {
                phase = .closing
                closeDeadlineNs = closeDeadlineNs ?? Monotonic.nowNs() + Self.closeNs
                isTimerDue = true
                let reason = Array(request.reason.utf8)
                wslay_event_queue_close(frames, request.code, reason, reason.count)
            } else {
                break
            }
        }
        if wslay_event_get_close_sent(frames) != 0, gathered.isEmpty { closeSent(frames) }
        if isAtEnd, phase == .open || phase == .closing {
            finish(phase == .open && peerClose == nil ? brokenOff : nil)
        }
        watch()
    }

    private func closeSent(_ frames: wslay_event_context_ptr) {
        if wslay_event_get_close_received(frames) != 0 { return finish(nil) }
        guard phase == .open else { return }
        // Not our wish, so it is wslay's judgement of what came.
        let code = wslay_event_get_status_code_sent(frames)
        let what =
            switch code {
            case 1007: "sent text that is not UTF-8 (1007)"
            case 1009: "sent a message larger than \(WebSocket.messageBytesMax) bytes (1009)"
            default: "broke the WebSocket protocol (1002)"
            }
        tell(ServiceFailure(code: .vendor, message: "\(peer) \(what)"))
        shutdown(descriptor, Int32(SHUT_WR))
        phase = .lingering
        closeDeadlineNs = Monotonic.nowNs() + Self.closeNs
        isTimerDue = true
        drain()
    }

    private func queue(_ bytes: [UInt8], _ kind: wslay_opcode) {
        bytes.withUnsafeBufferPointer { buffer in
            var message = wslay_event_msg(
                opcode: UInt8(kind.rawValue), msg: buffer.baseAddress, msg_length: buffer.count)
            wslay_event_queue_msg(frames, &message)
        }
    }

    fileprivate func gather(_ bytes: UnsafeBufferPointer<UInt8>) -> Int? {
        let room = Self.gatheredBytesMax - gathered.count
        guard room > 0 else { return nil }
        gathered.append(contentsOf: bytes.prefix(room))
        return min(room, bytes.count)
    }

    private func flush() {
        while written < gathered.count {
            let count = gathered.withUnsafeBytes {
                Glibc.send(descriptor, $0.baseAddress! + written, $0.count - written, Int32(MSG_NOSIGNAL))
            }
            if count < 0, errno == EINTR { continue }
            if count < 0, errno == EAGAIN || errno == EWOULDBLOCK { return }
            guard count > 0 else {
                isAtEnd = true
                brokenBy = errno
                break
            }
            written += count
        }
        gathered.removeAll(keepingCapacity: gathered.capacity <= 4 << 10)
        written = 0
    }

    /// Tells epoll what we wait for. Nothing at all means to leave it: it would report a hang-up again and again.
    private func watch() {
        guard phase != .ended else { return }
        var wanted: UInt32 = 0
        if phase == .lingering || mayRead { wanted |= EPOLLIN.rawValue }
        if !gathered.isEmpty { wanted |= EPOLLOUT.rawValue }
        guard wanted != watched ?? 0 else { return }
        var event = epoll_event(events: wanted, data: epoll_data_t(u64: key))
        let change = wanted == 0 ? EPOLL_CTL_DEL : watched == nil ? EPOLL_CTL_ADD : EPOLL_CTL_MOD
        epoll_ctl(epoll, change, descriptor, &event)
        watched = wanted == 0 ? nil : wanted
    }

    // MARK: The end

    /// `vc_ws.close`, or the owner's end.
    func close(now: UInt64) {
        guard phase == .open, closeDeadlineNs == nil else { return }
        // From now on, and not from when the frame gets out: a peer that takes nothing would never be done.
        closeDeadlineNs = now + Self.closeNs
        isTimerDue = true
        pump()
    }

    /// The host ends: one attempt at a close frame.
    func goAway() {
        guard phase != .ended, let frames else { return }
        if phase == .open { wslay_event_queue_close(frames, 1001, nil, 0) }
        wslay_event_send(frames)
        flush()
        finish(ServiceFailure(code: .network, message: "the host is going down"))
    }

    private func drain() {
        var dropped = [UInt8](repeating: 0, count: 16 << 10)
        var total = 0
        while total < Self.readBytesPerTurn {
            let count = recv(descriptor, &dropped, dropped.count, 0)
            if count > 0 {
                total += count
            } else if count < 0, errno == EAGAIN || errno == EWOULDBLOCK {
                break
            } else if count == 0 || errno != EINTR {
                return finish(nil)
            }
        }
        watch()
    }

    private func tell(_ failure: ServiceFailure?) {
        socket.closed(code: peerClose?.code ?? 0, reason: peerClose?.reason ?? "", failure)
    }

    private func finish(_ failure: ServiceFailure?) {
        guard phase != .ended else { return }
        // Whoever lingers has been told.
        if phase != .lingering { tell(failure) }
        phase = .ended
        if watched != nil { epoll_ctl(epoll, EPOLL_CTL_DEL, descriptor, nil) }
        wslay_event_context_free(frames)
        frames = nil
        vc_mhd_close_upgraded(response)
    }

    // MARK: Time

    var deadlineNs: UInt64 {
        if let closeDeadlineNs { return closeDeadlineNs }
        return pingSentNs.map { $0 + min(pingNs, Self.pongNsMax) } ?? lastHeardNs + pingNs
    }

    func timeUp(now: UInt64) {
        guard phase != .ended, now >= deadlineNs else { return }
        guard closeDeadlineNs == nil else {
            return finish(
                ServiceFailure(
                    code: .timeout, message: "\(peer) did not answer the close frame within 2 s", isRetryable: false))
        }
        if socket.isPaused {
            // While the plugin is behind we do not listen, so silence says nothing about the peer.
            lastHeardNs = now
            pingSentNs = nil
        } else if pingSentNs != nil {
            finish(ServiceFailure(code: .network, message: "\(peer) does not answer pings any more"))
        } else {
            pingSentNs = now
            queue([], WSLAY_PING)
            pump()
        }
    }
}

// MARK: What wslay calls

private func link(_ context: UnsafeMutableRawPointer?) -> ServedSocketLink {
    Unmanaged<ServedSocketLink>.fromOpaque(context!).takeUnretainedValue()
}

private func readForFrames(
    _ frames: wslay_event_context_ptr?, _ buffer: UnsafeMutablePointer<UInt8>?, _ room: Int, _ flags: Int32,
    _ context: UnsafeMutableRawPointer?
) -> Int {
    if let buffer, let count = link(context).read(into: buffer, room) { return count }
    wslay_event_set_error(frames, Int32(WSLAY_ERR_WOULDBLOCK.rawValue))
    return -1
}

private func writeFromFrames(
    _ frames: wslay_event_context_ptr?, _ bytes: UnsafePointer<UInt8>?, _ count: Int, _ flags: Int32,
    _ context: UnsafeMutableRawPointer?
) -> Int {
    if let taken = link(context).gather(UnsafeBufferPointer(start: bytes, count: count)) { return taken }
    wslay_event_set_error(frames, Int32(WSLAY_ERR_WOULDBLOCK.rawValue))
    return -1
}

private func messageArrived(
    _ frames: wslay_event_context_ptr?, _ message: UnsafePointer<wslay_event_on_msg_recv_arg>?,
    _ context: UnsafeMutableRawPointer?
) {
    if let message { link(context).arrived(message.pointee) }
}
