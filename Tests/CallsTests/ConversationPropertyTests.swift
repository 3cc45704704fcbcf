import Testing

@testable import Calls

@Suite("Whatever happens in a call")
struct ConversationPropertyTests {
    private static func event(_ bench: ConversationBench, _ random: inout SeededRandom) -> CallEvent {
        let words = ["yes", "no", "what time is it", "uh huh", "my number is five five", "and", "", "stop please"]
        let request = bench.lastRequest?.request.ticket ?? Ticket(epoch: 1, request: 1)
        let spoken = bench.texts.keys.randomElement(using: &random) ?? 1
        var ticket = random.chance(85) ? request : Ticket(epoch: UInt64.random(in: 0...9, using: &random), request: 3)
        let voiceTicket = Ticket(epoch: random.chance(80) ? bench.epoch : bench.epoch / 2, request: spoken)
        let kind = ProviderKind.allCases.randomElement(using: &random)!
        let names: [ProviderKind: String] = [.speechToText: "s", .languageModel: "l", .textToSpeech: "t", .turn: "u"]
        let place = Int.random(in: 0...1, using: &random)
        let provider = Provider(kind: kind, index: place, name: names[kind]! + "\(place)")
        let failure = ProviderFailure(code: .vendor, retryable: random.chance(50), message: "scripted")
        let call = ToolCall(id: "\(Int.random(in: 0...3, using: &random))", name: "t", arguments: "{}")
        switch Int.random(in: 0...27, using: &random) {
        case 0, 1, 2: return .voice(.started(position: bench.inbound))
        case 3, 4, 5: return .voice(.stopped(speechEnd: bench.inbound > 900 ? bench.inbound - 900 : 0,
            examined: bench.inbound))
        case 6: return .voice(.probability(random.chance(50) ? 0.1 : 0.9, position: bench.inbound))
        case 7, 8, 9:
            return .transcript(Transcript(
                utterance: UInt64.random(in: 0...30, using: &random), text: words.randomElement(using: &random)!,
                isFinal: random.chance(30)))
        case 10, 11: return .finalized(request: bench.lastFinalize ?? 7)
        case 12:
            let word = words.randomElement(using: &random)!
            return .recogniserTurn([.started, .resumed, .eagerEnd(text: word), .ended(text: word)]
                .randomElement(using: &random)!)
        case 13, 14, 15: return .languageModel(ticket, .delta(["Well, ", "it is noon. ", "Anything else? ", "So"]
            .randomElement(using: &random)!))
        case 16: return .languageModel(ticket, .toolCall(call))
        case 17, 18: return .languageModel(
            ticket, .done([.stop, .length, .toolCalls, .declined, .canceled].randomElement(using: &random)!))
        case 19: return .toolResult(ticket, call: call.id, random.chance(80) ? .json("{}")
            : .control(random.chance(50) ? .hangUp : .transfer(to: "x")))
        case 20: return .speech(voiceTicket, .done)
        case 21: return .speech(voiceTicket, .mark(SpeechMark(
            textStart: place, textEnd: place + 3, position: UInt64.random(in: 0...9_000, using: &random))))
        case 22:
            if kind == .textToSpeech { ticket = voiceTicket }
            return .failed(provider, random.chance(50) ? ticket : nil, failure)
        case 23: return .digit(["1", "#", "*", "x"].randomElement(using: &random)!)
        case 24: return .hold(random.chance(30))
        case 25: return .turnProbability(random.chance(50) ? 0.1 : 0.9, position: bench.inbound)
        case 26: return .transferResult(succeeded: random.chance(20))
        default: return .opened(provider)
        }
    }

    /// Plays one random call and returns it when it is over. Checks after every step what must hold in between.
    private func play(seed: UInt64) -> ConversationBench {
        var random = SeededRandom(seed: seed)
        let greets = random.chance(50)
        var bench = ConversationBench {
            $0.callMaxMs = 60_000
            $0.greeting.text = greets ? "Welcome to the shop. How can I help?" : ""
            $0.greeting.isProtected = seed % 3 == 0
        }
        bench.samplesPerByte = random.chance(70) ? 500 : nil
        bench.send(.answered)
        var silentMs = 0
        var turn: UInt64 = 0
        for _ in 0..<160 where bench.record == nil {
            bench.send(Self.event(bench, &random))
            if random.chance(5) { bench.samplesPerByte = random.chance(60) ? 500 : nil }
            for _ in 0..<Int.random(in: 0...(random.chance(10) ? 150 : 12), using: &random) where bench.record == nil {
                step(&bench, &silentMs, &turn, seed)
            }
        }
        if random.chance(50), bench.record == nil { bench.send(.hungUp(.caller)) }
        var left = 60_000 + CallLimits.farewellMs + 1_000
        while bench.record == nil, left > 0 {
            step(&bench, &silentMs, &turn, seed)
            left -= 20
        }
        return bench
    }

    private func step(_ bench: inout ConversationBench, _ silentMs: inout Int, _ turn: inout UInt64, _ seed: UInt64) {
        let heardBefore = bench.heard.count
        let agent = bench.conversation.agent
        let waits = bench.conversation.agentHasFloor && agent?.isSpeculative == false
        // An answer to new words is a new wait; the words came between two steps.
        if turn != agent?.epoch { silentMs = 0 }
        turn = agent?.epoch ?? 0
        bench.pass(20)
        let stillWaits = bench.conversation.agentHasFloor && bench.conversation.agent?.isSpeculative == false
        silentMs = waits && stillWaits && bench.heard.count == heardBefore && agent?.epoch == bench.epoch
            ? silentMs + 20 : 0
        let policy = CallPolicy().failover
        let bound = (agent?.bridges ?? 0) == 0 ? policy.bridgeMs : policy.bridgeAgainMs
        #expect(silentMs <= bound + 60, "seed \(seed): \(silentMs) ms of silence in the agent's turn")
    }

    private func check(_ bench: ConversationBench, seed: UInt64) {
        #expect(bench.record != nil, "seed \(seed): the call did not end")
        #expect(bench.timers.isEmpty, "seed \(seed): timers were left: \(bench.timers.keys)")
        let finishes = bench.actions.filter { if case .finish = $0 { true } else { false } }
        #expect(finishes.count == 1, "seed \(seed)")
        if case .finish = bench.actions.last {} else { Issue.record("seed \(seed): the record is not the last action") }

        var epoch: UInt64 = 0
        var speculative: Set<UInt64> = []
        var open: Set<Provider> = []
        for action in bench.actions {
            switch action {
            case .startEpoch(let new):
                #expect(new > epoch, "seed \(seed)")
                epoch = new
            case .request(_, let request):
                #expect(request.ticket.epoch == epoch, "seed \(seed)")
                if request.speculative { speculative.insert(request.ticket.request) }
            case .note(.speculation(_, kept: true)): speculative = []
            case .runTool(_, let ticket):
                #expect(!speculative.contains(ticket.request), "seed \(seed): a tool ran while speculative")
            case .speak(let voice, let ticket, let text, _):
                #expect(ticket.epoch == epoch, "seed \(seed): speech for an old epoch")
                #expect(text.utf8.count <= CallLimits.clauseBytesMax + 4, "seed \(seed)")
                #expect(open.contains(voice), "seed \(seed): \(voice.name) speaks and is not open")
                #expect(speculative.isEmpty || !speculative.contains(ticket.request), "seed \(seed)")
            case .playClip(_, let ticket): #expect(ticket.epoch == epoch, "seed \(seed)")
            case .open(let provider): open.insert(provider)
            case .close(let provider): open.remove(provider)
            default: break
            }
        }
        #expect(open.isEmpty, "seed \(seed): \(open.map(\.name)) stayed open")
    }

    @Test("It ends once, leaves nothing open, speaks only for its epoch and never leaves the caller in silence")
    func property() {
        for seed in UInt64(1)...300 { check(play(seed: seed), seed: seed) }
    }

    @Test("After a hang-up nothing is done any more")
    func afterHangUp() {
        for seed in UInt64(1)...60 {
            var bench = play(seed: seed)
            var random = SeededRandom(seed: seed)
            let count = bench.actions.count
            for _ in 0..<50 { bench.send(Self.event(bench, &random)) }
            #expect(bench.actions.count == count, "seed \(seed)")
        }
    }

    @Test("The same seed plays the same call")
    func deterministic() {
        for seed in UInt64(1)...5 { #expect(play(seed: seed).record == play(seed: seed).record) }
    }
}
