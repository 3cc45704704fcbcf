// How long a probe may take: processor time first, time on the wall second.
//
// A busy machine takes nothing from a probe's processor time, so an endless loop is found after the same amount of work
// whatever else runs, and two runs give the same report. The wall is for those that sleep for ever; it is an order of
// magnitude above what any rule needs, and where a crowd waits for each processor it is stretched by as much, so that
// load alone never reaches it.

import Glibc

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

    /// A minute and a half on the wall at the most: what waits longer than that waits for ever.
    private static let crowdingMax = 9.0

    /// Processes that want each processor, over the last minute; 1 when they have what they want.
    static var crowding: Double {
        var load = 0.0
        guard getloadavg(&load, 1) == 1 else { return 1 }
        return min(crowdingMax, max(1, load / Double(RunSettings.cores)))
    }

    /// What the kernel itself allows, for what escapes the runner: twice the limit, and time for the start.
    var cpuSecondsMax: UInt64 { UInt64(Double(cpuMs) * scale / 500) + 5 }

    /// What to do when a probe has used so much.
    ///
    /// The next look is when the limit could be reached at the earliest, with all `cores` busy. `crowding` is asked
    /// when the wall was reached.
    func step(
        cpuMs used: Int, wallMs passed: Int, cores: Int, crowding: @autoclosure () -> Double = 1
    ) -> Step {
        let cpuLeft = Int(Double(cpuMs) * scale) - used
        var wallLeft = Int(Double(wallMs) * scale) - passed
        if wallLeft <= 0 { wallLeft = Int(Double(wallMs) * scale * crowding()) - passed }
        if cpuLeft <= 0 { return .expired(.cpu) }
        if wallLeft <= 0 { return .expired(.wall) }
        return .wait(ms: max(5, min(wallLeft, cpuLeft / max(1, cores))))
    }
}
