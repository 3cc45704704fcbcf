// One call while it lives: its signalling, its stream, its detector and its conversation, tied together.
//
//     INCOMING ─► session opened, answer() ─► the plugin negotiates media ─► conversation added, detector listening
//              ─► ANSWERED ─► ... ─► HANGUP or the agent's goodbye ─► record written ─► everything closed
//
// Where the plugin carries the audio (profile `frames`) there is nothing to negotiate: the stream is there from the
// beginning, and ends with the call.
//
// The conversation is made when the media is agreed on and not when it is answered: its providers open their sessions
// while the peer's ACK is still under way. Ends come from three sides (the peer, the conversation, a failure before
// there was one), so `finish` may be asked for by each and happens once.

import Calls
import Control
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
        var mailbox: CallMailbox?
        var isAnswered = false
        var isFinished = false
        var pumped: UInt64?
        var listening: DetectionDesk.Listening?
        var recorder: StereoRecorder?
    }

    let incoming: IncomingCall
    let identity: CallIdentity
    private let profile: CallProfile
    private let desk: CallDesk
    private let state = Mutex(State())

    init(_ incoming: IncomingCall, id: String, profile: CallProfile, desk: CallDesk) {
        self.incoming = incoming
        self.profile = profile
        self.desk = desk
        identity = CallIdentity(
            id: id, profile: profile.name, caller: incoming.from, callee: incoming.to,
            protocolCall: incoming.protocolCall)
    }

    // MARK: The beginning

    /// The session is open: take the call. `frames` is its stream when the plugin carries the audio.
    func begin(_ telephony: TelephonySession, frames: MediaStream? = nil) {
        state.withLock { state in
            state.telephony = telephony
            state.transport = frames.map { FrameTransport($0, session: telephony) }
        }
        if let frames { negotiated(frames) }
        telephony.answer()
    }

    var handle: UInt64? { state.withLock { $0.telephony?.handle } }

    /// The plugin agreed on media with the peer. On the plugin's thread.
    func negotiated(_ stream: MediaStream) {
        let isFirst = state.withLock { state in
            guard state.stream == nil, !state.isFinished else { return false }
            state.stream = stream
            return true
        }
        let (telephony, transport) = state.withLock { ($0.telephony, $0.transport) }
        guard isFirst, let telephony else { return }
        let audio = StreamAudio(stream) { [weak self] in self?.finish() }
        let edges = CallEdges(
            audio: audio, telephony: CallSignalling(telephony, stream: stream), sessions: desk.sessions,
            tools: desk.tools, clips: desk.clips, observer: desk.reporter(for: self))
        let mailbox = desk.loop.add(identity, policy: profile.policy, edges: edges)
        let listening = desk.detection.listen(to: stream, call: identity.id, detector: profile.detector) { event in
            mailbox.post(.voice(event))
        }
        let pumped = desk.pump.add(
            stream, mailbox: mailbox, detection: listening?.stream, transport: transport
        ) { [weak self] event in self?.media(event) }
        let recorder = desk.recorder(for: identity, stream)
        let (isAnswered, isFinished) = state.withLock { state in
            state.mailbox = mailbox
            state.pumped = pumped
            state.listening = listening
            state.recorder = recorder
            return (state.isAnswered, state.isFinished)
        }
        if isAnswered { mailbox.post(.answered) }
        if isFinished { mailbox.post(.hungUp(.caller)) }
    }

    // MARK: What happens to it

    /// From the telephony plugin, on its threads.
    func happened(_ event: TelephonyEvent) -> CallMailbox.Outcome {
        let (mailbox, transport) = state.withLock { state in
            if case .answered = event { state.isAnswered = true }
            return (state.mailbox, state.transport)
        }
        switch event {
        case .frame(let samples, _, _, _): transport?.received(samples)
        case .hungUp(let cause, let code, let reason):
            let detail = (code == 0 ? "" : " \(code)") + (reason.isEmpty ? "" : " \(reason)")
            desk.log(.info, "hung up: \(cause)\(detail)", identity)
            if mailbox == nil { finish() }
        case .lost(let failure):
            let goesOn = failure.code == .crashed && mailbox != nil
            desk.log(
                .error,
                "the signalling was lost: \(failure.message)"
                    + (goesOn ? "; the call goes on until its media ends" : ""), identity)
            if mailbox == nil { finish() }
        case .failed(let failure): desk.log(.warning, failure.message, identity)
        default: break
        }
        var outcome = CallMailbox.Outcome.accepted
        for translated in event.callEvents { outcome = mailbox?.post(translated) ?? .accepted }
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

    /// The host shuts down, or an operator ends the call.
    func end(_ reason: HangUpReason) {
        let (mailbox, telephony) = state.withLock { ($0.mailbox, $0.telephony) }
        if let mailbox { mailbox.post(.end(reason)) } else { telephony?.hangUp(reason) }
    }

    // MARK: The end

    /// The conversation has closed its audio and asks nothing more, or there never was one.
    private func finish() {
        let parts: State? = state.withLock { state in
            guard !state.isFinished else { return nil }
            state.isFinished = true
            return state
        }
        guard let parts else { return }
        if let pumped = parts.pumped { desk.pump.remove(pumped) }
        if let listening = parts.listening { desk.detection.stop(listening) }
        if let recorder = parts.recorder { desk.complete(recorder, identity) }
        parts.transport?.close()
        parts.telephony?.close()
        desk.ended(self)
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
