// Events as Swift values, and their way into the contract's structs.
//
// An event may have to wait for credit, so it is a value that can be kept; the struct with its borrowed pointers exists
// only while the host's `emit` runs.

import PluginABI

struct Outbound {
    enum Body {
        case ready, canceled, closed, finalized
        case error(PluginError, isFatal: Bool)
        case transcript(Transcript, isFinal: Bool)
        case recogniserTurn(RecogniserTurn)
        case delta(String)
        case toolCall(ToolCall)
        case usage(TokenUsage)
        case answered(AnswerEnd)
        case audio(ArraySlice<Int16>, rateHz: Int, sequence: UInt64, position: UInt64)
        case mark(textStart: Int, textEnd: Int, start: UInt64, end: UInt64)
        case spoken(isCanceled: Bool, samples: UInt64)
    }

    let body: Body
    let epoch: UInt64
    let request: UInt64

    /// What it counts for in the outbox: its payload.
    var bytes: Int {
        switch body {
        case .audio(let samples, _, _, _): samples.count * 2
        case .delta(let text): text.utf8.count
        default: 64
        }
    }

    /// Not subject to credit or to an epoch: how the object itself is.
    var isControl: Bool {
        switch body {
        case .ready, .canceled, .closed, .error: true
        default: false
        }
    }

    /// More of a stream, which its producer can hold back; everything else happens once for each request.
    var isStream: Bool {
        switch body {
        case .audio, .delta: true
        default: false
        }
    }

    /// Offers the event to the host and returns its answer.
    func offer(from handle: vc_handle) -> vc_status {
        switch body {
        case .ready: bare(VC_EVENT_READY, handle)
        case .canceled: bare(VC_EVENT_CANCELED, handle)
        case .closed: bare(VC_EVENT_CLOSED, handle)
        case .finalized: bare(VC_EVENT_FINALIZED, handle)
        case .error(let error, let isFatal):
            error.withCError { cError in
                var event = vc_event_error()
                event.error = cError
                event.fatal = isFatal ? 1 : 0
                return send(&event, \.head, VC_EVENT_ERROR, handle)
            }
        case .transcript(let transcript, let isFinal): offer(transcript, isFinal, handle)
        case .recogniserTurn(let turn):
            withString(turn.text) { text in
                var event = vc_event_stt_turn()
                event.utterance = turn.utterance
                event.position = turn.position
                event.text = text
                event.turn = turn.kind.rawValue
                event.confidence = turn.confidence ?? -1
                return send(&event, \.head, VC_EVENT_STT_TURN, handle)
            }
        case .delta(let text):
            withString(text) { text in
                var event = vc_event_delta()
                event.text = text
                return send(&event, \.head, VC_EVENT_DELTA, handle)
            }
        case .toolCall(let call):
            withStrings([call.id, call.name, call.arguments]) { texts in
                var event = vc_event_tool_call()
                event.call = texts[0]
                event.name = texts[1]
                event.arguments = texts[2]
                return send(&event, \.head, VC_EVENT_TOOL_CALL, handle)
            }
        case .usage(let usage): offer(usage, handle)
        case .answered(let end):
            offerAnswered(end, handle)
        case .audio(let samples, let rateHz, let sequence, let position):
            offer(samples, rateHz, sequence, position, handle)
        case .mark(let textStart, let textEnd, let start, let end):
            offerMark(textStart, textEnd, start, end, handle)
        case .spoken(let isCanceled, let samples): offerSpoken(isCanceled, samples, handle)
        }
    }

    private func offer(_ transcript: Transcript, _ isFinal: Bool, _ handle: vc_handle) -> vc_status {
        withStrings([transcript.text, transcript.language] + transcript.words.map(\.text)) { texts in
            let words = transcript.words.enumerated().map { index, word in
                vc_word(
                    text: texts[2 + index], start: word.start, end: word.end, confidence: word.confidence ?? -1,
                    reserved: 0)
            }
            return words.withUnsafeBufferPointer { words in
                var event = vc_event_transcript()
                event.utterance = transcript.utterance
                event.start = transcript.start
                event.end = transcript.end
                event.text = texts[0]
                event.language = texts[1]
                event.final = isFinal ? 1 : 0
                event.confidence = transcript.confidence ?? -1
                event.stability = transcript.stability ?? -1
                event.word_count = UInt32(words.count)
                event.words = words.isEmpty ? nil : words.baseAddress
                return send(&event, \.head, VC_EVENT_TRANSCRIPT, handle)
            }
        }
    }

    private func offer(_ usage: TokenUsage, _ handle: vc_handle) -> vc_status {
        var event = vc_event_usage()
        event.input_tokens = UInt64(clamping: usage.inputTokens)
        event.cached_tokens = UInt64(clamping: usage.cachedTokens)
        event.output_tokens = UInt64(clamping: usage.outputTokens)
        return send(&event, \.head, VC_EVENT_USAGE, handle)
    }

    private func offerAnswered(_ end: AnswerEnd, _ handle: vc_handle) -> vc_status {
        var event = vc_event_llm_done()
        event.reason = end.rawValue
        return send(&event, \.head, VC_EVENT_LLM_DONE, handle)
    }

    private func offer(
        _ samples: ArraySlice<Int16>, _ rateHz: Int, _ sequence: UInt64, _ position: UInt64, _ handle: vc_handle
    ) -> vc_status {
        samples.withUnsafeBytes { bytes in
            var frame = vc_frame()
            frame.size = UInt32(MemoryLayout<vc_frame>.size)
            frame.format = UInt32(VC_FORMAT_S16)
            frame.rate_hz = UInt32(rateHz)
            frame.channels = 1
            frame.samples = UInt32(samples.count)
            frame.sequence = sequence
            frame.position = position
            frame.epoch = epoch
            frame.data = bytes.baseAddress
            frame.bytes = UInt64(bytes.count)
            return withUnsafePointer(to: &frame) { cFrame in
                var event = vc_event_audio()
                event.frame = cFrame
                return send(&event, \.head, VC_EVENT_AUDIO, handle)
            }
        }
    }

    private func offerMark(
        _ textStart: Int, _ textEnd: Int, _ start: UInt64, _ end: UInt64, _ handle: vc_handle
    ) -> vc_status {
        var event = vc_event_mark()
        event.text_start = UInt64(textStart)
        event.text_end = UInt64(textEnd)
        event.position = start
        event.end = end
        return send(&event, \.head, VC_EVENT_MARK, handle)
    }

    private func offerSpoken(_ isCanceled: Bool, _ samples: UInt64, _ handle: vc_handle) -> vc_status {
        var event = vc_event_tts_done()
        event.reason = UInt32(isCanceled ? VC_TTS_CANCELED : VC_TTS_COMPLETE)
        event.samples = samples
        return send(&event, \.head, VC_EVENT_TTS_DONE, handle)
    }

    private func bare<Type: BinaryInteger>(_ type: Type, _ handle: vc_handle) -> vc_status {
        var event = vc_event()
        return send(&event, \.self, type, handle)
    }

    /// The head is the first member of every event, so a pointer to the event is a pointer to its head.
    private func send<Event, Type: BinaryInteger>(
        _ event: inout Event, _ head: WritableKeyPath<Event, vc_event>, _ type: Type, _ handle: vc_handle
    ) -> vc_status {
        event[keyPath: head] = vc_event(
            size: UInt32(MemoryLayout<Event>.size), type: UInt32(type), flags: 0, reserved: 0, epoch: epoch,
            request: request)
        return withUnsafePointer(to: &event) {
            HostLine.shared.host.pointee.emit(
                handle, UnsafeRawPointer($0).assumingMemoryBound(to: vc_event.self))
        }
    }
}
