// The lines of a streamed answer of /api/chat.
//
// Ollama says `done` in the last line, with its reason and its counts; a stream without it has failed, whatever its
// status was. Thoughts come in a field of their own where the server knows the model's template, and between tags in
// the words where it does not: neither is ever said.

public import ChatStream
import JSON
import PluginKit

/// An answer as it arrives.
public struct OllamaAnswer: AnswerReader, Sendable {
    private var lines = OllamaLines()
    private var thoughts = ThoughtFilter()
    private var callCount = 0
    private let callsBefore: Int
    private var isOver = false

    public private(set) var hasOutput = false

    /// - Parameter callsBefore: functions called earlier in the conversation, so that ids made here are new.
    public init(callsBefore: Int = 0) { self.callsBefore = callsBefore }

    public mutating func feed(_ bytes: [UInt8]) -> [ChatStep] {
        var steps: [ChatStep] = []
        for line in lines.feed(bytes) { steps += take(line) }
        if lines.isOverflown { steps += fail(PluginError(.vendor, "Ollama sent a line of more than a mebibyte")) }
        return steps
    }

    public mutating func end() -> [ChatStep] {
        var steps: [ChatStep] = []
        for line in lines.end() { steps += take(line) }
        return steps
            + fail(
                PluginError(.network, "the connection ended in the middle of the answer", isRetryable: !hasOutput))
    }

    private mutating func take(_ line: String) -> [ChatStep] {
        guard !isOver else { return [] }
        guard let chunk = try? JSONValue(parsing: line), chunk.object != nil else {
            return fail(
                PluginError(
                    .vendor, "the server sent a line that is no JSON object; is it Ollama's /api/chat?",
                    isRetryable: !hasOutput))
        }
        if let error = chunk["error"], error != .null {
            return fail(
                PluginError(
                    .vendor, "Ollama broke off its answer: \(error.string ?? error.text)", isRetryable: !hasOutput,
                    vendor: "Ollama"))
        }
        var steps: [ChatStep] = []
        if let text = chunk["message"]?["content"]?.string, let words = thoughts.pass(text) {
            hasOutput = true
            steps.append(.emit(.delta(words)))
        }
        for call in chunk["message"]?["tool_calls"]?.array ?? [] {
            switch toolCall(call) {
            case .success(let part):
                hasOutput = true
                steps.append(.emit(.toolCall(part)))
            case .failure(let error): return steps + fail(error)
            }
        }
        return chunk["done"]?.bool == true ? steps + finish(chunk) : steps
    }

    private mutating func toolCall(_ call: JSONValue) -> Result<ToolCall, PluginError> {
        callCount += 1
        let name = call["function"]?["name"]?.string ?? ""
        // An object, by Ollama's documentation; servers that imitate it send a text at times.
        var arguments = call["function"]?["arguments"] ?? [:]
        if let text = arguments.string { arguments = (try? JSONValue(parsing: text.isEmpty ? "{}" : text)) ?? .null }
        guard !name.isEmpty, arguments.object != nil else {
            return .failure(
                PluginError(
                    .vendor,
                    "the model called \(name.isEmpty ? "a function without a name" : name)"
                        + " with arguments that are no JSON object; a larger model makes fewer of these",
                    isRetryable: !hasOutput))
        }
        let given = call["id"]?.string ?? ""
        let id = given.isEmpty ? "call_\(callsBefore + callCount)" : given
        return .success(ToolCall(id: id, name: name, arguments: arguments.text))
    }

    private mutating func finish(_ chunk: JSONValue) -> [ChatStep] {
        isOver = true
        var steps = thoughts.end().map { [ChatStep.emit(.delta($0))] } ?? []
        if let output = chunk["eval_count"]?.integer {
            // Older servers leave the prompt's count out when all of it was in the cache.
            let input = Int(clamping: chunk["prompt_eval_count"]?.integer ?? 0)
            steps.append(.emit(.usage(TokenUsage(inputTokens: input, outputTokens: Int(clamping: output)))))
        }
        let reason: AnswerEnd = chunk["done_reason"]?.string == "length" ? .length : .stop
        return steps + [.finish(callCount > 0 ? .toolCalls : reason)]
    }

    private mutating func fail(_ error: PluginError) -> [ChatStep] {
        guard !isOver else { return [] }
        isOver = true
        return [.fail(error)]
    }
}
