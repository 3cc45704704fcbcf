import Glibc
import JSON
import Synchronization
import Testing

@testable import Conformance

/// The self-test, with rules and plugins for which it is known what must come out.
@Suite("The self-test turns red when a rule does not find its plugin")
struct SelfTestTests {
    private func result(_ rule: String, _ status: Status, weight: Rule.Weight = .must, blockedBy: String = "") -> RuleResult {
        var result = RuleResult(.fake(rule, weight), provider: "p", status: status)
        if status == .fail { result.violation = Violation("x", expected: "y", got: "z") }
        result.blockedBy = blockedBy
        result.why = blockedBy.isEmpty ? "" : "\(blockedBy) failed"
        return result
    }

    private func judge(_ results: [RuleResult], rule: String? = "VC-FAKE-a", also: Set<String> = []) -> [String] {
        CorpusJudgement(entry: Corpus.Entry(rule: rule, file: "a.so", language: "c", also: also)).problems(results)
    }

    @Test("A plugin must fail its own rule, in whatever way", arguments: Status.allCases)
    func own(_ status: Status) {
        let isGreen = judge([result("a", status), result("b", .pass)]).isEmpty
        #expect(isGreen == ![.pass, .skip].contains(status))
    }

    @Test("It must fail no other MUST, unless that cannot be had apart")
    func others() {
        let results = [result("a", .crash), result("b", .fail)]
        #expect(judge(results) == ["another rule fails: VC-FAKE-b x: expected y, got z"])
        #expect(judge(results, also: ["VC-FAKE-b"]) == [])
        #expect(judge([result("a", .crash), result("b", .warn, weight: .should)]) == [])
    }

    @Test("A rule that was not run, or only skipped behind another, proves nothing")
    func unproven() {
        #expect(judge([result("b", .pass)]) == ["VC-FAKE-a was not run"])
        #expect(judge([result("a", .crash), result("b", .skip, blockedBy: "VC-FAKE-a")]) == [])
        #expect(
            judge([result("a", .crash), result("b", .skip, blockedBy: "VC-FAKE-c")])
                == ["VC-FAKE-b is skipped, because VC-FAKE-c failed"])
    }

    @Test("A good plugin breaks nothing, not even advice, and something must have been run")
    func good() {
        #expect(judge([result("a", .pass), result("b", .skip)], rule: nil) == [])
        #expect(judge([result("a", .warn, weight: .should), result("b", .pass)], rule: nil).count == 1)
        #expect(judge([result("b", .skip)], rule: nil) == ["no rule was run"])
    }

    // MARK: The whole

    /// A corpus whose plugins are told apart by their names, which the rules read: judged on the file.
    private func bench(_ entries: [JSONValue], _ rules: [Rule]) throws -> CommandTests.Bench {
        let bench = try CommandTests.Bench(rules)
        for entry in entries {
            let file = entry["file"]!.string!
            _ = try bench.plugin(file, id: "org.acme.\(file.dropLast(3))")
        }
        try bench.write("corpus.json", JSONValue.array(entries).text)
        return bench
    }

    /// Fails on plugins whose name contains `word`.
    private func rule(_ id: String, finds word: String, ignoringMask: Bool = false) -> Rule {
        let judge: @Sendable (Subject) throws -> Void = { subject in
            if subject.name.contains(word) { throw Violation("the name", expected: "no \(word)", got: subject.name) }
        }
        return Rule(
            id, .basic, .must, "Its name has no \(word).", because: "", needs: [],
            // What skips is no body, and works though the body is left out.
            skip: { ignoringMask && $0.name.contains(word) ? "it is called \(word)" : nil }, check: .file(judge))
    }

    private let entries: [JSONValue] = [
        ["rule": "VC-FAKE-01", "file": "red.so", "language": "c"], ["rule": "VC-FAKE-02", "file": "blue.so", "language": "rust"],
        ["rule": "", "file": "good.so", "language": "swift"],
    ]

    @Test("Rules that find their plugins and nothing else are proven, five times the same")
    func proven() throws {
        let bench = try bench(entries, [rule("VC-FAKE-01", finds: "red"), rule("VC-FAKE-02", finds: "blue")])
        #expect(bench.run("selftest", "--corpus", bench.folder, "--repeat", "5", "--full") == 0)
        let lines = bench.output.text.split(separator: "\n")
        #expect(lines.first == "GROUP  RULES  PLUGINS  c  rust  swift")
        #expect(lines[1] == "FAKE       2        2  1     1      -")
        #expect(
            try #require(lines.last).hasPrefix(
                "PASS selftest  rules 2  broken 2  good 1  languages c,rust,swift  probes 6  identical 5 of 5  seed "))
    }

    @Test("A rule that finds another's plugin, or not its own, or has none, is not")
    func unprovenRules() throws {
        let rules = [rule("VC-FAKE-01", finds: "re"), rule("VC-FAKE-02", finds: "green"), rule("VC-FAKE-03", finds: "x")]
        var entries = entries
        entries[2] = ["file": "great.so", "language": "swift"]
        entries.append(["rule": "VC-FAKE-09", "file": "grey.so", "language": "c"])
        let bench = try bench(entries, rules)
        #expect(bench.run("selftest", "--corpus", bench.folder) == 1)
        for problem in [
            "VC-FAKE-03 has no plugin that breaks it", "there is no rule VC-FAKE-09, for which the corpus has a plugin",
            "blue.so: VC-FAKE-02 passes, though the plugin breaks it", "grey.so: VC-FAKE-09 was not run",
            "great.so: a good plugin fails: VC-FAKE-01 the name: expected no re, got great.so",
        ] {
            #expect(bench.output.text.contains("FAIL \(problem)\n"), "\(problem)")
        }
    }

    @Test("A share leaves out foreign rules of broken plugins, and neither their own nor what good ones must keep")
    func share() throws {
        let rules = [rule("VC-FAKE-01", finds: "re"), rule("VC-FAKE-02", finds: "green")]
        var entries = [entries[0], ["rule": "VC-FAKE-02", "file": "green.so", "language": "c"]]
        let bench = try bench(entries, rules)
        #expect(bench.run("selftest", "--corpus", bench.folder) == 1)
        #expect(bench.run("selftest", "--corpus", bench.folder, "--share", "0") == 0)
        #expect(bench.output.text.contains("PASS selftest  rules 2  broken 2  good 0  languages c  probes 2 "))
        entries.append(["rule": "", "file": "great.so", "language": "c"])
        let another = try self.bench(entries, rules)
        #expect(another.run("selftest", "--corpus", another.folder, "--share", "0") == 1)
        #expect(another.output.text.contains("great.so: a good plugin fails"))
    }

    @Test("A share keeps what its rules stand on")
    func shareWithNeeds() throws {
        let first = rule("VC-FAKE-01", finds: "red")
        let second = Rule(
            "VC-FAKE-02", .basic, .must, "It stands on the first.", because: "", needs: ["VC-FAKE-01"],
            check: .file { _ in throw Violation("it", expected: "to be skipped", got: "a look") })
        let bench = try bench([["rule": "VC-FAKE-02", "file": "red.so", "language": "c"]], [first, second])
        #expect(bench.run("selftest", "--corpus", bench.folder, "--share", "0") == 1)
        #expect(bench.output.text.contains("red.so: VC-FAKE-02 is skipped"))
    }

    @Test("A plugin that fails its rule though the body is left out is told")
    func masked() throws {
        // The fake probe crashes whatever it is told: the rule's body has no part in it.
        let bench = try bench([["rule": "VC-FAKE-segv", "file": "red.so", "language": "c"]], [.fake("segv")])
        #expect(bench.run("selftest", "--corpus", bench.folder) == 1)
        #expect(bench.output.text.contains("red.so: VC-FAKE-segv fails with its body left out, so something else fails: "))
        #expect(bench.output.text.contains("red.so: with VC-FAKE-segv masked the self-test stays green"))
    }

    @Test("Without a corpus there is nothing to prove")
    func noCorpus() throws {
        let bench = try CommandTests.Bench([])
        #expect(bench.run("selftest", "--corpus", bench.folder) == 3)
    }

    @Test("Reports that differ between runs turn it red")
    func unsteady() throws {
        let bench = try bench([["file": "good.so", "language": "c"]], [])
        let corpus = try Corpus(directory: bench.folder)
        // A clock is what no rule may read.
        let ticking = Rule(
            "VC-FAKE-01", .basic, .must, "The clock stands still.", because: "", needs: [],
            check: .file { _ in throw Violation("the clock", expected: "no time", got: "\(runnerClockNs())") })
        let test = SelfTest(
            corpus: corpus, rules: [ticking], settings: bench.command.settings, peers: NoPeers(), repeats: 2)
        let outcome = try test.run()
        #expect(outcome.identical == 1)
        #expect(outcome.wallMs > 0)
        #expect(outcome.problems.contains { $0.hasPrefix("good.so: run 2 differs: VC-FAKE-01 the clock") })
    }

    @Test("What is red in the crowd and green alone is told, and turns nothing red")
    func secondLook() throws {
        let bench = try bench([["file": "good.so", "language": "c"]], [])
        let hasFailed = Mutex(false)
        let moody = Rule(
            "VC-FAKE-01", .basic, .must, "The first time does not count.", because: "", needs: [],
            check: .file { _ in
                let isFirst = hasFailed.withLock { failed in
                    defer { failed = true }
                    return !failed
                }
                if isFirst { throw Violation("the mood", expected: "good", got: "bad") }
            })
        let test = SelfTest(
            corpus: try Corpus(directory: bench.folder), rules: [moody], covered: [], settings: bench.command.settings, peers: NoPeers())
        let outcome = try test.run()
        #expect(outcome.problems == [])
        #expect(outcome.unsteady.first == "good.so: a good plugin fails: VC-FAKE-01 the mood: expected good, got bad")
    }
}
