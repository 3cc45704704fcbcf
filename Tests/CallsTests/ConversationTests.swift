import Testing

@testable import Calls

@Suite("A conversation")
struct ConversationTests {
    /// A call in which the agent is speaking a long answer, and has been heard for `milliseconds`.
    private func interruptible(
        afterMs milliseconds: Int, answer: String = "The shop opens at nine in the morning and closes at six.",
        _ change: (inout CallPolicy) -> Void = { _ in }
    ) -> ConversationBench {
        var bench = ConversationBench(change)
        bench.send(.answered)
        bench.says("when do you open", utterance: 1)
        bench.pass(400)
        bench.model(answer)
        bench.pass(milliseconds)
        _ = bench.unseen()
        return bench
    }

    @Test("One turn goes from speech to a reply that is heard and remembered")
    func oneTurn() throws {
        var bench = ConversationBench()
        bench.send(.answered)
        bench.says("what time is it", utterance: 1)
        bench.pass(400)
        #expect(bench.lastRequest?.request.messages.last == Message(.caller, "what time is it"))
        bench.model("It is ", "noon.")
        bench.pass(2_000)
        #expect(bench.history == [Message(.caller, "what time is it"), Message(.agent, "It is noon.")])
        #expect(bench.conversation.agent == nil)
        #expect(bench.timers[Timers.noInput] != nil)
        let turn = try #require(bench.conversation.record.turns.first)
        #expect(turn.sinceEndOfSpeechMs(.endOfTurn) == 320)
        #expect(bench.conversation.record.lines.map(\.text) == ["what time is it", "It is noon."])
    }

    @Test("A recogniser's end of a turn that the timers have ended is not a second question")
    func recogniserEndsTooLate() {
        var bench = ConversationBench()
        bench.send(.answered)
        bench.says("what time is it", utterance: 1)
        bench.pass(400)
        bench.send(.recogniserTurn(.eagerEnd(text: "what time is it", utterance: 1)))
        bench.send(.recogniserTurn(.ended(text: "what time is it", utterance: 1)))
        bench.model("It is noon.")
        bench.pass(2_000)
        #expect(bench.conversation.record.lines.map(\.text) == ["what time is it", "It is noon."])
        bench.send(.recogniserTurn(.ended(text: "and in Ankara", utterance: 2)))
        bench.pass(10)
        #expect(bench.lastRequest?.request.messages.last == Message(.caller, "and in Ankara"))
    }

    @Test("The model starts on the tentative words and its answer is held until the turn has ended")
    func earlyStart() {
        var bench = ConversationBench()
        bench.send(.answered)
        bench.says("what time is it", utterance: 1)
        let request = bench.lastRequest?.request
        #expect(request?.speculative == true)
        bench.model("It is noon.")
        #expect(bench.texts.isEmpty)
        bench.pass(300)
        #expect(bench.texts.values.contains("It is noon."))
        #expect(bench.lastRequest?.request == request)
        #expect(bench.conversation.speculation.wasted == 0)
    }

    @Test("An early start with other words is thrown away and never spoken")
    func wastedEarlyStart() {
        var bench = ConversationBench()
        bench.send(.answered)
        bench.says("what time is it", utterance: 1)
        bench.model("It is noon.")
        bench.startsSpeaking()
        bench.pass(500)
        bench.stopsSpeaking("what time is it in Ankara", utterance: 1)
        bench.pass(500)
        #expect(bench.texts.isEmpty)
        #expect(bench.conversation.record.speculationsWasted == 1)
        bench.model("It is three.")
        bench.pass(2_000)
        #expect(bench.history == [Message(.caller, "what time is it in Ankara"), Message(.agent, "It is three.")])
    }

    @Test("A tool is not called before the turn has ended")
    func heldTool() {
        var bench = ConversationBench()
        bench.send(.answered)
        bench.says("book a table", utterance: 1)
        let ticket = bench.lastRequest!.request.ticket
        let call = ToolCall(id: "1", name: "book", arguments: "{}")
        bench.send(.languageModel(ticket, .toolCall(call)))
        bench.send(.languageModel(ticket, .done(.toolCalls)))
        #expect(!bench.actions.contains(.runTool(call, ticket)))
        bench.pass(300)
        #expect(bench.actions.contains(.runTool(call, ticket)))
        bench.send(.toolResult(ticket, call: "1", .json("{}")))
        bench.model("Done.")
        bench.pass(2_000)
        #expect(bench.history.last == Message(.agent, "Done."))
    }

    @Test("Sound pauses the agent at once and starts no epoch")
    func pause() {
        var bench = interruptible(afterMs: 2_000)
        bench.startsSpeaking()
        let actions = bench.unseen()
        #expect(actions.contains(.pausePlayout))
        #expect(!actions.contains { if case .startEpoch = $0 { true } else { false } })
    }

    @Test("A cough resumes the agent at the exact sample after 800 ms")
    func falseAlarm() {
        var bench = interruptible(afterMs: 2_000)
        let epoch = bench.epoch
        bench.startsSpeaking()
        let played = bench.played
        bench.pass(100)
        bench.send(.voice(.stopped(speechEnd: bench.inbound, examined: bench.inbound)))
        bench.pass(780)
        #expect(bench.isPaused)
        bench.pass(20)
        #expect(!bench.isPaused && bench.epoch == epoch && bench.played == played)
        bench.pass(8_000)
        #expect(bench.history.last?.text == "The shop opens at nine in the morning and closes at six.")
        #expect(bench.conversation.record.falseAlarms == 1)
    }

    @Test("Words take the floor and the model is told only what was heard")
    func words() {
        var bench = interruptible(afterMs: 2_500)
        bench.startsSpeaking()
        bench.pass(200)
        bench.send(.transcript(Transcript(utterance: 2, text: "no wait", isFinal: false)))
        #expect(bench.unseen().contains(.startEpoch(bench.epoch)))
        #expect(bench.queue.isEmpty)
        #expect(bench.history.last == Message(.agent, "The shop opens at nine in the"))
    }

    @Test("Sound of 350 ms takes the floor without words")
    func longSound() {
        var bench = interruptible(afterMs: 2_500)
        bench.startsSpeaking()
        bench.pass(340)
        #expect(bench.conversation.agent != nil)
        bench.pass(20)
        #expect(bench.conversation.agent == nil)
    }

    @Test("An agent that lost the floor to a noise says the rest")
    func restAfterNoise() {
        var bench = interruptible(afterMs: 2_500)
        bench.startsSpeaking()
        bench.pass(600)
        bench.stopsSpeaking("", utterance: 2)
        bench.pass(100)
        #expect(bench.texts.values.contains("morning and closes at six."))
    }

    @Test("\"Hı hı\" does not take the floor, and \"evet\" after a question does")
    func acknowledgement() {
        var bench = ConversationBench { $0.language = .turkish }
        bench.send(.answered)
        bench.says("saat kaç", utterance: 1)
        bench.pass(400)
        bench.model("Şimdi saat tam olarak on iki buçuk oldu. Başka bir isteğiniz var mı? Size yardım edeyim.")
        bench.pass(2_000)
        bench.says("hı hı", utterance: 2, lasting: 200)
        bench.pass(400)
        #expect(!bench.isPaused && bench.conversation.agent != nil)
        #expect(bench.conversation.record.falseAlarms == 1)
        while bench.conversation.agent?.heard.endsInQuestion == false { bench.pass(20) }
        bench.says("evet", utterance: 3, lasting: 200)
        bench.pass(400)
        #expect(bench.lastRequest?.request.messages.last == Message(.caller, "evet"))
    }

    @Test("A caller who goes on shortly after the answer began is answered once, to the whole")
    func repair() {
        var bench = interruptible(afterMs: 800)
        bench.says("on Sundays I mean", utterance: 2)
        bench.pass(400)
        #expect(bench.lastRequest?.request.messages == [Message(.caller, "when do you open on Sundays I mean")])
        #expect(bench.conversation.record.contextRepairs == 1)
    }

    @Test("A protected greeting cannot be interrupted, and what was said meanwhile is answered afterwards")
    func protectedGreeting() {
        var bench = ConversationBench {
            $0.greeting.text = "This call is recorded for your safety and ours."
            $0.greeting.isProtected = true
        }
        bench.send(.answered)
        bench.pass(500)
        bench.says("hello are you there", utterance: 1)
        #expect(!bench.actions.contains(.pausePlayout))
        bench.pass(4_000)
        #expect(bench.history.first == Message(.agent, "This call is recorded for your safety and ours."))
        #expect(bench.lastRequest?.request.messages.last == Message(.caller, "hello are you there"))
    }

    @Test("Dictated digits are waited for")
    func digits() {
        var bench = ConversationBench()
        bench.send(.answered)
        bench.says("my number is five three two", utterance: 1)
        bench.pass(1_000)
        #expect(bench.conversation.turns == 0)
        bench.pass(600)
        #expect(bench.conversation.turns == 1)
    }

    @Test("Keys take part like a turn of the caller")
    func keypad() {
        var bench = ConversationBench()
        bench.send(.answered)
        for digit in "42#" { bench.send(.digit(digit)) }
        #expect(bench.lastRequest?.request.messages.last == Message(.caller, "[keypad] 42"))
    }

    @Test("Silence is asked about, then the call ends politely")
    func noInput() {
        var bench = ConversationBench()
        bench.send(.answered)
        bench.pass(8_020)
        #expect(bench.notes.contains(.clip(turn: 0, .stillThere)))
        bench.pass(9_100)
        #expect(bench.notes.contains(.clip(turn: 0, .goodbye)))
        bench.pass(1_200)
        #expect(bench.hangUp == .noInput && bench.record?.end == .host(.noInput))
        #expect(bench.timers.isEmpty)
    }

    @Test("A goodbye is heard to its end before the call is hung up")
    func goodbye() {
        var bench = ConversationBench()
        bench.send(.answered)
        bench.says("thanks bye", utterance: 1)
        bench.pass(300)
        let ticket = bench.lastRequest!.request.ticket
        bench.model("Goodbye.", done: nil)
        bench.send(.languageModel(ticket, .toolCall(ToolCall(id: "x", name: "hang_up", arguments: "{}"))))
        bench.send(.toolResult(ticket, call: "x", .control(.hangUp)))
        bench.send(.languageModel(ticket, .done(.stop)))
        #expect(bench.hangUp == nil)
        bench.pass(1_000)
        #expect(bench.hangUp == .agentDone)
        #expect(bench.record?.lines.last?.text == "Goodbye.")
    }
}
