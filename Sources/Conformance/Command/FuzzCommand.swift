// `vchost conform fuzz`.

import Glibc
import JSON
import Providers

struct FuzzCommand {
    let command: ConformCommand
    let output: @Sendable (String) -> Void
    let errors: @Sendable (String) -> Void

    static let options = [
        CommandOption("-s", "--seed", "HEX", "repeats an earlier run, case by case; the last line tells the seed"),
        CommandOption("-n", "--runs", "N", "cases for each provider; 500"),
        CommandOption("-d", "--seconds", "S", "stops after so long; without --runs as many cases as fit"),
        CommandOption("-o", "--out", "DIRECTORY", "where findings are kept; the folder `fuzz` of the plugin's scripts"),
        CommandOption(nil, "--case", "N", "plays only case N of the seed, and prints it"),
        CommandOption(nil, "--replay", "FILE", "plays a finding that was kept"),
        CommandOption("-p", "--provider", "ID", "only this provider"),
        CommandOption("-j", "--jobs", "N", "probes at once; the number of processors"),
        CommandOption(nil, "--budget-scale", "FACTOR", "stretches all budgets of a case; 1.0"),
        CommandOption(nil, "--scripts", "DIRECTORY", "the vendor's scripts, if not beside the plugin"),
    ]

    /// 0 nothing found, 1 a breach, 4 a crash, a hang or no verdict.
    func run(_ words: [String]) throws -> Int32 {
        let words = try CommandWords(words, options: Self.options)
        guard words.positional.count == 1 else { throw CommandUsage("name one plugin") }
        let settings = try settings(words)
        let limits = try limits(words)
        let peers = command.peers(words["--scripts"])
        let subject = try Subject(file: words.positional[0])
        if let problem = peers.problem(of: subject) { throw CommandUsage(problem) }
        let providers = (subject.manifest?.providers ?? []).filter { provider in
            provider.knownKind != nil && words["--provider"].map { $0 == provider.id } ?? true
        }
        guard subject.manifest != nil else { throw SubjectProblem("\(subject.path): \(subject.manifestProblem)") }
        guard !providers.isEmpty else { throw SubjectProblem("\(subject.path) has no such provider of a known kind") }

        var worst: Int32 = 0
        for provider in providers {
            let run = FuzzRun(
                subject: subject, provider: provider, settings: settings, peers: peers, limits: limits, tell: output)
            let code: Int32
            if let path = words["--replay"] {
                code = try show(run, try FuzzFile(path: path, name: path).played)
            } else if let number = try words.number("--case", 0...Int(Int32.max)) {
                let played = FuzzGenerator(provider: provider, seed: settings.seed)!.make(number)
                output(FuzzFile(name: "", finding: "", provider: provider.id, played: played).text)
                code = try show(run, played)
            } else {
                code = try fuzz(run, into: words["--out"] ?? Self.folder(of: subject, provider, words["--scripts"]))
            }
            worst = max(worst, code)
        }
        return worst
    }

    private func fuzz(_ run: FuzzRun, into directory: String) throws -> Int32 {
        let outcome = try run.run()
        for finding in outcome.findings {
            let path = try finding.file(provider: run.provider.id).write(into: directory)
            output("  kept in \(path)\n")
        }
        var parts = [
            "\(outcome.findings.isEmpty ? "PASS" : "FAIL") fuzz \(run.provider.id) \(run.subject.manifest!.version)",
            "cases \(outcome.played)", "findings \(outcome.findings.count)",
        ]
        if outcome.repeated > 0 { parts.append("again \(outcome.repeated)") }
        parts += ["seed \(hexadecimal(run.settings.seed))", "\(seconds(outcome.wallMs)) s"]
        output(parts.joined(separator: "  ") + "\n")
        return outcome.findings.map { Self.code($0.result) }.max() ?? 0
    }

    private func show(_ run: FuzzRun, _ played: FuzzCase) throws -> Int32 {
        let result = try run.play([played])[0]
        output("\(result.status.isBreach ? result.finding : result.status.rawValue)\n")
        if !result.details.isEmpty { output("  \(result.details)\n") }
        for note in result.notes { output("  \(note.name): \(note.value)\n") }
        return Self.code(result)
    }

    private static func code(_ result: RuleResult) -> Int32 {
        result.status.isLoss ? 4 : result.status.isBreach ? 1 : 0
    }

    /// Where `conform run` looks for it.
    private static func folder(of subject: Subject, _ provider: ProviderDeclaration, _ scripts: String?) -> String {
        let folder =
            VendorScript.find(besidePlugin: subject.path, directory: scripts)
            ?? (subject.path.hasSuffix(".so") ? String(subject.path.dropLast(3)) : subject.path) + ".conform"
        return VendorScript.folder(in: folder, provider: provider.id) + "/fuzz"
    }

    // MARK: Words

    private func settings(_ words: CommandWords) throws -> RunSettings {
        var settings = command.settings
        settings.level = .resilient
        // Four rounds of forty steps are the work of some rules.
        settings.budget.cpuMs *= 3
        settings.budget.wallMs *= 3
        if let jobs = try words.number("--jobs", 1...256) { settings.jobs = jobs }
        if let scale = try words.decimal("--budget-scale", atMost: 1_000) { settings.budget.scale = scale }
        settings.seed = .random(in: 0 ... .max)
        if let seed = words["--seed"] {
            guard let number = UInt64(seed, radix: 16) else {
                throw CommandUsage("--seed wants at most 16 hexadecimal digits, not \(seed)")
            }
            settings.seed = number
        } else if words.has("--case") {
            throw CommandUsage("--case wants the --seed to which it belongs")
        }
        return settings
    }

    private func limits(_ words: CommandWords) throws -> FuzzRun.Limits {
        var limits = FuzzRun.Limits()
        limits.seconds = try words.decimal("--seconds", atMost: 604_800)
        if let runs = try words.number("--runs", 1...100_000_000) {
            limits.cases = runs
        } else if limits.seconds != nil {
            limits.cases = .max
        }
        return limits
    }
}
