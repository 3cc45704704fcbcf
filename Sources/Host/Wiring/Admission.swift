// Whether a call may come in. Decided before anything is opened for it, so that refusing costs next to nothing: a host
// that is full must spend its time on the calls that it has.

/// How many calls there are, and whether one more is taken.
struct Admission {
    enum Verdict: Equatable {
        case admit
        case decline(code: UInt32, retryAfterS: UInt32)
    }

    let callsMax: Int
    let retryAfterS: UInt32
    private(set) var calls = 0
    private(set) var declined: UInt64 = 0
    var isDraining = false

    init(callsMax: Int, retryAfterS: UInt32) {
        self.callsMax = callsMax
        self.retryAfterS = retryAfterS
    }

    /// - Parameter hasProfile: whether anybody answers under the called number.
    mutating func arrived(hasProfile: Bool) -> Verdict {
        guard hasProfile else {
            declined += 1
            return .decline(code: 404, retryAfterS: 0)
        }
        guard !isDraining, calls < callsMax else {
            declined += 1
            return .decline(code: 503, retryAfterS: retryAfterS)
        }
        calls += 1
        return .admit
    }

    mutating func ended() {
        precondition(calls > 0, "a call ended that was never admitted")
        calls -= 1
    }
}
