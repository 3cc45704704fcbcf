/// What all calls know together of one provider: whether it is worth asking.
///
///   closed ── failures in a row ──► open ── after a pause ──► half open: one call asks ── it answers ──► closed
///                                    ▲                                    │
///                                    └──────── it fails: a longer pause ──┘
///
/// `Failover` is one call's memory, and a call that begins has none: without this each of a hundred calls would pay the
/// dead provider's timeout once. Nothing is refused here. An open provider goes to the end of its chain, so that it is
/// still asked where there is no other.
///
/// Failures count in a row and not as a share: a provider that answers every second time costs its callers less than
/// one that is left alone, since a failure before the first output is made good by a retry. Probing with traffic of our
/// own was refused: a question to a model costs money and proves little, and the next caller asks one anyway.
public struct CircuitBreaker: Sendable, Equatable {
    public struct Policy: Sendable, Equatable {
        /// One failure is bad luck, and two are what one call makes with its retry.
        public var failuresMax = 3
        /// Failures that do not lie within a minute have nothing to do with each other.
        public var windowMs = 60_000
        /// How long it is left alone at first.
        public var pauseMs: Int
        /// Each probe that fails doubles the pause, up to eight times the first. More would spare few callers anything,
        /// and a provider that is well again would wait for its first call.
        public var doublingsMax = 3
        /// A probing call that says nothing for so long never came to ask: longer than the longest deadline of a
        /// question, `Failover.Policy.firstTokenMs`, with the end of the caller's sentence before it.
        public var probeMs = 15_000
        /// A provider's wish to be left alone for longer than this is believed at once, instead of counted. Shorter
        /// ones are kept within the turn.
        public var wishMs = Failover.Policy().retryAfterMaxMs

        public var pauseMaxMs: Int { pauseMs << doublingsMax }

        public init(pauseMs: Int = Failover.Policy().recoveryMs) {
            self.pauseMs = pauseMs
        }
    }

    public enum State: Sendable, Equatable {
        case closed
        case open(until: Instant)
        case halfOpen(probe: String, until: Instant)
    }

    private let policy: Policy
    public private(set) var state = State.closed
    /// When it failed, since it answered last; the oldest first, at most `failuresMax`.
    private var failures: [Instant] = []
    private var pauseMs: Int

    public init(policy: Policy = Policy()) {
        self.policy = policy
        pauseMs = policy.pauseMs
    }

    public var isClosed: Bool { state == .closed }

    /// Whether `call`, which is about to ask, should ask this one in its turn. A call that is told yes although it is
    /// not closed is the probe, and stays that while it asks for leave again within `probeMs`.
    public mutating func admits(_ call: String, at now: Instant) -> Bool {
        switch state {
        case .closed: return true
        case .open(let until) where now < until: return false
        case .halfOpen(let probe, let until) where now < until && probe != call: return false
        case .open, .halfOpen:
            state = .halfOpen(probe: call, until: now.advanced(byMs: policy.probeMs))
            return true
        }
    }

    /// It answered. True when that has closed it: an answer within the pause may be one to a question of before.
    public mutating func answered(at now: Instant) -> Bool {
        failures = []
        switch state {
        case .closed: return false
        case .open(let until) where now < until: return false
        // Whoever asked: a call that has no other provider asks without leave, and its answer is as good.
        case .open, .halfOpen:
            state = .closed
            pauseMs = policy.pauseMs
            return true
        }
    }

    /// It failed `call`.
    ///
    /// - Parameter wishMs: how long it wishes to be left alone (Retry-After), 0 for no wish.
    /// - Returns: the pause, when that has opened it.
    public mutating func failed(_ call: String, wishMs: Int = 0, at now: Instant) -> Int? {
        let wish = wishMs > policy.wishMs ? min(wishMs, policy.pauseMaxMs) : nil
        switch state {
        case .open: return nil
        case .halfOpen(let probe, _):
            // Calls that asked before it was opened still fail one by one; the probe's word counts.
            guard probe == call else { return nil }
            pauseMs = min(2 * pauseMs, policy.pauseMaxMs)
        case .closed:
            failures.removeAll { now.milliseconds(since: $0) > policy.windowMs }
            failures.append(now)
            guard wish != nil || failures.count >= policy.failuresMax else { return nil }
        }
        failures = []
        let pause = wish ?? pauseMs
        state = .open(until: now.advanced(byMs: pause))
        return pause
    }

    /// `call` is over. If it was the probe, and nothing came of it, the next one may be.
    public mutating func ended(_ call: String, at now: Instant) {
        if case .halfOpen(call, _) = state { state = .open(until: now) }
    }
}
