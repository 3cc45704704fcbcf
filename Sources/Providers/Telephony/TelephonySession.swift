// One call's signalling, over the C line. What it is told answers at once; what comes of it is an event.

import Calls
import PluginABI

/// What happens to a call's signalling.
public enum TelephonyEvent: Sendable, Equatable {
    public enum Cause: UInt32, Sendable {
        case caller = 1, agent, canceled, refused, noAnswer, failed
    }

    case ringing
    case answered
    /// Once; nothing follows but the end of the session.
    case hungUp(Cause, code: UInt32, reason: String)
    case digits(String)
    /// The peer put the call on hold, or took it back.
    case held(Bool)
    case transferred(Bool, code: UInt32, reason: String)
    /// A request was refused by the peer; the call goes on.
    case refused(ProviderFailure)
    /// The plugin lost the session.
    case lost(ProviderFailure)
}

public final class TelephonySession: PluginSessionDelegate, @unchecked Sendable {
    /// Called on the plugin's threads, from within its `emit`: hand on and return.
    public typealias Events = @Sendable (TelephonyEvent) -> Void

    /// Nil only while `open` runs, in which a plugin may emit already.
    private var session: PluginSession!
    private var ops = vc_telephony_ops()
    private let events: Events

    /// What the media service knows the call by.
    public var handle: vc_handle { session.object.handle }

    init(
        _ instance: ProviderInstance, _ kind: inout vc_telephony_open, call: String, events: @escaping Events
    ) throws(ProviderFailure) {
        self.events = events
        var request = SessionRequest()
        request.call = call
        let opened = try withUnsafePointer(to: &kind) { (kind) throws(ProviderFailure) in
            request.kind = UnsafeRawPointer(kind)
            return try PluginSession.open(instance, request, delegate: self)
        }
        session = opened
        ops = try opened.kindTable(vc_telephony_ops.self, "vc_telephony_ops") { table in
            [("answer", table.answer != nil), ("hangup", table.hangup != nil)]
        }
    }

    // MARK: Asking

    public func ringing() {
        guard let slot = ops.ringing else { return }
        ask("ringing") { slot($0) }
    }

    public func answer() {
        let slot = ops.answer!
        ask("answer") { slot($0) }
    }

    /// `code` is a SIP status, or 0 for the usual one.
    public func hangUp(code: UInt32 = 0, reason: String = "") {
        let slot = ops.hangup!
        ask("hangup") { state in withStr(reason) { slot(state, code, $0) } }
    }

    public func transfer(to target: String) {
        guard let slot = ops.transfer else {
            return events(.transferred(false, code: 501, reason: "\(session.instance.name) does not transfer calls"))
        }
        ask("transfer") { state in withStr(target) { slot(state, $0) } }
    }

    public func hold(_ on: Bool) {
        guard let slot = ops.hold else { return }
        ask("hold") { slot($0, on ? 1 : 0) }
    }

    /// Digits by the signalling. False when the plugin has no such slot.
    public func sendDTMF(_ digits: String) -> Bool {
        guard let slot = ops.dtmf else { return false }
        ask("dtmf") { state in withStr(digits) { slot(state, $0) } }
        return true
    }

    public func close() { session.close() }

    private func ask(_ slot: StaticString, _ body: @escaping @Sendable (vc_self?) -> vc_status) {
        session.ask(slot) { [weak session] state in
            let status = body(state)
            if status != VC_OK { session?.refused(slot, status) }
        }
    }

    // MARK: Events

    func receive(_ event: UnsafePointer<vc_event>, _ type: Int) -> vc_status {
        let raw = UnsafeRawPointer(event)
        switch type {
        case VC_EVENT_RINGING: events(.ringing)
        case VC_EVENT_ANSWERED: events(.answered)
        case VC_EVENT_HANGUP:
            let body = raw.load(as: vc_event_hangup.self)
            guard let cause = TelephonyEvent.Cause(rawValue: body.cause) else {
                return broken("HANGUP", "the cause \(body.cause)")
            }
            events(.hungUp(cause, code: body.code, reason: String(body.reason) ?? ""))
        case VC_EVENT_DTMF:
            guard let digits = String(raw.load(as: vc_event_dtmf.self).digits),
                digits.allSatisfy({ "0123456789*#ABCD".contains($0) })
            else { return broken("DTMF", "digits other than 0-9 * # A-D") }
            events(.digits(digits))
        case VC_EVENT_HELD: events(.held(raw.load(as: vc_event_held.self).on != 0))
        case VC_EVENT_TRANSFERRED:
            let body = raw.load(as: vc_event_transferred.self)
            events(.transferred(body.succeeded != 0, code: body.code, reason: String(body.reason) ?? ""))
        default: return vc_status(VC_E_UNSUPPORTED)
        }
        return vc_status(VC_OK)
    }

    private func broken(_ event: String, _ how: String) -> vc_status {
        session?.broken(event, how) ?? vc_status(VC_E_ARGUMENT)
    }

    func requestFailed(_ request: UInt64, epoch: UInt64, _ failure: ProviderFailure) { events(.refused(failure)) }

    func lost(_ failure: ProviderFailure) { events(.lost(failure)) }
}
