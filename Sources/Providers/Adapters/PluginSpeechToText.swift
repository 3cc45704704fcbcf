// A recogniser behind the C line, as a conversation knows it.
//
// Positions: a conversation counts samples of the caller's stream, the plugin samples of its session at its own rate.
// The session's zero is the first position that it hears of, and both ways are converted here.

import Calls
import PluginABI
import Synchronization

final class PluginSpeechToText: SpeechToTextSession, PluginSessionDelegate, @unchecked Sendable {
    let wantsSilence: Bool

    private let provider: Provider
    private let mailbox: CallMailbox
    private let callRateHz: Int
    private let rateHz: Int
    private let isTentative: Bool
    private let limits: SessionLimits
    private let converter: (any SampleRateConverter)?
    private var session: PluginSession!
    private var ops = vc_stt_ops()

    // Touched on the loop's thread only.
    private var utterance: UInt64 = 0
    private var sequence: UInt64 = 0
    private var endPosition: UInt64 = 0
    private var outPosition: UInt64 = 0
    private var beginPosition: UInt64 = 0
    private var cutter: FrameCutter
    private var backlog = AudioBacklog()
    private var isDiscontinuous = false

    /// The position of the call at which the session's own count begins; `UInt64.max` until it is known.
    private let origin = Atomic<UInt64>(.max)
    let droppedSamples = Atomic<UInt64>(0)

    static func open(
        _ instance: ProviderInstance, as provider: Provider, _ request: SessionRequest, callRateHz: Int,
        mailbox: CallMailbox, converter: SampleRateConverterMaker?
    ) throws(ProviderFailure) -> PluginSpeechToText {
        let rateHz = chooseRate(instance.declaration.capabilities.ratesHz, for: callRateHz)
        let made = try makeConverter(converter, from: callRateHz, to: rateHz, for: instance.name)
        let adapter = PluginSpeechToText(instance, provider, mailbox, callRateHz, rateHz, made)
        var request = request
        request.rateHz = rateHz
        adapter.session = try PluginSession.open(instance, request, delegate: adapter)
        adapter.ops = try adapter.session.kindTable(vc_stt_ops.self, "vc_stt_ops") { ops in
            [("push", ops.push != nil), ("finalize", ops.finalize != nil)]
        }
        return adapter
    }

    private init(
        _ instance: ProviderInstance, _ provider: Provider, _ mailbox: CallMailbox, _ callRateHz: Int, _ rateHz: Int,
        _ converter: (any SampleRateConverter)?
    ) {
        self.provider = provider
        self.mailbox = mailbox
        self.callRateHz = callRateHz
        self.rateHz = rateHz
        self.converter = converter
        limits = instance.limits
        cutter = FrameCutter(frameSamples: rateHz * limits.frameMs / 1_000)
        isTentative = instance.declaration.capabilities.flag("tentative")
        wantsSilence =
            instance.declaration.capabilities.flag("turns") || instance.declaration.capabilities.flag("silence")
    }

    // MARK: SpeechToTextSession

    func begin(at position: UInt64) {
        let at = sessionPosition(position)
        // Where audio goes on is for `push` to find: a pause between two utterances is audio that is missing.
        beginPosition = at
        utterance += 1
        guard let begin = ops.begin else { return }
        let utterance = utterance
        session.ask("begin") { _ = begin($0, utterance, at) }
    }

    func push(_ samples: UnsafeBufferPointer<Int16>, at position: UInt64) -> Handover {
        if position != endPosition || origin.load(ordering: .relaxed) == .max {
            outPosition = max(outPosition, sessionPosition(position))
            isDiscontinuous = sequence > 0
            cutter.dropRest()
        }
        endPosition = position + UInt64(samples.count)
        if let converter {
            let converted = converter.convert(samples)
            return converted.withUnsafeBufferPointer { send($0) }
        }
        return send(samples)
    }

    func finalize(request: UInt64, tentative: Bool) {
        guard !tentative || isTentative else {
            // It cannot look ahead without ending the utterance: what it said so far is the answer.
            SessionDeadlines.shared.schedule { [mailbox] in mailbox.post(.finalized(request: request)) }
            return
        }
        flushBacklog()
        // An utterance without any audio is asked about up to where it began.
        let position = max(outPosition, beginPosition)
        let flags: UInt32 = tentative ? UInt32(VC_STT_TENTATIVE) : 0
        let finalize = ops.finalize!
        let asked = session.ask("finalize") { [self] theirs in
            let status = finalize(theirs, request, position, flags)
            if status != VC_OK { session.refused("finalize", status) }
        }
        if !asked {
            session.lose(
                ProviderFailure(code: .internal, retryable: true, message: "\(provider.name) takes no more requests"))
        }
    }

    func close() { session.close() }

    // MARK: Audio

    /// In frames of 20 ms. While the plugin says AGAIN the newest 200 ms wait.
    private func send(_ samples: UnsafeBufferPointer<Int16>) -> Handover {
        cutter.cut(samples) { frame in
            if !session.isActive || !backlog.isEmpty || !give(frame, at: outPosition) {
                keep(frame, at: outPosition)
            }
            outPosition += UInt64(frame.count)
        }
        return .accepted
    }

    private func keep(_ samples: UnsafeBufferPointer<Int16>, at position: UInt64) {
        guard session.isActive else {
            let copy = Array(samples)
            session.ask("push", samples: copy.count) { [self] theirs in
                copy.withUnsafeBufferPointer { _ = give($0, at: position, theirs, capturedNs: hostClockNs()) }
            }
            return
        }
        flushBacklog()
        if backlog.isEmpty, give(samples, at: position) { return }
        let dropped = backlog.append(Array(samples), at: position, samplesMax: rateHz * limits.againMs / 1_000)
        if dropped > 0 {
            isDiscontinuous = true
            droppedSamples.wrappingAdd(UInt64(dropped), ordering: .relaxed)
        }
    }

    private func flushBacklog() {
        while let first = backlog.first {
            guard first.samples.withUnsafeBufferPointer({ give($0, at: first.position) }) else { return }
            backlog.removeFirst()
        }
    }

    /// False: the plugin has no room.
    private func give(_ samples: UnsafeBufferPointer<Int16>, at position: UInt64) -> Bool {
        session.controlFrom("push") { give(samples, at: position, $0, capturedNs: $1) } ?? true
    }

    private func give(
        _ samples: UnsafeBufferPointer<Int16>, at position: UInt64, _ theirs: vc_self?, capturedNs: UInt64
    ) -> Bool {
        var frame = vc_frame(
            size: sizeOnTheLine(vc_frame.self), format: UInt32(VC_FORMAT_S16), rate_hz: UInt32(rateHz),
            channels: 1,
            samples: UInt32(samples.count), flags: isDiscontinuous ? UInt32(VC_FRAME_DISCONTINUITY) : 0,
            sequence: sequence,
            position: position, captured_ns: capturedNs, epoch: session.object.epoch.load(ordering: .relaxed),
            data: UnsafeRawPointer(samples.baseAddress), bytes: UInt64(samples.count * 2))
        let status = ops.push!(theirs, &frame)
        if status == vc_status(VC_E_AGAIN) { return false }
        sequence += 1
        isDiscontinuous = false
        if status != VC_OK { session.refused("push", status) }
        return true
    }

    private func sessionPosition(_ position: UInt64) -> UInt64 {
        _ = origin.compareExchange(expected: .max, desired: position, ordering: .relaxed)
        let zero = origin.load(ordering: .relaxed)
        return rescale(position > zero ? position - zero : 0, from: callRateHz, to: rateHz)
    }

    private func callPosition(_ position: UInt64) -> UInt64 {
        let zero = origin.load(ordering: .relaxed)
        return (zero == .max ? 0 : zero) &+ rescale(position, from: rateHz, to: callRateHz)
    }

    // MARK: PluginSessionDelegate

    func receive(_ event: UnsafePointer<vc_event>, _ type: Int) -> vc_status {
        let raw = UnsafeRawPointer(event)
        switch type {
        case VC_EVENT_TRANSCRIPT:
            let body = raw.load(as: vc_event_transcript.self)
            guard let text = String(body.text), let language = String(body.language) else {
                return session.broken("TRANSCRIPT", "a text that is not UTF-8")
            }
            return mailbox.post(
                .transcript(
                    Transcript(
                        utterance: body.utterance, text: text, start: callPosition(body.start),
                        end: body.end == 0 ? 0 : callPosition(body.end),
                        isFinal: body.final != 0,
                        stability: body.stability.isFinite ? max(0, min(1, body.stability)) : 0,
                        confidence: body.confidence >= 0 && body.confidence <= 1 ? body.confidence : nil,
                        language: language))
            ).status
        case VC_EVENT_FINALIZED:
            return mailbox.post(.finalized(request: event.pointee.request)).status
        case VC_EVENT_STT_TURN:
            let body = raw.load(as: vc_event_stt_turn.self)
            guard let text = String(body.text) else { return session.broken("STT_TURN", "a text that is not UTF-8") }
            let turn: RecogniserTurn
            switch Int(body.turn) {
            case VC_STT_TURN_START: turn = .started
            case VC_STT_TURN_EAGER: turn = .eagerEnd(text: text, utterance: body.utterance)
            case VC_STT_TURN_RESUMED: turn = .resumed
            case VC_STT_TURN_END: turn = .ended(text: text, utterance: body.utterance)
            default: return session.broken("STT_TURN", "turn \(body.turn)")
            }
            return mailbox.post(.recogniserTurn(turn)).status
        default:
            return vc_status(VC_E_ARGUMENT)
        }
    }

    func requestFailed(_ request: UInt64, epoch: UInt64, _ failure: ProviderFailure) {
        mailbox.failed(provider, Ticket(epoch: mailbox.epoch, request: request), failure)
    }

    func lost(_ failure: ProviderFailure) { mailbox.failed(provider, nil, failure) }
}

/// The newest audio that a recogniser had no room for.
struct AudioBacklog {
    private var frames: [(samples: [Int16], position: UInt64)] = []
    private var count = 0

    var isEmpty: Bool { frames.isEmpty }
    var first: (samples: [Int16], position: UInt64)? { frames.first }

    mutating func removeFirst() { count -= frames.removeFirst().samples.count }

    /// Gives how many of the oldest samples had to go.
    mutating func append(_ samples: [Int16], at position: UInt64, samplesMax: Int) -> Int {
        frames.append((samples, position))
        count += samples.count
        var dropped = 0
        while count > samplesMax, frames.count > 1 {
            dropped += frames[0].samples.count
            removeFirst()
        }
        return dropped
    }
}
