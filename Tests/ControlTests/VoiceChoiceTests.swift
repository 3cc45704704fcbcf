import JSON
import Testing

@testable import Control
@testable import Providers

@Suite("The voices of a profile")
struct VoiceChoiceTests {
    private static let chain = ["tts.cartesia", "tts.google", "tts.piper"]

    private func choice(_ entries: String...) -> VoiceChoice { VoiceChoice(entries, chain: Self.chain) }

    @Test("A bare name is the first provider's, and the others have their own entries")
    func entries() {
        #expect(choice("Katie").voices == ["tts.cartesia": "Katie"])
        #expect(
            choice("tts.google : Kore", "Veda Sky").voices == ["tts.google": "Kore", "tts.cartesia": "Veda Sky"])
        // A colon of the vendor's own.
        #expect(choice("brand:anna", "tts.piper: a:b").voices == ["tts.cartesia": "brand:anna", "tts.piper": "a:b"])
        #expect(choice().voices.isEmpty && choice().objections.isEmpty)
    }

    @Test("What cannot be meant is said")
    func objections() {
        #expect(
            choice("tts.googel: Kore").objections == [
                "is for tts.googel, which is none of the profile's voices; did you mean tts.google?"
            ])
        #expect(choice("google: Kore").objections == ["says \"google: Kore\"; write tts.google: Kore"])
        #expect(choice("Katie", "tts.cartesia: James").objections == ["names two voices of tts.cartesia"])
        #expect(choice("tts.google:").objections == ["says \"tts.google:\" without a voice behind the colon"])
    }

    @Test("A profile takes them from its section")
    func profile() {
        let configuration = Configuration(
            file: INIFile(
                parsing: "[profile.desk]\ntts = tts.a, tts.b\nvoice = Katie, tts.b: Kore\n", path: "x.ini"))
        let profile = CallProfile(configuration["profile.desk"]!, in: configuration)
        #expect(profile.voices == ["tts.a": "Katie", "tts.b": "Kore"])
    }

    // MARK: Against the plugins

    private func problems(_ voice: String, session: String, capabilities: String) throws -> [SettingProblem] {
        let manifest = try Manifest(
            parsing: Array(
                """
                {"manifest":1,"id":"org.acme.voice","version":"1.0.0","title":"t","license":"l",
                "abi":{"major":1,"minor":0,"hostMinorMin":0},"runtime":{"language":"c"},
                "providers":[{"kind":"vc.tts/1","id":"org.acme.tts","capabilities":\(capabilities),
                "session":{"type":"object","properties":\(session),"additionalProperties":false}}]}
                """.utf8)[...])
        let configuration = Configuration(
            file: INIFile(parsing: "[profile.desk]\ntts = tts.a\nvoice = \(voice)\n", path: "x.ini"))
        return ConfigurationReview.problems(ofVoiceIn: "profile.desk", configuration) {
            $0 == "tts.a" ? (manifest.id, manifest.providers[0]) : nil
        }
    }

    private static let session = #"{"voice":{"type":"string"}}"#
    private static let list = #""x-voices":[{"id":"id-1","name":"Katie"},{"id":"id-2"},{"name":"nobody"}]"#

    @Test("A listed voice and one of the vendor's form pass; another is refused at the start, with those that are known")
    func misspelt() throws {
        let capabilities = "{\(Self.list),\"x-voice-form\":\"id-[0-9]+\"}"
        for voice in ["Katie", "katie", "id-1", "id-2", "id-77"] {
            #expect(try problems(voice, session: Self.session, capabilities: capabilities).isEmpty, "\(voice)")
        }
        let found = try problems("Kati", session: Self.session, capabilities: capabilities)
        #expect(found.map(\.severity) == [.error])
        #expect(
            found.first?.message
                == "[profile.desk] voice is \"Kati\", which org.acme.voice of [tts.a] does not list, did you mean Katie? "
                + "There are Katie, id-2; any other is given by its id")
        #expect("\(try #require(found.first).source)" == "x.ini:3")
    }

    @Test("A plugin gets a name in the spelling of its list, and what is not listed as it is written")
    func spelling() throws {
        var capabilities = Capabilities()
        capabilities.all = ["x-voices": [["id": "id-1", "name": "Katie"], ["id": "katie-2", "name": "id-1"]]]
        #expect(capabilities.spelling(ofVoice: "KATIE") == "Katie")
        #expect(capabilities.spelling(ofVoice: "id-1") == "id-1")
        #expect(capabilities.spelling(ofVoice: "tr-TR-kate") == "tr-TR-kate")
    }

    @Test("Where nothing is said of other voices, one that is not listed is a warning; without a list, nothing")
    func unlisted() throws {
        #expect(
            try problems("Ada", session: Self.session, capabilities: "{\(Self.list)}").map(\.severity) == [.warning])
        #expect(try problems("Ada", session: Self.session, capabilities: "{}").isEmpty)
    }

    @Test("A plugin without a voice to choose, and one that takes others, are an error")
    func refused() throws {
        #expect(try problems("Ada", session: "{}", capabilities: "{}").map(\.severity) == [.error])
        let some = #"{"voice":{"type":"string","enum":["Ben"]}}"#
        #expect(try problems("Ada", session: some, capabilities: "{}").map(\.severity) == [.error])
        #expect(try problems("Ben", session: some, capabilities: "{}").isEmpty)
    }
}
