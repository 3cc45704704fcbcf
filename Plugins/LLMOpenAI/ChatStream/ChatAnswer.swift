// The chunks of a streamed chat completion, put together.
//
// The servers that speak this protocol agree on the first screen of its documentation. They differ in who repeats the
// id of a tool call, who leaves its index out, whose last chunk has no choices, who says "stop" after a tool call, and
// who puts the model's thoughts into its words. All of that ends here; what comes out is the contract's.

import JSON
public import PluginKit

/// What follows from a chunk.
public enum ChatStep: Sendable, Equatable {
    case emit(AnswerPart)
    /// The answer is over.
    case finish(AnswerEnd)
    case fail(PluginError)
}

/// An answer as it arrives.
public struct ChatAnswer: Sendable {
    private struct PartialCall {
        var index: Int64?
        var id = ""
        var name = ""
        var arguments = ""
    }

    private var calls: [PartialCall] = []
    private var thoughts = ThoughtFilter()
    private var reason: String?
    private var usage: TokenUsage?
    private var isOver = false

    /// Something was said or called: from here on a second attempt would say it twice.
    public private(set) var hasOutput = false

    public init() {}

    /// Takes the data of one server-sent event.
    public mutating func take(_ event: ServerSentEvents.Event) -> [ChatStep] {
        guard !isOver else { return [] }
        if event.data == "[DONE]" { return end(isComplete: true) }
        // A keep-alive with a name and nothing to read.
        if event.data.isEmpty { return [] }
        let chunk: JSONValue
        do {
            chunk = try JSONValue(parsing: event.data)
        } catch {
            return fail(
                PluginError(.vendor, "the server sent a chunk that is no JSON: \(error)", isRetryable: !hasOutput))
        }
        // "event: error" may carry the error bare; Groq hides one in a field of its own.
        let errors = [chunk["error"], chunk["x_groq"]?["error"], event.name == "error" ? chunk : JSONValue?.none]
        if let error = errors.lazy.compactMap({ $0 }).first(where: { $0 != .null }) {
            let details = VendorError(error)
            return fail(
                PluginError(
                    details.contractCode(status: 0), "the server broke off its answer: \(details.message)",
                    isRetryable: !hasOutput, vendorCode: details.code))
        }
        var steps: [ChatStep] = []
        // The chunk with the usage has no choices at all.
        if let choice = chunk["choices"]?.array?.first {
            if let delta = choice["delta"] ?? choice["message"] { steps += take(delta: delta) }
            if let reason = choice["finish_reason"]?.string {
                self.reason = reason
                if reason == "content_filter" {
                    return steps
                        + fail(
                            PluginError(
                                .vendor, "the server's content filter stopped the answer; the prompt has to be changed",
                                vendorCode: reason))
                }
                steps += flushCalls()
            }
        }
        // Groq sends it twice, and some servers with every chunk: the last one counts.
        let usages = [chunk["usage"], chunk["x_groq"]?["usage"]].lazy.compactMap { $0 }
        if let usage = usages.first(where: { $0.object != nil }) {
            self.usage = TokenUsage(
                inputTokens: Int(clamping: usage["prompt_tokens"]?.integer ?? 0),
                cachedTokens: Int(clamping: usage["prompt_tokens_details"]?["cached_tokens"]?.integer ?? 0),
                outputTokens: Int(clamping: usage["completion_tokens"]?.integer ?? 0))
        }
        return steps
    }

    /// The stream is over. Without "[DONE]" that is an end all the same, if the server gave a reason before.
    public mutating func end(isComplete: Bool = false) -> [ChatStep] {
        guard !isOver else { return [] }
        guard isComplete || reason != nil else {
            return fail(
                PluginError(
                    .network, "the connection ended in the middle of the answer", isRetryable: !hasOutput))
        }
        var steps = thoughts.end().map { [ChatStep.emit(.delta($0))] } ?? []
        let hadCalls = !calls.isEmpty || sentCalls > 0
        steps += flushCalls()
        guard !isOver else { return steps }
        isOver = true
        if let usage { steps.append(.emit(.usage(usage))) }
        // Some servers say "stop" after a call, and some "tool_calls" without one.
        return steps + [.finish(hadCalls ? .toolCalls : reason == "length" ? .length : .stop)]
    }

    private var sentCalls = 0

    private mutating func take(delta: JSONValue) -> [ChatStep] {
        var steps: [ChatStep] = []
        // `reasoning` and `reasoning_content` are the model's thoughts: never said. A `refusal` is what the model says
        // in place of its answer, and the caller waits for one.
        for name in ["content", "refusal"] {
            if let text = delta[name]?.string, let words = thoughts.pass(text) {
                hasOutput = true
                steps.append(.emit(.delta(words)))
            }
        }
        for part in delta["tool_calls"]?.array ?? [] { take(call: part) }
        if let call = delta["function_call"], call.object != nil { take(call: ["function": call]) }
        return steps
    }

    /// A part of a tool call belongs to the one with its index; without an index to that with its id, else to the
    /// latest.
    private mutating func take(call part: JSONValue) {
        let index = part["index"]?.integer
        let id = part["id"]?.string ?? ""
        let name = part["function"]?["name"]?.string ?? ""
        let known: Int? =
            if let index { calls.firstIndex { $0.index == index } } else if !id.isEmpty {
                calls.firstIndex { $0.id == id }
            } else if name.isEmpty { calls.indices.last } else { nil }
        let place: Int
        if let known {
            place = known
        } else {
            calls.append(PartialCall(index: index))
            place = calls.count - 1
        }
        // Id and name come once; who repeats them repeats the same.
        if calls[place].id.isEmpty { calls[place].id = id }
        if calls[place].name.isEmpty { calls[place].name = name }
        switch part["function"]?["arguments"] {
        case .string(let fragment)?: calls[place].arguments += fragment
        case .object(let whole)?: calls[place].arguments = JSONValue.object(whole).text
        default: break
        }
    }

    private mutating func flushCalls() -> [ChatStep] {
        var steps: [ChatStep] = []
        for call in calls {
            sentCalls += 1
            let arguments = call.arguments.isEmpty ? "{}" : call.arguments
            guard !call.name.isEmpty, let parsed = try? JSONValue(parsing: arguments), parsed.object != nil else {
                calls = []
                return steps
                    + fail(
                        PluginError(
                            .vendor,
                            "the model called \(call.name.isEmpty ? "a function without a name" : call.name)"
                                + " with arguments that are no JSON object; a larger model makes fewer of these",
                            isRetryable: !hasOutput))
            }
            hasOutput = true
            // A server that gives no id gets one, since the result is sent back under it.
            let id = call.id.isEmpty ? "call_\(sentCalls)" : call.id
            steps.append(.emit(.toolCall(ToolCall(id: id, name: call.name, arguments: parsed.text))))
        }
        calls = []
        return steps
    }

    private mutating func fail(_ error: PluginError) -> [ChatStep] {
        isOver = true
        return [.fail(error)]
    }
}

/// The same from the bytes of the stream.
public struct ServerSentAnswer: AnswerReader {
    private var events = ServerSentEvents()
    private var answer = ChatAnswer()

    public init() {}

    public var hasOutput: Bool { answer.hasOutput }

    public mutating func feed(_ bytes: [UInt8]) -> [ChatStep] {
        var steps: [ChatStep] = []
        for event in events.feed(bytes) { steps += answer.take(event) }
        if events.isOverflown {
            steps.append(.fail(PluginError(.vendor, "the server sent an event of more than a mebibyte")))
        }
        return steps
    }

    public mutating func end() -> [ChatStep] { answer.end() }
}
