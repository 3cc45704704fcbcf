/// What a language model may call in a call, and how much of it.
public struct ToolPolicy: Sendable, Equatable {
    /// The tools by name, with the longest wait for each; nil: whatever is called is run, with
    /// `Failover.Policy.toolMs` for all.
    public var timeoutsMs: [String: Int]?
    /// A model reads its results as part of every later request of the call: some two thousand tokens.
    public var resultBytesMax = 8 << 10
    /// Calls of one answer. A model that needs more goes in a circle, at the caller's cost.
    public var callsPerTurn = CallLimits.toolCallsPerTurn

    public init() {}
}

/// Why a tool has no result.
public struct ToolFailure: Error, Sendable, Equatable {
    public enum Code: String, Sendable {
        /// The model called what it was not offered.
        case unknown
        /// What it wants done is not what the tool takes.
        case arguments
        case tooMany
        /// As many calls of this tool as are allowed are under way.
        case busy
        case timeout
        case unreachable
        /// The tool's server answered with an error.
        case refused
        case tooLarge
        case interrupted
        /// The line of this call cannot do it.
        case unsupported
        case configuration
    }

    public var code: Code
    /// For the model, which may do better, and for the log.
    public var message: String

    public init(_ code: Code, _ message: String) {
        self.code = code
        self.message = message
    }

    /// `{"error":{"code":"timeout","message":"no answer within 5000 ms"}}`.
    public var json: String { #"{"error":{"code":"\#(code.rawValue)","message":"\#(Self.escaped(message))"}}"# }

    /// RFC 8259, section 7. A server's words may be in it.
    private static func escaped(_ text: String) -> String {
        var out = ""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": out += "\\\""
            case "\\": out += "\\\\"
            case _ where scalar.value < 0x20: out += " "
            default: out.unicodeScalars.append(scalar)
            }
        }
        return out
    }
}
