// The body of a request.
//
// Messages and tools go through as the host wrote them, byte for byte: whatever it said of roles and tool results, the
// server hears. Only what is configured is added, since strict servers refuse fields that they do not know.

public import JSON

public struct ChatRequest: Sendable {
    /// What the configuration fixes: model, temperature, and the like.
    private let fixed: [String: JSONValue]
    private let tokenLimitName: String

    /// - Parameter tokenLimitName: "max_tokens", or "max_completion_tokens" for models that insist.
    public init(fixed: [String: JSONValue], tokenLimitName: String) {
        self.fixed = fixed
        self.tokenLimitName = tokenLimitName
    }

    /// The body for one question. `options` of the host win over the configuration.
    public func body(messages: String, tools: String, options: JSONValue) -> String {
        var fields = fixed
        for (name, value) in options.object ?? [:] where value != .null {
            let isTokenLimit = name == "max_tokens" || name == "max_completion_tokens"
            fields[isTokenLimit ? tokenLimitName : name] = value
        }
        fields["stream"] = true
        let text = JSONValue.object(fields).text
        let hasTools = tools.contains("{")
        return text.dropLast() + ",\"messages\":" + (messages.isEmpty ? "[]" : messages)
            + (hasTools ? ",\"tools\":" + tools : "") + "}"
    }
}
