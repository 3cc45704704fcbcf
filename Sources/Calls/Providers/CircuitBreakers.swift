/// The circuit breakers of all providers, and the chains of a call as they make them.
///
///   chains of the profile ──► chains(for: call) ──► who answers, then who is left alone ──► the call's `Failover`
///                                   ▲
///   outcome(provider, call) ────────┘   each answer and each failure of each call
///
/// One value, so that what a hundred calls do to a provider can be played to it in a test. A provider is known by its
/// configured name, which says its kind too ("llm.groq"); there is one entry for each that has ever failed.
public struct CircuitBreakers: Sendable {
    /// What the operator is told.
    public enum Change: Sendable, Equatable {
        /// `isAgain`: a probe failed.
        case opened(pauseMs: Int, reason: String, isAgain: Bool)
        /// The call asks it first, and it is the only one that does.
        case probed
        case closed(afterMs: Int)
    }

    public struct News: Sendable, Equatable {
        public var provider: String
        public var change: Change
    }

    /// How it stands with a provider that has failed at some time.
    public struct Standing: Sendable, Equatable {
        public var provider: String
        public var state: CircuitBreaker.State
        /// All that counted, those of probes too.
        public var failures = 0
        /// Outages: a probe that fails begins none.
        public var openings = 0
        /// The last failure in the vendor's words.
        public var reason = ""
        /// Of its being left alone, over all pauses.
        var since: Instant?
    }

    private struct Entry {
        var breaker: CircuitBreaker
        var standing: Standing
    }

    private let policy: CircuitBreaker.Policy
    private var entries: [String: Entry] = [:]
    /// Calls that have had their chains.
    private var calls: Set<String> = []
    private var news: [News] = []

    public init(policy: CircuitBreaker.Policy = .init()) {
        self.policy = policy
    }

    /// By name.
    public var standings: [Standing] {
        entries.values.map { entry in
            var standing = entry.standing
            standing.state = entry.breaker.state
            return standing
        }.sorted { $0.provider < $1.provider }
    }

    public mutating func takeNews() -> [News] {
        defer { news = [] }
        return news
    }

    /// The chains as `call` should go through them now. May make it the probe of a provider.
    public mutating func chains(_ chains: ProviderChains, for call: String, at now: Instant) -> ProviderChains {
        let isFirstLook = calls.insert(call).inserted
        var ordered = chains
        ordered.languageModel = order(chains.languageModel, &ordered, call, at: now)
        ordered.textToSpeech = order(chains.textToSpeech, &ordered, call, at: now)
        // These are chosen when the call begins, and a probe must come to ask.
        if isFirstLook {
            ordered.speechToText = order(chains.speechToText, &ordered, call, at: now)
            ordered.turn = order(chains.turn, &ordered, call, at: now)
        }
        return ordered
    }

    /// Whoever is left alone comes last. Only one that would be asked first is probed: the others wait for its failure.
    private mutating func order(
        _ names: [String], _ chains: inout ProviderChains, _ call: String, at now: Instant
    ) -> [String] {
        var first: [String] = []
        var last: [String] = []
        for name in names {
            if entries[name]?.breaker.isClosed ?? true {
                first.append(name)
            } else if first.isEmpty, admits(name, call, at: now) {
                first.append(name)
                chains.probing.insert(name)
            } else {
                last.append(name)
                chains.resting.insert(name)
            }
        }
        return first + last
    }

    private mutating func admits(_ name: String, _ call: String, at now: Instant) -> Bool {
        guard var entry = entries[name] else { return true }
        let before = entry.breaker.state
        let isAdmitted = entry.breaker.admits(call, at: now)
        entries[name] = entry
        if isAdmitted {
            if case .halfOpen(call, _) = before { return true }
            news.append(News(provider: name, change: .probed))
        }
        return isAdmitted
    }

    /// What came of a question of `call` to a provider.
    public mutating func outcome(_ outcome: ProviderOutcome, of provider: String, in call: String, at now: Instant) {
        switch outcome {
        case .answered:
            guard entries[provider]?.breaker.answered(at: now) == true else { return }
            let since = entries[provider]?.standing.since ?? now
            entries[provider]?.standing.since = nil
            news.append(News(provider: provider, change: .closed(afterMs: now.milliseconds(since: since))))
        case .failed(let failure):
            let new = Entry(
                breaker: CircuitBreaker(policy: policy), standing: Standing(provider: provider, state: .closed))
            var entry = entries[provider] ?? new
            entry.standing.failures += 1
            entry.standing.reason = failure.message
            if let pauseMs = entry.breaker.failed(call, wishMs: failure.retryAfterMs, at: now) {
                let isAgain = entry.standing.since != nil
                if !isAgain {
                    entry.standing.openings += 1
                    entry.standing.since = now
                }
                let change = Change.opened(pauseMs: pauseMs, reason: failure.message, isAgain: isAgain)
                news.append(News(provider: provider, change: change))
            }
            entries[provider] = entry
        case .inconclusive: break
        }
    }

    /// A probe that hung up, or was interrupted, proves nothing.
    public mutating func ended(_ call: String, at now: Instant) {
        calls.remove(call)
        for name in entries.keys { entries[name]?.breaker.ended(call, at: now) }
    }
}
