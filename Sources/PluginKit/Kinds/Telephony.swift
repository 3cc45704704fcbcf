// Signalling telephony: calls over a protocol of the plugin's own sockets, with the host's media.
//
// The one kind whose plugins have a thread: the host has no service for datagrams, and a peer may speak at any moment.
// So the kit does not run an author's code on the host's threads here. Every slot leaves an order in a mailbox and
// returns; the author's thread carries the orders out and is the only one that emits. With locks around the author's
// state instead, each slot would wait for whatever the thread does, and the contract gives a slot 5 ms.
//
// Plugins of the profile "frames" need nothing of this: their transport is the host's, which calls them in turn.

import PluginABI
import Synchronization

/// A provider of calls whose media is the host's (profile "signalling").
public protocol SignallingTelephony: Provider {
    /// Where the host's orders wait for the plugin's thread; made in `init`.
    var mailbox: TelephonyMailbox { get }
}

extension SignallingTelephony {
    public static var _kind: ProviderKind { .telephony }

    public func _open(_ request: OpenRequest) throws(PluginError) -> OpenSession {
        // `providerOpen` asks `openTelephony` instead: a session here has no turns of its own to run on.
        throw PluginError(.internal, "a telephony session is opened through its mailbox")
    }
}

/// What a telephony session is opened for.
public enum TelephonyCall: Sendable, Equatable {
    /// The key that `ProviderHost.incoming` announced.
    case inbound(key: String)
    case outbound(OutboundCall)
}

/// Whom to call, and as whom.
public struct OutboundCall: Sendable, Equatable {
    public var to: String
    /// Empty: the plugin's default.
    public var from: String
    public var headers: [Header]
    /// 0: the plugin's default.
    public var ringTimeoutMs: Int

    /// A header of the call's protocol.
    public struct Header: Sendable, Equatable {
        public var name: String
        public var value: String
        public init(name: String, value: String) {
            self.name = name
            self.value = value
        }
    }

    public init(to: String, from: String = "", headers: [Header] = [], ringTimeoutMs: Int = 0) {
        self.to = to
        self.from = from
        self.headers = headers
        self.ringTimeoutMs = ringTimeoutMs
    }
}

/// Who ended a call.
public enum HangupCause: UInt32, Sendable {
    case caller = 1, agent = 2, canceled = 3, refused = 4, noAnswer = 5, failed = 6
}

/// What a telephony session says of its call.
public enum TelephonyEvent: Sendable, Equatable {
    case ready
    case ringing
    case answered
    /// Once, and nothing of the call after it.
    case hangup(HangupCause, code: Int, reason: String)
    case dtmf(String, durationMs: Int)
    case held(Bool)
    case transferred(succeeded: Bool, code: Int, reason: String)
    /// Something that was asked could not be done; the call goes on.
    case refused(PluginError)
    /// The answer to the order `close`, and the last event.
    case closed
}

/// A telephony session, as the plugin's thread sees it. All but `id` and `call` belong to that thread.
public final class TelephonySession: HostObject, @unchecked Sendable {
    /// A call makes a handful of events in its life; what is more is a peer that floods.
    static let outboxMax = 32
    /// Orders of one session that wait for the thread, `close` and `destroy` apart.
    static let ordersMax = 32

    /// Unique among the sessions of the process.
    public var id: UInt64 { handle }
    public let call: TelephonyCall

    let mailbox: TelephonyMailbox
    let waitingOrders = Atomic(0)
    let isClosing = Atomic(false)
    private var outbox: [TelephonyEvent] = []
    private var isClosed = false

    init(_ request: vc_open, _ call: TelephonyCall, _ mailbox: TelephonyMailbox) throws(PluginError) {
        self.call = call
        self.mailbox = mailbox
        super.init(
            handle: request.session, configuration: try Configuration(parsing: String(request.config)),
            epoch: request.epoch)
    }

    /// Hands an event over, behind those that wait for credit. False: it was dropped, because too many wait.
    @discardableResult
    public func emit(_ event: TelephonyEvent) -> Bool {
        guard !isClosed else { return true }
        if event == .closed { isClosed = true }
        flush()
        if outbox.isEmpty, offer(event) != vc_status(VC_E_AGAIN) { return true }
        // The last two places are for the events without which the host would wait for ever.
        var isFinal = event == .closed
        if case .hangup = event { isFinal = true }
        guard outbox.count < Self.outboxMax - (isFinal ? 0 : 2) else { return false }
        outbox.append(event)
        return true
    }

    /// The order `credit`: the host has room again.
    public func flush() {
        var sent = 0
        while sent < outbox.count, offer(outbox[sent]) != vc_status(VC_E_AGAIN) { sent += 1 }
        outbox.removeFirst(sent)
    }

    private func offer(_ event: TelephonyEvent) -> vc_status {
        emitTelephony(event, from: handle, epoch: newestEpoch.load(ordering: .acquiring))
    }
}

/// An incoming call, as the protocol describes it. Texts hold no control characters.
public struct IncomingCall: Sendable, Equatable {
    public var key: String
    public var from: String
    public var display: String
    public var to: String
    public var peer: String
    public var protocolCall: String
    public var headers: [OutboundCall.Header]

    public init(
        key: String, from: String, display: String, to: String, peer: String, protocolCall: String,
        headers: [OutboundCall.Header]
    ) {
        self.key = key
        self.from = from
        self.display = display
        self.to = to
        self.peer = peer
        self.protocolCall = protocolCall
        self.headers = headers
    }
}

extension ProviderHost {
    /// Somebody calls. False: the host takes no calls, and the plugin refuses it.
    public func incoming(_ call: IncomingCall) -> Bool { emitIncoming(call, from: handle) == vc_status(VC_OK) }

    /// The caller gave up before there was a session.
    public func withdrawn(key: String) { emitWithdrawn(key, from: handle) }

    /// Answers `drain`: no port is held and no call is left.
    public func drained() { _ = emitBare(VC_EVENT_DRAINED, from: handle, epoch: 0) }
}

func openTelephony(
    _ provider: any SignallingTelephony, _ request: vc_open, _ session: UnsafeMutablePointer<vc_session>
) throws(PluginError) {
    let opened = try TelephonySession(request, try telephonyCall(request.kind), provider.mailbox)
    session.pointee.state = Unmanaged.passRetained(opened).toOpaque()
    session.pointee.ops = telephonySessionOps.pointer
    session.pointee.kind_ops = UnsafeRawPointer(telephonyOps.pointer)
    provider.mailbox.leave(.open, of: opened)
}

/// Reads `vc_telephony_open`.
private func telephonyCall(_ kind: UnsafeRawPointer?) throws(PluginError) -> TelephonyCall {
    guard let request = kind?.assumingMemoryBound(to: vc_telephony_open.self).pointee,
        request.size >= UInt32(MemoryLayout<vc_telephony_open>.size)
    else { throw PluginError(.argument, "a telephony session needs vc_telephony_open") }
    if request.direction == UInt32(VC_CALL_INBOUND) {
        let key = String(request.key)
        guard !key.isEmpty else { throw PluginError(.argument, "an inbound call needs the key of its INCOMING") }
        return .inbound(key: key)
    }
    guard request.direction == UInt32(VC_CALL_OUTBOUND) else {
        throw PluginError(.argument, "a call has the direction \(request.direction), which is neither in nor out")
    }
    let fields = UnsafeBufferPointer(start: request.headers, count: Int(request.header_count))
    let call = OutboundCall(
        to: String(request.to), from: String(request.from),
        headers: fields.map { .init(name: String($0.name), value: String($0.value)) },
        ringTimeoutMs: Int(request.ring_timeout_ms))
    guard canStandInURI(call.to), call.from.isEmpty || canStandInURI(call.from),
        call.headers.allSatisfy({ $0.isOneLine })
    else {
        throw PluginError(
            .argument, "to, from or a header cannot stand in a message: no blanks, brackets or line breaks")
    }
    return .outbound(call)
}

extension OutboundCall.Header {
    /// RFC 3261, 25.1: a token, and a value without line ends, which would be headers of their own.
    var isOneLine: Bool {
        !name.isEmpty && name.utf8.allSatisfy { isTokenByte($0) } && value.utf8.count <= 1024
            && value.utf8.allSatisfy { $0 >= 0x20 && $0 != 0x7f }
    }
}

private func isTokenByte(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
        UInt8(ascii: "0")...UInt8(ascii: "9"):
        true
    default: "-.!%*_+`'~".utf8.contains(byte)
    }
}

/// Whether a text can stand between angle brackets without ending them, or the line.
func canStandInURI(_ text: String) -> Bool {
    !text.isEmpty && text.utf8.count <= 512
        && text.utf8.allSatisfy { $0 > 0x20 && $0 != 0x7f && !"<>\"".utf8.contains($0) }
}
