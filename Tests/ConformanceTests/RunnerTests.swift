import Glibc
import JSON
import Testing

@testable import Conformance

/// The runner against probes that do what a plugin may do to a probe.
@Suite("The runner believes nothing but a finished verdict", .timeLimit(.minutes(2)))
struct RunnerTests {
    @Test("A verdict that is done without a breach is a pass")
    func pass() throws {
        let result = try FakeProbe.result("pass")
        #expect(result.status == .pass)
        #expect(result.finding == "")
        #expect(result.provider == "org.acme.tts")
    }

    @Test("The first breach that is told is the rule's")
    func fail() throws {
        let result = try FakeProbe.result("fail")
        #expect(result.status == .fail)
        #expect(
            result.message == "VC-FAKE-fail finalize(request 42): expected FINALIZED carrying 42, got 43")
        #expect(result.place == "finalize")
    }

    @Test("A breach of advice is a warning")
    func advice() throws {
        let report = try FakeProbe.run([.fake("fail", .should)])[0]
        #expect(report.results[0].status == .warn)
        #expect(report.exitCode == 0)
    }

    @Test("A probe that finds nothing to judge is skipped with its reason")
    func skip() throws {
        let result = try FakeProbe.result("skip")
        #expect(result.status == .skip)
        #expect(result.finding == "the provider has no marks")
    }

    @Test("An exit status of 0 without a verdict is no pass", arguments: ["exit0", "closeAll"])
    func exitZero(_ behaviour: String) throws {
        let result = try FakeProbe.result(behaviour)
        #expect(result.status == .noVerdict)
        #expect(result.finding == "no-verdict: the process ended with status 0 at the start")
    }

    @Test("Another exit status is told, and nothing more")
    func exitSeven() throws {
        #expect(try FakeProbe.result("exit7").finding == "no-verdict: the process ended with status 7 at the start")
    }

    @Test("Lines without the nonce forge no verdict, on whatever descriptor they come")
    func forgery() throws {
        let result = try FakeProbe.result("forge")
        #expect(result.status == .noVerdict)
        #expect(
            result.notes == [RuleResult.Note("lines on the verdict pipe that are not the probe's", "3")])
    }

    @Test("A crash says its signal and where it was")
    func crash() throws {
        let result = try FakeProbe.result("segv")
        #expect(result.status == .crash)
        #expect(result.finding == "crash: SIGSEGV at push frame=17")
        #expect(result.place == "push frame=17")
        #expect(try FakeProbe.result("abort").finding == "crash: SIGABRT at create")
    }

    @Test("A breach that was told before a crash does not hide the crash")
    func failAndDie() throws {
        let result = try FakeProbe.result("failAndDie")
        #expect(result.status == .crash)
        #expect(result.violation?.what == "x")
    }

    @Test("An endless loop is found by its processor time, long before the wall")
    func loop() throws {
        let result = try FakeProbe.result("loop") { $0.budget.wallMs = 60_000 }
        #expect(result.status == .hang)
        #expect(result.finding == "hang: its processor time was used up at close")
        #expect(result.cpuMs >= 300)
        #expect(result.wallMs < 60_000)
    }

    @Test("A sleep without end is found on the wall, also when all is closed and every signal ignored",
        arguments: ["sleep", "closeAllAndSleep", "ignoreTerm"])
    func sleep(_ behaviour: String) throws {
        let result = try FakeProbe.result(behaviour) { $0.budget.wallMs = 300 }
        #expect(result.status == .hang)
        #expect(result.finding == "hang: it did not come back at \(behaviour == "sleep" ? "cancel" : "the start")")
        #expect(result.wallMs >= 300)
    }

    @Test("The scale of the budget stretches it")
    func scale() throws {
        let result = try FakeProbe.result("sleep") { settings in
            settings.budget.wallMs = 100
            settings.budget.scale = 4
        }
        #expect(result.status == .hang)
        #expect(result.wallMs >= 400)
    }

    @Test("What is printed is kept, and is no verdict")
    func output() throws {
        let result = try FakeProbe.result("stdout")
        #expect(result.status == .pass)
        #expect(result.output == "ok 1 - everything\na warning\n")
    }

    @Test("A flood of output is read to its end and kept in part")
    func floodOutput() throws {
        let result = try FakeProbe.result("floodOutput") { $0.budget.cpuMs = 3_000 }
        #expect(result.status == .pass)
        #expect(result.output.utf8.count < CapturedOutput.bytesMax + 100)
        #expect(result.output.hasSuffix("x\n[\(8 * 1_048_576 - CapturedOutput.bytesMax) bytes more]\n"))
    }

    @Test("A flood on the verdict pipe ends the probe", arguments: ["floodVerdict", "longVerdict"])
    func floodVerdict(_ behaviour: String) throws {
        let result = try FakeProbe.result(behaviour) { $0.budget.cpuMs = 30_000 }
        #expect(result.status == .noVerdict)
        #expect(result.finding == "no-verdict: it flooded the verdict pipe at the start")
    }

    @Test("A flood on the peer channel closes the channel")
    func floodPeer() throws {
        let result = try FakeProbe.result("floodPeer") { $0.budget.cpuMs = 30_000 }
        #expect(result.status == .pass, "its write failed, and it came to its end")
    }

    @Test("A process that lives on after its verdict is ended, and the verdict stands",
        arguments: ["doneAndSleep", "doneAndCrash"])
    func afterDone(_ behaviour: String) throws {
        let result = try FakeProbe.result(behaviour)
        #expect(result.status == .pass)
        #expect(result.wallMs < 5_000)
    }

    @Test("A probe that never begins is the runner's failure and not the plugin's")
    func stillborn() {
        #expect(throws: RunnerFailure("the probe of VC-FAKE-pass ended with status 3 before it had begun: no such library\n")) {
            try FakeProbe.result("pass") { $0.probeEnvironment = ["FAKE_STILLBORN": "1"] }
        }
    }

    @Test("So is a probe that cannot be started")
    func noProbe() {
        #expect(throws: RunnerFailure("the probe /nonexistent does not start: No such file or directory")) {
            try FakeProbe.result("pass") { $0.probe = ["/nonexistent"] }
        }
    }

    @Test("A probe has its own session and home, the descriptors of the frame, and nothing of our environment")
    func surroundings() throws {
        let result = try FakeProbe.result("surroundings")
        let notes = Dictionary(uniqueKeysWithValues: result.notes.map { ($0.name, $0.value) })
        #expect(notes["descriptors"] == "0 1 2 3 4 5 ")
        #expect(notes["session"] == "own")
        let expected = ["GLIBC_TUNABLES", "HOME", "LANG", "PATH", "SWIFT_BACKTRACE", "TMPDIR", "VCHOST_CONFORM"]
        let variables = Set(notes["environment", default: ""].split(separator: " ").map(String.init))
        #expect(variables.subtracting(["LD_LIBRARY_PATH"]) == Set(expected))
        #expect(notes["home"] == "here")
        #expect(notes["SIGPIPE"] == "default")
        #expect(notes["input"] == "empty")
    }

    @Test("What is free in a thread's cache does not count as memory in use")
    func heap() throws {
        let result = try FakeProbe.result("heap")
        #expect(result.notes.first { $0.name == "freed" }?.value == "all")
    }

    @Test("Nothing of a run is left on disk")
    func folder() throws {
        var template = Array("/var/tmp/vchost-test-XXXXXX".utf8CString)
        try #require(mkdtemp(&template) != nil)
        let place = template.withUnsafeBufferPointer { String(cString: $0.baseAddress!) }
        defer { rmdir(place) }
        _ = try FakeProbe.run([.fake("pass"), .fake("segv")]) { $0.temporaryDirectory = place }
        #expect(rmdir(place) == 0, "\(String(cString: strerror(errno)))")
    }

    // MARK: Strays

    @Test("A grandchild in a session of its own is told, ended and reaped",
        arguments: ["stray", "strayWithoutEnvironment", "strayWithoutLimit"])
    func strays(_ behaviour: String) throws {
        let result = try FakeProbe.result(behaviour)
        #expect(result.status == .pass)
        #expect(result.strays == ["sleep 600"])
    }

    @Test("A child in the probe's own group is told too")
    func child() throws {
        #expect(try FakeProbe.result("child").strays == [FakeProbe.program])
    }

    @Test("The children of a probe that hangs end with it")
    func strayOfHang() throws {
        let result = try FakeProbe.result("forkAndHang") { $0.budget.wallMs = 500 }
        #expect(result.status == .hang)
        #expect(result.strays == ["sleep 600"])
    }

    @Test("A stray is told of its own probe only, with many at once")
    func attribution() throws {
        let rules: [Rule] = (0..<6).map { .fake($0 % 2 == 0 ? "strayWithoutEnvironment" : "pass") }
        for report in try FakeProbe.run(rules, jobs: 6, subjects: [.sample(), .sample(id: "org.other.tts")]) {
            #expect(report.results.map(\.strays) == rules.map { $0.id.hasSuffix("pass") ? [] : ["sleep 600"] })
        }
    }

    @Test("A rule about the process is judged by what the runner saw")
    func observed() throws {
        let quiet = Rule.fake("stdout", check: .observed { seen in
            guard seen.standardOutput.isEmpty else {
                throw Violation("a whole life", expected: "nothing on standard output", got: seen.standardOutput)
            }
        })
        let childless = Rule.fake("stray", check: .observed { seen in
            guard seen.strays.isEmpty else { throw Violation("a whole life", expected: "no child", got: "\(seen.strays)") }
        })
        let report = try FakeProbe.run([quiet, childless])[0]
        #expect(report.results.map(\.status) == [.fail, .fail])
        #expect(report.results[0].violation?.got == "ok 1 - everything\n")
        let masked = try FakeProbe.run([quiet, childless]) { $0.masked = [quiet.id, childless.id] }[0]
        #expect(masked.results.map(\.status) == [.pass, .pass])
    }

    // MARK: Jobs and peers

    @Test("A question on the peer channel is answered by the vendor, or by the words that there is none")
    func peer() throws {
        struct Echo: PeerSource, ProbePeer {
            func prepare(_ job: inout Job, for subject: Subject) {}
            func peer(of job: Job, for subject: Subject) -> (any ProbePeer)? { self }
            mutating func answer(_ line: String) -> String? { String(repeating: line, count: 20_000) }
        }
        // The probe reads its answer byte by byte, which is some tenths of a second of system calls.
        let long = try FakeProbe.result("ask", peers: Echo()) { $0.budget.cpuMs = 5_000 }
        #expect(long.notes.first == RuleResult.Note("bytes", "420000"))
        let none = try FakeProbe.result("ask")
        let words = "{'error':'there is no vendor script that could answer ''http''','id':7}"
        #expect(none.notes.last == RuleResult.Note("answer", words))
    }

    @Test("Files that a manifest names relative to the installation are found in the probe's home")
    func links() throws {
        let file = "Sources/Conformance/Rule.swift"
        try #require(access(file, R_OK) == 0, "the tests run in the root of the repository")
        let report = try FakeProbe.run([.fake("link")], subjects: [.sample(files: [file]), .sample(files: ["missing.bin"])])
        #expect(report[0].results[0].notes == [RuleResult.Note("file", "there")])
        #expect(report[1].results[0].notes == [RuleResult.Note("file", "not there")])
    }

    // MARK: Plan

    @Test("Answers of a vendor that has no script, no address and nobody at home are not judged, and give no badge")
    func unreached() throws {
        let rules = [Rule.fake("pass"), Rule.fake("unanswered", id: "VC-TTS-99")]
        let grpc = Subject.sample(network: ["http://127.0.0.1:50053"])
        let report = try FakeProbe.run(rules, subjects: [grpc])[0]
        #expect(report.results.map(\.status) == [.pass, .skip])
        #expect(report.results[1].why.contains("connection refused") && report.results[1].why.contains("--config"))
        #expect(report.unreached == [report.results[1].why] && report.badge == nil && report.exitCode == 0)
        // Who says that there is a server, and who has no vendor, is judged. The fake has no answer to this rule.
        let named = try FakeProbe.run(rules, subjects: [grpc]) { $0.configurations = ["org.acme.tts": ["address": "a:1"]] }[0]
        #expect(named.results.map(\.status) == [.pass, .noVerdict] && named.unreached.isEmpty)
        let dropped = try FakeProbe.run(rules, subjects: [grpc]) {
            $0.configurations = ["org.acme.tts": ["address": "a:1"]]
            $0.excusesVendor = true
        }[0]
        #expect(dropped.results.map(\.status) == [.pass, .skip])
        let local = try FakeProbe.run(rules)[0]
        #expect(local.results.map(\.status) == [.pass, .noVerdict])
    }

    @Test("What builds on a failed rule is skipped, with the name of the one that failed first")
    func needs() throws {
        let report = try FakeProbe.run([
            .fake("segv"), .fake("pass"), .fake("fail", needs: ["VC-FAKE-segv"]),
            .fake("exit0", needs: ["VC-FAKE-fail", "VC-FAKE-pass"]), .fake("exit7", needs: ["VC-FAKE-pass"]),
        ])[0]
        #expect(report.results.map(\.status) == [.crash, .pass, .skip, .skip, .noVerdict])
        #expect(report.results[2].why == "VC-FAKE-segv failed")
        #expect(report.results[3].why == "VC-FAKE-segv failed")
    }

    @Test("Two runs give the same fingerprint, alone and beside others")
    func fingerprint() throws {
        let rules: [Rule] = ["pass", "fail", "skip", "segv", "exit0", "forge", "stray", "loop"].map { .fake($0) }
        let prints = try [1, 4, 8].map { jobs in try FakeProbe.run(rules, jobs: jobs)[0].fingerprint }
        #expect(Set(prints).count == 1)
        let other = try FakeProbe.run(rules) { $0.seed = 7 }[0].fingerprint
        #expect(other != prints[0])
    }
}
