// The tools that act on the call itself: each a value, for a profile that has switched it on.

import Calls
import JSON

enum BuiltInTools {
    /// As a language model is told of one, in the shape of OpenAI's chat; nil for a name that there is not.
    static func offer(of name: String, transferTarget: String) -> JSONValue? {
        switch name {
        case "end_call": describe(name, "Ends the call, once what you are saying has been heard.", [:])
        case "transfer_call" where !transferTarget.isEmpty:
            // One place only: a caller cannot talk the model into another.
            describe(name, "Connects the caller with a person and leaves the call.", [:])
        case "transfer_call":
            describe(
                name, "Connects the caller with somebody else and leaves the call.",
                ["target": "The number or SIP address to connect with."])
        case "send_dtmf":
            describe(name, "Presses keys of the telephone.", ["digits": "Keys of 0-9 * # A-D."])
        default: nil
        }
    }

    /// All of them, as an agent without a place of its own to transfer to is offered them.
    static var all: [JSONValue] {
        ["end_call", "transfer_call", "send_dtmf"].compactMap { offer(of: $0, transferTarget: "") }
    }

    static func result(of call: ToolCall, transferTarget: String) -> ToolResult {
        let arguments = (try? JSONValue(parsing: call.arguments)) ?? [:]
        switch call.name {
        case "end_call": return .control(.hangUp)
        case "transfer_call":
            let target = transferTarget.isEmpty ? arguments["target"]?.string ?? "" : transferTarget
            guard !target.isEmpty else {
                return problem("transfer_call needs \"target\", the number or address to transfer to")
            }
            return .control(.transfer(to: target))
        case "send_dtmf":
            guard let digits = arguments["digits"]?.string, !digits.isEmpty,
                digits.allSatisfy({ "0123456789*#ABCD".contains($0) })
            else { return problem("send_dtmf needs \"digits\", of 0-9 * # A-D") }
            return .control(.sendDTMF(digits))
        default: return .failed(ToolFailure(.unknown, "there is no tool \(call.name)"))
        }
    }

    /// Told to the model, which may then say the digits, or offer something else, instead of believing that they went.
    static var noWayForDigits: ToolResult {
        .failed(ToolFailure(.unsupported, "no key was pressed: this telephone line takes no digits from us"))
    }

    private static func problem(_ message: String) -> ToolResult { .failed(ToolFailure(.arguments, message)) }

    private static func describe(_ name: String, _ purpose: String, _ parameters: [String: String]) -> JSONValue {
        [
            "type": "function",
            "function": [
                "name": .string(name), "description": .string(purpose),
                "parameters": [
                    "type": "object",
                    "properties": .object(
                        parameters.mapValues { ["type": "string", "description": .string($0)] }),
                    "required": .array(parameters.keys.sorted().map { .string($0) }),
                ],
            ],
        ]
    }
}
