import Testing

@testable import Control

@Suite("INI files are read as the existing systems read them")
struct INIFileTests {
    private func values(_ text: String) -> [String: String] {
        let file = INIFile(parsing: text, path: "x.ini")
        return Dictionary(
            file.sections.flatMap { section in section.entries.map { ("\(section.name)/\($0.key)", $0.value) } },
            uniquingKeysWith: { first, _ in first })
    }

    @Test("Section names keep their case and key names do not")
    func cases() {
        #expect(values("[RTP]\nMin_Port: 1\n[rtp]\nMIN_PORT = 2") == ["RTP/min_port": "1", "rtp/min_port": "2"])
    }

    @Test("DEFAULT is inherited and does not override")
    func defaults() {
        #expect(values("[DEFAULT]\na = 1\nb = 2\n[x]\nb = 3") == ["x/a": "1", "x/b": "3"])
    }

    @Test("An indented line goes on with the value above it")
    func continuation() {
        #expect(
            values("[x]\nprompt = You are\n  a clinic.\nname = y") == ["x/prompt": "You are\na clinic.", "x/name": "y"])
    }

    @Test("Values are inserted, and a doubled percent sign is one")
    func interpolation() {
        #expect(values("[x]\nhost = h\nurl = ws://%(host)s/100%%") == ["x/host": "h", "x/url": "ws://h/100%"])
    }

    @Test("A comment behind a value belongs to the value")
    func inlineComment() {
        #expect(values("[x]\n# one\n; two\ntimeout = 5  # seconds") == ["x/timeout": "5  # seconds"])
    }

    @Test("Every mistake of a file is told, each with its line", arguments: [
        ("a = 1", 1, "before the first [section]"),
        ("[x\na = 1", 1, "no closing bracket"),
        ("[x]\na", 2, "neither [section] nor key = value"),
        ("[x]\na = 1\nA = 2", 3, "a second time in [x], first in line 2"),
        ("[x]\na = 1\n[x]", 3, "a second time, first in line 1"),
        ("[x]\na = %(b)s", 2, "names a key that this section does not have"),
        ("[x]\na = 5%", 2, "a lone % sign"),
        ("[x]\na = %(a)s", 2, "refers to itself"),
    ])
    func mistakes(text: String, line: Int, message: String) {
        let file = INIFile(parsing: text, path: "x.ini")
        #expect(file.mistakes.contains { $0.line == line && $0.message.contains(message) }, "\(file.mistakes)")
    }
}

@Suite("The configuration knows each value, its source and what is wrong with it")
struct ConfigurationTests {
    private func load(_ text: String, _ environment: [String: String] = [:]) -> Configuration {
        Configuration(file: INIFile(parsing: text, path: "vchost.ini"), environment: environment)
    }

    @Test("Default, file and environment override each other in this order")
    func precedence() {
        let text = "[media]\nport_min = 30000\nport_max = 30999"
        let configuration = load(text, ["VCHOST__MEDIA__PORT_MAX": "31999"])
        #expect(configuration.setting("media", "bind_address").source == .builtIn)
        #expect(configuration.setting("media", "port_min").source == .file(path: "vchost.ini", line: 2))
        #expect(
            configuration.setting("media", "port_max")
                == Setting("31999", from: .environment("VCHOST__MEDIA__PORT_MAX")))
        #expect(configuration.integer("media", "port_max") == 31999)
        #expect(configuration.problems.isEmpty)
    }

    @Test("A provider's section is reached from the environment by its name with underscores")
    func environmentOfProvider() {
        let configuration = load("[stt.my-local]\nplugin = STTFasterWhisper", ["VCHOST__STT_MY_LOCAL__URL": "http://x"])
        #expect(configuration["stt.my-local"]?.settings["url"]?.text == "http://x")
    }

    @Test("A variable that names no section is an error and not silence")
    func strayVariable() {
        let configuration = load("", ["VCHOST__MEIDA__PORT_MIN": "1"])
        #expect(configuration.problems.map(\.severity) == [.error])
    }

    @Test("Each wrong value is refused with file, line and mend", arguments: [
        ("[media]\nport_min = many", "port_min is \"many\"; it must be a whole number"),
        ("[media]\nport_min = 80", "from 1024 to 65534"),
        ("[media]\nrealtime = maybe", "write yes or no"),
        ("[server]\nlisten = 8080", "write an address in digits and a port"),
        ("[server]\nlisten = localhost:8080", "write an address in digits and a port"),
        ("[vchost]\nlog_level = loud", "choose one of debug, info, warning, error"),
        ("[vchost]\nlog_levle = info", "did you mean log_level?"),
        ("[speech]\na = 1", "[speech] is no section of vchost"),
        ("[stt]\na = 1", "[stt] is no section of vchost"),
    ])
    func wrongValues(text: String, message: String) {
        let problems = load(text).problems
        #expect(problems.count == 1)
        #expect(problems.first?.severity == .error)
        #expect(problems.first?.message.contains(message) == true, "\(problems)")
    }

    @Test("A comment behind a number is ignored with a warning, as files in the field have it")
    func commentBehindNumber() {
        let configuration = load("[media]\nport_min = 30000  # first")
        #expect(configuration.integer("media", "port_min") == 30000)
        #expect(configuration.problems.map(\.severity) == [.warning])
    }
}
