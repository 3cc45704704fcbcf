/// Which provider of one kind is asked, and which next when it fails.
///
///   retry the same ─► the next in the chain ─► … ─► exhausted (the conversation plays a clip)
///
/// A provider that failed is left alone for a while, so that a turn does not pay for it again, and then tried again
/// without anybody's help. `declined` is no failure: the provider works, the question was not its own.
public struct Failover: Sendable, Equatable {
    public struct Policy: Sendable, Equatable {
        /// Silence, while the caller waits for the agent, after which "one moment, please" is played. With the voice
        /// path it stays below the 1.5 s in which a caller must hear something.
        public var bridgeMs = 1_200
        /// And how long after that clip the next one.
        public var bridgeAgainMs = 4_000
        /// Such clips in one turn; then the call is given up.
        public var bridgesMax = 4
        public var firstTokenMs = 6_000
        /// Between two tokens.
        public var tokenStallMs = 4_000
        public var firstAudioMs = 2_500
        public var audioStallMs = 2_500
        /// For the results of tools.
        public var toolMs = 10_000
        /// A wish to be asked again later than this counts as a failure for good.
        public var retryAfterMaxMs = 300
        /// How long a provider that failed is left alone.
        public var recoveryMs = 30_000
        /// Turns in a row that no language model wanted; then the agent says goodbye.
        public var declinedTurnsMax = 3
        /// Providers of each kind, beyond the first, that are opened when the call begins.
        public var warmStandbys = 1
        /// Requests to the recogniser in a row without an answer; then it is taken for dead.
        public var recogniserSilencesMax = 2

        public init() {}
    }

    enum Step: Sendable, Equatable {
        case retry(Provider)
        case next(Provider)
        case exhausted
    }

    let kind: ProviderKind
    let policy: Policy
    private(set) var names: [String]
    private var index = 0
    private var hasRetried = false
    private var attempts = 0
    private var downUntil: [String: Instant] = [:]

    init(kind: ProviderKind, names: [String], policy: Policy) {
        self.kind = kind
        self.names = names
        self.policy = policy
    }

    var current: Provider? {
        names.indices.contains(index) ? Provider(kind: kind, index: index, name: names[index]) : nil
    }

    /// A turn begins: the first provider that is not left alone, or the first if all are.
    mutating func beginTurn(names: [String], at now: Instant) {
        self.names = names
        downUntil = downUntil.filter { $0.value > now }
        index = names.firstIndex { downUntil[$0] == nil } ?? 0
        hasRetried = false
        attempts = 0
    }

    /// This call shall ask them again, though they are left alone: all calls wait for what comes of it.
    mutating func probe(_ names: Set<String>) {
        for name in names { downUntil[name] = nil }
    }

    mutating func failed(_ failure: ProviderFailure, at now: Instant) -> Step {
        attempts += 1
        guard attempts < CallLimits.attemptsPerTurn, let current else { return .exhausted }
        if failure.retryable, !hasRetried, failure.retryAfterMs <= policy.retryAfterMaxMs {
            hasRetried = true
            return .retry(current)
        }
        downUntil[current.name] = now.advanced(byMs: policy.recoveryMs)
        return advance()
    }

    /// The provider works.
    mutating func succeeded() {
        hasRetried = false
        attempts = 0
    }

    mutating func declined() -> Step {
        attempts += 1
        return attempts < CallLimits.attemptsPerTurn ? advance() : .exhausted
    }

    private mutating func advance() -> Step {
        hasRetried = false
        index += 1
        // Providers that are left alone are passed over as long as there is another.
        while let current, downUntil[current.name] != nil, index < names.count { index += 1 }
        return current.map(Step.next) ?? .exhausted
    }
}
