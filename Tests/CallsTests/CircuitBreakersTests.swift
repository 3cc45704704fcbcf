import Testing

@testable import Calls

/// Breakers that can be asked within an expectation.
private final class Subject {
    private var breakers = CircuitBreakers()

    var standings: [CircuitBreakers.Standing] { breakers.standings }
    func takeNews() -> [CircuitBreakers.News] { breakers.takeNews() }
    func ended(_ call: String, at now: Instant) { breakers.ended(call, at: now) }

    @discardableResult
    func chains(_ chains: ProviderChains, for call: String, at now: Instant) -> ProviderChains {
        breakers.chains(chains, for: call, at: now)
    }

    func outcome(_ outcome: ProviderOutcome, of provider: String, in call: String, at now: Instant) {
        breakers.outcome(outcome, of: provider, in: call, at: now)
    }
}

/// What many calls do to the chains of the next one.
@Suite("Providers that fail are left alone by all calls")
struct CircuitBreakersTests {
    private let start = Instant.origin.advanced(byMs: 1_000_000)
    private let profile = ProviderChains(
        speechToText: ["stt.a", "stt.b"], languageModel: ["llm.a", "llm.b", "llm.c"], textToSpeech: ["tts.a"])
    private let refused = ProviderFailure(code: .network, retryable: true, message: "connection refused")

    private func after(_ milliseconds: Int) -> Instant { start.advanced(byMs: milliseconds) }

    private func failing(_ providers: String...) -> Subject {
        let breakers = Subject()
        for provider in providers {
            for number in 1...3 {
                breakers.outcome(.failed(refused), of: provider, in: "old-\(number)", at: start)
            }
        }
        return breakers
    }

    @Test("The next call asks it last, opens nothing with it in advance, and the operator is told once")
    func leftAlone() {
        let breakers = failing("llm.a", "stt.a")
        let change = CircuitBreakers.Change.opened(pauseMs: 30_000, reason: "connection refused", isAgain: false)
        #expect(breakers.takeNews() == ["llm.a", "stt.a"].map { CircuitBreakers.News(provider: $0, change: change) })
        let chains = breakers.chains(profile, for: "new", at: after(1))
        #expect(chains.languageModel == ["llm.b", "llm.c", "llm.a"])
        #expect(chains.speechToText == ["stt.b", "stt.a"])
        #expect(chains.resting == ["llm.a", "stt.a"] && chains.probing.isEmpty)
        breakers.outcome(.failed(refused), of: "llm.a", in: "late", at: after(2))
        #expect(breakers.takeNews().isEmpty)
        #expect(breakers.standings.map(\.openings) == [1, 1] && breakers.standings.map(\.failures) == [4, 3])
    }

    @Test("Nobody is left out: the only one is asked, and so is the first when all fail")
    func neverRefused() {
        let breakers = failing("tts.a", "llm.a", "llm.b", "llm.c")
        let chains = breakers.chains(profile, for: "new", at: after(1))
        #expect(chains.textToSpeech == ["tts.a"])
        #expect(chains.languageModel == ["llm.a", "llm.b", "llm.c"])
    }

    @Test("After the pause one call has it first, the others have not, and its answer is for all")
    func probing() {
        let breakers = failing("llm.a")
        _ = breakers.takeNews()
        let later = after(30_000)
        let probe = breakers.chains(profile, for: "probe", at: later)
        #expect(probe.languageModel == profile.languageModel && probe.probing == ["llm.a"])
        #expect(breakers.chains(profile, for: "other", at: later).languageModel.first == "llm.b")
        // Its chains are the same when it looks again, and that is no second probe.
        #expect(breakers.chains(profile, for: "probe", at: later) == probe)
        breakers.outcome(.answered, of: "llm.a", in: "probe", at: after(31_000))
        #expect(breakers.takeNews().map(\.change) == [.probed, .closed(afterMs: 31_000)])
        #expect(breakers.chains(profile, for: "other", at: after(31_001)) == profile)
    }

    @Test("A probe that fails is no second outage, and its reason is the newest")
    func probeFails() {
        let breakers = failing("llm.a")
        _ = breakers.takeNews()
        breakers.chains(profile, for: "probe", at: after(30_000))
        let stalled = ProviderFailure(code: .timeout, retryable: false, message: "no token in time")
        breakers.outcome(.failed(stalled), of: "llm.a", in: "probe", at: after(36_000))
        let again = CircuitBreakers.Change.opened(pauseMs: 60_000, reason: "no token in time", isAgain: true)
        #expect(breakers.takeNews().map(\.change) == [.probed, again])
        #expect(breakers.standings.map(\.openings) == [1])
        #expect(breakers.chains(profile, for: "next", at: after(95_999)).languageModel.first == "llm.b")
        #expect(breakers.chains(profile, for: "next", at: after(96_000)).languageModel.first == "llm.a")
    }

    @Test("Of two that may be asked again only the first is: the call would never come to the second")
    func oneProbeForEachChain() {
        let breakers = failing("llm.a", "llm.b")
        let chains = breakers.chains(profile, for: "probe", at: after(30_000))
        #expect(chains.languageModel == ["llm.a", "llm.c", "llm.b"])
        #expect(chains.probing == ["llm.a"])
        #expect(breakers.chains(profile, for: "other", at: after(30_000)).probing == ["llm.b"])
    }

    @Test("A recogniser is probed by a call that begins, never by one that has its recogniser already")
    func recognisers() {
        let breakers = Subject()
        breakers.chains(profile, for: "old", at: start)
        for _ in 1...3 { breakers.outcome(.failed(refused), of: "stt.a", in: "old", at: start) }
        #expect(breakers.chains(profile, for: "old", at: after(30_000)).probing.isEmpty)
        #expect(breakers.chains(profile, for: "new", at: after(30_000)).probing == ["stt.a"])
    }

    @Test("A caller who hangs up before his call has asked leaves the probe to the next")
    func probeHangsUp() {
        let breakers = failing("llm.a")
        breakers.chains(profile, for: "short", at: after(30_000))
        breakers.ended("short", at: after(30_500))
        #expect(breakers.chains(profile, for: "next", at: after(30_501)).probing == ["llm.a"])
    }

    @Test("A question that was refused for itself does not count")
    func ourOwnFault() {
        let breakers = Subject()
        for number in 1...9 { breakers.outcome(.inconclusive, of: "llm.a", in: "\(number)", at: start) }
        #expect(breakers.standings.isEmpty && breakers.chains(profile, for: "new", at: start) == profile)
    }
}
