import JSON
import Testing

@testable import Calls
@testable import Control
@testable import Host

@Suite("The tools of a call")
struct ToolDeskTests {
    private let identity = CallIdentity(id: "c-1", profile: "default", caller: "+1", callee: "+2")

    private func answer(to call: ToolCall, takesDigits: Bool) throws -> ToolResult {
        let desk = ToolDesk([], Configuration(environment: [:])) { _ in takesDigits }
        let mailbox = CallMailbox(outboundRateHz: 8_000)
        desk.run(call, ticket: Ticket(epoch: 0, request: 1), for: identity, mailbox: mailbox)
        guard case .event(.toolResult(_, call: call.id, let result)) = try #require(mailbox.takeItems().first) else {
            throw DialRefusal("the tool has not answered")
        }
        return result
    }

    @Test("A model that presses keys where there is no way for them is told so, and not that it has")
    func digits() throws {
        let call = ToolCall(id: "t1", name: "send_dtmf", arguments: #"{"digits":"12#"}"#)
        #expect(try answer(to: call, takesDigits: true) == .control(.sendDTMF("12#")))
        guard case .failed(let failure) = try answer(to: call, takesDigits: false) else {
            Issue.record("it was told that the keys were pressed")
            return
        }
        #expect(failure.code == .unsupported && failure.message.contains("no key was pressed"))
        // What is wrong with the digits is said first.
        let wrong = ToolCall(id: "t2", name: "send_dtmf", arguments: #"{"digits":"x"}"#)
        guard case .failed(let failure) = try answer(to: wrong, takesDigits: false) else { return }
        #expect(failure.code == .arguments)
    }
}
