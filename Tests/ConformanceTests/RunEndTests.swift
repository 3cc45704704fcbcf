import Glibc
import JSON
import Testing

@testable import Conformance
@testable import Providers

@Suite("A run that cannot go on says so and leaves nothing behind", .timeLimit(.minutes(2)))
struct RunEndTests {
    /// A vendor for which there is no port.
    private struct NoVendor: PeerSource {
        func prepare(_ job: inout Job, for subject: Subject) throws(RunnerFailure) {
            throw RunnerFailure("the vendor of \(job.provider) cannot be played: no port on 127.0.0.1 is free")
        }
        func peer(of job: Job, for subject: Subject) -> (any ProbePeer)? { nil }
    }

    @Test("5: a vendor that cannot be played is never the plugin's fault")
    func noVendor() throws {
        let bench = try CommandTests.Bench([.fake("pass")])
        bench.command.peers = { _ in NoVendor() }
        let (output, errors) = (bench.output, bench.errors)
        let code = bench.command.run(
            ["run", try bench.plugin()], output: { output.write($0) }, errors: { errors.write($0) })
        #expect(code == 5)
        #expect(
            errors.text == """
                vchost conform: the runner failed, and no plugin is to blame: the vendor of org.acme.tts cannot be played: \
                no port on 127.0.0.1 is free

                """)
    }

    @Test("A signal ends the run, its probes and its folder, and the shell sees the signal", arguments: [SIGINT, SIGTERM])
    func interrupted(_ signal: Int32) throws {
        let bench = try CommandTests.Bench([])
        // A plugin is not needed: the corpus' voice is slow enough in five hundred cases.
        let plugin = bench.folder + "/fuzzed.so"
        let source = FakeProbe.repository + "/Tests/BrokenPlugins"
        try #require(
            execute([
                "/usr/bin/cc", "-O1", "-fPIC", "-shared", "-fvisibility=hidden", "-I", source, "-I",
                FakeProbe.repository + "/Sources/PluginABI/include", "-o", plugin, source + "/fuzzed.c",
            ]) == 0)
        let temporary = bench.folder + "/tmp"
        mkdir(temporary, 0o700)
        let command = [try ProgramUnderTest.path(), "conform", "fuzz", plugin, "--runs", "100000"]
        var words: [UnsafeMutablePointer<CChar>?] = command.map { strdup($0) } + [nil]
        var variables: [UnsafeMutablePointer<CChar>?] = [strdup("TMPDIR=\(temporary)"), nil]
        defer { (words + variables).forEach { free($0) } }
        var process: pid_t = 0
        try #require(posix_spawn(&process, words[0]!, nil, nil, &words, &variables) == 0)
        for _ in 0..<600 where Self.count(temporary) == 0 { usleep(50_000) }
        #expect(Self.count(temporary) == 1)
        kill(process, signal)
        var status: Int32 = 0
        while waitpid(process, &status, 0) < 0, errno == EINTR {}
        #expect(status & 0x7f == signal)
        #expect(Self.count(temporary) == 0)
    }

    private static func count(_ path: String) -> Int {
        guard let directory = opendir(path) else { return 0 }
        defer { closedir(directory) }
        var count = -2
        while readdir(directory) != nil { count += 1 }
        return count
    }
}

/// `vchost`, as it was built beside these tests.
enum ProgramUnderTest {
    static func path() throws -> String {
        var path = [CChar](repeating: 0, count: 4_096)
        let length = readlink("/proc/self/exe", &path, 4_095)
        try #require(length > 0)
        let own = String(decoding: path[..<length].map { UInt8(bitPattern: $0) }, as: UTF8.self)
        let program = own[..<own.lastIndex(of: "/")!] + "/vchost"
        try #require(access(String(program), X_OK) == 0, "\(program) is not built")
        return String(program)
    }
}
