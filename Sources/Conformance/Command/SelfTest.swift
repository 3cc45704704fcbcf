// The proof of the rules: each finds the plugin that was broken for it, nothing else does, and good plugins pass.
//
// And the proof of the proof: with a rule's body left out, its own plugin must pass, and the judgement that was green
// must become red. A rule whose masking changes nothing is no rule: the plugin fails for another reason, or the
// judgement does not look.
//
// A judgement that comes out red is made once more with one probe at a time: a machine that stood still for a second
// in the middle of seventy thousand probes proves nothing, and a rule that is wrong is wrong twice. What only the
// second look mended is told.
//
// Rules that measure time run alone and for long, so each meets its own broken plugins and the good ones; with `full`
// everything meets everything.
//
// That no other rule finds a broken plugin takes nine of ten probes. A share of those pairs may be asked for: it is the
// same share each time, so that a run that was green is green again, and it keeps with each rule the rules on which it
// stands, because what runs on a plugin that cannot be opened fails for that reason.

import Providers

/// Runs rules against a corpus.
struct SelfTest: Sendable {
    let corpus: Corpus
    let rules: [Rule]
    /// Those of which each must have a plugin that breaks it; nil: all.
    var covered: Set<String>?
    var settings: RunSettings
    let peers: any PeerSource
    var isFull = false
    /// Of the rules for which a broken plugin was not made, how many per cent meet it.
    var sharePercent = 100
    /// How often everything is run; all runs must give the same reports.
    var repeats = 1

    /// What came out.
    struct Outcome: Sendable {
        /// Sentences, with the plugin's file in front; empty: the rules are proven.
        var problems: [String] = []
        /// What was a problem in the crowd and none alone, with the plugin's file in front.
        var unsteady: [String] = []
        /// The results of the first run, by entry of the corpus.
        var results: [[RuleResult]] = []
        var probes = 0
        var repeats = 0
        /// Of those, how many had the first run's reports.
        var identical = 0
        var wallMs = 0.0
    }

    func run(_ progress: Runner.Progress = .init()) throws -> Outcome {
        var outcome = Outcome()
        let began = runnerClockNs()
        var subjects: [Subject] = []
        var entries: [Corpus.Entry] = []
        for entry in corpus.entries {
            do throws(SubjectProblem) {
                subjects.append(try Subject(file: corpus.directory + "/" + entry.file))
                entries.append(entry)
            } catch {
                outcome.problems.append("\(entry.file): \(error)")
            }
        }
        outcome.problems += coverage()

        var first = try runAll(subjects, entries, masked: [], progress)
        outcome.unsteady = try lookAgain(subjects, entries, &first)
        outcome.results = first.map(\.results)
        outcome.probes = first.reduce(0) { $0 + $1.results.count }
        for (entry, report) in zip(entries, first) {
            outcome.problems += CorpusJudgement(entry: entry).problems(report.results).map { "\(entry.file): \($0)" }
        }
        outcome.problems += try mutations(subjects, entries, first, progress)

        outcome.repeats = repeats
        outcome.identical = 1
        for number in 1..<max(1, repeats) {
            let again = try runAll(subjects, entries, masked: [], progress)
            let different = zip(entries, zip(first, again)).filter { $1.0.fingerprint != $1.1.fingerprint }
            if different.isEmpty { outcome.identical += 1 }
            for (entry, (one, other)) in different {
                let rules = zip(one.results, other.results)
                    .filter { $0.clock == .virtual && $0.comparable != $1.comparable }
                    .map { "\($0.message.isEmpty ? "pass" : $0.message) / \($1.message)" }
                outcome.problems.append(
                    "\(entry.file): run \(number + 1) differs: \(rules.joined(separator: ", "))")
            }
        }
        outcome.wallMs = Double(runnerClockNs() - began) / 1e6
        return outcome
    }

    // MARK: Steps

    /// Every rule needs a plugin that breaks it, and every plugin a rule that is there.
    private func coverage() -> [String] {
        let broken = Set(corpus.entries.compactMap(\.rule))
        let known = Set(rules.map(\.id))
        let covered = covered ?? known
        return rules.map(\.id).filter { covered.contains($0) && !broken.contains($0) }
            .map { "\($0) has no plugin that breaks it" }
            + broken.subtracting(known).sorted().map { "there is no rule \($0), for which the corpus has a plugin" }
    }

    /// Runs those that came out red alone, and keeps the second report where it is green.
    private func lookAgain(
        _ subjects: [Subject], _ entries: [Corpus.Entry], _ reports: inout [Report]
    ) throws -> [String] {
        let red = entries.indices.filter { !CorpusJudgement(entry: entries[$0]).problems(reports[$0].results).isEmpty }
        guard !red.isEmpty else { return [] }
        var quiet = self
        quiet.settings.jobs = 1
        let again = try quiet.runAll(red.map { subjects[$0] }, red.map { entries[$0] }, masked: [], .init())
        var mended: [String] = []
        for (index, report) in zip(red, again) {
            let judgement = CorpusJudgement(entry: entries[index])
            guard judgement.problems(report.results).isEmpty else { continue }
            mended += judgement.problems(reports[index].results).map { "\(entries[index].file): \($0)" }
            reports[index] = report
        }
        return mended
    }

    private func runAll(
        _ subjects: [Subject], _ entries: [Corpus.Entry], masked: Set<String>, _ progress: Runner.Progress
    ) throws -> [Report] {
        // By path, because a selection sees the plugin and not its place in the list.
        let ownRules = ownRules(subjects, entries)
        let shares = shares(subjects, ownRules)
        let isFull = isFull
        return try Runner(settings(masking: masked), peers: peers).run(
            subjects, rules: rules,
            selection: Runner.Selection { rule, subject, _ in
                if isFull { return true }
                guard let share = shares[subject.path] else { return true }
                return rule.clock == .virtual ? share.contains(rule.id) : ownRules[subject.path]!.contains(rule.id)
            }, progress: progress)
    }

    /// The rules that each broken plugin meets: its own, the share of the others, and what all of those stand on.
    private func shares(_ subjects: [Subject], _ ownRules: [String: Set<String>]) -> [String: Set<String>] {
        let byID = Dictionary(rules.map { ($0.id, $0) }, uniquingKeysWith: { first, _ in first })
        var shares: [String: Set<String>] = [:]
        for subject in subjects {
            guard let own = ownRules[subject.path] else { continue }
            let name = subject.path.split(separator: "/").last ?? ""
            var waiting = rules.map(\.id).filter {
                own.contains($0) || Self.bucket("\(name) \($0)") < UInt64(sharePercent)
            }
            var share: Set<String> = []
            while let id = waiting.popLast() {
                if share.insert(id).inserted { waiting += byID[id]?.needs ?? [] }
            }
            shares[subject.path] = share
        }
        return shares
    }

    /// 0 to 99, by FNV-1a: the same in every run and on every machine, which `hashValue` is not.
    static func bucket(_ text: String) -> UInt64 {
        text.utf8.reduce(0xcbf2_9ce4_8422_2325) { ($0 ^ UInt64($1)) &* 0x100_0000_01b3 } >> 32 % 100
    }

    /// Each rule, with its body left out, against its own plugins; with `full` against all.
    private func mutations(
        _ subjects: [Subject], _ entries: [Corpus.Entry], _ first: [Report], _ progress: Runner.Progress
    ) throws -> [String] {
        let ownRules = ownRules(subjects, entries)
        let isFull = isFull
        let masked = try Runner(settings(masking: Set(rules.map(\.id))), peers: peers).run(
            subjects, rules: rules,
            selection: Runner.Selection { rule, subject, _ in
                isFull || ownRules[subject.path]?.contains(rule.id) == true
            }, progress: progress)
        var problems: [String] = []
        for (entry, (report, without)) in zip(entries, zip(first, masked)) {
            for result in without.results where result.status.isBreach {
                problems.append(
                    "\(entry.file): \(result.rule) fails with its body left out, so something else fails: "
                        + result.message)
            }
            guard let rule = entry.rule else { continue }
            let judgement = CorpusJudgement(entry: entry)
            // What was red before proves nothing by being red again.
            guard judgement.problems(report.results).isEmpty else { continue }
            let mutated = report.results.map { result in
                guard result.rule == rule else { return result }
                return without.results.first { $0.rule == rule && $0.provider == result.provider } ?? result
            }
            if judgement.problems(mutated).isEmpty {
                problems.append("\(entry.file): with \(rule) masked the self-test stays green")
            }
        }
        return problems
    }

    private func ownRules(_ subjects: [Subject], _ entries: [Corpus.Entry]) -> [String: Set<String>] {
        var own: [String: Set<String>] = [:]
        for (subject, entry) in zip(subjects, entries) {
            if let rule = entry.rule { own[subject.path, default: []].insert(rule) }
        }
        return own
    }

    private func settings(masking masked: Set<String>) -> RunSettings {
        var settings = settings
        settings.level = .resilient
        settings.masked = masked
        return settings
    }
}
