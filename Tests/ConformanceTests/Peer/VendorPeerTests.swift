import JSON
import Testing

@testable import Conformance

@Suite("The vendor answers")
struct VendorPeerTests {
    private func peer(_ text: String) throws -> VendorPeer { VendorPeer(try VendorScript(text)) }

    @Test("The first entry whose conditions all hold answers; without one it is 404, which names the request")
    func firstMatch() throws {
        var peer = try peer(#"""
            {"http": [
              {"when": {"method": "POST", "url": "http://v/a", "query": {"stream": "1"}}, "answer": {"text": "stream"}},
              {"when": {"method": "POST", "url": "http://v/a"}, "answer": {"text": "whole"}},
              {"when": {"url": "/^http:..v.b[0-9]+$/"}, "answer": {"text": "expression"}}]}
            """#)
        func answer(_ method: String, _ url: String) -> VendorExchange { peer.request(VendorRequest(method, url), id: 1, atNs: 0) }
        #expect(String(decoding: answer("POST", "http://v/a?x=2&stream=1").body, as: UTF8.self) == "stream")
        #expect(String(decoding: answer("POST", "http://v/a").body, as: UTF8.self) == "whole")
        #expect(String(decoding: answer("GET", "http://v/b12").body, as: UTF8.self) == "expression")
        let none = answer("GET", "http://v/b12x")
        #expect(none.status == 404)
        #expect(String(decoding: none.body, as: UTF8.self).contains("no entry of the script answers GET http://v/b12x"))
        #expect(peer.seen.map(\.entry) == ["http[0]", "http[1]", "http[2]", ""])
    }

    @Test("JSON is matched as a subset, numbers by value, texts also by expression, arrays in full length")
    func subset() throws {
        let wanted = try JSONValue(parsing: #"{"model": "/^whis(?<rest>.*)$/", "n": 1, "list": [{"a": true}]}"#)
        let good = try JSONValue(parsing: #"{"model": "whisper", "n": 1.0, "list": [{"a": true, "b": 2}], "more": null}"#)
        #expect(good.match(subset: wanted, [:]) == ["rest": "per"])
        for bad in [#"{"model": "x", "n": 1, "list": [{"a": true}]}"#, #"{"model": "whisper", "n": 2, "list": [{"a": true}]}"#,
            #"{"model": "whisper", "n": 1, "list": [{"a": true}, 1]}"#, #"{"model": "whisper", "list": [{"a": true}]}"#] {
            #expect(try JSONValue(parsing: bad).match(subset: wanted, [:]) == nil)
        }
    }

    @Test("An entry answers as often as it says, and what it remembers stands in later answers")
    func timesAndVariables() throws {
        var peer = try peer(#"""
            {"http": [
              {"when": {"url": "http://v/open"}, "times": 1, "capture": {"id": "json:/session/id", "key": "header:X-Key"},
               "answer": {"json": {"opened": "{{id}}", "key": "{{key}}"}}},
              {"when": {"url": "http://v/open"}, "answer": {"status": 409, "headers": {"X-Session": "{{id}}"}, "text": "{{request.number}}"}}]}
            """#)
        let request = VendorRequest("POST", "http://v/open", headers: [("x-key", "k")], body: Array(#"{"session":{"id":"s7"}}"#.utf8))
        // Without the header that is to be remembered, the entry is not meant.
        #expect(peer.request(VendorRequest("POST", "http://v/open", body: request.body), id: 1, atNs: 0).status == 409)
        #expect(String(decoding: peer.request(request, id: 2, atNs: 0).body, as: UTF8.self) == #"{"key":"k","opened":"s7"}"#)
        let second = peer.request(request, id: 3, atNs: 0)
        #expect(second.status == 409)
        #expect(second.headers.contains { $0 == ("X-Session", "s7") })
        #expect(String(decoding: second.body, as: UTF8.self) == "3")
    }

    @Test("The fields of a form are compared, and a form that is cut off is none")
    func form() throws {
        var peer = try peer(#"""
            {"http": [{"when": {"fields": {"model": "whisper-1", "file": "/^RIFF/"}}, "answer": {"text": "heard"}}]}
            """#)
        func form(_ body: String) -> VendorRequest {
            VendorRequest("POST", "http://v/", headers: [("Content-Type", "multipart/form-data; boundary=xyz")], body: Array(body.utf8))
        }
        let whole = "--xyz\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nwhisper-1\r\n--xyz\r\nContent-Disposition: form-data; "
            + "name=\"file\"; filename=\"a.wav\"\r\nContent-Type: audio/wav\r\n\r\nRIFF\r\n\r\n-data\r\n--xyz--\r\n"
        #expect(form(whole).fields?["file"] == Array("RIFF\r\n\r\n-data".utf8))
        #expect(peer.request(form(whole), id: 1, atNs: 0).status == 200)
        #expect(form(String(whole.dropLast(9))).fields == nil)
        #expect(peer.request(form(String(whole.dropLast(9))), id: 2, atNs: 0).status == 404)
    }

    @Test("Bodies come in the pieces and at the times that the script says")
    func pieces() throws {
        var peer = try peer(#"""
            {"http": [
              {"when": {"url": "http://v/sse"}, "answer": {"afterMs": 50, "sse":
                [{"data": {"a": 1}}, {"data": "x\ny", "event": "e", "afterMs": 30}, {"comment": "c"}, "[DONE]"]}},
              {"when": {"url": "http://v/cut"}, "answer": {"afterMs": 5, "text": "abcdefg", "chunkBytes": 3, "everyMs": 10}}]}
            """#)
        let events = peer.request(VendorRequest("GET", "http://v/sse"), id: 1, atNs: 0)
        #expect(events.afterMs == 50)
        #expect(events.chunks.map(\.atMs) == [50, 80, 80, 80])
        #expect(events.chunks.map { String(decoding: $0.bytes, as: UTF8.self) } == [
            "data: {\"a\":1}\n\n", "event: e\ndata: x\ndata: y\n\n", ": c\n\n", "data: [DONE]\n\n",
        ])
        #expect(events.end == .complete(atMs: 80))
        #expect(events.headers.contains { $0 == ("Content-Type", "text/event-stream") })
        let cut = peer.request(VendorRequest("GET", "http://v/cut"), id: 2, atNs: 0)
        #expect(cut.chunks.map { String(decoding: $0.bytes, as: UTF8.self) } == ["abc", "def", "g"])
        #expect(cut.chunks.map(\.atMs) == [5, 15, 25])
    }

    @Test("Audio has the length that was asked for, in each container")
    func audio() throws {
        let raw = ScriptAudio(length: .ms(800), rateHz: 22050, container: .raw, toneHz: 440)
        #expect(raw.samples().count == 17640)
        #expect(raw.bytes().count == 35280)
        #expect(raw.samples().max()! > 8200 && raw.samples().max()! < 8300)
        let wav = ScriptAudio(length: .ms(100), rateHz: 8000, container: .wav, toneHz: 440).bytes()
        #expect(wav.count == 44 + 1600)
        #expect(Array(wav[40..<44]) == [0x40, 0x06, 0, 0])
        let streamed = ScriptAudio(length: .ms(100), rateHz: 8000, container: .wavStreamed, toneHz: 440).bytes()
        #expect(Array(streamed[40..<44]) == [0xff, 0xff, 0xff, 0xff])
        #expect(Array(streamed[44...]) == Array(wav[44...]))
        let spoken = ScriptAudio(length: .msPerCharacter(10, text: "{{text}}"), rateHz: 8000, container: .raw, toneHz: 440)
        #expect(spoken.samples(["text": "Grüße"]).count == 400)
    }

    @Test("A request that the plugin ended is seen as such; one that was complete is not")
    func canceled() throws {
        var peer = try peer(#"{"http": [{"answer": {"afterMs": 100, "text": "a"}}]}"#)
        _ = peer.request(VendorRequest("GET", "http://v/"), id: 1, atNs: 1_000_000_000)
        _ = peer.request(VendorRequest("GET", "http://v/"), id: 2, atNs: 1_000_000_000)
        peer.canceled(id: 1, atNs: 1_050_000_000)
        peer.canceled(id: 2, atNs: 1_100_000_000)
        #expect(peer.seen.map(\.isCanceled) == [true, false])
        #expect(peer.seen[0].ending?.atNs == 1_050_000_000)
    }

    @Test("Equal questions have equal answers, and the transcript survives its line")
    func deterministic() throws {
        func run() throws -> [String] {
            var peer = try peer(#"{"http": [{"answer": {"audio": {"ms": 50, "rateHz": 8000}}}], "ws": [{"when": {}, "script": []}]}"#)
            return [
                #"{"ask":"http","id":1,"atNs":5,"method":"POST","url":"http://v/","headers":[["A","b"]],"body":"aGk="}"#,
                #"{"tell":"fault","fault":{"name":"oneByteChunks"},"times":1}"#,
                #"{"ask":"http","id":2,"atNs":6,"method":"GET","url":"http://v/"}"#,
                #"{"ask":"ws-open","id":3,"atNs":7,"url":"ws://v/"}"#, #"{"ask":"ws-send","id":3,"atNs":8,"data":"aGk=","binary":false}"#,
                #"{"ask":"ws-close","id":3,"atNs":9,"code":1000,"reason":"bye"}"#, #"{"ask":"seen"}"#,
            ].map { peer.answer($0) }
        }
        let lines = try run()
        #expect(lines == (try run()))
        let seen = try JSONValue(parsing: lines[6])["seen"]?.array?.compactMap { VendorSighting($0) } ?? []
        #expect(seen.map(\.kind) == [.http, .http, .ws])
        #expect(seen[0].request == VendorRequest("POST", "http://v/", headers: [("A", "b")], body: Array("hi".utf8)))
        #expect(seen[1].fault == .oneByteChunks)
        #expect(seen[2].messages.map(\.text) == ["hi"])
        #expect(seen[2].messages[0].isUnexpected)
        #expect(seen[2].ending == .init(atNs: 9, code: 1000, reason: "bye"))
    }

    @Test("A line that cannot be understood is answered with why", arguments: ["nonsense", #"{"ask":"weather"}"#, #"{"tell":"fault","fault":{"name":"fire"}}"#])
    func badLine(line: String) throws {
        var peer = try peer("{}")
        #expect(try JSONValue(parsing: peer.answer(line))["error"]?.string?.isEmpty == false)
    }

    // MARK: WebSockets

    @Test("A dialogue goes on with each message that it waits for, and its loop begins again")
    func dialogue() throws {
        var peer = try peer(#"""
            {"ws": [{"when": {"url": "wss://v/listen"}, "subprotocol": "p", "script": [
              {"send": {"json": {"type": "Connected"}}},
              {"loop": [
                {"expect": {"binary": true, "totalBytesMin": 6}},
                {"send": {"json": {"type": "Partial"}}},
                {"expect": {"json": {"type": "Finalize", "id": "/(?<id>.+)/"}}, "skip": "binary"},
                {"send": {"json": {"type": "Final", "id": "{{id}}"}}, "afterMs": 100}]}]}]}
            """#)
        let opened = peer.open(VendorRequest("GET", "wss://v/listen?x"), id: 1, atNs: 0)
        #expect(opened == [
            VendorSocketAction(afterMs: 20, kind: .opened(subprotocol: "p", readsBytesPerS: nil, answersPings: true)),
            VendorSocketAction(afterMs: 40, kind: .message(Array(#"{"type":"Connected"}"#.utf8), isBinary: false)),
        ])
        for round in 1...2 {
            #expect(peer.message([1, 2, 3], isBinary: true, id: 1, atNs: 0) == [])
            #expect(peer.message([4, 5, 6], isBinary: true, id: 1, atNs: 0) == [
                VendorSocketAction(afterMs: 20, kind: .message(Array(#"{"type":"Partial"}"#.utf8), isBinary: false))
            ])
            #expect(peer.message([7], isBinary: true, id: 1, atNs: 0) == [])
            #expect(peer.message(Array(#"{"type":"Finalize","id":"\#(round)"}"#.utf8), isBinary: false, id: 1, atNs: 0) == [
                VendorSocketAction(afterMs: 100, kind: .message(Array(#"{"id":"\#(round)","type":"Final"}"#.utf8), isBinary: false))
            ])
        }
        #expect(peer.message(Array("{}".utf8), isBinary: false, id: 1, atNs: 0) == [])
        #expect(peer.seen[0].messages.map(\.isUnexpected) == Array(repeating: false, count: 8) + [true])
    }

    @Test("A servant answers each message by itself, beside the dialogue")
    func servant() throws {
        var peer = try peer(#"""
            {"ws": [{"when": {}, "script": [{"expect": {"json": {"a": 1}}}, {"close": {"code": 4001, "reason": "enough"}}],
              "on": [{"expect": {"json": {"type": "KeepAlive"}}, "then": []},
                     {"expect": {"json": {"say": "/(?<text>.*)/"}}, "then": [
                       {"sendAudio": {"msPerCharacter": 10, "text": "{{text}}", "rateHz": 8000, "frameMs": 20, "everyMs": 5}}]}]}]}
            """#)
        _ = peer.open(VendorRequest("GET", "ws://v/"), id: 1, atNs: 0)
        #expect(peer.message(Array(#"{"type":"KeepAlive"}"#.utf8), isBinary: false, id: 1, atNs: 0) == [])
        let audio = peer.message(Array(#"{"say":"abcd"}"#.utf8), isBinary: false, id: 1, atNs: 0)
        #expect(audio.map(\.afterMs) == [20, 25])
        #expect(peer.message(Array(#"{"a":1}"#.utf8), isBinary: false, id: 1, atNs: 0) == [
            VendorSocketAction(afterMs: 20, kind: .closed(code: 4001, reason: "enough", nil))
        ])
        #expect(!peer.seen[0].messages.contains { $0.isUnexpected })
    }

    @Test("Dialogues by name go on beside each other, each with its own number and what it found")
    func dialoguesByName() throws {
        var peer = try peer(#"""
            {"ws": [{"when": {}, "on": [{"expect": {"any": true}, "then": [{"send": {"text": "servant"}}]}], "dialogues": {"incoming": [
              {"send": {"json": {"call": "c{{run}}"}}},
              {"expect": {"json": {"answer": "c{{run}}", "by": "/(?<who>.+)/"}}},
              {"send": {"json": {"confirmed": "c{{run}}", "to": "{{who}}"}}}]}}]}
            """#)
        let early = peer.begin("incoming")
        #expect(early?.run == nil)
        _ = peer.open(VendorRequest("GET", "ws://v/"), id: 4, atNs: 0)
        let unknown = peer.begin("outgoing")
        #expect(unknown?.run == nil)
        func sent(_ actions: [VendorSocketAction]) -> [String] {
            actions.map { action in
                guard case .message(let bytes, _) = action.kind else { return "\(action.kind)" }
                return String(decoding: bytes, as: UTF8.self)
            }
        }
        for number in 1...2 {
            let begun = peer.begin("incoming")
            #expect(begun?.run == number && begun?.connection == 4)
            #expect(sent(begun?.actions ?? []) == [#"{"call":"c\#(number)"}"#])
        }
        func say(_ text: String) -> [String] { sent(peer.message(Array(text.utf8), isBinary: false, id: 4, atNs: 0)) }
        #expect(say(#"{"answer":"c2","by":"b"}"#) == [#"{"confirmed":"c2","to":"b"}"#])
        #expect(peer.runs.map(\.isOver) == [false, true])
        #expect(say(#"{"answer":"c2","by":"b"}"#) == ["servant"])
        #expect(say(#"{"answer":"c1","by":"a"}"#) == [#"{"confirmed":"c1","to":"a"}"#])
        #expect(peer.runs.map(\.isOver) == [true, true])
    }

    @Test("Where no entry answers, or an entry refuses, the upgrade fails with the status")
    func refusedUpgrade() throws {
        var peer = try peer(#"{"ws": [{"when": {"url": "wss://v/denied"}, "refuse": 401}]}"#)
        func failure(_ url: String) -> VendorFailure? {
            guard case .closed(_, _, let failure) = peer.open(VendorRequest("GET", url), id: 1, atNs: 0).first?.kind else { return nil }
            return failure
        }
        #expect(failure("wss://v/denied")?.code == -21)
        #expect(failure("wss://v/other")?.protocolStatus == 404)
    }
}
