import JSON
import Testing

@testable import Providers

private let whole = """
    {"manifest": 1, "id": "org.acme.stt", "version": "2.4.0", "title": "Acme", "license": "MIT",
     "abi": {"major": 1, "minor": 0, "hostMinorMin": 0}, "runtime": {"language": "swift", "toolchain": "6.3.1", "stdlib": "shared"},
     "isolation": "worker", "secrets": ["ACME_API_KEY"], "network": ["wss://stt.acme.example"], "files": ["models/a.bin"], "x-note": 1,
     "providers": [{"kind": "vc.stt/1", "id": "org.acme.stt", "capabilities": {"rates": [8000], "formats": ["s16"], "tentative": true, "languages": ["en"]},
       "config": {"type": "object", "required": ["model"], "additionalProperties": false, "properties": {
         "model": {"enum": ["phone", "general"]}, "speed": {"type": "number", "default": 1.5, "minimum": 0.5, "maximum": 2},
         "beam": {"type": "integer", "default": 5, "minimum": 1}, "fast": {"type": "boolean", "default": false},
         "hints": {"type": "array", "items": {"type": "string"}}, "voice": {"type": "object", "properties": {"pitch": {"type": "integer", "default": 3}}}}},
       "timing": {"readyTimeoutMs": 5000}}]}
    """

private func manifest(_ changes: (inout [String: JSONValue]) -> Void = { _ in }) throws -> Manifest {
    var members = try #require(try JSONValue(parsing: whole).object)
    changes(&members)
    return try Manifest(.object(members))
}

@Test("A whole manifest is read with all that it says")
func wholeManifest() throws {
    let manifest = try manifest()
    #expect(manifest.id == "org.acme.stt")
    #expect(manifest.isolation == .worker)
    let provider = manifest.providers[0]
    #expect(provider.knownKind == .speechToText)
    #expect(provider.capabilities.ratesHz == [8_000])
    #expect(provider.capabilities.flag("tentative") && !provider.capabilities.flag("partials"))
    #expect(provider.readyTimeoutMs == 5_000)
}

@Test(
    "A wrong manifest is refused with the key and what is expected",
    arguments: [
        (
            "id", "Acme",
            "id: expected a name like \"org.acme.stt\" (parts of a-z, 0-9 and -, each beginning with a letter), found \"Acme\""
        ),
        ("id", .integer(3), "id: expected a string that is not empty, found 3"),
        ("manifest", 2, "manifest: has version 2, and this host reads version 1"),
        ("abi", ["major": 1, "minor": 0], "abi.hostMinorMin: is missing; expected an integer"),
        (
            "abi", ["major": 1, "minor": 0, "hostMinorMin": 1],
            "abi.hostMinorMin: is 1, newer than the minor 0 of the headers themselves"
        ),
        ("isolation", "outside", "isolation: expected \"inprocess\" or \"worker\", found \"outside\""),
        ("secrets", ["lower case"], "secrets[0]: expected a name of A-Z, 0-9 and _, found \"lower case\""),
        ("files", ["../etc/passwd"], "files[0]: expected a path without .. and without $, found \"../etc/passwd\""),
        ("files", ["$ORIGIN/x"], "files[0]: expected a path without .. and without $, found \"$ORIGIN/x\""),
        ("runtime", ["language": "swift"], "runtime.stdlib: is missing; expected \"shared\" or \"static\""),
        ("providers", [], "providers: expected an array of 1 to 32 providers"),
        (
            "providers", [["kind": "stt", "id": "org.a.b"]],
            "providers[0].kind: expected \"NAME/REVISION\", \"vc.stt/1\" say, found \"stt\""
        ),
        (
            "providers", [["kind": "vc.telephony/1", "id": "org.a.b"]],
            "providers[0].capabilities.profile: is missing; expected \"signalling\" or \"frames\""
        ),
        (
            "providers", [["kind": "vc.tts/1", "id": "org.a.b", "capabilities": ["mark": true]]],
            "providers[0].capabilities.mark: is not known here; known are formats, languages, marks, profile, rates, streaming, and keys that begin with x-"
        ),
        (
            "providers",
            [
                [
                    "kind": "vc.tts/1", "id": "org.a.b",
                    "config": ["type": "object", "properties": ["a": ["type": "text"]]],
                ]
            ],
            "providers[0].config.properties.a.type: expected \"string\" or \"integer\" or \"number\" or \"boolean\" or \"array\" or \"object\", found \"text\""
        ),
        (
            "providers",
            [
                [
                    "kind": "vc.tts/1", "id": "org.a.b",
                    "config": [
                        "type": "object", "properties": ["a": ["type": "integer", "default": 9, "maximum": 3]],
                    ],
                ]
            ],
            "providers[0].config.properties.a.default: expected an integer of at most 3, found 9"
        ),
    ] as [(String, JSONValue, String)])
func wrongManifest(key: String, value: JSONValue, message: String) {
    let error = #expect(throws: ManifestError.self) { try manifest { $0[key] = value } }
    #expect(error?.description == message)
}

@Test(
    "A manifest without a key that it needs is refused",
    arguments: ["manifest", "id", "version", "title", "license", "abi", "runtime", "providers"])
func missingKey(key: String) {
    let error = #expect(throws: ManifestError.self) { try manifest { $0[key] = nil } }
    #expect(error?.description.hasPrefix("\(key): is missing; expected ") == true)
}

@Test("Settings of an INI file become the schema's types, and the defaults are filled in")
func applies() throws {
    let schema = try manifest().providers[0].configuration
    let value = try schema.apply(to: [
        "model": "phone", "speed": "2", "fast": "yes", "hints": "one, two", "voice.pitch": "7",
    ])
    #expect(
        value == [
            "model": "phone", "speed": 2, "beam": 5, "fast": true, "hints": ["one", "two"], "voice": ["pitch": 7],
        ])
    #expect(
        try schema.apply(to: ["model": "phone"]) == [
            "model": "phone", "speed": 1.5, "beam": 5, "fast": false, "voice": ["pitch": 3],
        ])
    #expect(try schema.apply(to: ["beam": "9"], over: ["model": "general", "beam": 2])["beam"] == 9)
    #expect(try schema.validate(["model": "phone"])["beam"] == 5)
}

@Test("Each wrong setting is told, with what would be right")
func wrongSettings() throws {
    let schema = try manifest().providers[0].configuration
    let error = #expect(throws: ConfigurationError.self) {
        try schema.apply(to: ["modle": "phone", "speed": "fast", "beam": "0", "fast": "perhaps", "voice.pitch": "high"])
    }
    #expect(
        error?.problems == [
            ConfigurationProblem(key: "beam", message: "expected an integer of at least 1, found 0"),
            ConfigurationProblem(key: "fast", message: "expected true or false, found \"perhaps\""),
            ConfigurationProblem(key: "model", message: "is missing; expected one of phone, general"),
            ConfigurationProblem(
                key: "modle", message: "is not known; known are beam, fast, hints, model, speed, voice"),
            ConfigurationProblem(key: "speed", message: "expected a number from 0.5 to 2, found \"fast\""),
            ConfigurationProblem(key: "voice.pitch", message: "expected an integer, found \"high\""),
        ])
    let typed = #expect(throws: ConfigurationError.self) { try schema.validate(["model": "other", "hints": [1]]) }
    #expect(typed?.problems.map(\.key) == ["hints[0]", "model"])
    let near = #expect(throws: ConfigurationError.self) { try schema.apply(to: ["model": "phone", "bea": "1"]) }
    #expect(near?.problems.first?.message == "is not known; is beam meant?")
}

@Test("Thousands of damaged manifests are refused or read, and none ends the process")
func manifestFuzz() {
    var random = Seeded(state: 7)
    let text = Array(whole.utf8)
    var refused = 0
    for _ in 0..<4_000 {
        var bytes = text
        for _ in 0...random.below(3) {
            switch random.below(3) {
            case 0: bytes[random.below(bytes.count)] = UInt8(random.below(256))
            case 1: bytes.remove(at: random.below(bytes.count))
            default: bytes.insert(Array("{}[]\",:0-e\\".utf8)[random.below(11)], at: random.below(bytes.count))
            }
        }
        do throws(ManifestError) { _ = try Manifest(parsing: bytes[...]) } catch { refused += 1 }
    }
    #expect(refused > 1_500)
}

@Test("A sidecar sets what the schema allows, and can change nothing else")
func sidecar() throws {
    let manifest = try manifest()
    func read(_ text: String) throws(ManifestError) -> Sidecar {
        try Sidecar(parsing: Array(text.utf8)[...], for: manifest)
    }
    #expect(try read(#"{"org.acme.stt": {"beam": 3}}"#).settings["org.acme.stt"] == ["beam": 3])
    for text in [
        #"{"org.acme.stt": {"beam": 0}}"#, #"{"org.acme.stt": {"bean": 3}}"#, #"{"org.other": {}}"#, #"{"abi": {}}"#,
        "[]", "{",
    ] {
        #expect(throws: ManifestError.self, "\(text)") { try read(text) }
    }
}

@Test("The manifest of every plugin in this repository is in order")
func ourOwnManifests() throws {
    let folder = Workshop.repository + "/Plugins"
    for name in try #require(directoryEntries(folder)) {
        guard let text = readSmallFile("\(folder)/\(name)/manifest.json"), text.count > 3 else { continue }
        #expect(throws: Never.self, "\(name)") { try Manifest(parsing: text[...]) }
    }
}
