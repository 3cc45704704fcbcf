// `vchost conform run`.

import Glibc
import JSON
import PluginABI
import Providers

struct ConformRun {
    let command: ConformCommand
    let output: @Sendable (String) -> Void
    let errors: @Sendable (String) -> Void

    static let options = [
        CommandOption("-k", "--kind", "KIND", "only providers of this kind: tts, stt, llm, vad, turn, telephony"),
        CommandOption("-p", "--provider", "ID", "only this provider"),
        CommandOption("-c", "--config", "FILE", "settings in JSON, by provider id, as in a sidecar"),
        CommandOption(nil, "--secrets", "FILE", "secrets, a line NAME=VALUE each"),
        CommandOption("-t", "--include", "REGEX", "only rules whose id matches"),
        CommandOption("-x", "--exclude", "REGEX", "no rules whose id matches"),
        CommandOption("--smoke", "only the rules that a running host checks before it uses a new file; politely"),
        CommandOption("-l", "--level", "LEVEL", "1 basic, 2 real-time (the default), 3 resilient"),
        CommandOption("-f", "--format", "FORMAT[=PATH]", "pretty, tap, junit or json; may be repeated"),
        CommandOption("-j", "--jobs", "N", "probes at once; the number of processors"),
        CommandOption(nil, "--timeout", "SECONDS", "how long a rule may take on the wall; 10"),
        CommandOption(nil, "--budget-scale", "FACTOR", "stretches all budgets of a rule; 1.0"),
        CommandOption("-s", "--seed", "HEX", "repeats the chances of an earlier run; the report tells its seed"),
        CommandOption(nil, "--repeat", "N", "runs everything N times and reports the worst of each rule"),
        CommandOption(nil, "--host-minor", "N", "plays a host of this older minor version, with its services"),
        CommandOption(nil, "--waive", "RULE=REASON", "excuses a rule; may be repeated"),
        CommandOption(nil, "--baseline", "FILE", "an earlier report in JSON: its failures are known"),
        CommandOption(nil, "--fail-on", "fail|warn", "what gives exit code 1; fail"),
        CommandOption(nil, "--scripts", "DIRECTORY", "the vendor's scripts, if not beside the plugin"),
        CommandFile.speechOption,
        CommandOption("--record", "keeps the result for `vchost plugins list`"),
    ]

    func run(_ words: [String]) throws -> Int32 {
        let words = try CommandWords(words, options: Self.options)
        guard !words.positional.isEmpty else { throw CommandUsage("name a plugin, or a directory of them") }
        var settings = try settings(words)
        let selection = try selection(words)
        settings.isSelection = ["--kind", "--provider", "--include", "--exclude", "--smoke"].contains {
            words.has($0)
        }
        settings.excusesVendor = words.has("--smoke")
        // Calls may be up beside it, and nobody waits for the end of this.
        if words.has("--smoke") { setpriority(__priority_which_t(PRIO_PROCESS.rawValue), 0, Self.smokeNiceness) }
        let outlets = try ReportOutlet.all(words.all("--format"))
        let waivers = try Waivers(words.all("--waive"), baseline: words["--baseline"], rules: command.rules)
        let failsOnWarnings = try failsOnWarnings(words)
        let repeats = try words.number("--repeat", 1...1_000) ?? 1
        if words.has("--record"), settings.isSelection {
            throw CommandUsage("a run of some rules gives no badge: leave out what selects, or --record")
        }
        if words.has("--record"), command.record == nil { throw CommandUsage("this program keeps no records") }
        let peers = command.peers(words["--scripts"])
        var subjects: [Subject] = []
        for path in words.positional { subjects += try Subject.all(at: path) }
        for subject in subjects { if let problem = peers.problem(of: subject) { throw CommandUsage(problem) } }
        settings.includesScenarios = true

        let bar = command.isTerminal ? ProgressBar(errors) : nil
        var reports: [Report] = []
        for _ in 0..<repeats {
            let next = try Runner(settings, peers: peers).run(
                subjects, rules: command.rules, selection: selection, progress: bar?.progress ?? .init())
            reports = reports.isEmpty ? next : zip(reports, next).map { $0.merged(with: $1) }
        }
        bar?.clear()
        for index in reports.indices { reports[index].failsOnWarnings = failsOnWarnings }
        let run = RunReport(waivers.applied(to: Self.selected(reports, words)))
        if words.has("--record"), let record = command.record { for report in run.reports { try record(report) } }
        for outlet in outlets { try outlet.write(run, output) }
        return run.exitCode
    }

    /// With a filter by kind or provider, plugins that have none of those are not spoken of.
    private static func selected(_ reports: [Report], _ words: CommandWords) -> [Report] {
        guard words.has("--kind") || words.has("--provider") else { return reports }
        return reports.filter { !$0.results.isEmpty || !$0.problem.isEmpty }
    }

    // MARK: Words

    private func settings(_ words: CommandWords) throws -> RunSettings {
        var settings = command.settings
        if let level = words["--level"] {
            guard let known = Rule.Level.allCases.first(where: { "\($0.rawValue)" == level || $0.name == level }) else {
                throw CommandUsage("--level wants 1, 2 or 3, or basic, real-time or resilient, not \(level)")
            }
            settings.level = known
        }
        if let jobs = try words.number("--jobs", 1...256) { settings.jobs = jobs }
        if let timeout = try words.decimal("--timeout", atMost: 3_600) { settings.budget.wallMs = Int(timeout * 1_000) }
        if let scale = try words.decimal("--budget-scale", atMost: 1_000) { settings.budget.scale = scale }
        settings.hostMinor = try words.number("--host-minor", 0...Int(VC_ABI_MINOR)) ?? settings.hostMinor
        if let seed = words["--seed"] {
            guard let number = UInt64(seed, radix: 16) else {
                throw CommandUsage("--seed wants at most 16 hexadecimal digits, not \(seed)")
            }
            settings.seed = number
        } else {
            settings.seed = .random(in: 0 ... .max)
        }
        settings.speech = try words["--speech"].map(CommandFile.speech) ?? settings.speech
        if let path = words["--config"] {
            guard let members = try CommandFile.json(path).object else {
                throw CommandUsage("\(path) wants an object of settings by provider id")
            }
            settings.configurations = members
        }
        if let path = words["--secrets"] {
            for (index, line) in try CommandFile.text(path).split(separator: "\n").enumerated() {
                guard !line.hasPrefix("#") else { continue }
                guard let equals = line.firstIndex(of: "="), equals > line.startIndex else {
                    // The line itself is not quoted: it may hold the secret.
                    throw CommandUsage("\(path): line \(index + 1) is not NAME=VALUE")
                }
                settings.secrets[String(line[..<equals])] = String(line[line.index(after: equals)...])
            }
        }
        return settings
    }

    private func selection(_ words: CommandWords) throws -> Runner.Selection {
        var ids = Set(command.rules.map(\.id))
        if let include = words["--include"] {
            let pattern = try Self.pattern("--include", include)
            ids = ids.filter { $0.contains(pattern) }
        }
        if let exclude = words["--exclude"] {
            let pattern = try Self.pattern("--exclude", exclude)
            ids = ids.filter { !$0.contains(pattern) }
        }
        let kind = try words["--kind"].map(RuleCatalogue.kind)
        let provider = words["--provider"]
        let (include, exclude) = (words["--include"], words["--exclude"])
        let (isSmoke, scripts) = (words.has("--smoke"), words["--scripts"])
        return Runner.Selection { [ids] rule, subject, declaration in
            guard !isSmoke || Self.isSmoke(rule, subject, declaration, scripts) else { return false }
            guard ids.contains(rule.id) || Self.isOwn(rule, include: include, exclude: exclude) else { return false }
            // A rule about the file concerns a plugin that has what is asked for.
            let candidates = declaration.map { [$0] } ?? subject.manifest?.providers ?? []
            if kind == nil, provider == nil { return true }
            return candidates.contains { candidate in
                (kind == nil || candidate.knownKind == kind) && (provider == nil || candidate.id == provider)
            }
        }
    }

    private static let smokeNiceness: Int32 = 10

    /// A telephony plugin needs a peer that speaks its protocol, and a port, which the version before it may have:
    /// without scripts for one, only what comes before its start is judged.
    private static func isSmoke(
        _ rule: Rule, _ subject: Subject, _ provider: ProviderDeclaration?, _ scripts: String?
    ) -> Bool {
        guard rule.isSmoke else { return false }
        let isBeforeStart = rule.id == "VC-LIFE-01" || ["LOAD", "ENT"].contains(rule.group)
        guard provider?.knownKind == .telephony, !isBeforeStart else { return true }
        return VendorScript.find(besidePlugin: subject.path, directory: scripts) != nil
    }

    /// Whether it is a scenario that the filters let through. What a plugin brings is not known when they are read.
    private static func isOwn(_ rule: Rule, include: String?, exclude: String?) -> Bool {
        func matches(_ text: String) -> Bool { (try? Regex(text)).map { rule.id.contains($0) } ?? false }
        let isBrought = rule.id.hasPrefix(OwnScenario.idPrefix) || rule.id.hasPrefix(FuzzCase.idPrefix)
        return isBrought && include.map(matches) ?? true
            && !(exclude.map(matches) ?? false)
    }

    static func pattern(_ option: String, _ text: String) throws(CommandUsage) -> Regex<AnyRegexOutput> {
        do {
            return try Regex(text)
        } catch {
            throw CommandUsage("\(option): \(text) is no regular expression")
        }
    }

    private func failsOnWarnings(_ words: CommandWords) throws(CommandUsage) -> Bool {
        switch words["--fail-on"] {
        case nil, "fail": return false
        case "warn": return true
        case let other?: throw CommandUsage("--fail-on wants fail or warn, not \(other)")
        }
    }
}
