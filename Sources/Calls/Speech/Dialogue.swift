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

    mutating func tool(_ message: Message) {
        append(message)
    }

    /// Takes back the caller's last turn and everything after it, to be merged with what he says now.
    mutating func withdrawLastCallerTurn() -> String? {
        guard let index = messages.lastIndex(where: { $0.role == .caller }) else { return nil }
        let text = messages[index].text
        for message in messages[index...] { bytes -= message.text.utf8.count }
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
        bytes += message.text.utf8.count
        while messages.count > CallLimits.dialogueMessagesMax || bytes > CallLimits.dialogueBytesMax,
            messages.count > 1
        {
            repeat {
                bytes -= messages.removeFirst().text.utf8.count
                forgotten += 1
            } while messages.count > 1 && messages[0].role != .caller
        }
    }
}
