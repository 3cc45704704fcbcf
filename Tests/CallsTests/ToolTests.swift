import Testing

@testable import Calls

@Suite("Tools of a language model")
struct ToolTests {
    /// A call in which the model was asked, with these tools.
    private func asked(_ tools: [String: Int]? = nil, speculated: Bool = false) -> (ConversationBench, Ticket) {
        var bench = ConversationBench { $0.tools.timeoutsMs = tools }
        bench.send(.answered)
        bench.says("where is my order", utterance: 1)
        if !speculated { bench.pass(300) }
        return (bench, bench.lastRequest!.request.ticket)
    }

    private func call(_ id: String, _ name: String = "look") -> ToolCall {
        ToolCall(id: id, name: name, arguments: "{}")
    }

    private func runs(_ bench: ConversationBench) -> [String] {
        bench.actions.compactMap { if case .runTool(let call, _) = $0 { call.id } else { nil } }
    }

    private func results(_ bench: ConversationBench) -> [String: String] {
        var results: [String: String] = [:]
        for case .toolResult(_, _, let call, let json) in bench.actions { results[call] = json }
        return results
    }

    private func outcomes(_ bench: ConversationBench) -> [String] {
        bench.actions.compactMap {
            if case .note(.tool(_, let name, let failure, _)) = $0 { "\(name) \(failure?.rawValue ?? "done")" } else { nil }
        }
    }

    @Test("What was called while a turn was only speculated runs when it is certain, once each and in order")
    func held() {
        var (bench, ticket) = asked(speculated: true)
        bench.send(.languageModel(ticket, .toolCall(call("1"))))
        bench.send(.languageModel(ticket, .toolCall(call("2"))))
        bench.send(.languageModel(ticket, .done(.toolCalls)))
        #expect(runs(bench).isEmpty)
        bench.pass(300)
        #expect(runs(bench) == ["1", "2"])
    }

    @Test("What was called for words that the caller then changed never runs")
    func withdrawn() {
        var (bench, ticket) = asked(speculated: true)
        bench.send(.languageModel(ticket, .toolCall(call("1"))))
        bench.send(.languageModel(ticket, .done(.toolCalls)))
        bench.startsSpeaking()
        bench.pass(400)
        bench.stopsSpeaking("where is my order from Monday", utterance: 1)
        bench.pass(1_000)
        #expect(runs(bench).isEmpty)
    }

    @Test("A tool that the model was not offered is answered and not run")
    func unknown() {
        var (bench, ticket) = asked(["look": 1_000])
        bench.send(.languageModel(ticket, .toolCall(call("1", "wipe"))))
        bench.send(.languageModel(ticket, .done(.toolCalls)))
        #expect(runs(bench).isEmpty)
        #expect(results(bench)["1"]?.contains("there is no tool wipe") == true)
        #expect(outcomes(bench) == ["wipe unknown"])
        // The model goes on, and is waited for.
        bench.model("I cannot do that.")
        bench.pass(2_000)
        #expect(bench.history.last == Message(.agent, "I cannot do that."))
    }

    @Test("Each tool is waited for as long as it may take, and what comes later is of no effect")
    func timeouts() {
        var (bench, ticket) = asked(["quick": 500, "slow": 3_000])
        bench.send(.languageModel(ticket, .toolCall(call("q", "quick"))))
        bench.send(.languageModel(ticket, .toolCall(call("s", "slow"))))
        bench.send(.languageModel(ticket, .done(.toolCalls)))
        bench.pass(520)
        #expect(results(bench).keys.sorted() == ["q"])
        #expect(results(bench)["q"]?.contains(#""code":"timeout""#) == true)
        bench.send(.toolResult(ticket, call: "q", .json(#"{"late":true}"#)))
        bench.pass(1_000)
        bench.send(.toolResult(ticket, call: "s", .json(#"{"found":true}"#)))
        #expect(results(bench)["q"]?.contains("late") == false)
        #expect(results(bench)["s"] == #"{"found":true}"#)
        #expect(outcomes(bench) == ["quick timeout", "slow done"])
    }

    @Test("A result that is too large is a failure that says so")
    func tooLarge() {
        var (bench, ticket) = asked(["look": 1_000])
        bench.send(.languageModel(ticket, .toolCall(call("1"))))
        bench.send(.toolResult(ticket, call: "1", .json(String(repeating: "x", count: 9_000))))
        #expect(results(bench)["1"]?.contains("9000 bytes, more than 8192") == true)
    }

    @Test("One call too many is answered with that, and a model that goes on all the same is stopped")
    func tooMany() {
        var (bench, ticket) = asked(["look": 1_000])
        for number in 1...12 {
            bench.send(.languageModel(ticket, .toolCall(call("\(number)"))))
            bench.send(.toolResult(ticket, call: "\(number)", .json("{}")))
            bench.send(.languageModel(ticket, .done(.toolCalls)))
        }
        #expect(runs(bench) == (1...8).map(String.init))
        #expect(results(bench)["9"]?.contains(#""code":"tooMany""#) == true)
        #expect(results(bench)["11"] == nil)
        #expect(bench.conversation.agent?.isModelDone != false)
    }

    @Test("Results that come before the model says that it waits are results all the same")
    func resultFirst() {
        var (bench, ticket) = asked(["look": 1_000])
        bench.send(.languageModel(ticket, .toolCall(call("1"))))
        bench.send(.toolResult(ticket, call: "1", .json("{}")))
        bench.send(.languageModel(ticket, .done(.toolCalls)))
        bench.model("It left on Monday.")
        bench.pass(3_000)
        #expect(bench.history.last == Message(.agent, "It left on Monday."))
    }

    @Test("Every message that calls is followed by the results of its calls, whatever came in between")
    func history() {
        var (bench, ticket) = asked(["look": 1_000])
        bench.send(.languageModel(ticket, .toolCall(call("1"))))
        bench.send(.languageModel(ticket, .toolCall(call("2"))))
        bench.send(.languageModel(ticket, .done(.toolCalls)))
        bench.send(.toolResult(ticket, call: "2", .json("two")))
        bench.send(.languageModel(ticket, .toolCall(call("3"))))
        bench.send(.toolResult(ticket, call: "1", .json("one")))
        bench.send(.toolResult(ticket, call: "3", .failed(ToolFailure(.unreachable, #"no "way" there"#))))
        bench.model("Done.")
        bench.pass(2_000)
        let tools = bench.history.filter { $0.role != .caller && $0.text != "Done." }
        #expect(tools.map(\.toolCallID) == ["", "2", "1", "", "3"])
        #expect(tools.map { $0.toolCalls.map(\.id) } == [["1", "2"], [], [], ["3"], []])
        #expect(tools.last?.text == #"{"error":{"code":"unreachable","message":"no \"way\" there"}}"#)
    }

    @Test("A caller who interrupts leaves no call without a result")
    func interrupted() {
        var (bench, ticket) = asked(["look": 5_000])
        bench.model("One moment, I will look that up for you now.", done: nil)
        bench.send(.languageModel(ticket, .toolCall(call("1"))))
        bench.send(.languageModel(ticket, .done(.toolCalls)))
        bench.pass(600)
        bench.startsSpeaking()
        bench.pass(1_000)
        #expect(outcomes(bench) == ["look interrupted"])
        #expect(bench.history.contains { $0.toolCallID == "1" && $0.text.contains("interrupted") })
        bench.send(.toolResult(ticket, call: "1", .json("{}")))
        #expect(results(bench).isEmpty)
    }
}
