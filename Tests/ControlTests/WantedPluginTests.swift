import JSON
import Testing

@testable import Control
@testable import Providers

@Suite("What a configuration wants of a file that is not loaded")
struct WantedPluginTests {
    private func manifest() throws -> Manifest {
        try Manifest(
            parsing: Array(
                """
                {"manifest":1,"id":"org.acme.voice","version":"1.0.0","title":"t","license":"l",
                "abi":{"major":1,"minor":0,"hostMinorMin":0},"runtime":{"language":"c"},
                "providers":[{"kind":"vc.tts/1","id":"org.acme.tts","config":{"type":"object",
                "properties":{"speed":{"type":"integer","default":1}},"additionalProperties":false}},
                {"kind":"vc.stt/1","id":"org.acme.stt"}]}
                """.utf8)[...])
    }

    private func configuration(_ text: String) -> Configuration {
        Configuration(file: INIFile(parsing: text, path: "x.ini"))
    }

    @Test(
        "A section names it by its file, its id or a provider's, and gets the provider of its kind",
        arguments: ["acme", "libacme", "acme.so", "org.acme.voice", "org.acme.tts"])
    func named(_ name: String) throws {
        let wanted = configuration("[tts.a]\nplugin = \(name)\n[llm.a]\nplugin = \(name)\n[tts.b]\nplugin = other")
            .wanting("acme.so", try manifest())
        #expect(wanted.map(\.section.name) == ["tts.a"])
        #expect(wanted.map(\.provider.id) == ["org.acme.tts"])
    }

    @Test("It runs where its sections say, in process if any says so, and else where its origin has it")
    func isolation() throws {
        func isolation(_ text: String, isShipped: Bool = false) throws -> Manifest.Isolation {
            configuration(text).isolation(of: "acme.so", try manifest(), isShipped: isShipped)
        }
        #expect(try isolation("") == .worker)
        #expect(try isolation("", isShipped: true) == .inprocess)
        #expect(try isolation("[tts.a]\nplugin = acme\nisolation = inprocess") == .inprocess)
        #expect(try isolation("[tts.a]\nplugin = acme\nisolation = worker", isShipped: true) == .worker)
        #expect(
            try isolation("[tts.a]\nplugin = acme\nisolation = worker\n[stt.a]\nplugin = acme", isShipped: true)
                == .inprocess)
    }

    @Test("Its settings are those of its sections, typed and without the host's own; what is refused is left out")
    func settings() throws {
        let good = configuration("[tts.a]\nplugin = acme\nisolation = worker\nspeed = 3")
        #expect(try good.settings(for: "acme.so", manifest())["org.acme.tts"] == ["speed": 3])
        let bad = configuration("[tts.a]\nplugin = acme\nspeed = fast")
        #expect(try bad.settings(for: "acme.so", manifest()).isEmpty)
    }
}
