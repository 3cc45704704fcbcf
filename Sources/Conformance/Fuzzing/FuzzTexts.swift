// What is said, asked and played in fuzz cases: short lists of what has broken plugins before.

import JSON

enum FuzzTexts {
    static let spoken = [
        "", " ", "Hello.", "Hello there, how are you?", "One two three four five six seven eight nine ten.",
        "\u{0130}stanbul'da I\u{015F}\u{0131}k var m\u{0131}?", "\u{1F44D}\u{1F3FD}\u{200D}\u{1F4BB}", "\u{202E}olleh",
        "e\u{0301}", "3.14 & <b>5</b> > 4; \"x\" \\ %s %n {}", "\u{0}a\u{7}\u{1B}[31m", "\r\n\r\n\t",
        "https://example.org/?a=b&c=d#e", "...", "?!", "word ", "\u{4F60}\u{597D}",
    ]

    static let results = [
        "", "{}", "{\"temperature\":21}", "no such city", "[1,2", String(repeating: "x", count: 5_000),
    ]

    static let sounds = ["speech", "speech", "silence", "noise", "square", "tone"]

    private static func message(_ role: String, _ content: JSONValue) -> JSONValue {
        ["role": .string(role), "content": content]
    }

    static let conversations: [JSONValue] = [
        [message("user", "Hello.")],
        [message("system", "Be brief."), message("user", "What is the weather in Ankara?")],
        [message("user", "Hi."), message("assistant", "Hello! How can I he"), message("user", "Stop.")],
        [message("user", "")],
        [],
        [
            message("user", "Weather?"),
            [
                "role": "assistant", "content": .null,
                "tool_calls": [
                    ["id": "c1", "type": "function", "function": ["name": "weather", "arguments": "{\"city\":\"x\"}"]]
                ],
            ],
            ["role": "tool", "tool_call_id": "c1", "content": "21 degrees"],
        ],
        [message("user", .string(String(repeating: "A long story. ", count: 500)))],
        [message("user", "\u{0}\u{1F600} \"quoted\" \\ back\u{2028}line")],
    ]

    static let tools: [JSONValue] = [
        [], [],
        [
            [
                "type": "function",
                "function": [
                    "name": "weather", "description": "The weather of a city",
                    "parameters": ["type": "object", "properties": ["city": ["type": "string"]], "required": ["city"]],
                ],
            ]
        ],
    ]

    static let options: [JSONValue] = [
        [:], [:], ["temperature": 0, "max_tokens": 1], ["stop": ["\n"], "temperature": 2], ["max_tokens": 100_000],
    ]
}

/// How a vendor's bytes are changed on their way.
enum FuzzMangle: String, Sendable, CaseIterable {
    /// A bit is turned over.
    case flip
    /// The rest is cut off.
    case cut
    /// A stretch comes twice.
    case double
    /// A NUL stands in between.
    case zero
    /// A stretch is missing.
    case drop
    /// Brackets and quotation marks where nobody expects them.
    case brackets

    /// `place` counts from the beginning, and again from there if there are fewer bytes.
    func changed(_ bytes: [UInt8], at place: Int) -> [UInt8] {
        guard !bytes.isEmpty else { return bytes }
        var bytes = bytes
        let place = abs(place) % bytes.count
        switch self {
        case .flip: bytes[place] ^= 1 << UInt8(place % 7)
        case .cut: bytes.removeSubrange(place...)
        case .double: bytes.insert(contentsOf: bytes[place..<min(place + 16, bytes.count)], at: place)
        case .zero: bytes.insert(0, at: place)
        case .drop: bytes.removeSubrange(place..<min(place + 8, bytes.count))
        case .brackets: bytes.insert(contentsOf: Array("}]\"{[".utf8), at: place)
        }
        return bytes
    }
}
