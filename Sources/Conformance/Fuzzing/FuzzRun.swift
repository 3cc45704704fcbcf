// The parent's side of fuzzing: makes cases, has each played in a probe of its own, and shortens what fails.
//
// Cases run in batches through the same runner as rules, so a finding is judged by what is believed of any probe. One
// finding of a sort is enough: what is told apart is told apart by the sentence that was broken, and of a crash by
// where it was, not by the numbers in it.

import Glibc
import JSON
import Providers

/// Fuzzes one provider of one plugin.
struct FuzzRun {
    /// When to stop.
    struct Limits: Sendable {
        var cases = 500
        /// Of the wall; nil: no limit but the number of cases.
        var seconds: Double?
        /// More sorts of failures than this are not looked at: there is enough to mend.
        var findings = 10
    }

    struct Finding: Sendable {
        var original: FuzzCase
        var least: FuzzCase
        var result: RuleResult
        var probes: Int
    }

    struct Outcome: Sendable {
        var played = 0
        var findings: [Finding] = []
        /// Failures of a sort that was found before.
        var repeated = 0
        var wallMs = 0.0
    }

    let subject: Subject
    let provider: ProviderDeclaration
    let settings: RunSettings
    let peers: any PeerSource
    var limits = Limits()
    /// Told of what happens, a line each.
    var tell: @Sendable (String) -> Void = { _ in }

    /// Enough for all processors, few enough that a limit in seconds is kept.
    private static let batch = 64

    /// Plays cases until a limit is reached, and shortens the first failure of each sort.
    func run() throws -> Outcome {
        guard let generator = FuzzGenerator(provider: provider, seed: settings.seed) else { return Outcome() }
        var outcome = Outcome()
        var known: Set<String> = []
        let began = runnerClockNs()
        func passedS() -> Double { Double(runnerClockNs() - began) / 1e9 }
        while outcome.played < limits.cases, outcome.findings.count < limits.findings {
            if let seconds = limits.seconds, passedS() >= seconds { break }
            let numbers = outcome.played..<min(outcome.played + Self.batch, limits.cases)
            let cases = numbers.map { generator.make($0) }
            outcome.played = numbers.upperBound
            for (played, result) in zip(cases, try play(cases)) where result.status.isBreach {
                guard known.insert(Self.sort(of: result)).inserted else {
                    outcome.repeated += 1
                    continue
                }
                tell("case \(played.number): \(result.finding)\n")
                let finding = try minimise(played, result)
                tell("  \(played.steps.count) steps became \(finding.least.steps.count), in \(finding.probes) probes\n")
                outcome.findings.append(finding)
                if outcome.findings.count >= limits.findings { break }
            }
        }
        outcome.wallMs = Double(runnerClockNs() - began) / 1e6
        return outcome
    }

    /// One result for each case, in their order.
    func play(_ cases: [FuzzCase]) throws -> [RuleResult] {
        var byRule: [String: FuzzCase] = [:]
        let rules = cases.enumerated().map { index, played in
            let rule = played.rule("\(index)", "Any calls that a host may make are answered as the contract says.")
            byRule[rule.id] = played
            return rule
        }
        let only = provider
        let report = try Runner(settings, peers: FuzzPeers(others: peers, cases: byRule)).run(
            [subject], rules: rules, selection: Runner.Selection { _, _, candidate in candidate == only })
        return report[0].results
    }

    private func minimise(_ found: FuzzCase, _ result: RuleResult) throws -> Finding {
        let sort = Self.sort(of: result)
        var minimiser = FuzzMinimiser(
            kind: provider.knownKind!, canBeTentative: provider.capabilities.flag("tentative")
        ) { candidates in
            try play(candidates).map { $0.status.isBreach && Self.sort(of: $0) == sort }
        }
        let least = try minimiser.minimise(found)
        // As it reads now: the numbers in the sentence are the short case's.
        let final = try play([least])[0]
        return Finding(
            original: found, least: least, result: final.status.isBreach ? final : result, probes: minimiser.tries + 1)
    }

    /// What makes two failures the same: the sentence that was broken, or the way in which the probe was lost.
    static func sort(of result: RuleResult) -> String {
        let words = result.status.isLoss ? result.why : result.violation?.expected ?? ""
        return result.status.rawValue + " " + String(words.map { $0.isNumber ? "0" : $0 }).replacing("00", with: "0")
    }
}

extension FuzzRun.Finding {
    /// The file that keeps it. Its name says what, and the case's own digits keep two of a sort apart.
    func file(provider: String) -> FuzzFile {
        let words = result.status.isLoss ? result.finding : result.violation?.expected ?? ""
        let letters = words.lowercased().map { $0.isASCII && ($0.isLetter || $0.isNumber) ? $0 : " " }
        let slug = String(letters).split(separator: " ").prefix(6).joined(separator: "-")
        let digits = SHA256.hex(Array(least.json.text.utf8)).prefix(6)
        return FuzzFile(name: "\(slug)-\(digits)", finding: result.finding, provider: provider, played: least)
    }
}
