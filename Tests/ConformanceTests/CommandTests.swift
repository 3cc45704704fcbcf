import Glibc
import JSON
import Synchronization
import Testing

@testable import Conformance
@testable import Providers

/// `vchost conform` with fake probes: words in, text and an exit code out.
@Suite("The command's exit codes are a contract with build servers")
struct CommandTests {
    final class Sink: Sendable {
        private let held = Mutex("")
        func write(_ text: String) { held.withLock { $0 += text } }
        var text: String { held.withLock { $0 } }
    }

    final class Bench {
        let folder: String
        let output = Sink()
        let errors = Sink()
        var command = ConformCommand()

        init(_ rules: [Rule]) throws {
            var template = Array("/var/tmp/vchost-test-XXXXXX".utf8CString)
            try #require(mkdtemp(&template) != nil)
            folder = template.withUnsafeBufferPointer { String(cString: $0.baseAddress!) }
            command.settings.probe = [FakeProbe.program]
            command.settings.budget.cpuMs = 300
            command.settings.budget.wallMs = 500
            command.isTerminal = false
            command.rules = rules
        }

        deinit { RunFolder.remove(folder) }

        /// A library with a manifest: never loaded here, but read as bytes.
        func plugin(_ name: String = "acme.so", id: String = "org.acme.tts", kind: String = "vc.tts/1") throws -> String {
            let manifest: JSONValue = [
                "manifest": 1, "id": .string(id), "version": "1.0.0", "title": "A test", "license": "Apache-2.0",
                "abi": ["major": 1, "minor": 0, "hostMinorMin": 0], "runtime": ["language": "c"],
                "providers": [["kind": .string(kind), "id": .string(id)]],
            ]
            let path = "\(folder)/\(name)"
            try write("x.c", "#include \"vchost/vchost.h\"\nVC_MANIFEST(\(JSONValue.string(manifest.text).text));\n"
                + "VC_EXPORT vc_status vc_plugin_entry_v1(const vc_host *h, const vc_module **m) { (void)h, (void)m; return VC_E_UNSUPPORTED; }\n")
            let status = execute([
                "/usr/bin/cc", "-shared", "-fPIC", "-fvisibility=hidden", "-I", FakeProbe.repository + "/Sources/PluginABI/include",
                "\(folder)/x.c", "-o", path,
            ])
            try #require(status == 0)
            unlink("\(folder)/x.c")
            return path
        }

        func write(_ name: String, _ text: String) throws {
            let file = try #require(fopen("\(folder)/\(name)", "w"))
            fputs(text, file)
            fclose(file)
        }

        func run(_ words: String...) -> Int32 {
            let (output, errors) = (output, errors)
            return command.run(words, output: { output.write($0) }, errors: { errors.write($0) })
        }
    }

    @Test("0: all kept; the last line says it all")
    func kept() throws {
        let bench = try Bench([.fake("pass"), .fake("skip")])
        #expect(bench.run("run", try bench.plugin(), "--seed", "7f3a") == 0)
        let last = try #require(bench.output.text.split(separator: "\n").last)
        #expect(last.hasPrefix("PASS org.acme.tts 1.0.0  rules 2  pass 1  skip 1  badge basic  seed 0000000000007f3a  "))
        #expect(bench.errors.text == "")
    }

    @Test("1: a MUST is broken, or a SHOULD with --fail-on warn")
    func broken() throws {
        let bench = try Bench([.fake("pass"), .fake("fail")])
        let plugin = try bench.plugin()
        #expect(bench.run("run", plugin) == 1)
        #expect(bench.output.text.contains("FAIL VC-FAKE-fail finalize(request 42): expected FINALIZED carrying 42, got 43\n"))
        bench.command.rules = [.fake("pass"), .fake("fail", .should)]
        #expect(bench.run("run", plugin) == 0)
        #expect(bench.run("run", plugin, "--fail-on", "warn") == 1)
        #expect(bench.run("run", plugin, "--fail-on=fail") == 0)
    }

    @Test(
        "2: the command line is wrong",
        arguments: [
            [], ["dance"], ["run"], ["run", "x.so", "--colour"], ["run", "x.so", "-f", "yaml"], ["run", "x.so", "-f", "tap", "-f", "json"],
            ["run", "x.so", "-t", "("], ["run", "x.so", "-l", "4"], ["run", "x.so", "-j", "0"], ["run", "x.so", "-j"],
            ["run", "x.so", "--seed", "xyz"], ["run", "x.so", "-k", "fax"], ["run", "x.so", "--waive", "VC-FAKE-pass"],
            ["run", "x.so", "--waive", "VC-NONE-01=because"], ["run", "x.so", "--fail-on", "skip"], ["run", "x.so", "--timeout", "-1"],
            ["run", "x.so", "--baseline", "/nonexistent"], ["run", "x.so", "--record"], ["explain"], ["explain", "VC-NONE-01"], ["list", "--jsno"],
        ])
    func usage(_ words: [String]) throws {
        let bench = try Bench([.fake("pass")])
        let (output, errors) = (bench.output, bench.errors)
        #expect(bench.command.run(words, output: { output.write($0) }, errors: { errors.write($0) }) == 2)
        #expect(errors.text.hasPrefix("vchost conform: "))
        #expect(output.text == "")
    }

    @Test("3: there is no plugin to inspect")
    func nothing() throws {
        let bench = try Bench([.fake("pass")])
        #expect(bench.run("run", "\(bench.folder)/missing.so") == 3)
        #expect(bench.run("run", bench.folder) == 3)
        try bench.write("text.so", "hello")
        #expect(bench.run("run", "\(bench.folder)/text.so") == 3)
        #expect(bench.output.text.contains("text.so cannot be run: it is no plugin: it has no ELF header\n"))
    }

    @Test("4: the plugin crashed, hung, or left no verdict", arguments: ["segv", "sleep", "exit0"])
    func lost(_ behaviour: String) throws {
        let bench = try Bench([.fake("fail"), .fake(behaviour)])
        #expect(bench.run("run", try bench.plugin()) == 4)
    }

    @Test("5: the runner itself failed, and says so")
    func runnerFailed() throws {
        let bench = try Bench([.fake("pass")])
        bench.command.settings.probe = ["/nonexistent"]
        #expect(bench.run("run", try bench.plugin()) == 5)
        #expect(bench.errors.text.hasPrefix("vchost conform: the runner failed, and no plugin is to blame: "))
        bench.command.settings.probe = [FakeProbe.program]
        #expect(bench.run("run", try bench.plugin(), "-f", "json=/nonexistent/report.json") == 5)
    }

    @Test("6: a filter that matches nothing must not look green")
    func nothingSelected() throws {
        let bench = try Bench([.fake("pass")])
        let plugin = try bench.plugin()
        #expect(bench.run("run", plugin, "-t", "VC-FAKE-psas") == 6)
        #expect(bench.run("run", plugin, "-x", ".") == 6)
        #expect(bench.run("run", plugin, "-k", "vad") == 6)
        #expect(bench.run("run", plugin, "-p", "org.other") == 6)
        #expect(bench.run("run", plugin, "-t", "pass$", "-k", "tts", "-p", "org.acme.tts") == 0)
    }

    @Test("77: everything was skipped")
    func skipped() throws {
        let bench = try Bench([.fake("skip"), .fake("segv", skip: { _ in "the provider has no marks" })])
        #expect(bench.run("run", try bench.plugin()) == 77)
        #expect(bench.output.text.hasPrefix("SKIP "))
    }

    @Test("A waiver excuses its rule, needs a reason, and is told when nothing needs it")
    func waive() throws {
        let bench = try Bench([.fake("pass"), .fake("segv")])
        #expect(bench.run("run", try bench.plugin(), "--waive", "VC-FAKE-segv=issue 12", "--waive", "VC-FAKE-pass=once") == 0)
        #expect(bench.output.text.contains("known VC-FAKE-segv issue 12; crash: SIGSEGV at push frame=17\n"))
        #expect(bench.output.text.contains("note: VC-FAKE-pass passed, and needs no waiver any more\n"))
        #expect(!bench.output.text.contains("badge"))
    }

    @Test("A baseline knows the failures of an earlier run, and tells those that are mended")
    func baseline() throws {
        let bench = try Bench([.fake("fail"), .fake("pass")])
        let plugin = try bench.plugin()
        let baseline = "\(bench.folder)/base.json"
        #expect(bench.run("run", plugin, "-f", "json=\(baseline)") == 1)
        #expect(bench.output.text == "")
        #expect(bench.run("run", plugin, "--baseline", baseline) == 0)
        bench.command.rules = [.fake("fail"), .fake("exit0")]
        #expect(bench.run("run", plugin, "--baseline", baseline) == 4, "what was not known counts")
        var mended = try #require(try CommandFile.json(baseline).object)
        mended["plugins"] = JSONValue.array(
            try #require(mended["plugins"]?.array).map { plugin in
                var plugin = plugin.object!
                plugin["results"] = [["rule": "VC-FAKE-pass", "provider": "org.acme.tts", "status": "fail"]]
                return .object(plugin)
            })
        try bench.write("mended.json", JSONValue.object(mended).text)
        bench.command.rules = [.fake("pass")]
        #expect(bench.run("run", plugin, "--baseline", "\(bench.folder)/mended.json") == 0)
        #expect(bench.output.text.contains("note: VC-FAKE-pass passed, and needs no waiver any more\n"))
    }

    @Test("Several formats are written at once, one of them to standard output")
    func formats() throws {
        let bench = try Bench([.fake("pass")])
        let junit = "\(bench.folder)/report.xml"
        #expect(bench.run("run", try bench.plugin(), "-f", "tap", "-f", "junit=\(junit)") == 0)
        #expect(bench.output.text.hasPrefix("TAP version 14\n1..1\nok 1 - org.acme.tts VC-FAKE-pass "))
        #expect(try CommandFile.text(junit).hasPrefix("<?xml"))
    }

    @Test("A directory is all of its plugins, and the worst of them decides")
    func directory() throws {
        let bench = try Bench([.fake("pass")])
        _ = try bench.plugin("a.so", id: "org.acme.a")
        _ = try bench.plugin("b.so", id: "org.acme.b", kind: "vc.vad/1")
        #expect(bench.run("run", bench.folder) == 0)
        #expect(bench.output.text.split(separator: "\n").last?.hasPrefix("PASS plugins 2  pass 2  rules 2  ") == true)
        try bench.write("c.so", "hello")
        #expect(bench.run("run", bench.folder) == 3)
    }

    @Test("Repeated runs report the worst of each rule")
    func repeated() throws {
        let bench = try Bench([.fake("pass"), .fake("segv")])
        #expect(bench.run("run", try bench.plugin(), "--repeat", "3") == 4)
        #expect(!bench.output.text.contains("did not end the same way"))
        var (one, other) = (RunReport.sample.reports[1], RunReport.sample.reports[1])
        other.results[0].status = .fail
        #expect(one.merged(with: other).results[0].status == .fail)
        #expect(other.merged(with: one).results[0].status == .fail)
        #expect(one.merged(with: other).unsteady == ["VC-VAD-01"])
        one.results[0].status = .fail
        #expect(one.merged(with: other).unsteady == [])
    }

    @Test("Results are recorded when that is asked for")
    func record() throws {
        let bench = try Bench([.fake("pass")])
        let kept = Sink()
        bench.command.record = { kept.write("\($0.plugin) \($0.sha256.count) \($0.badge?.name ?? "none")") }
        let plugin = try bench.plugin()
        #expect(bench.run("run", plugin) == 0)
        #expect(kept.text == "")
        #expect(bench.run("run", plugin, "--record") == 0)
        #expect(kept.text == "org.acme.tts 64 basic")
    }

    @Test("Rules are listed, for people and for programs, and explained")
    func list() throws {
        let bench = try Bench([.fake("pass"), .fake("fail", level: .resilient, .should, kinds: [.voiceActivity])])
        #expect(bench.run("list") == 0)
        #expect(bench.output.text.hasPrefix("VC-FAKE-pass  MUST    basic      A probe can do pass.\n"))
        #expect(bench.output.text.hasSuffix("2 rules: 1 MUST, 1 SHOULD, 0 smoke\n"))
        let programs = try Bench(bench.command.rules)
        #expect(programs.run("list", "--json", "-k", "tts") == 0)
        #expect(try JSONValue(parsing: programs.output.text).array?.map { $0["id"] } == ["VC-FAKE-pass"])
        let explained = try Bench(RuleBook.all)
        #expect(explained.run("explain", "vc-life-03") == 0)
        #expect(explained.output.text.hasPrefix("VC-LIFE-03  "))
        #expect(explained.output.text.contains("Breaks it:\n"))
    }

    @Test("A scan tells what a host would load, and runs nothing of it")
    func scan() throws {
        let bench = try Bench([])
        #expect(bench.run("scan", bench.folder) == 3)
        _ = try bench.plugin("a.so")
        chmod("\(bench.folder)/a.so", 0o755)
        chmod(bench.folder, 0o755)
        #expect(bench.run("scan", bench.folder) == 0)
        #expect(bench.output.text.contains("a.so  loadable  org.acme.tts 1.0.0  vc.tts/1\n"))
        _ = try bench.plugin("b.so")
        chmod("\(bench.folder)/b.so", 0o755)
        #expect(bench.run("scan", bench.folder, "--json") == 1)
        #expect(bench.output.text.contains("\"duplicateID\""))
    }
}
