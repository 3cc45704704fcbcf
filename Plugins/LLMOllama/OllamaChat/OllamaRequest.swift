// What is sent to /api/chat.
//
// The host speaks the shape of OpenAI's chat. Ollama's differs in three places: arguments of a function are an object
// and not a text, a result names its function, and what OpenAI has at the top of a request is in `options`, under
// older names. Two things are said in every request because leaving them out costs seconds: `think`, which a server
// turns on by itself for a model that can, and `num_ctx`, since a request with another one loads the model anew.

public import JSON
import PluginKit

public struct OllamaRequest: Sendable {
    /// Names in OpenAI's chat and in Ollama's options.
    private static let optionNames = [
        "max_tokens": "num_predict", "max_completion_tokens": "num_predict", "temperature": "temperature",
        "top_p": "top_p", "top_k": "top_k", "min_p": "min_p", "seed": "seed", "stop": "stop",
        "presence_penalty": "presence_penalty", "frequency_penalty": "frequency_penalty",
    ]

    private let model: String
    private let think: JSONValue?
    private let keepAlive: JSONValue
    private let options: [String: JSONValue]

    public init(model: String, think: JSONValue?, keepAlive: JSONValue, options: [String: JSONValue]) {
        self.model = model
        self.think = think
        self.keepAlive = keepAlive
        self.options = options
    }

    /// `think` as the settings write it: "off", "on", a level, or "server" to say nothing of it.
    public static func think(_ word: String) -> JSONValue? {
        switch word {
        case "off": false
        case "on": true
        case "server": Optional.none
        default: .string(word)
        }
    }

    /// A time as Ollama wants it: a bare number of seconds, or a text like "10m".
    public static func duration(_ text: String) -> JSONValue { Int64(text).map { .integer($0) } ?? .string(text) }

    /// The body that loads the model and asks nothing.
    public var warmUp: String {
        JSONValue.object([
            "model": .string(model), "messages": [], "stream": false, "keep_alive": keepAlive,
            "options": .object(options),
        ]).text
    }

    /// The body for one question. `wishes` of the host win over the configuration.
    ///
    /// - Parameters:
    ///   - messages: in the shape of OpenAI's chat.
    ///   - tools: JSON array, the same in both; left out for a model that cannot call functions.
    public func body(messages: [JSONValue], tools: String, wishes: JSONValue, hasTools: Bool) -> String {
        var options = options
        for (name, value) in wishes.object ?? [:] where value != .null {
            guard let ours = Self.optionNames[name] else { continue }
            // A single stop text is allowed there and not here.
            options[ours] = ours == "stop" && value.string != nil ? [value] : value
        }
        var fields: [String: JSONValue] = [
            "model": .string(model), "stream": true, "keep_alive": keepAlive, "options": .object(options),
            "messages": .array(Self.translated(messages)),
        ]
        fields["think"] = think
        let isWanted = hasTools && tools.contains("{") && wishes["tool_choice"]?.string != "none"
        if isWanted, let list = try? JSONValue(parsing: tools) { fields["tools"] = list }
        return JSONValue.object(fields).text
    }

    /// Messages in Ollama's shape.
    static func translated(_ messages: [JSONValue]) -> [JSONValue] {
        var names: [String: String] = [:]
        return messages.map { message in
            var members: [String: JSONValue] = [
                "role": message["role"] ?? "user", "content": .string(text(message["content"])),
            ]
            if let calls = message["tool_calls"]?.array, !calls.isEmpty {
                members["tool_calls"] = .array(
                    calls.map { call in
                        let name = call["function"]?["name"]?.string ?? ""
                        let arguments = call["function"]?["arguments"]?.string ?? ""
                        var ours: [String: JSONValue] = [
                            "function": [
                                "name": .string(name), "arguments": (try? JSONValue(parsing: arguments)) ?? [:],
                            ]
                        ]
                        if let id = call["id"]?.string {
                            ours["id"] = .string(id)
                            names[id] = name
                        }
                        return .object(ours)
                    })
            }
            if let id = message["tool_call_id"]?.string {
                members["tool_call_id"] = .string(id)
                if let name = names[id] { members["tool_name"] = .string(name) }
            }
            return .object(members)
        }
    }

    /// How many functions were called in a conversation.
    public static func callCount(_ messages: [JSONValue]) -> Int {
        messages.reduce(0) { $0 + ($1["tool_calls"]?.array?.count ?? 0) }
    }

    private static func text(_ content: JSONValue?) -> String {
        content?.string ?? content?.array?.compactMap { $0["text"]?.string }.joined() ?? ""
    }
}
