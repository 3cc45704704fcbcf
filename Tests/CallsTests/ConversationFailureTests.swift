import Testing

@testable import Calls

@Suite("A failure is not silence")
struct ConversationFailureTests {
    private let crashed = ProviderFailure(code: .crashed, retryable: false, message: "gone")

    private func asked(_ chains: ProviderChains? = nil) -> ConversationBench {
        var bench = ConversationBench({ $0.speculation.isEnabled = false }, chains: chains)
        bench.send(.answered)
        bench.says("what time is it", utterance: 1)
        bench.pass(300)
        return bench
    }

    @Test("A model that dies before a token is replaced at once")
    func modelDies() {
        var bench = asked()
        let first = bench.lastRequest!
        bench.send(.failed(first.provider, first.request.ticket, crashed))
        #expect(bench.lastRequest?.provider.name == "l1")
        bench.send(.languageModel(first.request.ticket, .delta("Late words of the dead.")))
        bench.model("It is noon.")
        bench.pass(2_000)
        #expect(bench.history.last == Message(.agent, "It is noon."))
    }

    @Test("A model that may succeed is asked once more before the next")
    func modelRetry() {
        var bench = asked()
        for expected in ["l0", "l1"] {
            let last = bench.lastRequest!
            let failure = ProviderFailure(code: .network, retryable: true, message: "reset")
            bench.send(.failed(last.provider, last.request.ticket, failure))
            #expect(bench.lastRequest?.provider.name == expected)
        }
    }

    @Test("A model that declines passes the question on without a mark against it")
    func declined() {
        var bench = asked()
        bench.model(done: .declined)
        #expect(bench.lastRequest?.provider.name == "l1")
        bench.model("It is noon.")
        bench.pass(2_000)
        bench.says("and now", utterance: 2)
        bench.pass(300)
        #expect(bench.lastRequest?.provider.name == "l0")
        #expect(bench.conversation.record.failovers == 0 && bench.conversation.record.declines == 1)
    }

    @Test("When every model declines the caller is told, and the call goes on")
    func allDecline() {
        var bench = asked()
        bench.model(done: .declined)
        bench.model(done: .declined)
        #expect(bench.notes.contains(.clip(turn: 1, .notUnderstood)))
        bench.pass(3_000)
        #expect(bench.record == nil && bench.conversation.agent == nil)
    }

    @Test("A model that says nothing is bridged within 1.2 s and given up in the end")
    func silentModel() {
        var bench = asked()
        let asked = bench.now
        while bench.lastHeardAt == nil { bench.pass(20) }
        #expect(bench.lastHeardAt!.milliseconds(since: asked) <= 1_240)
        bench.pass(40_000)
        #expect(bench.hangUp == .providersFailed && bench.timers.isEmpty)
        #expect(bench.notes.contains(.clip(turn: 1, .technicalGoodbye)))
    }

    @Test("When every model is dead the caller hears a goodbye at once")
    func allModelsDead() {
        var bench = asked()
        for _ in 0..<2 {
            let last = bench.lastRequest!
            bench.send(.failed(last.provider, last.request.ticket, crashed))
        }
        bench.pass(40)
        #expect(bench.lastHeardAt == bench.now)
        bench.pass(1_200)
        #expect(bench.record?.end == .host(.providersFailed))
    }

    @Test("A model that dies in the middle of an answer is continued by the next")
    func modelDiesLate() {
        var bench = asked()
        let first = bench.lastRequest!
        bench.model("It is noon. The shop is op", done: nil)
        bench.send(.failed(first.provider, first.request.ticket, crashed))
        let messages = bench.lastRequest!.request.messages
        #expect(messages.suffix(2).first == Message(.agent, "It is noon. "))
        bench.model("The shop is open.")
        bench.pass(4_000)
        #expect(bench.history.last == Message(.agent, "It is noon. The shop is open."))
    }

    @Test("What a dead voice has not said is said by the next")
    func voiceDies() {
        var bench = asked()
        bench.samplesPerByte = nil
        bench.model("It is noon. ", "The shop is open. ", "Goodbye.", done: nil)
        let old = bench.texts.count
        #expect(old == 2)
        bench.samplesPerByte = 600
        bench.send(.failed(Provider(kind: .textToSpeech, index: 0, name: "t0"), nil, crashed))
        bench.model(done: .stop)
        bench.pass(5_000)
        #expect(bench.history.last == Message(.agent, "It is noon. The shop is open. Goodbye."))
        let speakers = bench.actions.compactMap { if case .speak(let voice, _, _, _) = $0 { voice.name } else { nil } }
        #expect(speakers == ["t0", "t0", "t1", "t1", "t1", "t1"])
    }

    @Test("A silent voice is bridged, replaced and heard")
    func silentVoice() {
        var bench = asked()
        bench.samplesPerByte = nil
        bench.model("It is noon.")
        let from = bench.now
        while bench.lastHeardAt == nil { bench.pass(20) }
        #expect(bench.lastHeardAt!.milliseconds(since: from) <= 1_240)
        bench.samplesPerByte = 600
        bench.pass(6_000)
        #expect(bench.history.last == Message(.agent, "It is noon."))
    }

    @Test("A recogniser that gives no answer twice is replaced")
    func silentRecogniser() {
        var bench = ConversationBench()
        bench.send(.answered)
        for _ in 0..<2 {
            bench.startsSpeaking()
            bench.pass(500)
            bench.send(.voice(.stopped(speechEnd: bench.inbound, examined: bench.inbound)))
            bench.pass(2_600)
        }
        #expect(bench.conversation.recognisers.current?.name == "s1")
        bench.says("hello there", utterance: 1)
        bench.pass(400)
        #expect(bench.conversation.turns == 1)
    }

    private let refused = ProviderFailure(code: .network, retryable: true, message: "nothing answers")

    @Test("A recogniser that fails again after its second chance is replaced, whatever empty answers came between")
    func recogniserNeverRecovers() {
        var bench = ConversationBench()
        bench.send(.answered)
        for expected in ["s0", "s1"] {
            bench.startsSpeaking()
            bench.pass(500)
            bench.send(.voice(.stopped(speechEnd: bench.inbound, examined: bench.inbound)))
            bench.send(.failed(Provider(kind: .speechToText, index: 0, name: "s0"), nil, refused))
            #expect(bench.conversation.recognisers.current?.name == expected)
            for request in 1...20 { bench.send(.finalized(request: UInt64(request))) }
            bench.pass(3_000)
        }
        #expect(bench.record == nil)
    }

    @Test("A caller whose words were lost with the recogniser is told so at once")
    func wordsLost() {
        var bench = ConversationBench()
        bench.send(.answered)
        bench.startsSpeaking()
        bench.pass(500)
        bench.send(.voice(.stopped(speechEnd: bench.inbound, examined: bench.inbound)))
        bench.pass(100)
        bench.send(.failed(Provider(kind: .speechToText, index: 0, name: "s0"), nil, refused))
        #expect(bench.notes.contains(.clip(turn: 0, .notUnderstood)))
    }

    @Test("Without any recogniser left the caller hears a goodbye")
    func noRecogniser() {
        var bench = ConversationBench()
        bench.send(.answered)
        for name in ["s0", "s1"] {
            bench.send(.failed(Provider(kind: .speechToText, index: 0, name: name), nil, crashed))
        }
        bench.pass(2_000)
        #expect(bench.record?.end == .host(.providersFailed))
    }

    @Test("A tool that does not answer is reported to the model as late")
    func silentTool() {
        var bench = asked()
        let ticket = bench.lastRequest!.request.ticket
        bench.send(.languageModel(ticket, .toolCall(ToolCall(id: "1", name: "look", arguments: "{}"))))
        bench.pass(10_020)
        #expect(bench.actions.contains { if case .toolResult(_, ticket, "1", _) = $0 { true } else { false } })
    }

    // MARK: What other calls are told

    private func outcomes(_ bench: ConversationBench) -> [String] {
        bench.actions.compactMap { action in
            guard case .outcome(let provider, let outcome) = action else { return nil }
            switch outcome {
            case .answered: return "\(provider.name) answered"
            case .failed: return "\(provider.name) failed"
            case .inconclusive: return "\(provider.name) inconclusive"
            }
        }
    }

    @Test("A model that breaks off in the middle has failed, and the one that ends its answer has answered")
    func toldOfModels() {
        var bench = asked()
        bench.model("It is noon. The shop is op", done: nil)
        #expect(outcomes(bench) == ["s0 answered", "t0 answered"])
        let stalled = ProviderFailure(code: .timeout, retryable: false, message: "no token in time")
        bench.send(.failed(bench.lastRequest!.provider, bench.lastRequest!.request.ticket, stalled))
        bench.model("The shop is open.")
        #expect(outcomes(bench).suffix(3) == ["l0 failed", "l1 answered", "t0 answered"])
    }

    @Test("A question that a model refuses says nothing of the model; an answer that it breaks off does")
    func toldOfRefusals() {
        let refusal = ProviderFailure(code: .vendor, retryable: false, message: "too long")
        var bench = asked()
        bench.send(.failed(bench.lastRequest!.provider, bench.lastRequest!.request.ticket, refusal))
        bench.model("It is noo", done: nil)
        bench.send(.failed(bench.lastRequest!.provider, bench.lastRequest!.request.ticket, refusal))
        #expect(outcomes(bench) == ["s0 answered", "l0 inconclusive", "l1 failed"])
    }

    @Test("A barge-in and a hang-up say nothing of a model that was about to answer")
    func toldNothing() {
        var bench = asked()
        bench.model("It is noon and the shop is open until six in the evening. Then", done: nil)
        bench.pass(1_000)
        bench.says("no I mean tomorrow please", utterance: 2, lasting: 1_500)
        bench.pass(500)
        #expect(bench.notes.contains { if case .bargeIn = $0 { true } else { false } })
        bench.send(.hungUp(.caller))
        #expect(!outcomes(bench).contains { $0.hasPrefix("l0") } && !outcomes(bench).contains { $0.hasSuffix("failed") })
    }

    @Test("Nothing is opened in advance with a provider that is left alone, unless there is no other")
    func restingStandby() {
        var chains = ProviderChains(speechToText: ["s0"], languageModel: ["l0", "l1"], textToSpeech: ["t0", "t1"])
        chains.resting = ["s0", "l1"]
        let bench = ConversationBench(chains: chains)
        let opened = bench.actions.compactMap { if case .open(let provider) = $0 { provider.name } else { nil } }
        #expect(opened == ["s0", "l0", "t0", "t1"])
    }

    @Test("A call that is told to probe forgets what it has against the provider")
    func probes() {
        var bench = asked()
        bench.send(.failed(bench.lastRequest!.provider, bench.lastRequest!.request.ticket, crashed))
        bench.model("It is noon.")
        bench.pass(3_000)
        var chains = ProviderChains(speechToText: ["s0"], languageModel: ["l0", "l1"], textToSpeech: ["t0", "t1"])
        chains.probing = ["l0"]
        bench.send(.chains(chains))
        bench.says("and now", utterance: 2)
        bench.pass(300)
        #expect(bench.lastRequest?.provider.name == "l0")
    }
}
