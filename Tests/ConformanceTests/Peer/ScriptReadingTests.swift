import JSON
import Testing

@testable import Conformance

@Suite("A vendor's script, read")
struct ScriptReadingTests {
    @Test("What is wrong is told with the file, the place, and what is expected", arguments: [
        ("[]", "vendor.json: expected an object, found array"),
        ("{\"http\": 1}", "vendor.json: http: expected an array, found integer 1"),
        ("{\"htpp\": []}", "vendor.json: htpp: is not known here; known are config, errors, http, secrets, server, session, udp, ws, and x-..."),
        ("{\"http\": [{}]}", "vendor.json: http[0].answer: is missing; expected {\"json\": ...}, say"),
        (#"{"http": [{"answer": {"aftermS": 1}}]}"#,
            "vendor.json: http[0].answer.aftermS: is not known here; known are afterMs, audio, base64, chunkBytes, everyMs, headers, json, "
                + "sse, status, text, and x-..."),
        (#"{"http": [{"answer": {"status": 99}}]}"#, "vendor.json: http[0].answer.status: expected an integer in 200...599, found integer 99"),
        (#"{"http": [{"answer": {"text": "a", "json": {}}}]}"#, "vendor.json: http[0].answer.json: stands beside `text`; one of them can be meant"),
        (#"{"http": [{"answer": {"base64": "!"}}]}"#, "vendor.json: http[0].answer.base64: is not Base64 (RFC 4648)"),
        (#"{"http": [{"answer": {"audio": {"rateHz": 8000}}}]}"#,
            "vendor.json: http[0].answer.audio.ms: is missing; expected the length, or `msPerCharacter` and `text`"),
        (#"{"http": [{"answer": {"audio": {"ms": 5, "rateHz": 8000, "container": "ogg"}}}]}"#,
            #"vendor.json: http[0].answer.audio.container: expected "raw", "wav" or "wav-streamed", found "ogg""#),
        (#"{"http": [{"answer": {"text": "{{id}}"}}]}"#,
            "vendor.json: http[0].answer: uses {{id}}, which nothing sets; known are peer.port, plugin.port, request.number, run"),
        (#"{"http": [{"capture": {"id": "/id"}, "answer": {}}]}"#,
            #"vendor.json: http[0].capture.id: expected json:/POINTER, header:NAME, query:NAME or field:NAME, found "/id""#),
        (#"{"http": [{"answer": {"sse": [{"event": "x"}]}}]}"#,
            "vendor.json: http[0].answer.sse[0].data: is missing; expected the event's data, text or JSON, or a `comment`"),
        (#"{"ws": [{"script": []}]}"#, #"vendor.json: ws[0].when: is missing; expected {"url": "wss://..."}"#),
        (#"{"ws": [{"when": {}, "script": [{"say": 1}]}]}"#,
            "vendor.json: ws[0].script[0]: expected one of `expect`, `send`, `sendAudio`, `close`, `abort`"),
        (#"{"ws": [{"when": {}, "script": [{"loop": [{"send": {"text": "a"}}]}]}]}"#,
            "vendor.json: ws[0].script: has a `loop` that does not begin with `expect`: it would never rest"),
        (#"{"ws": [{"when": {}, "on": [{"expect": {"any": true}, "then": [{"expect": {"any": true}}]}]}]}"#,
            "vendor.json: ws[0].on[0].then[0]: expected one of `send`, `sendAudio`, `close`, `abort`"),
        (#"{"udp": {"dialogues": {"a": [{"send": ["INVITE x", "nonsense"]}]}}}"#,
            #"vendor.json: udp.dialogues.a[0].send[1]: expected a header, NAME: VALUE, found "nonsense""#),
        (#"{"config": {"key": "{{seed}}"}}"#, "vendor.json: config: uses {{seed}}, which nothing sets; known are peer.port, plugin.port, scripts"),
    ])
    func errors(text: String, message: String) {
        let error = #expect(throws: ScriptError.self) { try VendorScript(parsing: Array(text.utf8), file: "vendor.json") }
        #expect(error?.description == message)
    }

    @Test("A document that is no JSON is told with line and column")
    func noJSON() {
        let error = #expect(throws: ScriptError.self) { try VendorScript(parsing: Array("{\n  a".utf8), file: "vendor.json") }
        #expect(error?.description == "vendor.json: is not JSON: expected a member's name in quotes at line 2, column 3")
    }

    @Test("A broken regular expression is refused with its place")
    func expression() {
        let text = #"{"http": [{"when": {"url": "/[/"}, "answer": {}}]}"#
        let error = #expect(throws: ScriptError.self) { try VendorScript(parsing: Array(text.utf8), file: "vendor.json") }
        #expect(error?.path == "http[0].when.url")
    }

    @Test("Ports in the settings become numbers; the rest stays text")
    func ports() throws {
        let script = try VendorScript(#"{"config": {"port": "{{plugin.port}}", "proxy": "sip:127.0.0.1:{{peer.port}}"}}"#)
        #expect(script.configuration(pluginPort: 5070, peerPort: 5071) == ["port": 5070, "proxy": "sip:127.0.0.1:5071"])
    }

    @Test("A folder of scripts names its own files by {{scripts}}, wherever a probe stands")
    func folder() throws {
        var script = try VendorScript(#"{"config": {"knowledge": "{{scripts}}/desk.knowledge"}}"#)
        script.directory = VendorScript.absolute("/usr/../tmp")
        #expect(script.configuration(pluginPort: 0, peerPort: 0) == ["knowledge": "/tmp/desk.knowledge"])
    }

    @Test("A scenario's settings replace the vendor's, and its entries go first")
    func scenario() throws {
        let vendor = try VendorScript(
            #"{"config": {"url": "http://a", "retries": 1}, "http": [{"name": "usual", "answer": {"text": "usual"}}]}"#)
        let text = #"""
            {"title": "A busy vendor is believed.", "config": {"retries": 0},
             "http": [{"name": "busy", "answer": {"status": 503}}],
             "input": [{"speak": "Hello."}, {"wait": "ERROR"}], "expect": [{"event": "ERROR", "with": {"code": -25}}]}
            """#
        let scenario = try OwnScenario(parsing: Array(text.utf8), file: "busy.json", vendor: vendor)
        #expect(scenario.name == "busy")
        #expect(scenario.vendor.configuration == ["url": "http://a", "retries": 0])
        #expect(scenario.vendor.http.map(\.name) == ["busy", "usual"])
        #expect(scenario.received == nil)
    }

    @Test("A scenario that proves nothing is refused", arguments: [
        (#"{"input": []}"#, "a.json: title: is missing; expected one sentence that says what is proven"),
        (#"{"title": "a"}"#, "a.json: input: is missing or empty; expected what is done"),
        (#"{"title": "a", "input": [{"cancel": true}]}"#, "a.json: expect: is missing, and so is `received`: the scenario proves nothing"),
        (#"{"title": "a", "input": [{"finalize": true}]}"#, "a.json: input[0].finalize: expected a string, found boolean true"),
        (#"{"title": "a", "input": [{"fault": {"name": "fire"}}]}"#,
            #"a.json: input[0].fault: expected a fault, {"name": "status", "status": 429} say"#),
    ])
    func scenarioErrors(text: String, message: String) {
        let error = #expect(throws: ScriptError.self) {
            try OwnScenario(parsing: Array(text.utf8), file: "a.json", vendor: VendorScript())
        }
        #expect(error?.description == message)
    }

    @Test("Base64 is what RFC 4648 has as test vectors", arguments: [
        ("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("fooba", "Zm9vYmE="), ("foobar", "Zm9vYmFy"),
    ])
    func base64(text: String, encoded: String) {
        #expect(Base64.text(of: Array(text.utf8)) == encoded)
        #expect(Base64.bytes(of: encoded) == Array(text.utf8))
        #expect(Base64.bytes(of: encoded + "!") == nil)
    }
}

extension VendorScript {
    /// For tests.
    init(_ text: String) throws { try self.init(parsing: Array(text.utf8), file: "vendor.json") }
}
