// A voice that is heard without a call around it, for previews.
//
// Not by way of `PluginTextToSpeech`: that one gives a conversation's mailbox two seconds at a time, at the rate of its
// call, and waits until they were played. A preview is kept whole, and in the rate in which the voice speaks.

public import Calls
import JSON
import PluginABI

/// What a voice said.
public struct SpokenText: Sendable, Equatable {
    public var sampleRateHz = 0
    public var samples: [Int16] = []

    public init() {}
}

/// A session of a running provider, to speak one text after the other.
public final class TextToSpeechTrial: PluginSessionDelegate, Sendable {
    private struct State {
        var request: UInt64 = 0
        var spoken = SpokenText()
        var isOver = true
        var failure: ProviderFailure?
        var loss: ProviderFailure?
    }

    private final class Link: @unchecked Sendable {
        var session: PluginSession!
        var ops = vc_tts_ops()
    }

    /// A minute: whoever wants to hear a voice has heard it by then, and a voice without end is stopped.
    static let secondsMax = 60
    /// Better than any telephone, and what most voices are trained at.
    private static let rateHz = 24_000

    private let state = Waiting(State())
    private let link = Link()

    /// Opens a session.
    ///
    /// - Parameters:
    ///   - voice: what the session's `voice` is; empty: the provider's own.
    ///   - language: BCP 47, or empty.
    public init(_ instance: ProviderInstance, voice: String, language: String) throws(ProviderFailure) {
        var request = SessionRequest()
        request.call = "preview"
        request.leg = "agent"
        request.language = language
        request.epoch = 1
        request.rateHz = chooseRate(instance.declaration.capabilities.ratesHz, for: Self.rateHz)
        request.configuration = try instance.sessionConfiguration(voice.isEmpty ? [:] : ["voice": .string(voice)])
        link.session = try PluginSession.open(instance, request, delegate: self)
        link.ops = try link.session.kindTable(vc_tts_ops.self, "vc_tts_ops") { [("speak", $0.speak != nil)] }
    }

    /// Speaks `text` and waits for the end of it.
    public func speak(_ text: String, timeoutMs: Int) throws(ProviderFailure) -> SpokenText {
        let request = state.withLock { state in
            state.request += 1
            state.spoken = SpokenText()
            state.failure = state.loss
            state.isOver = state.loss != nil
            return state.request
        }
        // An epoch for each text: what is still on its way of one that took too long is void.
        link.session.cancel(olderThan: request)
        let speak = link.ops.speak!
        let isTaken = link.session.ask("speak", epoch: request) { [self] theirs in
            let status = withStr(text) { speak(theirs, request, request, $0, UInt32(VC_TTS_LAST)) }
            if status != VC_OK { finish(request, ProviderFailure(status: status, during: "speak")) }
        }
        if !isTaken { finish(request, ProviderFailure(status: vc_status(VC_E_CLOSED), during: "speak")) }
        let until = hostClockNs() + UInt64(timeoutMs) * 1_000_000
        _ = state.wait(until: { _ in until }) { $0.isOver ? true : nil }
        let name = link.session.instance.name
        finish(
            request,
            ProviderFailure(
                code: .timeout, retryable: true, message: "\(name) did not end its speech within \(timeoutMs) ms"))
        let (spoken, failure) = state.withLock { ($0.spoken, $0.failure) }
        if let failure { throw failure }
        guard !spoken.samples.isEmpty else {
            throw ProviderFailure(code: .vendor, retryable: false, message: "\(name) spoke no sound")
        }
        return spoken
    }

    /// Ends the session; the provider may be destroyed when it has none.
    public func close() { link.session.close() }

    private func finish(_ request: UInt64, _ failure: ProviderFailure?) {
        state.change { state in
            guard state.request == request, !state.isOver else { return }
            state.isOver = true
            state.failure = failure
        }
    }

    // MARK: PluginSessionDelegate

    func receive(_ event: UnsafePointer<vc_event>, _ type: Int) -> vc_status {
        let request = event.pointee.request
        switch type {
        case VC_EVENT_AUDIO:
            let theirs = UnsafeRawPointer(event).load(as: vc_event_audio.self).frame
            guard let frame = try? adopt(theirs, as: vc_frame.self, "vc_frame", reserved: nil) else {
                return link.session.broken("AUDIO", "a frame that is missing or has no size")
            }
            if let problem = frame.problem(secondsMax: 1) { return link.session.broken("AUDIO", problem) }
            return take(frame, request)
        case VC_EVENT_TTS_DONE: finish(request, nil)
        // Where its words are matters to nobody here.
        case VC_EVENT_MARK: break
        default: return vc_status(VC_E_ARGUMENT)
        }
        return vc_status(VC_OK)
    }

    private func take(_ frame: vc_frame, _ request: UInt64) -> vc_status {
        let rateHz = Int(frame.rate_hz)
        let (isOneRate, isTooLong) = state.withLock { state in
            guard state.request == request, !state.isOver else { return (true, false) }
            if state.spoken.samples.isEmpty { state.spoken.sampleRateHz = rateHz }
            guard state.spoken.sampleRateHz == rateHz else { return (false, false) }
            state.spoken.samples += frame.signed16
            return (true, state.spoken.samples.count > Self.secondsMax * rateHz)
        }
        guard isOneRate else { return link.session.broken("AUDIO", "another rate in the middle of a request") }
        if isTooLong {
            finish(
                request,
                ProviderFailure(
                    code: .vendor, retryable: false,
                    message: "\(link.session.instance.name) speaks for more than \(Self.secondsMax) s"))
        }
        return vc_status(VC_OK)
    }

    func requestFailed(_ request: UInt64, epoch: UInt64, _ failure: ProviderFailure) { finish(request, failure) }

    func lost(_ failure: ProviderFailure) {
        state.change { state in
            state.loss = failure
            guard !state.isOver else { return }
            state.isOver = true
            state.failure = failure
        }
    }
}
