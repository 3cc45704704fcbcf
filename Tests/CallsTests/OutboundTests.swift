import Testing

@testable import Calls

@Suite("A conversation with somebody who was called")
struct OutboundTests {
    private func ringing(_ change: (inout CallPolicy) -> Void = { _ in }) -> ConversationBench {
        ConversationBench { policy in
            policy.answerWithinMs = 30_000
            policy.greeting.text = "Good morning."
            change(&policy)
        }
    }

    @Test("While it rings the sessions are opened, and nothing is said or waited for but the answer")
    func silent() {
        var bench = ringing()
        let opened = bench.actions.compactMap { if case .open(let provider) = $0 { provider.name } else { nil } }
        #expect(Set(opened).isSuperset(of: ["s0", "l0", "t0"]))
        bench.pass(20_000)
        #expect(bench.heard.isEmpty && bench.texts.isEmpty && bench.record == nil)
        #expect(Set(bench.timers.keys) == [Timers.answer])
    }

    @Test("With the answer the greeting begins, and the longest call counts from there")
    func answered() throws {
        var bench = ringing { $0.callMaxMs = 40_000 }
        bench.pass(25_000)
        bench.send(.answered)
        #expect(bench.texts.values.contains("Good morning."))
        #expect(bench.timers[Timers.answer] == nil)
        #expect(bench.timers[Timers.callMax] == bench.now.advanced(byMs: 40_000))
        bench.pass(3_000)
        bench.send(.hungUp(.caller))
        let record = try #require(bench.record)
        #expect(record.end == .farEnd(.caller) && record.durationMs == 3_000)
        #expect(record.lines.map(\.text) == ["Good morning."] && record.lines[0].atMs < 3_000)
    }

    @Test("Busy, refused and nobody there are ends of their own, with the protocol's code", arguments: [
        (HangUpCause.busy, 486), (.rejected, 603), (.noAnswer, 408),
    ])
    func unanswered(_ cause: HangUpCause, _ code: Int) {
        var bench = ringing()
        bench.pass(2_000)
        bench.send(.hungUp(cause, code: code))
        #expect(bench.record?.end == .farEnd(cause) && bench.record?.code == code)
        #expect(bench.record?.durationMs == 0 && bench.hangUp == nil && bench.timers.isEmpty)
    }

    @Test("A network that fails before the answer has not reached the callee, and afterwards has lost the caller")
    func network() {
        var bench = ringing()
        bench.send(.hungUp(.network, code: 503))
        #expect(bench.record?.end == .farEnd(.unreachable) && bench.record?.code == 503)
        bench = ringing()
        bench.send(.answered)
        bench.send(.hungUp(.network))
        #expect(bench.record?.end == .farEnd(.network))
        // A call that came in was reached by its caller, whatever happened then.
        bench = ConversationBench()
        bench.send(.hungUp(.network))
        #expect(bench.record?.end == .farEnd(.network))
    }

    @Test("A signalling that says nothing does not ring for ever")
    func outOfTime() {
        var bench = ringing()
        bench.pass(29_980)
        #expect(bench.record == nil)
        bench.pass(20)
        #expect(bench.hangUp == .noAnswer && bench.record?.end == .host(.noAnswer) && bench.timers.isEmpty)
    }

    @Test("A host that stops, or has nobody left who could talk, lets no telephone ring on")
    func givenUp() {
        var bench = ringing()
        bench.send(.end(.shutdown))
        #expect(bench.hangUp == .shutdown && bench.record?.end == .host(.shutdown))

        bench = ringing()
        let failure = ProviderFailure(code: .network, retryable: false, message: "gone")
        for name in ["s0", "s1", "s0", "s1", "s0", "s1"] where bench.record == nil {
            let index = name == "s0" ? 0 : 1
            bench.send(.failed(Provider(kind: .speechToText, index: index, name: name), nil, failure))
        }
        #expect(bench.hangUp == .providersFailed && bench.record?.end == .host(.providersFailed))
        #expect(bench.heard.isEmpty)
    }
}
