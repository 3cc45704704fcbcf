import Testing

@testable import Calls

/// A provider that fails for one call is left alone by the next, and found again by one that probes.
@Suite("A circuit breaker remembers for all calls")
struct CircuitBreakerTests {
    private let start = Instant.origin.advanced(byMs: 1_000_000)

    private func opened() -> CircuitBreaker {
        var breaker = CircuitBreaker()
        for number in 1...3 { breaker.failed("call-\(number)", at: start) }
        return breaker
    }

    @Test("It opens with the third failure in a row, and says so once")
    func opens() {
        var breaker = CircuitBreaker()
        #expect(!breaker.failed("a", at: start))
        #expect(!breaker.failed("b", at: start))
        #expect(breaker.admits("c", at: start))
        #expect(breaker.failed("c", at: start))
        #expect(!breaker.failed("d", at: start))
        #expect(!breaker.admits("e", at: start))
    }

    @Test("An answer between failures, or a minute, begins the count anew")
    func inARow() {
        var breaker = CircuitBreaker()
        breaker.failed("a", at: start)
        breaker.failed("b", at: start)
        breaker.succeeded()
        breaker.failed("c", at: start)
        breaker.failed("d", at: start)
        #expect(!breaker.failed("e", at: start.advanced(byMs: 60_001)))
        #expect(breaker.state == .closed)
    }

    @Test("Half open, one call asks and the others do not, until it has told")
    func probe() {
        var breaker = opened()
        #expect(!breaker.admits("a", at: start.advanced(byMs: 4_999)))
        let later = start.advanced(byMs: 5_000)
        #expect(breaker.admits("a", at: later))
        #expect(!breaker.admits("b", at: later))
        #expect(breaker.admits("a", at: later))
        breaker.succeeded()
        #expect(breaker.admits("b", at: later))
    }

    @Test("A probe that fails doubles the pause, up to a minute; what others still tell of before changes nothing")
    func doubles() {
        var breaker = opened()
        var now = start
        for pauseMs in [5_000, 10_000, 20_000, 40_000, 60_000, 60_000] {
            #expect(!breaker.admits("a", at: now.advanced(byMs: pauseMs - 1)))
            now = now.advanced(byMs: pauseMs)
            #expect(breaker.admits("a", at: now))
            #expect(!breaker.failed("late", at: now))
            #expect(breaker.failed("a", at: now))
        }
    }

    @Test("A probe that says nothing is followed by another")
    func silentProbe() {
        var breaker = opened()
        let later = start.advanced(byMs: 5_000)
        #expect(breaker.admits("gone", at: later))
        #expect(!breaker.admits("next", at: later.advanced(byMs: 14_999)))
        #expect(breaker.admits("next", at: later.advanced(byMs: 15_000)))
    }
}
