// A telephony provider: where calls come from and where they go to.
//
// The plugin reports a call on the provider with a key of its own; whoever answers opens a session with that key, and from
// then on the call speaks on its session. Events arrive on the plugin's threads, so what listens here hands them on.

import Calls
import PluginABI

/// Somebody calls. Copied out of the plugin's event.
public struct IncomingCall: Sendable, Equatable {
    /// Names the call towards the plugin until its session is open.
    public var key = ""
    public var from = ""
    public var display = ""
    public var to = ""
    public var peer = ""
    /// The protocol's own id of the call, for the logs.
    public var protocolCall = ""
    public var headers: [(name: String, value: String)] = []

    public static func == (one: IncomingCall, other: IncomingCall) -> Bool { one.key == other.key }
}

public final class TelephonyProvider: Sendable {
    public let instance: ProviderInstance

    /// - Parameters:
    ///   - incoming: to be answered within 2 s, by `open` or `decline`.
    ///   - withdrawn: the caller of a key gave up before that.
    public init(
        _ instance: ProviderInstance, incoming: @escaping @Sendable (IncomingCall) -> Void,
        withdrawn: @escaping @Sendable (_ key: String) -> Void
    ) {
        precondition(instance.kind == .telephony, "\(instance.name) is of kind \(instance.kind.rawValue)")
        self.instance = instance
        instance.receiveKind = { event in
            switch Int(event.pointee.type) {
            case VC_EVENT_INCOMING:
                guard let call = IncomingCall(UnsafeRawPointer(event).load(as: vc_event_incoming.self)) else {
                    instance.faults.note(
                        .eventBody, sort: "incoming", call: "", "emitted INCOMING without a key, or with text that is not UTF-8")
                    return vc_status(VC_E_ARGUMENT)
                }
                incoming(call)
            case VC_EVENT_WITHDRAWN:
                withdrawn(String(UnsafeRawPointer(event).load(as: vc_event_withdrawn.self).key) ?? "")
            default: return vc_status(VC_E_UNSUPPORTED)
            }
            return vc_status(VC_OK)
        }
    }

    /// Refuses a call for which no session will be opened.
    public func decline(_ key: String, code: UInt32, retryAfterS: UInt32) {
        guard let table = try? adopt(instance.kindOps, as: vc_telephony_provider_ops.self, "vc_telephony_provider_ops"),
            let decline = table.decline
        else { return }
        withStr(key) { key in
            instance.object.control {
                _ = instance.timed("decline") { decline(instance.providerSelf, key, code, retryAfterS) }
            }
        }
    }

    /// Opens the session of an incoming call.
    public func open(
        _ incoming: IncomingCall, call: String, events: @escaping TelephonySession.Events
    ) throws(ProviderFailure) -> TelephonySession {
        try withStr(incoming.key) { (key) throws(ProviderFailure) in
            var kind = vc_telephony_open()
            kind.size = UInt32(MemoryLayout<vc_telephony_open>.size)
            kind.direction = UInt32(VC_CALL_INBOUND)
            kind.key = key
            return try TelephonySession(instance, &kind, call: call, events: events)
        }
    }

    /// Calls somebody. RINGING and ANSWERED, or a hang-up, follow as events.
    public func dial(
        to: String, from: String, ringTimeoutMs: UInt32, call: String, events: @escaping TelephonySession.Events
    ) throws(ProviderFailure) -> TelephonySession {
        try withStr(to) { (to) throws(ProviderFailure) in
            try withStr(from) { (from) throws(ProviderFailure) in
                var kind = vc_telephony_open()
                kind.size = UInt32(MemoryLayout<vc_telephony_open>.size)
                kind.direction = UInt32(VC_CALL_OUTBOUND)
                kind.to = to
                kind.from = from
                kind.ring_timeout_ms = ringTimeoutMs
                return try TelephonySession(instance, &kind, call: call, events: events)
            }
        }
    }
}

extension IncomingCall {
    /// Headers beyond this are the peer's nonsense, and not kept.
    static let headersMax = 64

    init?(_ event: vc_event_incoming) {
        guard let key = String(event.key), !key.isEmpty, let from = String(event.from), let display = String(event.display),
            let to = String(event.to), let peer = String(event.peer), let protocolCall = String(event.protocol_call)
        else { return nil }
        (self.key, self.from, self.display, self.to) = (key, from, display, to)
        (self.peer, self.protocolCall) = (peer, protocolCall)
        guard let fields = event.headers else { return }
        for index in 0..<min(Int(event.header_count), Self.headersMax) {
            guard let name = String(fields[index].name), let value = String(fields[index].value) else { continue }
            headers.append((name, value))
        }
    }
}
