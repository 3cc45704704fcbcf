// What a plugin emitted, copied whole.
//
// A copy and a list of complaints, and never a judgement: a text that is no UTF-8 or a pointer that is missing is a
// complaint here, and a breach only in the rule that asks for complaints.

import PluginABI

public struct RecordedEvent: Sendable {
    public struct Audio: Sendable {
        public var format: UInt32 = 0
        public var rateHz = 0
        public var channels = 0
        public var declaredSamples = 0
        public var flags: UInt32 = 0
        public var sequence: UInt64 = 0
        public var position: UInt64 = 0
        public var epoch: UInt64 = 0
        public var bytes = 0
        public var samples: [Int16] = []
    }

    public struct Word: Sendable {
        public var text: String
        public var start: UInt64
        public var end: UInt64
        public var confidence: Float
    }

    public struct Failure: Sendable {
        public var code: Int32 = 0
        public var retryable: UInt32 = 0
        public var retryAfterMs: UInt32 = 0
        public var protocolStatus: UInt32 = 0
        public var message = ""
        public var vendor = ""
        public var vendorCode = ""
        public var isFatal = false
    }

    public enum Body: Sendable {
        case none
        case failure(Failure)
        case transcript(
            utterance: UInt64, start: UInt64, end: UInt64, text: String, language: String, isFinal: Bool,
            confidence: Float, stability: Float, words: [Word])
        case turn(utterance: UInt64, position: UInt64, text: String, turn: UInt32, confidence: Float)
        case audio(Audio)
        case mark(textStart: UInt64, textEnd: UInt64, position: UInt64, end: UInt64)
        case spoken(reason: UInt32, samples: UInt64)
        case delta(String)
        case toolCall(call: String, name: String, arguments: String)
        case usage(input: UInt64, cached: UInt64, output: UInt64)
        case answered(reason: UInt32)
        case verdict(probability: Float, backchannel: Float)
        case incoming(
            key: String, from: String, display: String, to: String, peer: String, protocolCall: String,
            headers: [(String, String)])
        case withdrawn(key: String)
        case hangup(cause: UInt32, code: UInt32, reason: String)
        case played(mark: UInt64, cleared: UInt32)
        case dtmf(digits: String, durationMs: UInt32)
        case held(Bool)
        case transferred(succeeded: Bool, code: UInt32, reason: String)
    }

    /// Counts all events of the probe, from 0.
    public var number = 0
    public var object: vc_handle = 0
    public var type = 0
    public var size: UInt32 = 0
    public var flags: UInt32 = 0
    public var epoch: UInt64 = 0
    public var request: UInt64 = 0
    /// What `emit` answered.
    public var answer: vc_status = 0
    /// On the bench's clock.
    public var atNs: UInt64 = 0
    /// `pthread_self` of the emitter.
    public var thread: UInt = 0
    /// The call of the bench during which it came, on the same thread; empty: from elsewhere.
    public var during = ""
    public var body: Body = .none
    /// What is wrong with its form: sizes, pointers, texts.
    public var complaints: [String] = []

    public var name: String { Self.name(of: type) }

    public static func name(of type: Int) -> String {
        names[type] ?? "type \(type)"
    }

    private static let names: [Int: String] = [
        VC_EVENT_READY: "READY", VC_EVENT_ERROR: "ERROR", VC_EVENT_CANCELED: "CANCELED", VC_EVENT_CLOSED: "CLOSED",
        VC_EVENT_DRAINED: "DRAINED", VC_EVENT_INCOMING: "INCOMING", VC_EVENT_WITHDRAWN: "WITHDRAWN",
        VC_EVENT_RINGING: "RINGING", VC_EVENT_ANSWERED: "ANSWERED", VC_EVENT_HANGUP: "HANGUP",
        VC_EVENT_FRAME: "FRAME", VC_EVENT_PLAYED: "PLAYED", VC_EVENT_DTMF: "DTMF", VC_EVENT_HELD: "HELD",
        VC_EVENT_TRANSFERRED: "TRANSFERRED", VC_EVENT_TRANSCRIPT: "TRANSCRIPT", VC_EVENT_FINALIZED: "FINALIZED",
        VC_EVENT_STT_TURN: "STT_TURN", VC_EVENT_VERDICT: "VERDICT", VC_EVENT_DELTA: "DELTA",
        VC_EVENT_TOOL_CALL: "TOOL_CALL", VC_EVENT_USAGE: "USAGE", VC_EVENT_LLM_DONE: "LLM_DONE",
        VC_EVENT_AUDIO: "AUDIO", VC_EVENT_MARK: "MARK", VC_EVENT_TTS_DONE: "TTS_DONE",
    ]

    // MARK: For rules

    public var failure: Failure? { if case .failure(let failure) = body { failure } else { nil } }
    public var audio: Audio? { if case .audio(let audio) = body { audio } else { nil } }
    public var text: String? {
        switch body {
        case .delta(let text): text
        case .transcript(_, _, _, let text, _, _, _, _, _): text
        case .turn(_, _, let text, _, _): text
        default: nil
        }
    }
    public var isFinalTranscript: Bool {
        if case .transcript(_, _, _, _, _, true, _, _, _) = body { true } else { false }
    }
    /// READY, ERROR, CANCELED, CLOSED: how the object is, and not what it makes.
    public var isControl: Bool { type < VC_EVENT_TELEPHONY }

    // MARK: Copying

    /// Copies `event` and all that it points to.
    init(copying event: UnsafePointer<vc_event>) {
        let head = event.pointee
        type = Int(head.type)
        size = head.size
        flags = head.flags
        epoch = head.epoch
        request = head.request
        if head.reserved != 0 { complaints.append("`reserved` is \(head.reserved)") }
        guard let needed = Self.bodySizes[type] else {
            complaints.append("the type \(type) is not in the contract")
            return
        }
        guard Int(size) >= needed else {
            complaints.append("size is \(size); its struct has \(needed)")
            return
        }
        copyBody(UnsafeRawPointer(event))
    }

    private static let bodySizes: [Int: Int] = {
        var sizes: [Int: Int] = [:]
        for type in [
            VC_EVENT_READY, VC_EVENT_CANCELED, VC_EVENT_CLOSED, VC_EVENT_DRAINED, VC_EVENT_RINGING, VC_EVENT_ANSWERED,
            VC_EVENT_FINALIZED,
        ] { sizes[type] = MemoryLayout<vc_event>.size }
        sizes[VC_EVENT_ERROR] = MemoryLayout<vc_event_error>.size
        sizes[VC_EVENT_INCOMING] = MemoryLayout<vc_event_incoming>.size
        sizes[VC_EVENT_WITHDRAWN] = MemoryLayout<vc_event_withdrawn>.size
        sizes[VC_EVENT_HANGUP] = MemoryLayout<vc_event_hangup>.size
        sizes[VC_EVENT_FRAME] = MemoryLayout<vc_event_frame>.size
        sizes[VC_EVENT_PLAYED] = MemoryLayout<vc_event_played>.size
        sizes[VC_EVENT_DTMF] = MemoryLayout<vc_event_dtmf>.size
        sizes[VC_EVENT_HELD] = MemoryLayout<vc_event_held>.size
        sizes[VC_EVENT_TRANSFERRED] = MemoryLayout<vc_event_transferred>.size
        sizes[VC_EVENT_TRANSCRIPT] = MemoryLayout<vc_event_transcript>.size
        sizes[VC_EVENT_STT_TURN] = MemoryLayout<vc_event_stt_turn>.size
        sizes[VC_EVENT_VERDICT] = MemoryLayout<vc_event_verdict>.size
        sizes[VC_EVENT_DELTA] = MemoryLayout<vc_event_delta>.size
        sizes[VC_EVENT_TOOL_CALL] = MemoryLayout<vc_event_tool_call>.size
        sizes[VC_EVENT_USAGE] = MemoryLayout<vc_event_usage>.size
        sizes[VC_EVENT_LLM_DONE] = MemoryLayout<vc_event_llm_done>.size
        sizes[VC_EVENT_AUDIO] = MemoryLayout<vc_event_audio>.size
        sizes[VC_EVENT_MARK] = MemoryLayout<vc_event_mark>.size
        sizes[VC_EVENT_TTS_DONE] = MemoryLayout<vc_event_tts_done>.size
        return sizes
    }()

    private mutating func copyBody(_ raw: UnsafeRawPointer) {
        switch type {
        case VC_EVENT_ERROR: copyFailure(raw.load(as: vc_event_error.self))
        case VC_EVENT_TRANSCRIPT: copyTranscript(raw.load(as: vc_event_transcript.self))
        case VC_EVENT_STT_TURN:
            let its = raw.load(as: vc_event_stt_turn.self)
            body = .turn(
                utterance: its.utterance, position: its.position, text: copy(its.text, "text"), turn: its.turn,
                confidence: its.confidence)
        case VC_EVENT_AUDIO: copyFrame(raw.load(as: vc_event_audio.self).frame)
        case VC_EVENT_FRAME: copyFrame(raw.load(as: vc_event_frame.self).frame)
        case VC_EVENT_MARK:
            let its = raw.load(as: vc_event_mark.self)
            body = .mark(textStart: its.text_start, textEnd: its.text_end, position: its.position, end: its.end)
        case VC_EVENT_TTS_DONE:
            let its = raw.load(as: vc_event_tts_done.self)
            body = .spoken(reason: its.reason, samples: its.samples)
        case VC_EVENT_DELTA: body = .delta(copy(raw.load(as: vc_event_delta.self).text, "text"))
        case VC_EVENT_TOOL_CALL:
            let its = raw.load(as: vc_event_tool_call.self)
            body = .toolCall(
                call: copy(its.call, "call"), name: copy(its.name, "name"), arguments: copy(its.arguments, "arguments"))
        case VC_EVENT_USAGE:
            let its = raw.load(as: vc_event_usage.self)
            body = .usage(input: its.input_tokens, cached: its.cached_tokens, output: its.output_tokens)
        case VC_EVENT_LLM_DONE: body = .answered(reason: raw.load(as: vc_event_llm_done.self).reason)
        case VC_EVENT_VERDICT:
            let its = raw.load(as: vc_event_verdict.self)
            body = .verdict(probability: its.probability, backchannel: its.backchannel)
        default: copyTelephony(raw)
        }
    }

    private mutating func copyTelephony(_ raw: UnsafeRawPointer) {
        switch type {
        case VC_EVENT_INCOMING:
            let its = raw.load(as: vc_event_incoming.self)
            body = .incoming(
                key: copy(its.key, "key"), from: copy(its.from, "from"), display: copy(its.display, "display"),
                to: copy(its.to, "to"), peer: copy(its.peer, "peer"),
                protocolCall: copy(its.protocol_call, "protocol_call"),
                headers: copy(its.headers, count: its.header_count))
        case VC_EVENT_WITHDRAWN: body = .withdrawn(key: copy(raw.load(as: vc_event_withdrawn.self).key, "key"))
        case VC_EVENT_HANGUP:
            let its = raw.load(as: vc_event_hangup.self)
            body = .hangup(cause: its.cause, code: its.code, reason: copy(its.reason, "reason"))
        case VC_EVENT_PLAYED:
            let its = raw.load(as: vc_event_played.self)
            body = .played(mark: its.mark, cleared: its.cleared)
        case VC_EVENT_DTMF:
            let its = raw.load(as: vc_event_dtmf.self)
            body = .dtmf(digits: copy(its.digits, "digits"), durationMs: its.duration_ms)
        case VC_EVENT_HELD: body = .held(raw.load(as: vc_event_held.self).on != 0)
        case VC_EVENT_TRANSFERRED:
            let its = raw.load(as: vc_event_transferred.self)
            body = .transferred(succeeded: its.succeeded != 0, code: its.code, reason: copy(its.reason, "reason"))
        default: break
        }
    }

    private mutating func copyFailure(_ event: vc_event_error) {
        guard let error = event.error?.pointee else {
            complaints.append("`error` is NULL")
            body = .failure(Failure(isFatal: event.fatal != 0))
            return
        }
        body = .failure(
            Failure(
                code: error.code, retryable: error.retryable, retryAfterMs: error.retry_after_ms,
                protocolStatus: error.protocol_status, message: copy(error.message, "error.message"),
                vendor: copy(error.vendor, "error.vendor"), vendorCode: copy(error.vendor_code, "error.vendor_code"),
                isFatal: event.fatal != 0))
    }

    private mutating func copyTranscript(_ its: vc_event_transcript) {
        var words: [Word] = []
        if its.word_count > 0, its.words == nil {
            complaints.append("`words` is NULL and word_count \(its.word_count)")
        }
        if let list = its.words {
            for index in 0..<min(Int(its.word_count), 10_000) {
                let word = list[index]
                words.append(
                    Word(
                        text: copy(word.text, "words[\(index)].text"), start: word.start, end: word.end,
                        confidence: word.confidence))
            }
        }
        body = .transcript(
            utterance: its.utterance, start: its.start, end: its.end, text: copy(its.text, "text"),
            language: copy(its.language, "language"), isFinal: its.final != 0, confidence: its.confidence,
            stability: its.stability, words: words)
    }

    private mutating func copyFrame(_ frame: UnsafePointer<vc_frame>?) {
        guard let frame = frame?.pointee else {
            complaints.append("`frame` is NULL")
            return
        }
        var audio = Audio(
            format: frame.format, rateHz: Int(frame.rate_hz), channels: Int(frame.channels),
            declaredSamples: Int(frame.samples), flags: frame.flags, sequence: frame.sequence, position: frame.position,
            epoch: frame.epoch, bytes: Int(clamping: frame.bytes))
        if frame.bytes > 0, frame.data == nil { complaints.append("frame.data is NULL and bytes \(frame.bytes)") }
        if let data = frame.data, frame.format == UInt32(VC_FORMAT_S16), frame.bytes <= 1 << 20 {
            audio.samples = [Int16](unsafeUninitializedCapacity: Int(frame.bytes) / 2) { buffer, count in
                UnsafeMutableRawBufferPointer(buffer).copyMemory(
                    from: UnsafeRawBufferPointer(start: data, count: Int(frame.bytes) / 2 * 2))
                count = Int(frame.bytes) / 2
            }
        }
        body = .audio(audio)
    }

    private mutating func copy(_ text: vc_str, _ name: String) -> String {
        guard text.length > 0 else { return "" }
        guard let data = text.data else {
            complaints.append("\(name).data is NULL and its length \(text.length)")
            return ""
        }
        guard text.length <= 1 << 24 else {
            complaints.append("\(name) has \(text.length) bytes")
            return ""
        }
        let bytes = UnsafeRawBufferPointer(start: data, count: Int(text.length))
        guard let string = String(validating: bytes, as: UTF8.self) else {
            complaints.append("\(name) is not UTF-8")
            return String(decoding: bytes, as: UTF8.self)
        }
        return string
    }

    private mutating func copy(_ fields: UnsafePointer<vc_field>?, count: UInt32) -> [(String, String)] {
        guard let fields else {
            if count > 0 { complaints.append("`headers` is NULL and header_count \(count)") }
            return []
        }
        return (0..<min(Int(count), 1_000)).map { index in
            (copy(fields[index].name, "headers[\(index)].name"), copy(fields[index].value, "headers[\(index)].value"))
        }
    }
}
