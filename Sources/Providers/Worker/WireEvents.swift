// Events on their way from a worker to the host.
//
// An event is a struct with pointers into the plugin's memory, so it cannot travel as bytes: each type is taken apart
// in the worker and put together again in the host, around pointers into the message that arrived. What comes out is
// an ordinary `vc_event`, and it goes through the same checks (`PluginGuard`) as one from a plugin in process. An event
// whose size is too small for its type travels as its head alone, for the guard to refuse and to count.

import PluginABI

extension WireWriter {
    /// `event` is as the plugin made it; its `size` was seen to be at least that of `vc_event`.
    mutating func put(event: UnsafePointer<vc_event>) {
        let head = event.pointee
        let isWhole = PluginGuard.rule(head.type).map { Int(head.size) >= $0.size } ?? false
        put(head.type)
        put(head.flags)
        put(head.reserved)
        put(head.size)
        put(head.epoch)
        put(head.request)
        put(UInt32(isWhole ? 1 : 0))
        if isWhole { putBody(UnsafeRawPointer(event), Int(head.type)) }
    }

    private mutating func putBody(_ raw: UnsafeRawPointer, _ type: Int) {
        switch type {
        case VC_EVENT_ERROR:
            let body = raw.load(as: vc_event_error.self)
            put(body.fatal)
            let error = body.error.flatMap { try? adopt($0, as: vc_error.self, "vc_error", reserved: 20) }
            put(UInt8(error == nil ? 0 : 1))
            if let error { put(error) }
        case VC_EVENT_INCOMING:
            let body = raw.load(as: vc_event_incoming.self)
            for text in [body.key, body.from, body.display, body.to, body.peer, body.protocol_call] { put(text) }
            put(body.headers, body.header_count)
        case VC_EVENT_WITHDRAWN: put(raw.load(as: vc_event_withdrawn.self).key)
        case VC_EVENT_HANGUP:
            let body = raw.load(as: vc_event_hangup.self)
            put(body.cause)
            put(body.code)
            put(body.reason)
        case VC_EVENT_FRAME: put(frame: raw.load(as: vc_event_frame.self).frame)
        case VC_EVENT_AUDIO: put(frame: raw.load(as: vc_event_audio.self).frame)
        case VC_EVENT_PLAYED:
            let body = raw.load(as: vc_event_played.self)
            put(body.mark)
            put(body.cleared)
        case VC_EVENT_DTMF:
            let body = raw.load(as: vc_event_dtmf.self)
            put(body.digits)
            put(body.duration_ms)
        case VC_EVENT_HELD: put(raw.load(as: vc_event_held.self).on)
        case VC_EVENT_TRANSFERRED:
            let body = raw.load(as: vc_event_transferred.self)
            put(body.succeeded)
            put(body.code)
            put(body.reason)
        case VC_EVENT_TRANSCRIPT: put(raw.load(as: vc_event_transcript.self))
        case VC_EVENT_STT_TURN:
            let body = raw.load(as: vc_event_stt_turn.self)
            put(body.utterance)
            put(body.position)
            put(body.text)
            put(body.turn)
            put(body.confidence)
        case VC_EVENT_VERDICT:
            let body = raw.load(as: vc_event_verdict.self)
            put(body.probability)
            put(body.backchannel)
        case VC_EVENT_DELTA: put(raw.load(as: vc_event_delta.self).text)
        case VC_EVENT_TOOL_CALL:
            let body = raw.load(as: vc_event_tool_call.self)
            put(body.call)
            put(body.name)
            put(body.arguments)
        case VC_EVENT_USAGE:
            let body = raw.load(as: vc_event_usage.self)
            put(body.input_tokens)
            put(body.cached_tokens)
            put(body.output_tokens)
        case VC_EVENT_LLM_DONE: put(raw.load(as: vc_event_llm_done.self).reason)
        case VC_EVENT_MARK:
            let body = raw.load(as: vc_event_mark.self)
            put(body.text_start)
            put(body.text_end)
            put(body.position)
            put(body.end)
        case VC_EVENT_TTS_DONE:
            let body = raw.load(as: vc_event_tts_done.self)
            put(body.reason)
            put(body.samples)
        default: break
        }
    }

    private mutating func put(_ body: vc_event_transcript) {
        put(body.utterance)
        put(body.start)
        put(body.end)
        put(body.text)
        put(body.language)
        put(body.final)
        put(body.confidence)
        put(body.stability)
        let count = body.words == nil ? 0 : min(body.word_count, wireWordsMax)
        put(count)
        for index in 0..<Int(count) {
            let word = body.words![index]
            put(word.text)
            put(word.start)
            put(word.end)
            put(word.confidence)
        }
    }

    private mutating func put(frame: UnsafePointer<vc_frame>?) {
        guard var frame = frame.flatMap({ try? adopt($0, as: vc_frame.self, "vc_frame", reserved: nil) }) else {
            return put(UInt32(0))
        }
        // What its numbers say cannot be: the host finds that too, and needs no samples for it.
        if frame.problem(secondsMax: 1) != nil {
            frame.data = nil
            frame.bytes = 0
        }
        put(UInt32(1))
        put(frame)
    }
}

/// A transcript is what a caller said in one breath.
private let wireWordsMax: UInt32 = 4_096

extension WireReader {
    /// Puts the event together again and lends it. The result is that of `body`.
    mutating func withEvent(_ body: (UnsafePointer<vc_event>) -> vc_status) throws(WireFault) -> vc_status {
        var head = vc_event()
        head.type = try take()
        head.flags = try take()
        head.reserved = try take()
        head.size = try take()
        head.epoch = try take()
        head.request = try take()
        let isWhole = try take(UInt32.self) == 1
        let rule = PluginGuard.rule(head.type)
        let headBytes = UInt32(MemoryLayout<vc_event>.size)
        guard isWhole, let rule else {
            // Only its head is here, so no more may be said to be.
            head.size = min(head.size, headBytes)
            return withUnsafePointer(to: head, body)
        }
        head.size = UInt32(rule.size)
        return try withBody(head, body)
    }

    private mutating func withBody(
        _ head: vc_event, _ body: (UnsafePointer<vc_event>) -> vc_status
    ) throws(WireFault) -> vc_status {
        switch Int(head.type) {
        case VC_EVENT_ERROR:
            let fatal = try take(UInt32.self)
            guard try take(UInt8.self) == 1 else {
                return lend(vc_event_error(head: head, error: nil, fatal: fatal, reserved: 0), body)
            }
            let error = try takeError()
            return withUnsafePointer(to: error) {
                lend(vc_event_error(head: head, error: $0, fatal: fatal, reserved: 0), body)
            }
        case VC_EVENT_INCOMING:
            var event = vc_event_incoming()
            event.head = head
            event.key = try takeText()
            event.from = try takeText()
            event.display = try takeText()
            event.to = try takeText()
            event.peer = try takeText()
            event.protocol_call = try takeText()
            let fields = try takeFields()
            event.header_count = UInt32(fields.count)
            return fields.withUnsafeBufferPointer {
                event.headers = $0.baseAddress
                return lend(event, body)
            }
        case VC_EVENT_WITHDRAWN: return lend(vc_event_withdrawn(head: head, key: try takeText()), body)
        case VC_EVENT_HANGUP:
            return lend(
                vc_event_hangup(head: head, cause: try take(), code: try take(), reason: try takeText()), body)
        case VC_EVENT_FRAME:
            return try withFrame { frame in lend(vc_event_frame(head: head, frame: frame), body) }
        case VC_EVENT_AUDIO:
            return try withFrame { frame in lend(vc_event_audio(head: head, frame: frame), body) }
        case VC_EVENT_PLAYED:
            return lend(vc_event_played(head: head, mark: try take(), cleared: try take(), reserved: 0), body)
        case VC_EVENT_DTMF:
            return lend(vc_event_dtmf(head: head, digits: try takeText(), duration_ms: try take(), reserved: 0), body)
        case VC_EVENT_HELD: return lend(vc_event_held(head: head, on: try take(), reserved: 0), body)
        case VC_EVENT_TRANSFERRED:
            return lend(
                vc_event_transferred(head: head, succeeded: try take(), code: try take(), reason: try takeText()),
                body)
        case VC_EVENT_TRANSCRIPT: return try withTranscript(head, body)
        case VC_EVENT_STT_TURN:
            return lend(
                vc_event_stt_turn(
                    head: head, utterance: try take(), position: try take(), text: try takeText(), turn: try take(),
                    confidence: try take()), body)
        case VC_EVENT_VERDICT:
            return lend(vc_event_verdict(head: head, probability: try take(), backchannel: try take()), body)
        case VC_EVENT_DELTA: return lend(vc_event_delta(head: head, text: try takeText()), body)
        case VC_EVENT_TOOL_CALL:
            return lend(
                vc_event_tool_call(
                    head: head, call: try takeText(), name: try takeText(), arguments: try takeText()), body)
        case VC_EVENT_USAGE:
            return lend(
                vc_event_usage(
                    head: head, input_tokens: try take(), cached_tokens: try take(), output_tokens: try take()), body)
        case VC_EVENT_LLM_DONE: return lend(vc_event_llm_done(head: head, reason: try take(), reserved: 0), body)
        case VC_EVENT_MARK:
            return lend(
                vc_event_mark(
                    head: head, text_start: try take(), text_end: try take(), position: try take(), end: try take()),
                body)
        case VC_EVENT_TTS_DONE:
            return lend(
                vc_event_tts_done(head: head, reason: try take(), reserved: 0, samples: try take()), body)
        default: return withUnsafePointer(to: head, body)
        }
    }

    private mutating func withTranscript(
        _ head: vc_event, _ body: (UnsafePointer<vc_event>) -> vc_status
    ) throws(WireFault) -> vc_status {
        var event = vc_event_transcript()
        event.head = head
        event.utterance = try take()
        event.start = try take()
        event.end = try take()
        event.text = try takeText()
        event.language = try takeText()
        event.final = try take()
        event.confidence = try take()
        event.stability = try take()
        event.word_count = try take()
        guard event.word_count <= wireWordsMax else { throw WireFault(problem: "\(event.word_count) words") }
        var words: [vc_word] = []
        for _ in 0..<event.word_count {
            words.append(
                vc_word(
                    text: try takeText(), start: try take(), end: try take(), confidence: try take(), reserved: 0))
        }
        return words.withUnsafeBufferPointer {
            event.words = $0.baseAddress
            return lend(event, body)
        }
    }

    private mutating func withFrame(
        _ body: (UnsafePointer<vc_frame>?) -> vc_status
    ) throws(WireFault) -> vc_status {
        guard try take(UInt32.self) == 1 else { return body(nil) }
        var frame = try takeFrame()
        // Samples are read as values of two or four bytes.
        guard frame.bytes > 0, UInt(bitPattern: frame.data) & 3 != 0 else { return withUnsafePointer(to: frame, body) }
        return withUnsafeTemporaryAllocation(byteCount: Int(frame.bytes), alignment: 8) { aligned in
            aligned.copyMemory(from: UnsafeRawBufferPointer(start: frame.data, count: Int(frame.bytes)))
            frame.data = UnsafeRawPointer(aligned.baseAddress)
            return withUnsafePointer(to: frame, body)
        }
    }
}

private func lend<Event>(_ event: Event, _ body: (UnsafePointer<vc_event>) -> vc_status) -> vc_status {
    withUnsafePointer(to: event) {
        $0.withMemoryRebound(to: vc_event.self, capacity: 1) { body($0) }
    }
}

/// What an event weighs in the window of what the host has not taken yet.
struct EventWeight: Equatable {
    var events: Int64 = 0
    var bytes: Int64 = 0
    var audioUs: Int64 = 0

    static func += (one: inout EventWeight, other: EventWeight) {
        one.events += other.events
        one.bytes += other.bytes
        one.audioUs += other.audioUs
    }

    static func -= (one: inout EventWeight, other: EventWeight) {
        one.events -= other.events
        one.bytes -= other.bytes
        one.audioUs -= other.audioUs
    }

    var isZero: Bool { self == EventWeight() }

    /// Nil: the event is always let through, because a session has few of it and its plugin offers it once.
    static func of(_ event: UnsafePointer<vc_event>, messageBytes: Int) -> EventWeight? {
        switch Int(event.pointee.type) {
        case VC_EVENT_READY, VC_EVENT_ERROR, VC_EVENT_CANCELED, VC_EVENT_CLOSED, VC_EVENT_DRAINED: return nil
        case VC_EVENT_AUDIO, VC_EVENT_FRAME:
            let frame = UnsafeRawPointer(event).load(as: vc_event_audio.self).frame?.pointee
            let us = frame.map { $0.rate_hz > 0 ? Int64($0.samples) * 1_000_000 / Int64($0.rate_hz) : 0 } ?? 0
            return EventWeight(events: 1, audioUs: us)
        default: return EventWeight(events: 1, bytes: Int64(messageBytes))
        }
    }

    /// What a session may have on its way that the host did not take: as much as a mailbox refuses before its owner has
    /// had a turn. The two seconds that a voice may be ahead are counted by the call's mailbox, as in process; this
    /// comes on top, and is little.
    static let window = EventWeight(events: 256, bytes: 256 << 10, audioUs: 500_000)

    /// Beyond this a worker did not keep to its window; one event more than the window may be on its way.
    static let heldMax = EventWeight(events: 512, bytes: 4 << 20, audioUs: 3_000_000)
}
