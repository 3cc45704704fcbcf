// The tools that every language model has: those that act on the call itself.
//
// The conversation carries them out once what the agent is saying has been heard, so a model may say goodbye and call
// `end_call` in one breath.

import Calls
import JSON

final class BuiltInTools: CallTools {
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
