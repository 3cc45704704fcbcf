// One call while it lives: its signalling, its stream, its detector and its conversation, tied together.
//
//     in   INCOMING ─► session opened, answer() ─► the plugin negotiates media ─► conversation made, listened to
//                   ─► ANSWERED ─► ... ─► HANGUP or the agent's goodbye ─► record written ─► everything closed
//     out  session opened by dial ─► the plugin opens media ─► conversation made ─► RINGING ─► ANSWERED, listened to
//                   ─► ... as above; or HANGUP instead of ANSWERED, and the record says why
//
// Where the plugin carries the audio (profile `frames`) there is nothing to negotiate: the stream is there from the
// beginning, and ends with the call.
//
// The conversation is made before the call is answered: its providers open their sessions while the peer's ACK is under
// way, or while the callee's telephone rings. It begins with the answer, and so does what listens to and records a call
// that goes out.
//
// Ends come from three sides (the peer, the conversation, a failure before there was one). Whoever makes the
// conversation claims the call first: from then on every end goes through it, and what happens before it is there
// waits for it. `finish` may be asked for by each side and happens once.

import Calls
import Control
import Dispatch
import Glibc
import HostServices
import Media
import Providers
import Synchronization

final class LiveCall: Sendable {
    private struct State {
        var telephony: TelephonySession?
        var stream: MediaStream?
        var transport: FrameTransport?
        /// The conversation is being made, or was.
        var isConversing = false
        var mailbox: CallMailbox?
        /// What it is to hear of as soon as it is there.
        var early: [CallEvent] = []
        var isAnswered = false
        var isListening = false
        var isFinished = false
        /// Why we end it, where there is no conversation that would know.
        var ending: HangUpReason?
        var reason = ""
        /// Whoever wanted the call was told that there is none.
        var isRefused = false
        var ears = Ears()
    }

    /// What listens to the caller, and what keeps the sound.
    private struct Ears {
        var pumped: UInt64?
        var listening: DetectionDesk.Listening?
        var recorder: StereoRecorder?
    }

    /// A session has some events before there is a conversation, and not many.
    private static let earlyEventsMax = 64

    let identity: CallIdentity
    let isOutbound: Bool
    private let profile: CallProfile
    private let policy: CallPolicy
    private let desk: CallDesk
    private let whenOver: @Sendable (DialedEnd) -> Void
    private let state = Mutex(State())

    init(_ incoming: IncomingCall, id: String, profile: CallProfile, desk: CallDesk) {
        self.profile = profile
        self.desk = desk
        policy = profile.policy
        isOutbound = false
        whenOver = { _ in }
        identity = CallIdentity(
            id: id, profile: profile.name, caller: incoming.from, callee: incoming.to,
            protocolCall: incoming.protocolCall)
    }

    init(
        _ outgoing: OutgoingCall, id: String, profile: CallProfile, desk: CallDesk,
        whenOver: @escaping @Sendable (DialedEnd) -> Void
    ) {
        self.profile = profile
        self.desk = desk
        self.whenOver = whenOver
        var policy = profile.policy
        policy.answerWithinMs = outgoing.ringTimeoutMs + CallDesk.silenceAfterRingingMs
        self.policy = policy
        isOutbound = true
        identity = CallIdentity(id: id, profile: profile.name, caller: outgoing.from, callee: outgoing.to)
    }

    // MARK: The beginning

    /// The session is open: take the call, or wait for its callee. `frames` is its stream when the plugin carries the
    /// audio.
    func begin(_ telephony: TelephonySession, frames: MediaStream? = nil) {
        let (isFinished, ending) = state.withLock { state in
            guard !state.isFinished else { return (true, state.ending) }
            state.telephony = telephony
            state.transport = frames.map { FrameTransport($0, session: telephony) }
            if let frames { state.stream = frames }
            return (false, state.ending)
        }
        guard !isFinished else {
            frames?.close()
            return telephony.close()
        }
        // Somebody ended it before there was a session.
        if let ending { return telephony.hangUp(ending) }
        converse()
        if !isOutbound { telephony.answer() }
    }

    var handle: UInt64? { state.withLock { $0.telephony?.handle } }

    /// The plugin opened media for a call that goes out: its rate is settled, though not its codec. On the plugin's
    /// thread.
    func opened(_ stream: MediaStream) {
        if isOutbound { negotiated(stream) }
    }

    /// The plugin agreed on media with the peer. On the plugin's thread.
    func negotiated(_ stream: MediaStream) {
        state.withLock { if $0.stream == nil { $0.stream = stream } }
        converse()
    }

    /// Makes the conversation as soon as there are a session and a stream.
    private func converse() {
        let parts = state.withLock { state -> (TelephonySession, MediaStream)? in
            guard !state.isConversing, !state.isFinished, let telephony = state.telephony, let stream = state.stream
            else { return nil }
            state.isConversing = true
            return (telephony, stream)
        }
        guard let (telephony, stream) = parts else { return }
        let audio = StreamAudio(stream) { [weak self] in self?.finish() }
        let edges = CallEdges(
            audio: audio, telephony: CallSignalling(telephony, stream: stream), sessions: desk.sessions,
            tools: desk.tools, clips: desk.clips, observer: desk.reporter(for: self))
        let mailbox = desk.loop.add(identity, policy: policy, edges: edges)
        let (isUp, early) = state.withLock { state in
            state.mailbox = mailbox
            defer { state.early = [] }
            return (!isOutbound || state.isAnswered, state.early)
        }
        if isUp { listen(to: stream, mailbox) }
        for event in early { mailbox.post(event) }
    }

    /// From here on the conversation hears the far end.
    private func listen(to stream: MediaStream, _ mailbox: CallMailbox) {
        let isFirst = state.withLock { state in
            defer { state.isListening = true }
            return !state.isListening
        }
        guard isFirst else { return }
        var ears = Ears()
        ears.listening = desk.detection.listen(
            to: stream, call: identity.id, detector: profile.detector
        ) { event in mailbox.post(.voice(event)) }
        ears.pumped = desk.pump.add(
            stream, mailbox: mailbox, detection: ears.listening?.stream, transport: state.withLock { $0.transport }
        ) { [weak self] event in self?.media(event) }
        ears.recorder = desk.recorder(for: identity, stream)
        let isFinished = state.withLock { state in
            if !state.isFinished { state.ears = ears }
            return state.isFinished
        }
        if isFinished { close(ears) }
    }

    // MARK: What happens to it

    /// From the telephony plugin, on its threads.
    func happened(_ event: TelephonyEvent) -> CallMailbox.Outcome {
        switch event {
        case .frame(let samples, _, _, _):
            state.withLock { $0.transport }?.received(samples)
            return .accepted
        case .ringing:
            if isOutbound { desk.publish("ringing", identity) }
        case .hungUp(let cause, let code, let reason):
            let detail = (code == 0 ? "" : " \(code)") + (reason.isEmpty ? "" : " \(reason)")
            desk.log(.info, "hung up: \(cause)\(detail)", identity)
            state.withLock { $0.reason = reason }
        case .lost(let failure): return lost(failure)
        case .failed(let failure): desk.log(.warning, failure.message, identity)
        default: break
        }
        if case .answered = event, isOutbound { return answered() }
        return tell(event.callEvents)
    }

    /// The callee did. Ears take a file and a detector's session, which the plugin's thread shall not wait for: it may
    /// be the one that carries every call's audio. They are there before the conversation is told to begin.
    private func answered() -> CallMailbox.Outcome {
        let isFirst = state.withLock { state in
            defer { state.isAnswered = true }
            return !state.isAnswered
        }
        guard isFirst else { return .accepted }
        desk.publish("answered", identity)
        desk.queue.async { [self] in
            let (stream, mailbox) = state.withLock { ($0.stream, $0.mailbox) }
            if let stream, let mailbox { listen(to: stream, mailbox) }
            _ = tell([.answered])
        }
        return .accepted
    }

    private func lost(_ failure: ProviderFailure) -> CallMailbox.Outcome {
        let goesOn = state.withLock { state in
            state.reason = failure.message
            // A telephone that rings is answered to nobody when the process behind it is gone.
            return failure.code == .crashed && state.isConversing && (state.isAnswered || !isOutbound)
        }
        desk.log(
            .error,
            "the signalling was lost: \(failure.message)"
                + (goesOn ? "; the call goes on until its media ends" : ""), identity)
        return goesOn ? .accepted : tell([.hungUp(.network)])
    }

    /// The conversation, now or as soon as it is there; where there will be none, an end is the end.
    private func tell(_ events: [CallEvent]) -> CallMailbox.Outcome {
        let (mailbox, isConversing) = state.withLock { state in
            if state.mailbox == nil, state.early.count < Self.earlyEventsMax { state.early += events }
            return (state.mailbox, state.isConversing)
        }
        var outcome = CallMailbox.Outcome.accepted
        for event in events {
            if let mailbox {
                outcome = mailbox.post(event)
            } else if !isConversing, case .hungUp(let cause, let code) = event {
                over(.farEnd(cause == .network && isOutbound ? .unreachable : cause), code: code)
            }
        }
        return outcome
    }

    /// From the media engine, on the pump's thread.
    private func media(_ event: MediaEvent) {
        guard let mailbox = state.withLock({ $0.mailbox }) else { return }
        switch event {
        case .digit(let digit): mailbox.post(.digit(digit.character))
        case .mediaTimeout: mailbox.post(.mediaTimeout)
        case .heldByPeer(let on): mailbox.post(.hold(on))
        default: break
        }
    }

    /// Whether there is a way for digits to the far end.
    var takesDigits: Bool {
        let (telephony, stream) = state.withLock { ($0.telephony, $0.stream) }
        return stream?.parameters?.canSendDTMF == true || telephony?.sendsDTMF == true
    }

    // MARK: The end

    /// The host shuts down, or an operator ends the call.
    func end(_ reason: HangUpReason) {
        let (mailbox, isConversing, telephony) = state.withLock { state in
            if state.ending == nil { state.ending = reason }
            if state.isConversing, state.mailbox == nil { state.early.append(.end(reason)) }
            return (state.mailbox, state.isConversing, state.telephony)
        }
        if let mailbox { mailbox.post(.end(reason)) } else if !isConversing { telephony?.hangUp(reason) }
    }

    /// It could not even be dialled, or taken.
    func fail(_ message: String) {
        state.withLock { state in
            state.reason = message
            state.isRefused = true
        }
        over(isOutbound ? .farEnd(.unreachable) : .host(.providersFailed), code: 0)
    }

    /// The plugin has said nothing for longer than its telephone may ring, and opened no media.
    func giveUpUnheard() {
        let (isUnheard, telephony) = state.withLock { state in
            (!state.isConversing && !state.isFinished, state.telephony)
        }
        guard isUnheard else { return }
        desk.log(.error, "the plugin has said nothing of this call since it was dialled", identity)
        telephony?.hangUp(.noAnswer)
        over(.host(.noAnswer), code: 0)
    }

    /// Without a conversation: the record is ours to write.
    private func over(_ end: CallRecord.End, code: Int) {
        guard finish() else { return }
        var record = CallRecord(end: state.withLock { $0.ending }.map { .host($0) } ?? end)
        record.code = code
        desk.reporter(for: self).ended(record, of: identity)
    }

    /// The record is written, by the conversation or without one.
    func recorded(_ record: CallRecord) {
        guard isOutbound else { return }
        let (reason, isAnswered, isRefused) = state.withLock { ($0.reason, $0.isAnswered, $0.isRefused) }
        guard !isRefused else { return }
        whenOver(DialedEnd(call: identity.id, record: record, reason: reason, isAnswered: isAnswered))
    }

    /// The conversation has closed its audio and asks nothing more, or there never was one. True for the first.
    @discardableResult
    private func finish() -> Bool {
        let parts: State? = state.withLock { state in
            guard !state.isFinished else { return nil }
            state.isFinished = true
            return state
        }
        guard let parts else { return false }
        close(parts.ears)
        parts.transport?.close()
        parts.telephony?.close()
        desk.ended(self)
        return true
    }

    private func close(_ ears: Ears) {
        if let pumped = ears.pumped { desk.pump.remove(pumped) }
        if let listening = ears.listening { desk.detection.stop(listening) }
        if let recorder = ears.recorder { desk.complete(recorder, identity) }
    }
}

/// Signalling with the digits in RTP where the peer takes them there, which is nearly everywhere.
final class CallSignalling: CallTelephony {
    private let session: TelephonySession
    private let stream: MediaStream

    init(_ session: TelephonySession, stream: MediaStream) {
        self.session = session
        self.stream = stream
    }

    func hangUp(_ reason: HangUpReason) { session.hangUp(reason) }
    func transfer(to target: String) { session.transfer(to: target) }

    func sendDTMF(_ digits: String) {
        if !stream.sendDTMF(digits), session.sendsDTMF { session.sendDTMF(digits) }
    }
}
