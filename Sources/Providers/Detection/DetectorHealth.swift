// When to stop asking a plugin, and when to ask again: a plain value.
//
// One late batch is noise of the machine, three in a row are a plugin that cannot keep up, and to go on asking would
// make every call late. So the plugin rests for a second, then one batch is tried; each failed trial doubles the rest,
// up to sixteen seconds, so that a broken plugin costs almost nothing and a recovered one is found within the next
// sentence or two.

/// Whether a detector plugin is to be asked.
struct DetectorHealth: Sendable {
    static let faultsUntilRest = 3
    static let firstRestNs: UInt64 = 1_000_000_000
    static let longestRestNs: UInt64 = 16_000_000_000

    enum Change: Sendable, Equatable { case restsFor(ms: UInt64), recovered }

    private var consecutiveFaults = 0
    private var restNs: UInt64 = 0
    private var restsUntilNs: UInt64 = 0

    var isResting: Bool { restNs > 0 }

    /// True when a batch may be given to the plugin at `now`: it is well, or its rest is over and this is the trial.
    func mayAsk(now: UInt64) -> Bool { restNs == 0 || now >= restsUntilNs }

    mutating func succeeded() -> Change? {
        consecutiveFaults = 0
        guard restNs > 0 else { return nil }
        restNs = 0
        return .recovered
    }

    /// A batch failed or came late. The change is returned only for the first rest: one log line, not one a trial.
    mutating func faulted(now: UInt64) -> Change? {
        if restNs > 0 {
            restNs = min(restNs * 2, Self.longestRestNs)
            restsUntilNs = now + restNs
            return nil
        }
        consecutiveFaults += 1
        guard consecutiveFaults >= Self.faultsUntilRest else { return nil }
        restNs = Self.firstRestNs
        restsUntilNs = now + restNs
        return .restsFor(ms: restNs / 1_000_000)
    }
}
