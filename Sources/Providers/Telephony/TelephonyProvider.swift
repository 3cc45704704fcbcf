// The telephone behind the C line: calls that come in, and a door for each call.
//
// An incoming call is announced by the provider, with a key; the host opens a session for the key within two seconds,
// or declines it. After that everything about the call is an event of its session.

import Calls
import PluginABI
import Synchronization

/// A call that came in and waits for its session.
public struct IncomingCall: Sendable, Equatable {
    public var key: String
    public var from: String
    public var display: String
    public var to: String
    /// The network address from which it came.
    public var peer: String
    /// The protocol's own id of the call.
    public var protocolCall: String
    public var headers: [TelephonyHeader]
}

public struct TelephonyHeader: Sendable, Equatable {
    public var name: String
    public var value: String

    public init(name: String, value: String) {
        self.name = name
        self.value = value
    }
}

public enum TelephonyProviderEvent: Sendable, Equatable {
    case incoming(IncomingCall)
    /// The caller gave up before a session was opened.
    case withdrawn(key: String)
}

public final class TelephonyProvider: Sendable {
    public let instance: ProviderInstance
    /// Headers of one call that are passed on; a message with more is an attack or a mistake.
    static let headersMax = 128

    private let declineSlot: (@convention(c) (vc_self?, vc_str, UInt32, UInt32) -> vc_status)?

    /// Call between `create` and `start`. `events` runs on the plugin's thread: it copies and returns.
    public init(
        _ instance: ProviderInstance, events: @escaping @Sendable (TelephonyProviderEvent) -> Void
    ) throws(ProviderFailure) {
        precondition(instance.kind == .telephony, "\(instance.name) is of kind \(instance.kind.rawValue)")
        self.instance = instance
        do throws(TableFault) {
            let ops = try adopt(instance.kindOps, as: vc_telephony_provider_ops.self, "vc_telephony_provider_ops")
            guard let decline = ops.decline else {
                throw TableFault(problem: "vc_telephony_provider_ops.decline is NULL")
            }
            declineSlot = decline
        } catch {
            instance.faults.note(.slotMissing, call: "", "cannot be used for telephony: \(error.problem)")
            throw ProviderFailure(code: .misbehaved, retryable: false, message: error.problem)
        }
        instance.receiveKind = { [unowned instance] event in Self.receive(event, instance, events) }
    }

    public var profile: Capabilities.Profile { instance.declaration.capabilities.profile ?? .signalling }

    /// Refuses an incoming call for which no session will be opened. `retryAfterSeconds` 0 says nothing of a later
    /// time.
    public func decline(key: String, code: Int, retryAfterSeconds: Int = 0) {
        let provider = instance.providerSelf
        let status = instance.object.control {
            withStr(key) { key in
                instance.timed("decline") {
                    declineSlot!(provider, key, UInt32(clamping: code), UInt32(clamping: retryAfterSeconds))
                }
            }
        }
        if status != VC_OK, status != vc_status(VC_E_NOT_FOUND) {
            instance.faults.note(.status, sort: "decline \(status)", call: "", "decline answered with status \(status)")
        }
    }

    /// Opens the session of an incoming call.
    public func answerable(
        key: String, call: String, tenant: String = "", rateHz: Int = 8_000,
        events: @escaping @Sendable (TelephonyEvent) -> CallMailbox.Outcome
    ) throws(ProviderFailure) -> TelephonySession {
        try TelephonySession.open(
            instance, call: call, tenant: tenant, rateHz: rateHz, leg: .inbound(key: key), events: events)
    }

    /// Calls somebody. RINGING, ANSWERED and HANGUP tell what becomes of it.
    public func dial(
        to target: String, from: String = "", headers: [TelephonyHeader] = [], ringTimeoutMs: Int, call: String,
        tenant: String = "", rateHz: Int = 8_000, events: @escaping @Sendable (TelephonyEvent) -> CallMailbox.Outcome
    ) throws(ProviderFailure) -> TelephonySession {
        try TelephonySession.open(
            instance, call: call, tenant: tenant, rateHz: rateHz,
            leg: .outbound(to: target, from: from, headers: headers, ringTimeoutMs: ringTimeoutMs), events: events)
    }

    private static func receive(
        _ event: UnsafePointer<vc_event>, _ instance: ProviderInstance, _ events: (TelephonyProviderEvent) -> Void
    ) -> vc_status {
        func broken(_ what: String) -> vc_status {
            instance.faults.note(
                .eventBody, sort: what, call: "",
                "emitted \(what) with a key that is empty, or a text that is not UTF-8")
            return vc_status(VC_E_ARGUMENT)
        }
        let raw = UnsafeRawPointer(event)
        if Int(event.pointee.type) == VC_EVENT_WITHDRAWN {
            guard let key = String(raw.load(as: vc_event_withdrawn.self).key), !key.isEmpty else {
                return broken("WITHDRAWN")
            }
            events(.withdrawn(key: key))
            return vc_status(VC_OK)
        }
        let body = raw.load(as: vc_event_incoming.self)
        guard let key = String(body.key), !key.isEmpty, let from = String(body.from),
            let display = String(body.display),
            let to = String(body.to), let peer = String(body.peer), let protocolCall = String(body.protocol_call),
            let headers = Self.headers(body.headers, body.header_count)
        else { return broken("INCOMING") }
        events(
            .incoming(
                IncomingCall(
                    key: key, from: from, display: display, to: to, peer: peer, protocolCall: protocolCall,
                    headers: headers)))
        return vc_status(VC_OK)
    }

    private static func headers(_ fields: UnsafePointer<vc_field>?, _ count: UInt32) -> [TelephonyHeader]? {
        guard count > 0 else { return [] }
        guard let fields, count <= headersMax else { return nil }
        var headers: [TelephonyHeader] = []
        for field in UnsafeBufferPointer(start: fields, count: Int(count)) {
            guard let name = String(field.name), let value = String(field.value) else { return nil }
            headers.append(TelephonyHeader(name: name, value: value))
        }
        return headers
    }
}
