// A question as the service understands it.
//
// It reads the first system message and the last message of the caller, and nothing in between: without more, "and on
// Sunday?" is asked of somebody who was never told about Saturday. So what was said before goes into the last message,
// as a conversation written down, in the language of the call. A server that reads all messages can have them as they
// are (`history = messages`).

public import JSON

public struct LlamaRequest: Sendable {
    public enum Form: String, Sendable { case messages, prompt }
    public enum History: String, Sendable { case inside, messages, none }

    /// The words around what was said before.
    public struct Phrases: Sendable {
        var before: String
        var caller: String
        var agent: String
        var now: String

        /// - Parameter language: BCP 47; Turkish and English are known.
        public init(language: String) {
            if language.lowercased().hasPrefix("tr") {
                (before, now) = ("Konuşmanın buraya kadarki kısmı:", "Arayan şimdi diyor ki:")
                (caller, agent) = ("Arayan", "Sen")
            } else {
                (before, now) = ("The conversation so far:", "The caller now says:")
                (caller, agent) = ("Caller", "You")
            }
        }
    }

    /// Anything else is handed to the model by the service, which then fails on names that it does not know.
    private static let optionNames = ["temperature", "max_tokens", "top_p", "stop"]

    private let form: Form
    private let history: History
    private let historyMessages: Int
    private let phrases: Phrases
    private let fixed: [String: JSONValue]

    /// - Parameters:
    ///   - historyMessages: how many messages before the last one of the caller are told.
    ///   - fixed: what the configuration says: temperature, use_rag and the like.
    public init(form: Form, history: History, historyMessages: Int, phrases: Phrases, fixed: [String: JSONValue]) {
        self.form = form
        self.history = history
        self.historyMessages = historyMessages
        self.phrases = phrases
        self.fixed = fixed
    }

    /// The frame for one question; nil when the caller has said nothing.
    ///
    /// - Parameters:
    ///   - messages: in the shape of OpenAI's chat.
    ///   - options: of the host; they win over the configuration.
    public func frame(messages: [JSONValue], options: JSONValue) -> String? {
        guard let last = messages.lastIndex(where: { $0["role"]?.string == "user" }) else { return nil }
        let system = messages.filter { $0["role"]?.string == "system" }.map(Self.text).filter { !$0.isEmpty }
            .joined(separator: "\n\n")
        var fields = fixed
        for name in Self.optionNames {
            if let value = options[name], value != .null { fields[name] = value }
        }
        if let limit = options["max_completion_tokens"], limit != .null { fields["max_tokens"] = limit }

        let newest = Self.text(messages[last])
        let words = history == .inside ? told(messages[..<last], before: newest) : newest
        switch form {
        case .prompt:
            fields["system_prompt"] = .string(system)
            fields["prompt"] = .string(words)
        case .messages:
            fields["stream"] = true
            let earlier = history == .messages ? said(messages[..<last]).map { Self.message($0.role, $0.text) } : []
            let head = system.isEmpty ? [] : [Self.message("system", system)]
            fields["messages"] = .array(head + earlier + [Self.message("user", words)])
        }
        return JSONValue.object(fields).text
    }

    private func told(_ messages: ArraySlice<JSONValue>, before words: String) -> String {
        let lines = said(messages).map { "\($0.role == "user" ? phrases.caller : phrases.agent): \($0.text)" }
        guard !lines.isEmpty else { return words }
        return "\(phrases.before)\n\(lines.joined(separator: "\n"))\n\n\(phrases.now) \(words)"
    }

    /// What caller and agent said to each other, the newest of it.
    private func said(_ messages: ArraySlice<JSONValue>) -> ArraySlice<(role: String, text: String)> {
        messages.compactMap { message -> (role: String, text: String)? in
            guard let role = message["role"]?.string, ["user", "assistant"].contains(role) else { return nil }
            let text = Self.text(message)
            return text.isEmpty ? nil : (role, text)
        }.suffix(historyMessages)
    }

    private static func message(_ role: String, _ text: String) -> JSONValue {
        ["role": .string(role), "content": .string(text)]
    }

    private static func text(_ message: JSONValue) -> String {
        let content = message["content"]
        return content?.string ?? content?.array?.compactMap { $0["text"]?.string }.joined() ?? ""
    }
}
