import Testing

@testable import Calls

/// A breaker that can be asked within an expectation.
private final class Subject {
    private var breaker = CircuitBreaker()

    var isClosed: Bool { breaker.isClosed }
    func admits(_ call: String, at now: Instant) -> Bool { breaker.admits(call, at: now) }
    func answered(at now: Instant) -> Bool { breaker.answered(at: now) }
    func ended(_ call: String, at now: Instant) { breaker.ended(call, at: now) }

    @discardableResult
    func failed(_ call: String, wishMs: Int = 0, at now: Instant) -> Int? {
        breaker.failed(call, wishMs: wishMs, at: now)
    }
}

/// What one provider does to many calls, and what becomes of it.
@Suite("A circuit breaker remembers for all calls")
struct CircuitBreakerTests {
    private let start = Instant.origin.advanced(byMs: 1_000_000)

    private func opened() -> Subject {
        let breaker = Subject()
        for number in 1...3 { breaker.failed("call-\(number)", at: start) }
        return breaker
    }

    private func after(_ milliseconds: Int) -> Instant { start.advanced(byMs: milliseconds) }

    @Test("It opens with the third failure in a row, and says so once")
    func opens() {
        let breaker = Subject()
        #expect(breaker.failed("a", at: start) == nil)
        #expect(breaker.failed("b", at: start) == nil)
        #expect(breaker.admits("c", at: start))
        #expect(breaker.failed("c", at: start) == 30_000)
        #expect(breaker.failed("d", at: start) == nil)
        #expect(!breaker.admits("e", at: start))
    }

    @Test("An answer between failures begins the count anew")
    func inARow() {
        let breaker = Subject()
        breaker.failed("a", at: start)
        breaker.failed("b", at: start)
        #expect(!breaker.answered(at: start))
        breaker.failed("c", at: start)
        #expect(breaker.failed("d", at: start) == nil)
        #expect(breaker.failed("e", at: start) != nil)
    }

    @Test("Failures count when three lie within a minute, and not when the third comes later")
    func window() {
        let breaker = Subject()
        breaker.failed("a", at: start)
        breaker.failed("b", at: after(59_000))
        #expect(breaker.failed("c", at: after(60_001)) == nil)
        #expect(breaker.failed("d", at: after(118_999)) != nil)
    }

    @Test("Half open, one call asks and the others do not, until it has told")
    func probe() {
        let breaker = opened()
        #expect(!breaker.admits("a", at: after(29_999)))
        let later = after(30_000)
        #expect(breaker.admits("a", at: later))
        #expect(!breaker.admits("b", at: later))
        #expect(breaker.admits("a", at: later))
        #expect(breaker.answered(at: later))
        #expect(breaker.admits("b", at: later))
        #expect(!breaker.answered(at: later))
    }

    @Test("A probe that fails doubles the pause, up to eight times the first; what other calls tell changes nothing")
    func doubles() {
        let breaker = opened()
        var now = start
        for (pauseMs, next) in [(30_000, 60_000), (60_000, 120_000), (120_000, 240_000), (240_000, 240_000)] {
            #expect(!breaker.admits("a", at: now.advanced(byMs: pauseMs - 1)))
            now = now.advanced(byMs: pauseMs)
            #expect(breaker.admits("a", at: now))
            #expect(breaker.failed("late", at: now) == nil)
            #expect(breaker.failed("a", at: now) == next)
        }
    }

    @Test("After it was closed its pause is the first again")
    func closesWhole() {
        let breaker = opened()
        #expect(breaker.admits("a", at: after(30_000)))
        #expect(breaker.failed("a", at: after(30_000)) == 60_000)
        #expect(breaker.admits("a", at: after(90_000)))
        #expect(breaker.answered(at: after(90_000)))
        for number in 1...2 { #expect(breaker.failed("call-\(number)", at: after(90_000)) == nil) }
        #expect(breaker.failed("call-3", at: after(90_000)) == 30_000)
    }

    @Test("A probe that says nothing for 15 s, or has hung up, is followed by another")
    func silentProbe() {
        let breaker = opened()
        #expect(breaker.admits("silent", at: after(30_000)))
        #expect(!breaker.admits("next", at: after(44_999)))
        #expect(breaker.admits("next", at: after(45_000)))
        breaker.ended("silent", at: after(45_001))
        #expect(!breaker.admits("third", at: after(45_001)))
        breaker.ended("next", at: after(45_002))
        #expect(breaker.admits("third", at: after(45_002)))
    }

    @Test("A wish to be left alone opens at once and is the pause, within bounds; a short one is the call's own affair")
    func wish() {
        let breaker = Subject()
        #expect(breaker.failed("a", wishMs: 300, at: start) == nil)
        #expect(breaker.failed("b", wishMs: 2_000, at: start) == 2_000)
        #expect(breaker.admits("c", at: after(2_000)))
        #expect(breaker.failed("c", wishMs: 3_600_000, at: after(2_000)) == 240_000)
    }

    @Test("An answer to a question of before the pause does not close it; one after the pause does, whoever asked")
    func lateAnswer() {
        let breaker = opened()
        #expect(!breaker.answered(at: after(29_999)))
        #expect(!breaker.isClosed)
        #expect(breaker.answered(at: after(30_000)))
    }

    @Test("A timeout, a 500 and a wrong key count; a 400 does not, unless the answer had begun, and a crash never does")
    func whose() {
        func isFailure(_ code: ProviderFailure.Code, retryable: Bool = false, hasBegun: Bool = false) -> Bool {
            let failure = ProviderFailure(code: code, retryable: retryable, message: "")
            return ProviderOutcome(failure, hasBegun: hasBegun) != .inconclusive
        }
        #expect(isFailure(.timeout) && isFailure(.network) && isFailure(.authentication) && isFailure(.quota))
        #expect(isFailure(.vendor, retryable: true))
        #expect(!isFailure(.vendor) && !isFailure(.request))
        #expect(isFailure(.vendor, hasBegun: true))
        #expect(!isFailure(.crashed, retryable: true, hasBegun: true) && !isFailure(.replaced))
    }
}
