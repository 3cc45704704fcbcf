/// What all calls know together of one provider: whether it is worth asking.
///
///   closed ── failures in a row ──► open ── after a while ──► half open: one call asks ──► closed, or open for longer
///
/// `Failover` is one call's memory, and a call that begins has none: without this each of a hundred calls would pay the
/// dead provider's timeout once. Nothing is refused here; an open provider goes to the end of its chain, so that it is
/// still asked where there is no other.
///
/// Failures count in a row and not as a share: a provider that answers every second time costs its callers less than one
/// that is left alone, since a failure before the first output is retried.
public struct CircuitBreaker: Sendable, Equatable {
    public struct Policy: Sendable, Equatable {
        /// One failure is bad luck, and two are what one call makes with its retry.
        public var failuresMax = 3
        /// Failures that lie further apart have nothing to do with each other.
        public var withinMs = 60_000
        /// How long it is left alone at first, and at most: each probe that fails doubles it.
        public var openMs = 5_000
        public var openMaxMs = 60_000
        /// A probing call that says nothing for so long has ended, or never came to ask.
        public var probeMs = 15_000

        public init() {}
    }

    public enum State: Sendable, Equatable {
        case closed
        case open(until: Instant)
        case halfOpen(probe: String, until: Instant)
    }

    private let policy: Policy
    public private(set) var state = State.closed
    private var failures = 0
    private var lastFailure: Instant?
    private var openMs: Int

    public init(policy: Policy = Policy()) {
        self.policy = policy
        openMs = policy.openMs
    }

    /// Whether `call` should ask it in its turn. A call that is told yes when the provider was open is the probe.
    public mutating func admits(_ call: String, at now: Instant) -> Bool {
        switch state {
        case .closed: return true
        case .open(let until) where now < until: return false
        case .halfOpen(let probe, _) where probe == call: return true
        case .halfOpen(_, let until) where now < until: return false
        case .open, .halfOpen:
            state = .halfOpen(probe: call, until: now.advanced(byMs: policy.probeMs))
            return true
        }
    }

    public mutating func succeeded() {
        state = .closed
        failures = 0
        openMs = policy.openMs
    }

    /// True when it has just been opened: worth a line in the log.
    @discardableResult
    public mutating func failed(_ call: String, at now: Instant) -> Bool {
        switch state {
        case .open: return false
        case .halfOpen(let probe, _):
            // Calls that began to ask before it was opened still fail one by one; the probe's word counts.
            guard probe == call else { return false }
            openMs = min(2 * openMs, policy.openMaxMs)
        case .closed:
            if let lastFailure, now.milliseconds(since: lastFailure) > policy.withinMs { failures = 0 }
            failures += 1
            lastFailure = now
            guard failures >= policy.failuresMax else { return false }
        }
        state = .open(until: now.advanced(byMs: openMs))
        return true
    }
}
