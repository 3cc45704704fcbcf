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
    private var isOver = false

    /// Something was said or called: from here on a second attempt would say it twice.
    public private(set) var hasOutput = false

    public init() {}

    /// Takes the data of one server-sent event.
    public mutating func take(_ event: ServerSentEvents.Event) -> [ChatStep] {
        guard !isOver else { return [] }
        if event.data == "[DONE]" { return end(isComplete: true) }
        let chunk: JSONValue
        do {
            chunk = try JSONValue(parsing: event.data)
        } catch {
            return fail(
                PluginError(.vendor, "the server sent a chunk that is no JSON: \(error)", isRetryable: !hasOutput))
        }
        if let error = chunk["error"], error != .null {
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
        if isOver { return steps }
        if let usage = chunk["usage"] ?? chunk["x_groq"]?["usage"], usage.object != nil {
            steps.append(
                .emit(
                    .usage(
                        TokenUsage(
                            inputTokens: Int(clamping: usage["prompt_tokens"]?.integer ?? 0),
                            cachedTokens: Int(clamping: usage["prompt_tokens_details"]?["cached_tokens"]?.integer ?? 0),
                            outputTokens: Int(clamping: usage["completion_tokens"]?.integer ?? 0)))))
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
        let end: AnswerEnd =
            switch reason {
            case "length": .length
            case "tool_calls", "function_call": hadCalls ? .toolCalls : .stop
            default: hadCalls ? .toolCalls : .stop
            }
        return steps + [.finish(end)]
    }

    private var sentCalls = 0

    private mutating func take(delta: JSONValue) -> [ChatStep] {
        var steps: [ChatStep] = []
        // `reasoning` and `reasoning_content` are the model's thoughts: never said.
        if let text = delta["content"]?.string, let words = thoughts.pass(text) {
            hasOutput = true
            steps.append(.emit(.delta(words)))
        }
        for part in delta["tool_calls"]?.array ?? [] { take(call: part) }
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

/// Takes `<think>…</think>` away from the beginning of an answer.
struct ThoughtFilter: Sendable {
    private static let opening = "<think>"
    private static let closing = "</think>"
    private enum Place { case beginning, thinking, words, leading }
    private var place = Place.beginning
    private var held = ""

    /// What of `text` is to be said now; nil: nothing.
    mutating func pass(_ text: String) -> String? {
        if place == .words { return text.isEmpty ? nil : text }
        held += text
        if place == .beginning {
            let start = held.drop(while: \.isWhitespace)
            if start.hasPrefix(Self.opening) {
                place = .thinking
                held = String(start.dropFirst(Self.opening.count))
            } else if Self.opening.hasPrefix(start) {
                return nil  // it may still become one
            } else {
                place = .words
                return release(held)
            }
        }
        if place == .thinking {
            guard let end = held.firstRange(ofText: Self.closing) else {
                // Thoughts can be long; only what may be the beginning of the end is kept.
                held = String(held.suffix(Self.closing.count))
                return nil
            }
            place = .leading
            held = String(held[end.upperBound...])
        }
        let words = held.drop(while: \.isWhitespace)
        held = ""
        guard !words.isEmpty else { return nil }
        place = .words
        return String(words)
    }

    /// What was held back, at the end of the answer.
    mutating func end() -> String? { place == .beginning ? release(held) : nil }

    private mutating func release(_ text: String) -> String? {
        held = ""
        return text.isEmpty ? nil : text
    }
}

extension String {
    fileprivate func firstRange(ofText text: String) -> Range<Index>? {
        var start = startIndex
        while start < endIndex {
            if self[start...].hasPrefix(text) { return start..<index(start, offsetBy: text.count) }
            start = index(after: start)
        }
        return nil
    }
}
