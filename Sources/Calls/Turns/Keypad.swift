/// Collects digits into entries, which then take part in the conversation like a turn of the caller.
public struct Keypad: Sendable, Equatable {
    public struct Policy: Sendable, Equatable {
        /// Ends an entry at once and is not part of it. Nil: none does.
        public var terminator: Character? = "#"
        /// A pause that ends an entry.
        public var pauseMs = 2_000
        /// Put before the digits in what the model reads.
        public var prefix = "[keypad] "

        public init() {}
    }

    enum Output: Sendable, Equatable {
        case arm(Instant)
        case disarm
        case entered(String)
    }

    let policy: Policy
    private var digits = ""

    init(policy: Policy) {
        self.policy = policy
    }

    mutating func digit(_ digit: Character, at now: Instant) -> [Output] {
        if digit == policy.terminator { return complete() }
        digits.append(digit)
        if digits.count >= CallLimits.keypadDigits { return complete() }
        return [.arm(now.advanced(byMs: policy.pauseMs))]
    }

    mutating func timer() -> [Output] {
        complete()
    }

    private mutating func complete() -> [Output] {
        defer { digits = "" }
        return digits.isEmpty ? [.disarm] : [.disarm, .entered(digits)]
    }
}
