import Glibc
import Providers
import Testing

@testable import Control

@Suite("A section whose plugin is not there")
struct AbsentPluginTests {
    private struct Silence: ProviderLog {
        func write(_ line: ProviderLogLine) {}
    }

    /// Of an empty plugin directory, by section.
    private func severities(_ text: String) throws -> [String: SettingProblem.Severity] {
        var template = Array("/var/tmp/vchost-control-XXXXXX".utf8CString)
        precondition(mkdtemp(&template) != nil)
        let root = template.withUnsafeBufferPointer { String(cString: $0.baseAddress!) }
        mkdir(root + "/plugins.d", 0o755)
        defer { for path in ["/plugins.d", "/cache", ""] { rmdir(root + path) } }
        let loader = try PluginLoader(cacheDirectory: root + "/cache", log: Silence())
        let registry = PluginRegistry(directory: root + "/plugins.d", loader: loader, log: Silence())
        let review = ConfigurationReview(
            Configuration(file: INIFile(parsing: text, path: "x.ini")), registry: registry, environment: [:])
        var found: [String: SettingProblem.Severity] = [:]
        for problem in review.problems where problem.message.contains("there is no plugin") {
            found[String(problem.message.prefix { $0 != "]" }.dropFirst())] = problem.severity
        }
        return found
    }

    @Test("It is an error where a profile has nobody else, and else a warning: it may come while the host runs")
    func severity() throws {
        let found = try severities(
            """
            [profile.default]
            vad = vad.a
            stt = stt.a
            llm = llm.a
            tts = tts.a
            turn = turn.a
            [vad.a]
            plugin = x
            [stt.a]
            plugin = x
            [llm.a]
            plugin = x
            [tts.a]
            plugin = x
            [turn.a]
            plugin = x
            [tts.spare]
            plugin = later
            [telephony.a]
            plugin = x
            """)
        #expect(
            found == [
                "vad.a": .warning, "turn.a": .warning, "tts.spare": .warning, "stt.a": .error, "llm.a": .error,
                "tts.a": .error, "telephony.a": .error,
            ])
    }
}
