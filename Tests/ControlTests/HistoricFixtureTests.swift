import Glibc
import Testing

@testable import Control

/// Files of the systems that vchost replaces, each beside what becomes of it: `NAME.ini` (the file), `NAME.env` (the
/// environment), `NAME.golden` (our settings with their sources, and the warnings). With VCHOST_WRITE_GOLDEN=1 the last
/// are written anew, to be read before they are committed.
@Suite("Files of the systems that vchost replaces")
struct HistoricFixtureTests {
    private static let directory = String(#filePath.prefix(upTo: #filePath.lastIndex(of: "/")!)) + "/Fixtures"

    private func read(_ name: String) -> String? { try? TextFile.read("\(Self.directory)/\(name)", bytesMax: 1 << 20) }

    static let names = [
        "connector", "connector-flavours", "connector-environment", "vosk", "smartspeech", "websocket",
        "websocket-openai", "websocket-openai-without-key", "websocket-metrics", "grpc", "grpc-readme", "grpc-intent",
        "grpc-environment",
    ]

    func load(_ name: String) throws -> Configuration {
        var environment: [String: String] = [:]
        for line in (read("\(name).env") ?? "").split(separator: "\n") {
            let equals = try #require(line.firstIndex(of: "="))
            environment[String(line[..<equals])] = String(line[line.index(after: equals)...])
        }
        guard let text = read("\(name).ini") else { return Configuration(environment: environment) }
        return Configuration(file: INIFile(parsing: text, path: "\(name).ini"), environment: environment)
    }

    private func rendered(_ configuration: Configuration) -> String {
        var out = "\(configuration.dialect?.title ?? "vchost")\n"
        for section in configuration.sections {
            out += "\n[\(section.name)]\n"
            for (key, setting) in section.settings.sorted(by: { $0.key < $1.key }) {
                let value = setting.text.split(separator: "\n").joined(separator: "\n    ")
                out += "\(key) = \(value)    ; \(setting.source)\n"
            }
        }
        out += "\n"
        for problem in configuration.problems { out += "\(problem)\n" }
        return out
    }

    @Test("Each starts vchost unchanged, and means what it meant", arguments: names)
    func golden(name: String) throws {
        let configuration = try load(name)
        #expect(!configuration.problems.contains { $0.severity == .error }, "\(configuration.problems)")
        let text = rendered(configuration)
        if getenv("VCHOST_WRITE_GOLDEN") != nil {
            let file = try #require(fopen("\(Self.directory)/\(name).golden", "w"))
            fputs(text, file)
            fclose(file)
        }
        let golden = try #require(read("\(name).golden"))
        let difference = zip(text.split(separator: "\n"), golden.split(separator: "\n")).first { $0 != $1 }
        #expect(text == golden, "the first line that differs: \(String(describing: difference))")
    }
}
