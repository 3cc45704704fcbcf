// What is sent to Cartesia: generations, ends of contexts, cancels.
//
// Within a context every field but the text has to stay the same, so all of them are fixed when a session opens and a
// message is those fields and a text. A voice or a language that changes is another session's.

import JSON

/// The messages of one session.
public struct CartesiaRequest: Sendable, Equatable {
    /// Model, voice, language, format and what else never changes.
    let fixed: [String: JSONValue]
    public let format: CartesiaFormat

    /// - Parameters:
    ///   - language: two letters or a locale; empty: the vendor's guess.
    ///   - bufferDelayMs: how long the vendor may wait for more text; 0, because what is sent is whole clauses.
    ///   - expression: members of `generation_config`, those that are set.
    public init(
        model: String, voice: String, language: String, format: CartesiaFormat, bufferDelayMs: Int = 0,
        expression: [String: JSONValue] = [:], hasTimestamps: Bool = true
    ) {
        var fixed: [String: JSONValue] = [
            "model_id": .string(model),
            "voice": ["mode": "id", "id": .string(voice)],
            "output_format": [
                "container": "raw", "encoding": .string(format.encoding.rawValue),
                "sample_rate": .integer(Int64(format.rateHz)),
            ],
            "max_buffer_delay_ms": .integer(Int64(bufferDelayMs)),
            "add_timestamps": .bool(hasTimestamps),
        ]
        if !language.isEmpty { fixed["language"] = .string(language) }
        if !expression.isEmpty { fixed["generation_config"] = .object(expression) }
        self.fixed = fixed
        self.format = format
    }

    /// Text for a context. `isContinued`: more may follow.
    func generation(_ transcript: String, in context: String, isContinued: Bool) -> String {
        var message = fixed
        message["transcript"] = .string(transcript)
        message["context_id"] = .string(context)
        message["continue"] = .bool(isContinued)
        return JSONValue.object(message).text
    }

    /// Nothing more follows in the context: it counts against the account's limit until the vendor knows.
    func end(of context: String) -> String { generation("", in: context, isContinued: false) }

    static func cancel(_ context: String) -> String {
        JSONValue.object(["context_id": .string(context), "cancel": true]).text
    }

    /// What the vendor takes as a language: "tr" of "tr-TR".
    public static func language(of tag: String) -> String {
        String(tag.prefix { $0 != "-" && $0 != "_" }).lowercased()
    }
}
