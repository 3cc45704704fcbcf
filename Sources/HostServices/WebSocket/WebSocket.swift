// One WebSocket, as its plugin and its I/O thread share it: messages on their way in and out. Whether we connected to a
// vendor or a vendor connected to us makes no difference here; that is the carrier's affair.
//
// It has the same form as a request of HTTP. What came in waits in a bounded queue for the plugin's lane, and when more
// than 1 MiB waits the socket is not read from; what goes out waits in a bounded queue for the socket.

import Glibc
import PluginABI
import Providers
import Synchronization

final class WebSocket: Delivery, @unchecked Sendable {
    /// The bounds of the contract, `service/ws.h`.
    static let messageBytesMax = 1 << 20
    static let outboundBytesMax = 256 << 10
    /// What waits for a slow plugin: one message of the largest size, and what was in the same read.
    static let inboundBytesMax = 1 << 20

    /// What a message costs besides its bytes: empty ones must not pile up either.
    private static let messageOverhead = 64

    struct Outgoing: Sendable {
        var bytes: [UInt8]
        var isBinary: Bool
    }

    struct CloseRequest: Sendable, Equatable {
        var code: UInt16
        var reason: String
    }

    private enum Part {
        case opened
        case message([UInt8], isBinary: Bool)
        case writable
        case closed(code: UInt32, reason: String, ServiceFailure?)
    }

    private struct State {
        var parts: [Part] = []
        var inboundBytes = 0
        var isPaused = false
        var isPosted = false
        /// Nothing is called any more: the owner ended, or `closed` was delivered.
        var isOver = false

        var outgoing: [Outgoing] = []
        var outgoingBytes = 0
        /// `send` was refused, and `writable` is owed.
        var owesWritable = false
        var closeRequest: CloseRequest?
        /// The connection is gone, `closed` may still be waiting.
        var isGone = false
    }

    private static let partsPerTurn = 16

    let handle: vc_handle
    /// Who has its connection.
    let carrier: any SocketCarrier
    private let mailbox: Mailbox
    private let events: vc_ws_events
    private let context: UnsafeMutableRawPointer?
    private let service: WebSocketService
    private let state = Mutex(State())

    init(
        handle: vc_handle, carrier: any SocketCarrier, mailbox: Mailbox, events: vc_ws_events,
        context: UnsafeMutableRawPointer?, service: WebSocketService
    ) {
        self.handle = handle
        self.carrier = carrier
        self.mailbox = mailbox
        self.events = events
        self.context = context
        self.service = service
    }

    // MARK: Any thread

    func send(_ message: Outgoing) -> vc_status {
        state.withLock { state in
            guard !state.isOver, !state.isGone, state.closeRequest == nil else { return .closed }
            guard state.outgoingBytes < Self.outboundBytesMax else {
                state.owesWritable = true
                return .again
            }
            state.outgoing.append(message)
            state.outgoingBytes += message.bytes.count + Self.messageOverhead
            return .ok
        }
    }

    /// The first one counts.
    func close(_ request: CloseRequest) -> vc_status {
        state.withLock { state in
            guard !state.isOver, !state.isGone, state.closeRequest == nil else { return .closed }
            state.closeRequest = request
            return .ok
        }
    }

    /// The owner ended: no more calls, and the peer is told that we go away (RFC 6455, 7.4.1). An owner that has closed
    /// it before has said goodbye, and that still goes out.
    func orphan() {
        state.withLock { state in
            state.isOver = true
            state.parts = []
            state.inboundBytes = 0
            state.isPaused = false
            guard state.closeRequest == nil else { return }
            state.outgoing = []
            state.outgoingBytes = 0
            state.closeRequest = CloseRequest(code: 1001, reason: "")
        }
    }

    // MARK: The I/O thread

    var isOver: Bool { state.withLock { $0.isOver } }

    var closeRequest: CloseRequest? { state.withLock { $0.closeRequest } }

    func nextOutgoing() -> Outgoing? {
        let (next, mustPost): (Outgoing?, Bool) = state.withLock { state in
            guard !state.outgoing.isEmpty else { return (nil, false) }
            let next = state.outgoing.removeFirst()
            state.outgoingBytes -= next.bytes.count + Self.messageOverhead
            // Half empty, so that the plugin gets room for more than one message.
            guard state.owesWritable, state.outgoingBytes <= Self.outboundBytesMax / 2 else { return (next, false) }
            state.owesWritable = false
            return (next, Self.put(.writable, into: &state))
        }
        if mustPost { mailbox.post(self) }
        return next
    }

    var hasOutgoing: Bool { state.withLock { !$0.outgoing.isEmpty } }

    func opened() { put(.opened) }

    /// False when the plugin is behind and the socket must rest.
    func received(_ bytes: [UInt8], isBinary: Bool) -> Bool {
        let (mustPost, mayGoOn): (Bool, Bool) = state.withLock { state in
            guard !state.isOver else { return (false, true) }
            state.inboundBytes += bytes.count + Self.messageOverhead
            state.isPaused = state.inboundBytes > Self.inboundBytesMax
            return (Self.put(.message(bytes, isBinary: isBinary), into: &state), !state.isPaused)
        }
        if mustPost { mailbox.post(self) }
        return mayGoOn
    }

    var isPaused: Bool { state.withLock { $0.isPaused } }

    func closed(code: UInt32, reason: String, _ failure: ServiceFailure?) {
        let mustPost = state.withLock { state in
            state.isGone = true
            state.outgoing = []
            return Self.put(.closed(code: code, reason: reason, failure), into: &state)
        }
        if mustPost { mailbox.post(self) }
    }

    private func put(_ part: Part) {
        if state.withLock({ Self.put(part, into: &$0) }) { mailbox.post(self) }
    }

    /// True when the socket has to be posted.
    private static func put(_ part: Part, into state: inout State) -> Bool {
        guard !state.isOver else { return false }
        state.parts.append(part)
        defer { state.isPosted = true }
        return !state.isPosted
    }

    // MARK: The plugin's lane

    func deliver() -> Bool {
        for _ in 0..<Self.partsPerTurn {
            let (part, mustResume): (Part?, Bool) = state.withLock { state in
                guard !state.isOver, !state.parts.isEmpty else {
                    state.isPosted = false
                    return (nil, false)
                }
                let part = state.parts.removeFirst()
                if case .message(let bytes, _) = part { state.inboundBytes -= bytes.count + Self.messageOverhead }
                let mustResume = state.isPaused && state.inboundBytes <= Self.inboundBytesMax / 2
                if mustResume { state.isPaused = false }
                return (part, mustResume)
            }
            if mustResume { carrier.resume(self) }
            guard let part else { return false }
            call(part)
        }
        return true
    }

    private func call(_ part: Part) {
        switch part {
        case .opened:
            events.opened?(context, handle)
        case .message(let bytes, let isBinary):
            lend(bytes) { events.message?(context, handle, $0, isBinary ? 1 : 0) }
        case .writable:
            events.writable?(context, handle)
        case .closed(let code, let reason, let failure):
            // Gone before the plugin hears of it, so that it may connect anew from within.
            service.forget(self, failure)
            state.withLock { $0.isOver = true }
            lend(reason) { reason in
                if let failure {
                    failure.withError { events.closed?(context, handle, code, reason, $0) }
                } else {
                    events.closed?(context, handle, code, reason, nil)
                }
            }
        }
    }
}
