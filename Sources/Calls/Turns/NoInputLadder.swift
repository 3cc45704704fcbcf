/// What happens when the caller says nothing: ask, ask again, say goodbye.
public struct NoInputLadder: Sendable, Equatable {
    public struct Policy: Sendable, Equatable {
        /// Silence before each step. The last step is the goodbye. Empty: wait for ever (until `callMaxMs`).
        public var waitsMs = [8_000, 8_000]

        public init() {}
    }

    enum Step: Sendable, Equatable {
        case ask
        case goodbye
    }

    let policy: Policy
    private var step = 0

    init(policy: Policy) {
        self.policy = policy
    }

    /// When the next step is due if the silence begins now.
    func due(from now: Instant) -> Instant? {
        policy.waitsMs.isEmpty ? nil : now.advanced(byMs: policy.waitsMs[min(step, policy.waitsMs.count - 1)])
    }

    mutating func timer() -> Step {
        step += 1
        return step >= policy.waitsMs.count ? .goodbye : .ask
    }

    /// The caller is there.
    mutating func heard() {
        step = 0
    }
}
