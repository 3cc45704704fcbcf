// A fuzz case as a rule: it runs in a probe like any other, so that what a probe survives, and what is seen of it from
// outside, is the runner's affair and the same for all.

import JSON
import Providers

extension FuzzCase {
    /// "VC-FUZ-17" in a run, "VC-FUZ-closed-twice" for a file.
    static let idPrefix = "VC-FUZ-"

    /// The case as a rule. Its steps go into the job (`Job.fuzz`): a probe has no other way to know them.
    func rule(_ name: String, _ sentence: String) -> Rule {
        Rule(
            Self.idPrefix + name, .basic, .must, sentence,
            because: "A host may call like this, and on some day one will.",
            check: .watched(
                { bench in
                    guard let played = FuzzCase(bench.job.fuzz) else { throw NotApplicable("the job has no steps") }
                    try FuzzPlayer(played, on: bench).play()
                },
                { seen in
                    guard seen.standardOutput.isEmpty else {
                        throw Violation(
                            "standard output", expected: "no byte", got: "\"\(seen.standardOutput.prefix(80))\"")
                    }
                    if let stray = seen.strays.first {
                        throw Violation("the process", expected: "no process left behind", got: stray)
                    }
                }))
    }

    /// The rule of a job that brings a case. Nil: it brings none.
    static func rule(of job: Job) -> Rule? {
        guard job.rule.hasPrefix(idPrefix), let played = FuzzCase(job.fuzz) else { return nil }
        return played.rule(String(job.rule.dropFirst(idPrefix.count)), "")
    }
}

/// The vendors of a run, with the cases of a fuzz run.
struct FuzzPeers: PeerSource {
    let others: any PeerSource
    /// By rule id.
    let cases: [String: FuzzCase]

    func prepare(_ job: inout Job, for subject: Subject) throws(RunnerFailure) {
        try others.prepare(&job, for: subject)
        if let played = cases[job.rule] { job.fuzz = played.json }
    }

    func peer(of job: Job, for subject: Subject) -> (any ProbePeer)? { others.peer(of: job, for: subject) }
    func problem(of subject: Subject) -> String? { others.problem(of: subject) }
}
