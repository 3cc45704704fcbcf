// The body of a request.
//
// Messages and tools go through as the host wrote them, byte for byte: whatever it said of roles and tool results, the
// server hears, and a prompt that begins with the same bytes as the last one is found in the server's cache. Only what
// is configured is added, since strict servers refuse fields that they do not know.

public import JSON

public struct ChatRequest: Sendable {
    /// What the configuration fixes: model, temperature, and the like.
    private let fixed: [String: JSONValue]
    private let tokenLimitName: String
    private let systemRole: String
    private let hasTools: Bool

    /// - Parameters:
    ///   - tokenLimitName: "max_tokens", or "max_completion_tokens" for models that insist.
    ///   - systemRole: "system", or "developer" for models that want their instructions under that name.
    ///   - hasTools: false: the model is told of no functions.
    public init(
        fixed: [String: JSONValue], tokenLimitName: String, systemRole: String = "system", hasTools: Bool = true
    ) {
        self.fixed = fixed
        self.tokenLimitName = tokenLimitName
        self.systemRole = systemRole
        self.hasTools = hasTools
    }

    /// The body for one question. `options` of the host win over the configuration.
    public func body(messages: String, tools: String, options: JSONValue) -> String {
        let sendsTools = hasTools && tools.contains("{")
        var fields = fixed
        for (name, value) in options.object ?? [:] where value != .null {
            let isTokenLimit = name == "max_tokens" || name == "max_completion_tokens"
            fields[isTokenLimit ? tokenLimitName : name] = value
        }
        // A choice among no functions is refused by most servers.
        if !sendsTools {
            for name in ["tool_choice", "parallel_tool_calls"] { fields[name] = nil }
        }
        fields["stream"] = true
        return JSONValue.object(fields).text.dropLast() + ",\"messages\":" + renamed(messages)
            + (sendsTools ? ",\"tools\":" + tools : "") + "}"
    }

    private func renamed(_ messages: String) -> String {
        if messages.isEmpty { return "[]" }
        guard systemRole != "system", let list = (try? JSONValue(parsing: messages))?.array else { return messages }
        return JSONValue.array(
            list.map { message in
                guard message["role"]?.string == "system", var members = message.object else { return message }
                members["role"] = .string(systemRole)
                return .object(members)
            }
        ).text
    }
}
