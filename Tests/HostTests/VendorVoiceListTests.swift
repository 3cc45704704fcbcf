import JSON
import Providers
import Testing

@testable import Host

@Suite("How a vendor is asked for its voices")
struct VendorVoiceListTests {
    private func list(_ description: JSONValue, _ settings: JSONValue) throws -> VendorVoiceList {
        try VendorVoiceList(description, settings: settings)
    }

    private static let paged: JSONValue = [
        "path": "/voices?limit=2", "headers": ["Authorization": "Bearer {api_key}", "X-Version": "{version}"],
        "list": "data", "page": "starting_after",
    ]

    @Test(
        "The origin is that of the section's address",
        arguments: [
            ("wss://api.example.com/tts/websocket", "https://api.example.com/voices?limit=2"),
            ("ws://127.0.0.1:81/tts?style=1", "http://127.0.0.1:81/voices?limit=2"),
            ("http://[::1]:5000", "http://[::1]:5000/voices?limit=2"),
        ])
    func address(_ given: String, _ asked: String) throws {
        #expect(try list(Self.paged, ["url": .string(given)]).url == asked)
    }

    @Test("An address with a name and a password in it, or of another scheme, is not asked", arguments: [
        "ftp://x/", "https://user:password@x/", "x:1", "", "https://",
    ])
    func noAddress(_ given: String) throws {
        #expect(throws: VendorVoiceList.Problem.self) { try list(Self.paged, ["url": .string(given)]) }
    }

    @Test("Without the setting that the vendor needs it is not asked")
    func needs() throws {
        let description: JSONValue = ["needs": "token", "headers": ["Authorization": "Bearer {token}"]]
        #expect(throws: VendorVoiceList.Problem(message: "its vendor lists voices for a `token` only, and none is set")) {
            try list(description, ["url": "https://x/", "token": ""])
        }
        #expect(try list(description, ["url": "https://x/", "token": "t"]).headers == ["Authorization": "Bearer t"])
    }

    @Test("A header field has the value of its setting, secrets as they are referred to, and is left out without one")
    func headers() throws {
        let settings: JSONValue = ["url": "wss://x/", "api_key": "${secret:KEY}", "version": ""]
        #expect(try list(Self.paged, settings).headers == ["Authorization": "Bearer ${secret:KEY}"])
    }

    @Test("Pages follow one another by the last id, which cannot change what is asked for")
    func pages() throws {
        let list = try list(Self.paged, ["url": "wss://x/"])
        let page = try list.read(
            Array(
                #"{"data":[{"id":"1","name":"Ada","language":"en","gender":"feminine","country":null},{"id":""},"#.utf8)
                + Array(#"{"id":"2","gender":"other"}],"has_more":true}"#.utf8))
        #expect(
            page.voices == [
                ListedVoice(id: "1", name: "Ada", language: "en", gender: "female"), ListedVoice(id: "2"),
            ])
        #expect(page.next == "2")
        #expect(list.url(after: "2") == "https://x/voices?limit=2&starting_after=2")
        #expect(list.url(after: "2&limit=0") == list.url)
        #expect(try list.read(Array(#"{"data":[{"id":"3"}],"has_more":false}"#.utf8)).next == nil)
    }

    @Test("Members may lie deeper, in arrays, or be the keys of the list")
    func members() throws {
        let google = try list(
            ["path": "/v1/voices", "list": "voices", "fields": ["id": "name", "language": "languageCodes", "gender": "ssmlGender"]],
            ["url": "https://x/v1"])
        let body = #"{"voices":[{"languageCodes":["tr-TR","en-US"],"name":"tr-TR-Chirp3-HD-Kore","ssmlGender":"FEMALE"}]}"#
        #expect(
            try google.read(Array(body.utf8)).voices == [
                ListedVoice(id: "tr-TR-Chirp3-HD-Kore", language: "tr-TR", gender: "female")
            ])
        let piper = try list(
            ["path": "/voices", "fields": ["name": "dataset", "language": "language.code"]], ["url": "http://x/synthesize"])
        let models = #"{"tr_TR-dfki-medium":{"dataset":"dfki","language":{"code":"tr_TR"}},"a":{},"b":7}"#
        #expect(
            try piper.read(Array(models.utf8)).voices == [
                ListedVoice(id: "a"), ListedVoice(id: "b"),
                ListedVoice(id: "tr_TR-dfki-medium", name: "dfki", language: "tr-TR"),
            ])
    }

    @Test("What is no list is said", arguments: ["<html>", "{}", "{\"data\":7}", "[]"])
    func nonsense(_ body: String) throws {
        let list = try list(Self.paged, ["url": "wss://x/"])
        #expect(throws: VendorVoiceList.Problem.self) { try list.read(Array(body.utf8)) }
    }
}
