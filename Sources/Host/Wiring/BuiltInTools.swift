// The tools that every language model has: those that act on the call itself.
//
// The conversation carries them out once what the agent is saying has been heard, so a model may say goodbye and call
// `end_call` in one breath.

import Calls
import JSON

final class BuiltInTools: CallTools {
    /// As a language model is told of them, in the shape of OpenAI's chat.
    static let descriptions: JSONValue = [
        describe("end_call", "Ends the call, once what you are saying has been heard.", [:]),
        describe(
            "transfer_call", "Connects the caller with somebody else and leaves the call.",
            ["target": "The number or SIP address to connect with."]),
        describe("send_dtmf", "Presses keys of the telephone.", ["digits": "Keys of 0-9 * # A-D."]),
    ]

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

    func run(_ call: ToolCall, ticket: Ticket, for identity: CallIdentity, mailbox: CallMailbox) {
        mailbox.post(.toolResult(ticket, call: call.id, result(of: call)))
    }

    private func result(of call: ToolCall) -> ToolResult {
        let arguments = (try? JSONValue(parsing: call.arguments)) ?? [:]
        switch call.name {
        case "end_call": return .control(.hangUp)
        case "transfer_call":
            guard let target = arguments["target"]?.string, !target.isEmpty else {
                return problem("transfer_call needs \"target\", the number or address to transfer to")
            }
            return .control(.transfer(to: target))
        case "send_dtmf":
            guard let digits = arguments["digits"]?.string, !digits.isEmpty,
                digits.allSatisfy({ "0123456789*#ABCD".contains($0) })
            else { return problem("send_dtmf needs \"digits\", of 0-9 * # A-D") }
            return .control(.sendDTMF(digits))
        default: return problem("there is no tool \(call.name)")
        }
    }

    /// The model is told, so that it can do better.
    private func problem(_ message: String) -> ToolResult { .json(JSONValue.object(["error": .string(message)]).text) }
}
