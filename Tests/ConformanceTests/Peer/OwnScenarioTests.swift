import Foundation
import Glibc
import JSON
import PluginABI
import Testing

@testable import Conformance

@Suite("A scenario of an author is judged")
struct OwnScenarioTests {
    private func scenario(_ expect: String, received: String = "") throws -> OwnScenario {
        let text = #"{"title": "t", "input": [{"cancel": true}], "expect": [\#(expect)]\#(received.isEmpty ? "" : #", "received": [\#(received)]"#)}"#
        return try OwnScenario(parsing: Array(text.utf8), file: "own.json", vendor: VendorScript())
    }

    private func delta(_ text: String) -> RecordedEvent {
        var event: RecordedEvent?
        lendBytes(Array(text.utf8)) { text in
            var body = vc_event_delta()
            body.head.size = UInt32(MemoryLayout<vc_event_delta>.size)
            body.head.type = UInt32(VC_EVENT_DELTA)
            body.head.request = 4
            body.text = text
            event = withUnsafePointer(to: &body) { pointer in
                pointer.withMemoryRebound(to: vc_event.self, capacity: 1) { RecordedEvent(copying: $0) }
            }
        }
        return event!
    }

    private func done() -> RecordedEvent {
        var body = vc_event_llm_done()
        body.head.size = UInt32(MemoryLayout<vc_event_llm_done>.size)
        body.head.type = UInt32(VC_EVENT_LLM_DONE)
        body.reason = UInt32(VC_LLM_STOP)
        return withUnsafePointer(to: &body) { pointer in
            pointer.withMemoryRebound(to: vc_event.self, capacity: 1) { RecordedEvent(copying: $0) }
        }
    }

    private func verdict(_ expect: String, _ events: [RecordedEvent]) throws -> String {
        do {
            try scenario(expect).judge(events)
            return "passes"
        } catch let violation as Violation {
            return "\(violation.what): \(violation.expected) / \(violation.got)"
        }
    }

    @Test("Events that it names must come as they stand, in order, and no others; the rest is passed over")
    func events() throws {
        let both = #"{"event": "DELTA", "with": {"text": "/^a/"}, "repeats": true}, {"event": "LLM_DONE", "with": {"reason": 1}}"#
        #expect(try verdict(both, [delta("a"), delta("ab"), done()]) == "passes")
        #expect(try verdict(#"{"event": "LLM_DONE"}"#, [delta("x"), done()]) == "passes")
        #expect(try verdict(both, [delta("a")]) == #"expect[1]: LLM_DONE with {"reason":1} / nothing more"#)
        #expect(try verdict(both, [done(), delta("a")]).hasPrefix("expect[0]: DELTA"))
        #expect(try verdict(both, [delta("b"), done()]).hasPrefix("expect[0]: DELTA"))
        #expect(try verdict(both, [delta("a"), delta("b"), done()]).hasPrefix("expect[1]: LLM_DONE"))
        #expect(try verdict(both, [delta("a"), done(), done()]).hasPrefix("expect: no further LLM_DONE"))
        #expect(try verdict(#"{"event": "DELTA"}"#, [delta("a"), delta("b")]).hasPrefix("expect: no further DELTA"))
    }

    @Test("Members are summed over repetitions")
    func totals() throws {
        let expect = #"{"event": "DELTA", "repeats": true, "total": {"request": 8}}"#
        #expect(try verdict(expect, [delta("a"), delta("b")]) == "passes")
        #expect(try verdict(expect, [delta("a")]) == "expect[0]: 8 request in all / 4")
    }

    @Test("What the vendor got is compared byte by byte, in order and in full")
    func received() throws {
        let scenario = try scenario("", received: #"{"http": {"url": "http://v/a"}, "exactly": {"text": "abc"}}, {"ws": {"binary": true}}"#)
        func verdict(_ body: String, messages: [[UInt8]]) throws -> String {
            var peer = VendorPeer(try VendorScript(#"{"ws": [{"when": {}}]}"#))
            _ = peer.request(VendorRequest("POST", "http://v/a", body: Array(body.utf8)), id: 1, atNs: 1)
            _ = peer.open(VendorRequest("GET", "ws://v/"), id: 2, atNs: 2)
            for message in messages { _ = peer.message(message, isBinary: true, id: 2, atNs: 3) }
            do {
                try scenario.judge(scenario.received!, peer.seen)
                return "passes"
            } catch let violation as Violation {
                return "\(violation.what): \(violation.got)"
            }
        }
        #expect(try verdict("abc", messages: [[1]]) == "passes")
        #expect(try verdict("abX", messages: [[1]]) == "received[0]: 3 bytes, other from byte 2 on: POST http://v/a abX")
        #expect(try verdict("abcd", messages: [[1]]) == "received[0]: 4 bytes, other from byte 3 on: POST http://v/a abcd")
        #expect(try verdict("abc", messages: []) == "received[1]: nothing more")
        #expect(try verdict("abc", messages: [[1], [0xff]]) == "received: 1 bytes")
    }

    @Test("The scripts of every shipped plugin can be read, and those beside a library are found")
    func shipped() throws {
        for name in ["STTFasterWhisper", "LLMOpenAI", "TTSPiper", "TelephonySIP", "TelephonyTwilio"] {
            let folder = "Plugins/\(name)/conform"
            let script = try VendorScript.load(directory: folder)
            let files = try FileManager.default.contentsOfDirectory(atPath: folder).filter { $0.hasSuffix(".json") }
            #expect(script.scenarios.count == files.count - 1, "all but vendor.json are scenarios of \(name)")
        }
        let folder = "/tmp/vendor-scripts-\(getpid())"
        mkdir(folder, 0o700)
        defer { rmdir(folder) }
        #expect(VendorScript.find(besidePlugin: "\(folder)/acme.so") == nil)
        mkdir("\(folder)/conform", 0o700)
        #expect(VendorScript.find(besidePlugin: "\(folder)/acme.so") == "\(folder)/conform")
        mkdir("\(folder)/acme.conform", 0o700)
        #expect(VendorScript.find(besidePlugin: "\(folder)/acme.so") == "\(folder)/acme.conform")
        #expect(VendorScript.find(besidePlugin: "\(folder)/acme.so", directory: "/elsewhere") == "/elsewhere")
        rmdir("\(folder)/acme.conform")
        let error = #expect(throws: ScriptError.self) { try VendorScript.load(directory: "\(folder)/conform") }
        #expect(error?.description == "vendor.json: is missing in \(folder)/conform; it says how the vendor behaves")
        rmdir("\(folder)/conform")
    }

    @Test("A job gets the vendor's settings and secrets; what the operator gave stays, and the peer answers for it")
    func jobs() throws {
        let scripts = VendorScripts(directory: "Plugins/STTFasterWhisper/conform")
        let subject = Subject(path: "/nowhere/x.so", name: "x.so", sha256: "", bytes: [], manifest: nil, manifestText: "")
        var job = Job()
        job.nonce = "n"
        job.rule = "VC-OWN-form-of-openai"
        job.secrets = ["STT_API_KEY": "given"]
        try scripts.prepare(&job, for: subject)
        #expect(job.configuration["form"] == "openai")
        #expect(job.configuration["url"] == "http://127.0.0.1:8101/v1/audio/transcriptions")
        #expect(job.secrets == ["STT_API_KEY": "given"])
        var peer = try #require(scripts.peer(of: job, for: subject))
        #expect(peer.answer(#"{"ask":"seen"}"#) == #"{"seen":[]}"#)
        #expect(scripts.peer(of: job, for: subject) == nil)
        let own = Set(scripts.ownRules(of: subject, provider: "").map(\.id))
        #expect(own.isSuperset(of: ["VC-OWN-form-of-openai", "VC-OWN-one-request-for-two-questions"]))
        #expect(OwnScenario.rule("VC-OWN-none", scripts: job.scripts, provider: "") == nil)
        #expect(OwnScenario.rule("VC-OWN-form-of-openai", scripts: job.scripts, provider: "")?.level == .basic)
    }
}
