// How long a probe may take: processor time first, time on the wall second.
//
// A busy machine takes nothing from a probe's processor time, so an endless loop is found after the same amount of work
// whatever else runs, and two runs give the same report. The wall is for those that sleep for ever; it is an order of
// magnitude above what any rule needs, so that load alone never reaches it.

/// The limits of one probe, and when to look again.
public struct ProbeBudget: Sendable, Equatable {
    public enum Limit: String, Sendable {
        case cpu, wall
        /// It wrote more to the verdict pipe than any rule has to say.
        case words
    }

    public enum Step: Sendable, Equatable {
        case wait(ms: Int)
        case expired(Limit)
    }

    /// A rule takes some 10 ms of it; one that measures, a second.
    public var cpuMs = 3_000
    /// The longest sleep in any rule is one second.
    public var wallMs = 10_000
    /// For a slow machine, or a library that was built to be examined.
    public var scale = 1.0
    /// What an ended rule's process may still take to be gone.
    public var partingMs = 1_000

    public init() {}

    /// What to do when a probe has used so much.
    ///
    /// The next look is when the limit could be reached at the earliest, with all `cores` busy.
    func step(cpuMs used: Int, wallMs passed: Int, cores: Int) -> Step {
        let cpuLeft = Int(Double(cpuMs) * scale) - used
        let wallLeft = Int(Double(wallMs) * scale) - passed
        if cpuLeft <= 0 { return .expired(.cpu) }
        if wallLeft <= 0 { return .expired(.wall) }
        return .wait(ms: max(5, min(wallLeft, cpuLeft / max(1, cores))))
    }
}
