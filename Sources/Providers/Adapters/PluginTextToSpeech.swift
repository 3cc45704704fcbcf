// A voice behind the C line, as a conversation knows it.
//
// A conversation's request is one clause, so each goes over the line as one whole request. The two seconds that a voice
// may be ahead are counted by the call's mailbox; its "full" becomes VC_E_AGAIN, and what the call plays becomes
// `credit`.

import Calls
import PluginABI
import Synchronization

final class PluginTextToSpeech: TextToSpeechSession, PluginSessionDelegate, @unchecked Sendable {
    private let provider: Provider
    private let mailbox: CallMailbox
    private let callRateHz: Int
    private let makeConverter: SampleRateConverterMaker?
    private var session: PluginSession!
    private var ops = vc_tts_ops()

    private struct Voice {
        /// Requests that are not done, oldest first, with the bytes of their text and the samples that came.
        var requests: [(ticket: Ticket, textBytes: Int, samples: UInt64)] = []
        /// The plugin was told AGAIN and waits.
        var isStarved = false
        var creditSamples = 0
        /// Of the frames, as they come: made at the first one that needs it, new for each request.
        var converter: (any SampleRateConverter)?
        var converterKey: (request: UInt64, rateHz: Int) = (0, 0)
        /// A frame that was converted, and then refused for want of room: not to be converted twice.
        var kept: (request: UInt64, position: UInt64, samples: [Int16])?
    }
    private let voice = Waiting(Voice())
    /// As in `CallLimits.speechRequestsPerTurn`, twice.
    private static let requestsMax = 400

    static func open(
        _ instance: ProviderInstance, as provider: Provider, _ request: SessionRequest, callRateHz: Int,
        mailbox: CallMailbox, converter: SampleRateConverterMaker?
    ) throws(ProviderFailure) -> PluginTextToSpeech {
        let adapter = PluginTextToSpeech(provider, mailbox, callRateHz, converter)
        var request = request
        request.leg = "agent"
        request.rateHz = chooseRate(instance.declaration.capabilities.ratesHz, for: callRateHz)
        adapter.session = try PluginSession.open(instance, request, delegate: adapter)
        adapter.ops = try adapter.session.kindTable(vc_tts_ops.self, "vc_tts_ops") { [("speak", $0.speak != nil)] }
        return adapter
    }

    private init(
        _ provider: Provider, _ mailbox: CallMailbox, _ callRateHz: Int, _ converter: SampleRateConverterMaker?
    ) {
        self.provider = provider
        self.mailbox = mailbox
        self.callRateHz = callRateHz
        makeConverter = converter
    }

    // MARK: TextToSpeechSession

    func speak(_ ticket: Ticket, text: String, last: Bool) {
        // Told already, unless the epoch began while the session was being opened.
        session.cancel(olderThan: ticket.epoch)
        voice.withLock { voice in
            voice.requests.removeAll { $0.ticket.epoch < ticket.epoch }
            if voice.requests.count >= Self.requestsMax { voice.requests.removeFirst() }
            voice.requests.append((ticket, text.utf8.count, 0))
        }
        let speak = ops.speak!
        let asked = session.ask("speak", epoch: ticket.epoch) { [self] theirs in
            let status = withStr(text) { speak(theirs, ticket.request, ticket.epoch, $0, UInt32(VC_TTS_LAST)) }
            if status != VC_OK { fail(ticket, status) }
        }
        if !asked { fail(ticket, vc_status(VC_E_AGAIN)) }
    }

    func credit(samples: Int) {
        let bytes: Int = voice.withLock { voice in
            voice.creditSamples += samples
            guard voice.isStarved else { return 0 }
            defer { voice.creditSamples = 0 }
            voice.isStarved = false
            return voice.creditSamples * 2
        }
        if bytes > 0 { session.credit(events: 64, bytes: UInt64(bytes)) }
    }

    func cancel(olderThan epoch: UInt64) {
        session.cancel(olderThan: epoch)
        voice.withLock { voice in
            voice.requests.removeAll { $0.ticket.epoch < epoch }
            voice.isStarved = false
            voice.creditSamples = 0
            voice.kept = nil
        }
    }

    func close() { session.close() }

    private func fail(_ ticket: Ticket, _ status: vc_status) {
        guard status != vc_status(VC_E_CANCELED) else { return }
        voice.withLock { $0.requests.removeAll { $0.ticket == ticket } }
        let failure = ProviderFailure(status: status, during: "speak")
        SessionDeadlines.shared.schedule { [mailbox, provider] in mailbox.failed(provider, ticket, failure) }
    }

    // MARK: PluginSessionDelegate

    func receive(_ event: UnsafePointer<vc_event>, _ type: Int) -> vc_status {
        let ticket = Ticket(epoch: event.pointee.epoch, request: event.pointee.request)
        guard let request = voice.withLock({ voice in voice.requests.first { $0.ticket == ticket } }) else {
            session.instance.faults.note(
                .eventRequest, call: session.object.call,
                "emitted an event for request \(ticket.request), which is not open")
            return vc_status(VC_E_ARGUMENT)
        }
        let raw = UnsafeRawPointer(event)
        switch type {
        case VC_EVENT_AUDIO: return audio(raw.load(as: vc_event_audio.self).frame, ticket)
        case VC_EVENT_MARK:
            let body = raw.load(as: vc_event_mark.self)
            guard body.text_start <= body.text_end, body.text_end <= UInt64(request.textBytes) else {
                return session.broken("MARK", "a stretch that lies outside of the text")
            }
            let rateHz = session.rateOfFrames ?? callRateHz
            return mailbox.post(
                .speech(
                    ticket,
                    .mark(
                        SpeechMark(
                            textStart: Int(body.text_start), textEnd: Int(body.text_end),
                            position: rescale(body.position, from: rateHz, to: callRateHz),
                            end: rescale(body.end, from: rateHz, to: callRateHz))))
            ).status
        case VC_EVENT_TTS_DONE:
            let reason = Int(raw.load(as: vc_event_tts_done.self).reason)
            guard reason == VC_TTS_COMPLETE || reason == VC_TTS_CANCELED else {
                return session.broken("TTS_DONE", "reason \(reason)")
            }
            let outcome = mailbox.post(.speech(ticket, .done))
            if outcome == .accepted { voice.withLock { $0.requests.removeAll { $0.ticket == ticket } } }
            return outcome.status
        default:
            return vc_status(VC_E_ARGUMENT)
        }
    }

    private func audio(_ theirs: UnsafePointer<vc_frame>?, _ ticket: Ticket) -> vc_status {
        guard let frame = try? adopt(theirs, as: vc_frame.self, "vc_frame", reserved: nil) else {
            return session.broken("AUDIO", "a frame that is missing or has no size")
        }
        guard let problem = frame.problem(secondsMax: 1) else {
            session.rateOfFrames = Int(frame.rate_hz)
            return offer(frame, ticket)
        }
        return session.broken("AUDIO", problem)
    }

    private func offer(_ frame: vc_frame, _ ticket: Ticket) -> vc_status {
        let converted = voice.withLock { convert(frame, ticket, &$0) }
        guard let converted else {
            return session.broken("AUDIO", "\(frame.rate_hz) Hz, which cannot be converted to \(callRateHz) Hz")
        }
        func send() -> CallMailbox.Outcome {
            converted.withUnsafeBufferPointer { mailbox.audio($0, from: provider, ticket) }
        }
        var outcome = send()
        if outcome == .full {
            // Told that it waits before it is asked once more: credit that came in between is not lost.
            voice.withLock { $0.isStarved = true }
            outcome = send()
        }
        voice.withLock { voice in
            voice.isStarved = outcome == .full && voice.isStarved
            voice.kept = outcome == .full ? (ticket.request, frame.position, converted) : nil
            if outcome != .full { voice.creditSamples = 0 }
        }
        return outcome.status
    }

    private func convert(_ frame: vc_frame, _ ticket: Ticket, _ voice: inout Voice) -> [Int16]? {
        if let kept = voice.kept, kept.request == ticket.request, kept.position == frame.position {
            return kept.samples
        }
        let samples = frame.signed16
        guard Int(frame.rate_hz) != callRateHz else { return samples }
        if voice.converter == nil || voice.converterKey != (ticket.request, Int(frame.rate_hz)) {
            voice.converter = makeConverter?(Int(frame.rate_hz), callRateHz)
            voice.converterKey = (ticket.request, Int(frame.rate_hz))
        }
        guard let converter = voice.converter else { return nil }
        return samples.withUnsafeBufferPointer { converter.convert($0) }
    }

    func requestFailed(_ request: UInt64, epoch: UInt64, _ failure: ProviderFailure) {
        voice.withLock { $0.requests.removeAll { $0.ticket.request == request } }
        mailbox.failed(provider, Ticket(epoch: epoch, request: request), failure)
    }

    func lost(_ failure: ProviderFailure) { mailbox.failed(provider, nil, failure) }
}
