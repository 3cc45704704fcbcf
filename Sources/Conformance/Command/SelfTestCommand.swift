// `vchost conform selftest`: the self-test's words and its table.

struct SelfTestCommand {
    let command: ConformCommand
    let output: @Sendable (String) -> Void
    let errors: @Sendable (String) -> Void

    /// Where `Tests/BrokenPlugins/build` puts the plugins.
    static let corpusDefault = ".build/broken"

    static let options = [
        CommandOption(nil, "--corpus", "DIRECTORY", "where corpus.json and the plugins are; \(corpusDefault)"),
        CommandOption(nil, "--only", "REGEX", "only plugins whose file's name matches: VC-STT, good, vad[.]so$"),
        CommandOption("--full", "every rule against every plugin, also with its body left out"),
        CommandOption(
            nil, "--share", "PERCENT",
            "of the rules for which a broken plugin was not made, so many meet it, always the same; 100"),
        CommandOption(nil, "--repeat", "N", "runs it N times; all reports must be the same"),
        CommandOption("-j", "--jobs", "N", "probes at once; the number of processors"),
        CommandOption("-s", "--seed", "HEX", "repeats the chances of an earlier run"),
        CommandFile.speechOption,
    ]

    /// 0 when the rules are proven, 1 when not, 3 when there is no corpus.
    func run(_ words: [String]) throws -> Int32 {
        let words = try CommandWords(words, options: Self.options)
        if let word = words.positional.first { throw CommandUsage("\(word) is one word too many") }
        var settings = command.settings
        if let jobs = try words.number("--jobs", 1...256) { settings.jobs = jobs }
        if let seed = words["--seed"] {
            guard let number = UInt64(seed, radix: 16) else {
                throw CommandUsage("--seed wants at most 16 hexadecimal digits, not \(seed)")
            }
            settings.seed = number
        } else {
            settings.seed = .random(in: 0 ... .max)
        }
        settings.speech = try words["--speech"].map(CommandFile.speech) ?? settings.speech
        let directory = words["--corpus"] ?? Self.corpusDefault
        var corpus: Corpus
        do throws(CommandUsage) {
            corpus = try Corpus(directory: directory)
        } catch {
            throw SubjectProblem("\(error.message). Run Tests/BrokenPlugins/build first")
        }
        var covered = Set(command.rules.map(\.id))
        if let only = words["--only"] {
            let pattern = try ConformRun.pattern("--only", only)
            corpus.entries.removeAll { !$0.file.contains(pattern) }
            guard !corpus.entries.isEmpty else { throw CommandUsage("--only: no plugin's name matches \(only)") }
            covered = covered.filter { $0.contains(pattern) }
        }
        let test = SelfTest(
            corpus: corpus, rules: command.rules, covered: covered, settings: settings,
            peers: CorpusPeers(corpus, peers: command.peers),
            isFull: words.has("--full"), sharePercent: try words.number("--share", 0...100) ?? 100,
            repeats: try words.number("--repeat", 1...100) ?? 1)
        let bar = command.isTerminal ? ProgressBar(errors) : nil
        let outcome = try test.run(bar?.progress ?? .init())
        bar?.clear()
        output(Self.text(outcome, corpus, command.rules, seed: settings.seed))
        return outcome.problems.isEmpty ? 0 : 1
    }

    /// Groups by languages, what is wrong, and one line that says it all.
    static func text(_ outcome: SelfTest.Outcome, _ corpus: Corpus, _ rules: [Rule], seed: UInt64) -> String {
        var languages: [String] = []
        for entry in corpus.entries where !languages.contains(entry.language) { languages.append(entry.language) }
        var groups: [String] = []
        for rule in rules where !groups.contains(rule.group) { groups.append(rule.group) }
        var lines = [["GROUP", "RULES", "PLUGINS"] + languages]
        func row(_ name: String, _ ruleCount: Int, _ entries: [Corpus.Entry]) -> [String] {
            [name, "\(ruleCount)", "\(entries.count)"] + languages.map { language in
                let count = entries.count { $0.language == language }
                return count == 0 ? "-" : "\(count)"
            }
        }
        for group in groups {
            let ids = Set(rules.filter { $0.group == group }.map(\.id))
            lines.append(row(group, ids.count, corpus.entries.filter { ids.contains($0.rule ?? "") }))
        }
        let good = corpus.entries.filter { $0.rule == nil }
        lines.append(row("good", 0, good))
        lines.append(row("all", rules.count, corpus.entries))

        var text = aligned(lines) + "\n"
        for problem in outcome.unsteady { text += "UNSTEADY \(problem); not so when it ran alone\n" }
        for problem in outcome.problems { text += "FAIL \(problem)\n" }
        if !outcome.problems.isEmpty || !outcome.unsteady.isEmpty { text += "\n" }
        var parts = [
            "\(outcome.problems.isEmpty ? "PASS" : "FAIL") selftest", "rules \(rules.count)",
            "broken \(corpus.entries.count - good.count)", "good \(good.count)",
            "languages \(languages.joined(separator: ","))", "probes \(outcome.probes)",
        ]
        if !outcome.problems.isEmpty { parts.append("problems \(outcome.problems.count)") }
        if !outcome.unsteady.isEmpty { parts.append("unsteady \(outcome.unsteady.count)") }
        if outcome.repeats > 1 { parts.append("identical \(outcome.identical) of \(outcome.repeats)") }
        parts += ["seed \(hexadecimal(seed))", "\(seconds(outcome.wallMs)) s"]
        return text + parts.joined(separator: "  ") + "\n"
    }

    private static func aligned(_ lines: [[String]]) -> String {
        let widths = lines[0].indices.map { column in lines.map { $0[column].count }.max() ?? 0 }
        return lines.map { cells in
            let padded = zip(cells, widths).enumerated().map { index, cell in
                let space = String(repeating: " ", count: cell.1 - cell.0.count)
                return index == 0 ? cell.0 + space : space + cell.0
            }
            return padded.joined(separator: "  ") + "\n"
        }.joined()
    }
}
