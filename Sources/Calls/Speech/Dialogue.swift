/// The history that the language model is given: what was said, as far as it was heard.
///
/// Bounded in messages and bytes; the oldest leave first, a caller's turn together with what answered it, because half
/// a pair confuses models more than none. The system prompt is not part of it and never leaves.
struct Dialogue: Sendable, Equatable {
    private(set) var messages: [Message] = []
    private(set) var forgotten = 0
    private var bytes = 0

    mutating func caller(_ text: String) {
        append(Message(.caller, text))
    }

    /// What the caller heard of an agent turn. Nothing heard leaves no trace.
    mutating func agent(heard: String) {
        guard !heard.isEmpty else { return }
        append(Message(.agent, heard))
    }

    /// A tool was called. Calls of one answer stand in one message, as long as none of them has its result: models
    /// refuse a history in which a message that calls is not followed by the results of its calls.
    mutating func called(_ call: ToolCall) {
        if let last = messages.indices.last, messages[last].role == .agent, !messages[last].toolCalls.isEmpty {
            messages[last].toolCalls.append(call)
            bytes += call.arguments.utf8.count
        } else {
            append(Message(.agent, "", toolCalls: [call]))
        }
    }

    /// The result of a call, behind those of its message that are there already.
    mutating func answered(_ call: String, _ json: String) {
        let result = Message(.tool, json, toolCallID: call)
        guard let caller = messages.lastIndex(where: { $0.toolCalls.contains { $0.id == call } }) else { return }
        var place = caller + 1
        while place < messages.count, messages[place].role == .tool { place += 1 }
        append(result)
        // Unless the oldest messages have just left, it is not at the end where another call came in between.
        guard messages.last == result, place < messages.count - 1 else { return }
        messages.removeLast()
        messages.insert(result, at: place)
    }

    /// Takes back the caller's last turn and everything after it, to be merged with what he says now.
    mutating func withdrawLastCallerTurn() -> String? {
        guard let index = messages.lastIndex(where: { $0.role == .caller }) else { return nil }
        let text = messages[index].text
        for message in messages[index...] { bytes -= message.bytes }
        messages.removeSubrange(index...)
        return text
    }

    /// The messages of a request: the prompt, the history and, if it is not in the history yet, what was said last.
    func request(systemPrompt: String, pending: String? = nil) -> [Message] {
        var request: [Message] = systemPrompt.isEmpty ? [] : [Message(.system, systemPrompt)]
        request += messages
        if let pending { request.append(Message(.caller, pending)) }
        return request
    }

    private mutating func append(_ message: Message) {
        messages.append(message)
        bytes += message.bytes
        while messages.count > CallLimits.dialogueMessagesMax || bytes > CallLimits.dialogueBytesMax,
            messages.count > 1
        {
            repeat {
                bytes -= messages.removeFirst().bytes
                forgotten += 1
            } while messages.count > 1 && messages[0].role != .caller
        }
    }
}

extension Message {
    fileprivate var bytes: Int { text.utf8.count + toolCalls.reduce(0) { $0 + $1.arguments.utf8.count } }
}
