// What a language model answered, in the form in which rules look at it.

import JSON
import PluginABI
import Providers

/// What is asked, with nothing in it that a rule does not name.
struct Inquiry {
    var messages: JSONValue = [["role": "user", "content": "Hello."]]
    var tools: JSONValue = []
    var options: JSONValue = [:]
    var flags: UInt32 = 0

    /// Two functions, of which a vendor's script may have one or both called.
    static let tools: JSONValue = [
        function("weather", "The weather in a city.", ["city": ["type": "string"]]),
        function("clock", "The time of day.", [:]),
    ]

    private static func function(_ name: String, _ description: String, _ properties: JSONValue) -> JSONValue {
        [
            "type": "function",
            "function": [
                "name": .string(name), "description": .string(description),
                "parameters": ["type": "object", "properties": properties],
            ],
        ]
    }
}

/// The events of one request.
struct Answer {
    struct Call {
        let id: String
        let name: String
        let arguments: String
    }

    /// What the slot answered.
    let status: vc_status
    /// All of them, also what the host refused.
    let events: [RecordedEvent]

    var taken: [RecordedEvent] { events.filter { $0.answer == vc_status(VC_OK) } }
    var deltas: [String] { taken.filter { $0.type == VC_EVENT_DELTA }.compactMap(\.text) }
    var text: String { deltas.joined() }
    var failure: RecordedEvent.Failure? { events.compactMap(\.failure).first }
    /// VC_LLM_STOP and the like; exactly one in a good answer.
    var ends: [Int] {
        events.compactMap { if case .answered(let reason) = $0.body { Int(reason) } else { nil } }
    }
    var calls: [Call] {
        events.compactMap { event in
            guard case .toolCall(let id, let name, let arguments) = event.body else { return nil }
            return Call(id: id, name: name, arguments: arguments)
        }
    }
    /// Tokens in, of them cached, out.
    var usages: [(input: UInt64, cached: UInt64, output: UInt64)] {
        events.compactMap { event in
            guard case .usage(let input, let cached, let output) = event.body else { return nil }
            return (input, cached, output)
        }
    }

    /// For a comparison of two answers, and for a report.
    var summary: String {
        let quoted = text.count > 60 ? text.prefix(28) + " … " + text.suffix(28) : text[...]
        var parts = ["\"\(quoted)\" (\(text.utf8.count) bytes)"]
        parts += calls.map { "TOOL_CALL \($0.name)" } + ends.map { "LLM_DONE \($0)" }
        if let failure { parts.append("ERROR \(statusName(failure.code)): \(failure.message)") }
        if status != VC_OK { parts = [statusName(status)] }
        return parts.joined(separator: ", ")
    }

    func isSame(as other: Answer) -> Bool {
        status == other.status && text == other.text && ends == other.ends && failure?.code == other.failure?.code
            && calls.map(\.arguments) == other.calls.map(\.arguments)
    }

    /// A text, for a rule that says nothing without one.
    func needText() throws -> Answer {
        guard failure == nil, !text.isEmpty else { throw NotApplicable("\"Hello.\" is not answered by a text") }
        return self
    }

    /// A call, likewise.
    func needCalls() throws -> Answer {
        guard !calls.isEmpty else { throw NotApplicable("no function was called, though two were offered") }
        return self
    }
}

extension BenchSession {
    /// Asks, and waits until the answer is complete and a second more.
    func inquire(_ inquiry: Inquiry = Inquiry(), request: UInt64? = nil) -> Answer {
        let request = request ?? nextRequest()
        let known = answers(to: request).count
        let status = put(inquiry, request)
        if status == VC_OK {
            _ = bench.wait(ms: 60_000) {
                answers(to: request).dropFirst(known).contains {
                    $0.type == VC_EVENT_LLM_DONE || $0.type == VC_EVENT_ERROR
                } || fatal != nil
            }
            bench.advance(ms: 1_000)
        }
        return Answer(status: status, events: Array(answers(to: request).dropFirst(known)))
    }

    /// Asks, and waits for nothing.
    func put(_ inquiry: Inquiry, _ request: UInt64) -> vc_status {
        ask(request, inquiry.messages, tools: inquiry.tools, options: inquiry.options, flags: inquiry.flags)
    }
}
