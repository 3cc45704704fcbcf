/// Lets the language model start before it is certain that the caller has finished.
///
///           eager end                 the turn ends with the same words
///   idle ──────────────► holding ───────────────────────────────────────► released
///    ▲                      │
///    └──────────────────────┘ other words, or the caller goes on: dropped, and counted
///
/// It gains what the end-of-turn decision still waits (150 to 250 ms), and costs requests for callers who hesitate: a
/// peer without a bound made 2.4 requests per turn for them. So there is a budget per turn and per call. Nothing of a
/// held answer is spoken and no tool is called: only time is gained, never an effect.
public struct Speculation: Sendable, Equatable {
    public struct Policy: Sendable, Equatable {
        public var isEnabled = true
        /// Early starts within one turn of the caller.
        public var perTurn = 3
        /// Early starts of a call that may be wasted; then there are no more.
        public var wastedPerCall = 20

        public init() {}
    }

    let policy: Policy
    let language: Language
    private(set) var held: String?
    private(set) var started = 0
    private(set) var wasted = 0
    private var startedThisTurn = 0

    init(policy: Policy, language: Language) {
        self.policy = policy
        self.language = language
    }

    var isHolding: Bool { held != nil }

    /// Whether to start with these words now. False also if a start with the same words is held already.
    mutating func begins(with words: String) -> Bool {
        guard policy.isEnabled, held == nil, startedThisTurn < policy.perTurn, wasted < policy.wastedPerCall
        else { return false }
        held = Words.normalised(words, language)
        started += 1
        startedThisTurn += 1
        return true
    }

    /// The turn has ended with `words`. True: the held answer is the answer.
    mutating func confirms(_ words: String) -> Bool {
        startedThisTurn = 0
        guard let held else { return false }
        self.held = nil
        if held == Words.normalised(words, language) { return true }
        wasted += 1
        return false
    }

    /// The held answer is of no use. False if there was none.
    mutating func drop() -> Bool {
        guard held != nil else { return false }
        held = nil
        wasted += 1
        return true
    }
}
