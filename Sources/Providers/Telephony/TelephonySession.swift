// One call of a telephony plugin.

import Calls
import PluginABI
import Synchronization

/// What happens to a call.
public enum TelephonyEvent: Sendable, Equatable {
    case ringing
    case answered
    case hungUp(Cause, code: Int, reason: String)
    case digits(String, durationMs: Int)
    case held(Bool)
    case transferred(succeeded: Bool, code: Int, reason: String)
    /// Profile "frames": the caller's audio.
    case frame(samples: [Int16], rateHz: Int, position: UInt64, isDiscontinuous: Bool)
    /// Profile "frames": what was played before the mark was heard, or cleared by `flush`.
    case played(mark: UInt64, cleared: Bool)
    /// Something that was asked failed; the call goes on.
    case failed(ProviderFailure)
    /// The session is lost: no HANGUP will come.
    case lost(ProviderFailure)

    public enum Cause: UInt8, Sendable {
        case caller, agent, canceled, refused, noAnswer, failed

        /// RFC 3261, 21.4.24 and 21.6.1: busy here, and busy everywhere.
        func hangUpCause(code: Int) -> HangUpCause {
            switch self {
            case .caller, .agent, .canceled: .caller
            case .refused: code == 486 || code == 600 ? .busy : .rejected
            case .noAnswer: .noAnswer
            case .failed: .network
            }
        }
    }

    /// As a conversation hears it; nil for what concerns only its surroundings.
    public var callEvents: [CallEvent] {
        switch self {
        case .answered: [.answered]
        case .hungUp(let cause, let code, _): [.hungUp(cause.hangUpCause(code: code), code: code)]
        case .digits(let digits, _): digits.map { .digit($0) }
        case .held(let on): [.hold(on)]
        case .transferred(let succeeded, _, _): [.transferResult(succeeded: succeeded)]
        // Where the process behind the signalling crashed, the media goes on: the two still hear each other, and what
        // ends the call is the caller's leaving, which the media's timeout finds.
        case .lost(let failure): failure.code == .crashed ? [] : [.hungUp(.network)]
        case .ringing, .frame, .played, .failed: []
        }
    }
}

public final class TelephonySession: CallTelephony, PluginSessionDelegate, @unchecked Sendable {
    enum Leg {
        case inbound(key: String)
        case outbound(to: String, from: String, headers: [TelephonyHeader], ringTimeoutMs: Int)
    }

    private let owner: @Sendable (TelephonyEvent) -> CallMailbox.Outcome
    /// What came while `open` ran; nil from then on.
    private let held = Mutex<[TelephonyEvent]?>([])
    private var session: PluginSession!
    private var ops = vc_telephony_ops()
    private var frames: vc_telephony_frames_ops?
    private let isOver = Atomic<Bool>(false)

    static func open(
        _ instance: ProviderInstance, call: String, tenant: String, rateHz: Int, leg: Leg,
        events: @escaping @Sendable (TelephonyEvent) -> CallMailbox.Outcome
    ) throws(ProviderFailure) -> TelephonySession {
        let adapter = TelephonySession(events)
        var request = SessionRequest()
        request.call = call
        request.tenant = tenant
        request.rateHz = rateHz
        request.configuration = try instance.sessionConfiguration()
        adapter.session = try withOpen(leg) { open throws(ProviderFailure) in
            request.kind = UnsafeRawPointer(open)
            return try PluginSession.open(instance, request, delegate: adapter)
        }
        adapter.ops = try adapter.session.kindTable(vc_telephony_ops.self, "vc_telephony_ops") { ops in
            [("answer", ops.answer != nil), ("hangup", ops.hangup != nil)]
        }
        if instance.declaration.capabilities.profile == .frames {
            let theirs = adapter.ops.frames
            do throws(TableFault) {
                let table = try adopt(theirs, as: vc_telephony_frames_ops.self, "vc_telephony_frames_ops")
                guard table.play != nil, table.mark != nil, table.flush != nil else {
                    throw TableFault(problem: "a slot of vc_telephony_frames_ops is NULL")
                }
                adapter.frames = table
            } catch {
                instance.faults.note(.slotMissing, call: call, "opened a session that cannot be used: \(error.problem)")
                adapter.session.close()
                throw ProviderFailure(code: .misbehaved, retryable: false, message: error.problem)
            }
        }
        adapter.release()
        return adapter
    }

    private init(_ owner: @escaping @Sendable (TelephonyEvent) -> CallMailbox.Outcome) { self.owner = owner }

    /// To the owner, or kept until `open` returned: the owner cannot know of a session that it has not got yet.
    @Sendable private func events(_ event: TelephonyEvent) -> CallMailbox.Outcome {
        let whileOpening: CallMailbox.Outcome? = held.withLock { held in
            guard held != nil else { return nil }
            guard held!.count < SessionLimits.standard.whileOpening else { return .full }
            held!.append(event)
            return .accepted
        }
        return whileOpening ?? owner(event)
    }

    /// Hands over what was kept, in order.
    private func release() {
        while true {
            let batch = held.withLock { held -> [TelephonyEvent] in
                defer { held = held?.isEmpty == false ? [] : nil }
                return held ?? []
            }
            guard !batch.isEmpty else { return }
            for event in batch { _ = owner(event) }
        }
    }

    private static func withOpen<Result>(
        _ leg: Leg, _ body: (UnsafePointer<vc_telephony_open>) throws(ProviderFailure) -> Result
    ) throws(ProviderFailure) -> Result {
        var open = vc_telephony_open()
        open.size = sizeOnTheLine(vc_telephony_open.self)
        switch leg {
        case .inbound(let key):
            open.direction = UInt32(VC_CALL_INBOUND)
            return try withStr(key) { (key) throws(ProviderFailure) in
                open.key = key
                return try body(&open)
            }
        case .outbound(let to, let from, let headers, let ringTimeoutMs):
            open.direction = UInt32(VC_CALL_OUTBOUND)
            open.ring_timeout_ms = UInt32(clamping: ringTimeoutMs)
            // All texts in one block, so that any number of headers is lent without nesting.
            var block: [CChar] = []
            func place(_ text: String) -> (start: Int, count: Int) {
                defer { block += text.utf8.map { CChar(bitPattern: $0) } + [0] }
                return (block.count, text.utf8.count)
            }
            let toPlace = place(to)
            let fromPlace = place(from)
            let places = headers.map { (place($0.name), place($0.value)) }
            return try lend(block) { (base) throws(ProviderFailure) in
                func text(_ place: (start: Int, count: Int)) -> vc_str {
                    vc_str(data: base + place.start, length: UInt64(place.count))
                }
                open.to = text(toPlace)
                open.from = text(fromPlace)
                let fields = places.map { vc_field(name: text($0.0), value: text($0.1)) }
                return try lend(fields) { (fields) throws(ProviderFailure) in
                    open.headers = fields
                    open.header_count = UInt32(places.count)
                    return try body(&open)
                }
            }
        }
    }

    private static func lend<Element, Result>(
        _ elements: [Element], _ body: (UnsafePointer<Element>) throws(ProviderFailure) -> Result
    ) throws(ProviderFailure) -> Result {
        let copy = UnsafeMutableBufferPointer<Element>.allocate(capacity: max(1, elements.count))
        defer { copy.deallocate() }
        _ = copy.initialize(from: elements)
        return try body(UnsafePointer(copy.baseAddress!))
    }

    /// Of the plugin's session: what `vc.media/1` and the log name it by.
    public var handle: vc_handle { session.object.handle }

    // MARK: What a call is told

    public func ringing() {
        guard let ringing = ops.ringing else { return }
        tell("ringing") { ringing($0) }
    }

    public func answer() {
        let answer = ops.answer!
        tell("answer") { answer($0) }
    }

    /// Ends the call in whatever state it is; `code` is a SIP status, or 0 for the usual one.
    public func hangUp(code: Int, reason: String = "") {
        let hangup = ops.hangup!
        tell("hangup") { theirs in withStr(reason) { hangup(theirs, UInt32(clamping: code), $0) } }
    }

    /// Before its answer a call is told whether to come again: a caller whom the host cannot serve just now is not
    /// told that somebody is busy, and a trunk tries its next route (RFC 3261, 21.5.4).
    public func hangUp(_ reason: HangUpReason) { hangUp(code: reason.refusalCode, reason: "\(reason)") }

    public func transfer(to target: String) {
        guard let transfer = ops.transfer else { return refuse("transfer") }
        tell("transfer") { theirs in withStr(target) { transfer(theirs, $0) } }
    }

    public func hold(_ on: Bool) {
        guard let hold = ops.hold else { return refuse("hold") }
        tell("hold") { hold($0, on ? 1 : 0) }
    }

    /// Whether the plugin sends digits by its signalling; otherwise the media engine sends them in RTP.
    public var sendsDTMF: Bool { ops.dtmf != nil }

    public func sendDTMF(_ digits: String) {
        guard let dtmf = ops.dtmf else { return refuse("dtmf") }
        tell("dtmf") { theirs in withStr(digits) { dtmf(theirs, $0) } }
    }

    /// Profile "frames": `.full` means that the transport is behind, and nothing was taken.
    public func play(
        _ samples: UnsafeBufferPointer<Int16>, rateHz: Int, sequence: UInt64, position: UInt64, epoch: UInt64
    ) -> Handover {
        guard let play = frames?.play else { return .full }
        let status = session.control("play") { theirs in
            var frame = vc_frame(
                size: sizeOnTheLine(vc_frame.self), format: UInt32(VC_FORMAT_S16), rate_hz: UInt32(rateHz),
                channels: 1,
                samples: UInt32(samples.count), flags: 0, sequence: sequence, position: position, captured_ns: 0,
                epoch: epoch,
                data: UnsafeRawPointer(samples.baseAddress), bytes: UInt64(samples.count * 2))
            return play(theirs, &frame)
        }
        return status == vc_status(VC_OK) ? .accepted : .full
    }

    public func mark(_ mark: UInt64) {
        guard let slot = frames?.mark else { return }
        tell("mark") { slot($0, mark) }
    }

    public func flush() {
        guard let slot = frames?.flush else { return }
        tell("flush") { slot($0) }
    }

    /// The call's owner is done with it, after HANGUP or not. Once and last.
    public func close() { session.close() }

    private func tell(_ slot: StaticString, _ body: @escaping @Sendable (vc_self?) -> vc_status) {
        session.ask(slot) { [self] theirs in
            let status = body(theirs)
            guard status != VC_OK else { return }
            report(ProviderFailure(status: status, during: "\(slot)"))
        }
    }

    private func refuse(_ slot: String) {
        report(ProviderFailure(code: .internal, retryable: false, message: "this telephony provider has no \(slot)"))
    }

    private func report(_ failure: ProviderFailure) {
        SessionDeadlines.shared.schedule { [self] in _ = events(.failed(failure)) }
    }

    // MARK: PluginSessionDelegate

    func receive(_ event: UnsafePointer<vc_event>, _ type: Int) -> vc_status {
        let raw = UnsafeRawPointer(event)
        switch type {
        case VC_EVENT_RINGING: return events(.ringing).status
        case VC_EVENT_ANSWERED: return events(.answered).status
        case VC_EVENT_HANGUP:
            let body = raw.load(as: vc_event_hangup.self)
            guard let cause = TelephonyEvent.Cause(contract: body.cause), let reason = String(body.reason) else {
                return session.broken("HANGUP", "cause \(body.cause), or a reason that is not UTF-8")
            }
            guard !isOver.exchange(true, ordering: .acquiringAndReleasing) else {
                session.instance.faults.note(
                    .eventBody, sort: "HANGUP twice", call: session.object.call, "emitted HANGUP a second time")
                return vc_status(VC_E_STATE)
            }
            return events(.hungUp(cause, code: Int(body.code), reason: reason)).status
        case VC_EVENT_FRAME:
            guard
                let frame = try? adopt(
                    raw.load(as: vc_event_frame.self).frame, as: vc_frame.self, "vc_frame", reserved: nil)
            else {
                return session.broken("FRAME", "a frame that is missing or has no size")
            }
            if let problem = frame.problem(secondsMax: 1) { return session.broken("FRAME", problem) }
            return events(
                .frame(
                    samples: frame.signed16, rateHz: Int(frame.rate_hz), position: frame.position,
                    isDiscontinuous: frame.flags & UInt32(VC_FRAME_DISCONTINUITY) != 0)
            ).status
        case VC_EVENT_PLAYED:
            let body = raw.load(as: vc_event_played.self)
            return events(.played(mark: body.mark, cleared: body.cleared != 0)).status
        case VC_EVENT_DTMF:
            let body = raw.load(as: vc_event_dtmf.self)
            guard let digits = String(body.digits), !digits.isEmpty, digits.utf8.count <= 64,
                digits.allSatisfy({ "0123456789*#ABCD".contains($0) })
            else { return session.broken("DTMF", "digits that are none") }
            return events(.digits(digits, durationMs: Int(body.duration_ms))).status
        case VC_EVENT_HELD: return events(.held(raw.load(as: vc_event_held.self).on != 0)).status
        case VC_EVENT_TRANSFERRED:
            let body = raw.load(as: vc_event_transferred.self)
            return events(
                .transferred(succeeded: body.succeeded != 0, code: Int(body.code), reason: String(body.reason) ?? "")
            ).status
        default: return vc_status(VC_E_ARGUMENT)
        }
    }

    func requestFailed(_ request: UInt64, epoch: UInt64, _ failure: ProviderFailure) { _ = events(.failed(failure)) }

    func lost(_ failure: ProviderFailure) { _ = events(.lost(failure)) }
}

extension HangUpReason {
    /// The SIP status with which a call is refused for it; 0 for the usual one.
    var refusalCode: Int {
        switch self {
        case .providersFailed, .mediaTimeout, .shutdown: 503
        case .agentDone, .noInput, .limit, .operatorRequest, .transferred, .noAnswer: 0
        }
    }
}

extension TelephonyEvent.Cause {
    fileprivate init?(contract cause: UInt32) {
        switch Int(cause) {
        case VC_HANGUP_CALLER: self = .caller
        case VC_HANGUP_AGENT: self = .agent
        case VC_HANGUP_CANCELED: self = .canceled
        case VC_HANGUP_REFUSED: self = .refused
        case VC_HANGUP_NO_ANSWER: self = .noAnswer
        case VC_HANGUP_FAILED: self = .failed
        default: return nil
        }
    }
}
