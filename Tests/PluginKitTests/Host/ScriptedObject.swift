// One provider or session, as the scripted host sees it: what it emitted, and what it asked for.

import PluginABI
import Synchronization

/// An event, copied as the contract demands.
struct RecordedEvent: Equatable, CustomStringConvertible {
    var kind: Kind
    var epoch: UInt64
    var request: UInt64

    enum Kind: Equatable {
        case ready, canceled, closed, finalized
        case error(code: Int32, message: String, isFatal: Bool, retryAfterMs: Int, status: Int, vendorCode: String)
        case transcript(String, utterance: UInt64, start: UInt64, end: UInt64, isFinal: Bool, confidence: Float)
        case delta(String)
        case toolCall(id: String, name: String, arguments: String)
        case usage(input: Int, cached: Int, output: Int)
        case answered(Int)
        case audio(samples: [Int16], rateHz: Int, position: UInt64)
        case mark(text: Range<UInt64>, audio: Range<UInt64>)
        case spoken(reason: Int, samples: UInt64)
        case other(UInt32)
    }

    var description: String {
        switch kind {
        case .audio(let samples, let rateHz, let position):
            "audio(\(samples.count) samples at \(rateHz) Hz from \(position)) \(epoch)/\(request)"
        default: "\(kind) \(epoch)/\(request)"
        }
    }

    init(_ event: UnsafePointer<vc_event>) {
        let head = event.pointee
        epoch = head.epoch
        request = head.request
        func body<Body>(_ type: Body.Type) -> Body {
            precondition(head.size >= UInt32(MemoryLayout<Body>.size), "the event is shorter than its type")
            return UnsafeRawPointer(event).load(as: Body.self)
        }
        switch Int(head.type) {
        case Int(VC_EVENT_READY): kind = .ready
        case Int(VC_EVENT_CANCELED): kind = .canceled
        case Int(VC_EVENT_CLOSED): kind = .closed
        case Int(VC_EVENT_FINALIZED): kind = .finalized
        case Int(VC_EVENT_ERROR):
            let error = body(vc_event_error.self)
            let details = error.error!.pointee
            kind = .error(
                code: details.code, message: text(details.message), isFatal: error.fatal == 1,
                retryAfterMs: Int(details.retry_after_ms), status: Int(details.protocol_status),
                vendorCode: text(details.vendor_code))
        case Int(VC_EVENT_TRANSCRIPT):
            let transcript = body(vc_event_transcript.self)
            kind = .transcript(
                text(transcript.text), utterance: transcript.utterance, start: transcript.start, end: transcript.end,
                isFinal: transcript.final == 1, confidence: transcript.confidence)
        case Int(VC_EVENT_DELTA): kind = .delta(text(body(vc_event_delta.self).text))
        case Int(VC_EVENT_TOOL_CALL):
            let call = body(vc_event_tool_call.self)
            kind = .toolCall(id: text(call.call), name: text(call.name), arguments: text(call.arguments))
        case Int(VC_EVENT_USAGE):
            let usage = body(vc_event_usage.self)
            kind = .usage(
                input: Int(usage.input_tokens), cached: Int(usage.cached_tokens), output: Int(usage.output_tokens))
        case Int(VC_EVENT_LLM_DONE): kind = .answered(Int(body(vc_event_llm_done.self).reason))
        case Int(VC_EVENT_AUDIO):
            let frame = body(vc_event_audio.self).frame!.pointee
            precondition(frame.bytes == UInt64(frame.samples) * 2 && frame.channels == 1)
            let memory = UnsafeBufferPointer(
                start: frame.data?.assumingMemoryBound(to: Int16.self), count: Int(frame.samples))
            kind = .audio(samples: Array(memory), rateHz: Int(frame.rate_hz), position: frame.position)
        case Int(VC_EVENT_MARK):
            let mark = body(vc_event_mark.self)
            kind = .mark(text: mark.text_start..<mark.text_end, audio: mark.position..<mark.end)
        case Int(VC_EVENT_TTS_DONE):
            let done = body(vc_event_tts_done.self)
            kind = .spoken(reason: Int(done.reason), samples: done.samples)
        default: kind = .other(head.type)
        }
    }
}

struct ScriptedTimer: @unchecked Sendable {
    let handle: vc_handle
    let atNs: UInt64
    let fire: vc_timer_fn
    let context: UnsafeMutableRawPointer?
}

final class ScriptedObject: @unchecked Sendable {
    let handle = ScriptedHost.newHandle()

    private struct State {
        var events: [RecordedEvent] = []
        var log: [String] = []
        var timers: [ScriptedTimer] = []
        var exchanges: [ScriptedExchange] = []
        var prewarmed: [String] = []
        /// How many more events of a stream are taken; nil: any number.
        var credit: Int?
        var answer: vc_status?
    }
    private let state = Mutex(State())

    init() { ScriptedHost.add(self) }

    var events: [RecordedEvent] { state.withLock { $0.events } }
    var kinds: [RecordedEvent.Kind] { events.map(\.kind) }
    var log: [String] { state.withLock { $0.log } }
    var exchanges: [ScriptedExchange] { state.withLock { $0.exchanges } }
    var prewarmedURLs: [String] { state.withLock { $0.prewarmed } }
    var timers: [ScriptedTimer] { state.withLock { $0.timers } }
    /// Events of a stream that are taken before VC_E_AGAIN; nil: any number.
    var credit: Int? {
        get { state.withLock { $0.credit } }
        set { state.withLock { $0.credit = newValue } }
    }
    /// What `emit` answers to everything, instead of taking it.
    var answer: vc_status? {
        get { state.withLock { $0.answer } }
        set { state.withLock { $0.answer = newValue } }
    }
    func forgetEvents() { state.withLock { $0.events = [] } }

    func receive(_ event: UnsafePointer<vc_event>) -> vc_status {
        let recorded = RecordedEvent(event)
        return state.withLock { state in
            if let answer = state.answer { return answer }
            let isControl = event.pointee.type <= UInt32(VC_EVENT_DRAINED)
            if let credit = state.credit, !isControl {
                if credit == 0 { return vc_status(VC_E_AGAIN) }
                state.credit = credit - 1
            }
            state.events.append(recorded)
            return vc_status(VC_OK)
        }
    }

    func logged(_ level: UInt32, _ message: String) { state.withLock { $0.log.append(message) } }
    func armed(_ timer: ScriptedTimer) { state.withLock { $0.timers.append(timer) } }
    func started(_ exchange: ScriptedExchange) { state.withLock { $0.exchanges.append(exchange) } }
    func prewarmed(_ url: String) { state.withLock { $0.prewarmed.append(url) } }

    /// Fires every timer that waits, in the order of their times.
    func fireTimers() {
        let due = state.withLock { state in
            defer { state.timers = [] }
            return state.timers.sorted { $0.atNs < $1.atNs }
        }
        for timer in due where !Self.disarmed.withLock({ $0.contains(timer.handle) }) {
            timer.fire(timer.context, timer.handle)
        }
    }

    private static let disarmed = Mutex<Set<vc_handle>>([])
    static func disarm(_ timer: vc_handle) { disarmed.withLock { _ = $0.insert(timer) } }

    private static let canceledExchanges = Mutex<Set<vc_handle>>([])
    static func cancelExchange(_ handle: vc_handle) { canceledExchanges.withLock { _ = $0.insert(handle) } }
    static func isCanceled(_ handle: vc_handle) -> Bool { canceledExchanges.withLock { $0.contains(handle) } }
}

/// A request of a plugin, to be answered by the test.
final class ScriptedExchange: @unchecked Sendable {
    let handle: vc_handle
    let method: String
    let url: String
    let headers: [String: String]
    let body: [UInt8]
    let epoch: UInt64
    let deadlineMs: Int
    let firstByteMs: Int
    private let events: vc_http_events
    private let context: UnsafeMutableRawPointer?

    init(
        _ handle: vc_handle, _ request: vc_http_request, _ events: vc_http_events, _ context: UnsafeMutableRawPointer?,
        owner: ScriptedObject
    ) {
        self.handle = handle
        method = text(request.method)
        url = text(request.url)
        headers = Dictionary(
            UnsafeBufferPointer(start: request.headers, count: Int(request.header_count)).map {
                (text($0.name).lowercased(), text($0.value))
            }, uniquingKeysWith: { $1 })
        body = Array(UnsafeRawBufferPointer(start: request.body.data, count: Int(request.body.length)))
        epoch = request.epoch
        deadlineMs = Int(request.deadline_ms)
        firstByteMs = Int(request.first_byte_ms)
        self.events = events
        self.context = context
    }

    var bodyText: String { String(decoding: body, as: UTF8.self) }
    var isCanceled: Bool { ScriptedObject.isCanceled(handle) }

    func respond(_ status: Int, _ headers: [(String, String)] = []) {
        func withHeaders(_ rest: ArraySlice<(String, String)>, _ fields: [vc_field]) {
            guard let first = rest.first else {
                return fields.withUnsafeBufferPointer {
                    events.response?(context, handle, UInt32(status), $0.baseAddress, UInt32($0.count))
                }
            }
            lend(first.0) { name in
                lend(first.1) { value in
                    withHeaders(rest.dropFirst(), fields + [vc_field(name: name, value: value)])
                }
            }
        }
        withHeaders(headers[...], [])
    }

    func data(_ bytes: [UInt8]) {
        bytes.withUnsafeBytes {
            events.data?(
                context, handle,
                vc_str(data: $0.baseAddress?.assumingMemoryBound(to: CChar.self), length: UInt64($0.count)))
        }
    }

    func data(_ text: String) { data(Array(text.utf8)) }

    func done() { events.done?(context, handle, nil) }

    func fail(_ code: Int, _ message: String) {
        lend(message) { message in
            var error = vc_error()
            error.size = UInt32(MemoryLayout<vc_error>.size)
            error.code = vc_status(code)
            error.message = message
            events.done?(context, handle, &error)
        }
    }

    /// The whole of an answer.
    func answer(_ status: Int, _ body: String, _ headers: [(String, String)] = []) {
        respond(status, headers)
        data(body)
        done()
    }
}
