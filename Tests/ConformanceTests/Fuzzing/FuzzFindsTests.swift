import Glibc
import JSON
import Testing

@testable import Conformance
@testable import Providers

/// Real probes and a real plugin, with faults that no rule sees (`Tests/BrokenPlugins/fuzzed.c`).
@Suite("Fuzzing finds what no rule sees", .serialized, .timeLimit(.minutes(5)))
struct FuzzFindsTests {
    /// The seed of which each fault is found early; a change of the generator needs another.
    private static let seed: UInt64 = 2

    private struct Workplace: ~Copyable {
        let folder: String

        init() throws {
            var template = Array("/var/tmp/vchost-fuzz-XXXXXX".utf8CString)
            try #require(mkdtemp(&template) != nil)
            folder = template.withUnsafeBufferPointer { String(cString: $0.baseAddress!) }
        }

        deinit { RunFolder.remove(folder) }

        /// fuzzed.c with a fault, or as it stands.
        func plugin(_ fault: String = "") throws -> String {
            let source = FakeProbe.repository + "/Tests/BrokenPlugins"
            let path = "\(folder)/\(fault.isEmpty ? "good" : fault).so"
            let flags = [
                "-O1", "-fPIC", "-shared", "-fvisibility=hidden", "-I", source, "-I",
                FakeProbe.repository + "/Sources/PluginABI/include", "-Wl,-z,now,-z,nodelete,-z,relro,-z,defs",
            ]
            let define = fault.isEmpty ? [] : ["-DBREAK_\(fault)"]
            try #require(execute(["/usr/bin/cc"] + flags + define + ["-o", path, source + "/fuzzed.c"]) == 0)
            return path
        }
    }

    private static func settings() throws -> RunSettings {
        var settings = RunSettings()
        settings.probe = [try ProgramUnderTest.path(), "__conform"]
        settings.level = .resilient
        settings.seed = seed
        settings.budget.cpuMs *= 3
        settings.budget.wallMs *= 6
        return settings
    }

    private static func run(_ path: String, cases: Int) throws -> FuzzRun {
        let subject = try Subject(file: path)
        var limits = FuzzRun.Limits()
        limits.cases = cases
        limits.findings = 1
        return FuzzRun(
            subject: subject, provider: try #require(subject.manifest?.providers.first), settings: try settings(),
            peers: VendorScripts(), limits: limits)
    }

    @Test(
        "A planted fault is found from a fixed seed, and a few steps of it are left",
        arguments: [
            ("FUZZ_01", "frames without gap and repetition", 6), ("FUZZ_02", "SIGSEGV at destroy", 6),
            ("FUZZ_03", "no memory left behind by each time", 3),
        ])
    func finds(_ fault: String, _ words: String, _ stepsMax: Int) throws {
        let place = try Workplace()
        let run = try Self.run(try place.plugin(fault), cases: 192)
        let finding = try #require(try run.run().findings.first)
        #expect(finding.result.finding.contains(words))
        #expect(finding.least.steps.count <= stepsMax)
        #expect(finding.original.steps.count >= finding.least.steps.count)

        // What was kept fails again as often as it is played, and not with the plugin as it should be.
        #expect(try run.play([finding.least])[0].finding == finding.result.finding)
        let good = try Self.run(try place.plugin(), cases: 1)
        #expect(try good.play([finding.least])[0].finding == "")
    }

    @Test("What is kept beside a plugin is played by `conform run`, and is a breach until it is mended")
    func regression() throws {
        let place = try Workplace()
        var played = FuzzCase()
        played.steps = [
            FuzzStep(.open) { $0.flag = true }, FuzzStep(.open, session: 1) { $0.flag = true },
            FuzzStep(.open, session: 2) { $0.flag = true }, FuzzStep(.close, session: 1),
            FuzzStep(.destroy, session: 1),
        ]
        let file = FuzzFile(name: "three-calls", finding: "a crash", provider: "org.vchost.fuzzed-tts", played: played)
        var statuses: [Status] = []
        for fault in ["FUZZ_02", ""] {
            let path = try place.plugin(fault)
            _ = try file.write(into: String(path.dropLast(3)) + ".conform/fuzz")
            var settings = try Self.settings()
            settings.includesScenarios = true
            let report = try Runner(settings, peers: VendorScripts()).run(
                [try Subject(file: path)], rules: [],
                selection: Runner.Selection { rule, _, _ in rule.id == "VC-FUZ-three-calls" })[0]
            statuses.append(try #require(report.results.first).status)
        }
        #expect(statuses == [.crash, .pass])
    }
}
