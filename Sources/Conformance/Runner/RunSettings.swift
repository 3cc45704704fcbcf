// Everything about a run that does not come from the plugin.

import Glibc
import JSON
import PluginABI

/// How rules are run: which probe, how many at once, for how long.
public struct RunSettings: Sendable {
    /// What to start for a rule; it must answer as `vchost __conform` does.
    public var probe: [String] = ["/proc/self/exe", "__conform"]
    /// Whether the probe is this program, which can be forked in place of being started anew.
    var hasNursery: Bool { probe.count == 2 && probe[1] == "__conform" }
    /// Added to a probe's environment, which is otherwise made anew.
    public var probeEnvironment: [String: String] = [:]
    /// Probes at once.
    public var jobs = RunSettings.cores
    public var budget = ProbeBudget()
    /// The minor version that the bench plays.
    public var hostMinor = Int(VC_ABI_MINOR)
    /// Every rule of the run draws its chances from it.
    public var seed: UInt64 = 0
    /// Only rules up to this level.
    public var level = Rule.Level.realTime
    /// The scenarios of the plugins' authors run too.
    public var includesScenarios = false
    /// Settings and secrets that the operator gives, by provider id; they win over the vendor script's.
    public var configurations: [String: JSONValue] = [:]
    public var secrets: [String: String] = [:]
    /// A recording of speech, 16 bit mono WAV, by its absolute path; empty: one is made, where there is flite.
    public var speech = ""
    /// Where the run's folder is made; empty: the system's place for such.
    public var temporaryDirectory = ""
    /// Rules whose body is left out, for the check of the checks.
    public var masked: Set<String> = []
    /// A running host tries out what was dropped in, which seldom has a script of its vendor beside it: rules about the
    /// vendor's answers are skipped then, and those about everything else are not.
    public var excusesVendor = false
    /// Whether the selection left rules out, so that no badge can be given.
    public var isSelection = false

    public init() {}

    /// The processors that this process may use.
    public static var cores: Int { max(1, sysconf(Int32(_SC_NPROCESSORS_ONLN))) }
}
