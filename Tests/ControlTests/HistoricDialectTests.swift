import Calls
import Testing

@testable import Control

@Suite("Which program a file was written for")
struct HistoricDialectTests {
    private func dialect(_ text: String) -> HistoricDialect? {
        HistoricDialect.of(INIFile(parsing: text, path: "x.ini"))
    }

    @Test("Sections and keys tell, also where names mean two things", arguments: [
        ("[opensips]\nport = 8080", HistoricDialect.connector), ("[openai]\nkey = k", .connector),
        ("[vosk]\nurl = ws://x\n[openai]\nkey = k", .vosk), ("[SpeechSessionManager]\nurl = ws://x", .smartSpeech),
        ("[llm]\nurl = ws://x:8765", .webSocketServices), ("[tts]\nurl = ws://x\nhost = y\nport = 1", .webSocketServices),
        ("[engine]\nsip_port = 8089", .webSocketServices), ("[llm]\nhost = x\nport = 50052", .grpcServices),
        ("[opensips]\nsip_port = 8089\nrtp_min_port = 35000", .grpcServices), ("[services]\nasr_host = x", .grpcServices),
    ])
    func told(text: String, expected: HistoricDialect) {
        #expect(dialect(text) == expected)
    }

    @Test("A file with one of our own sections of providers or profiles is ours", arguments: [
        "[rtp]\nmin_port = 1\n[telephony.sip]\nplugin = TelephonySIP", "[opensips]\nip = x\n[profile.a]\nmatch = *",
        "[media]\nport_min = 2000", "[stt]\na = 1", "",
    ])
    func ours(text: String) {
        #expect(dialect(text) == nil)
    }

    @Test("Our own general sections in an old file go over what it says, and the environment over both")
    func mixed() {
        let text = "[opensips]\nport = 8080\n[rtp]\nmin_port = 30000\n[media]\nport_min = 20000\nport_max = 21000"
        let configuration = Configuration(
            file: INIFile(parsing: text, path: "x.ini"),
            environment: ["OPENAI_API_KEY": "k", "VCHOST__MEDIA__PORT_MAX": "22000"])
        #expect(configuration.integer("media", "port_min") == 20000)
        #expect(configuration.integer("media", "port_max") == 22000)
        #expect(configuration["telephony.opensips"]?.settings["mi_port"]?.text == "8080")
    }

    @Test("A key in the file is a secret of that name, and stands nowhere in the settings")
    func credentials() {
        let configuration = Configuration(
            file: INIFile(parsing: "[openai]\nkey = sk-1\n[deepgram]\nkey = dg\nchatgpt_key = sk-2", path: "x.ini"))
        #expect(configuration.credential("OPENAI_API_KEY") == "sk-1")
        #expect(configuration.credential("LLM_API_KEY") == "sk-2")
        #expect(configuration.credential("DEEPGRAM_API_KEY") == "dg")
        let values = configuration.sections.flatMap { $0.settings.values.map(\.text) }
        #expect(!values.contains { ["sk-1", "sk-2", "dg"].contains($0) })
    }

    @Test("The file is that of the command line, else of the old variables, else one of the old places")
    func path() {
        func find(_ given: String?, _ environment: [String: String], _ there: String...) -> String? {
            ConfigurationPath.find(given: given, environment: environment) { there.contains($0) }
        }
        #expect(find("a.ini", ["CONFIG_FILE": "b.ini"], "vchost.ini") == "a.ini")
        #expect(find(nil, ["CONFIG_FILE": "b.ini"], "vchost.ini") == "b.ini")
        #expect(find(nil, ["OAVC_CONFIG_FILE": "gone.ini"]) == "gone.ini")
        #expect(find(nil, ["OAVC_CONFIG_FILE": "gone.ini", "OPENSIPS_SIP_PORT": "8089"]) == nil)
        #expect(find(nil, [:], "config/app.ini") == "config/app.ini")
        #expect(find(nil, [:]) == nil)
    }
}

@Suite("Which profile answers")
struct ProfileChoiceTests {
    private func profiles(_ text: String) -> [CallProfile] {
        let configuration = Configuration(file: INIFile(parsing: text, path: "x.ini"))
        return configuration.sections(of: "profile").map { CallProfile($0, in: configuration) }
    }

    @Test("An expression is looked for at the beginning of the called user, in small letters", arguments: [
        ("sip:Vosk-Bank@x", "a"), ("sip:1005@x", "a"), ("sip:21005@x", "b"), ("+901005", "b"),
    ])
    func expression(callee: String, expected: String) {
        let profiles = profiles("[profile.a]\nmatch_regex = ^(vosk.*|100\\d)$\n[profile.b]\nmatch = *")
        #expect(profiles.profile(for: callee, defaults: [])?.name == expected)
    }

    @Test("Of several defaults a number always gets the same one, and each gets its share")
    func spread() {
        let profiles = profiles("[profile.a]\nmatch = x\n[profile.b]\nmatch = y\n[profile.c]\nmatch = z")
        func chosen(_ number: Int, _ host: String) -> String? {
            profiles.profile(for: "sip:\(number)@\(host)", defaults: ["a", "c"])?.name
        }
        #expect((0..<100).allSatisfy { chosen($0, "one") == chosen($0, "two") })
        let share = (0..<1_000).count { chosen($0, "one") == "a" }
        #expect((400...600).contains(share))
        #expect(profiles.profile(for: "sip:5@x", defaults: [])?.name == "a")
    }

    @Test("An expression that is none is an error with its line")
    func wrongExpression() {
        let configuration = Configuration(file: INIFile(parsing: "[profile.a]\nmatch_regex = (", path: "x.ini"))
        #expect(configuration.problems.map(\.source.place) == [2])
    }
}
