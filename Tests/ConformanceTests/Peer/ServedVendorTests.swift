import JSON
import Testing

@testable import Conformance

@Suite("A vendor that calls")
struct ServedVendorTests {
    private static let script = #"""
        {"http": [{"when": {"url": "https://v/calls"}, "answer": {"json": {"id": "c1"}}}],
         "server": {
          "on": [{"expect": {"json": {"event": "ping", "n": "/(?<n>.+)/"}}, "then": [{"send": {"json": {"pong": "{{n}}"}}}]}],
          "dialogues": {
           "incoming": [
            {"request": {"path": "/voice?x=1", "form": {"To": "+1 2", "Call": "c{{run.hex}}"},
                         "sign": {"header": "X-Sign", "key": "key", "text": "The quick brown fox jumps over the lazy dog"}}},
            {"answer": {"body": "/path=(?<path>[a-z/]+)/"}},
            {"upgrade": {"path": "{{path}}"}, "afterMs": 50},
            {"send": {"json": {"event": "start"}}},
            {"expect": {"json": {"event": "stop"}}},
            {"closed": true}],
           "outgoing": [{"asked": {"url": "https://v/calls", "fields": {"To": "/(?<to>.+)/"}}}, {"request": {"path": "/status", "body": "{{to}}"}}]
          }}}
        """#

    private func calls(_ peer: inout VendorPeer) -> [ServedCall] {
        defer { peer.servedCalls = [] }
        return peer.servedCalls
    }

    private func state(_ peer: inout VendorPeer, _ run: Int) -> JSONValue {
        (try? JSONValue(parsing: peer.answer(#"{"ask":"ws-state","run":\#(run)}"#))) ?? .null
    }

    @Test("Sends a signed form, opens the WebSocket that the answer names, and waits until it is closed")
    func incoming() throws {
        var peer = VendorPeer(try VendorScript(Self.script))
        let begun = peer.begin("incoming")
        #expect(begun?.connection == 0 && begun?.actions.isEmpty == true)
        let first = calls(&peer).first
        let request = try #require(first)
        #expect(request.afterMs == 20 && !request.isUpgrade && request.request.url == "/voice?x=1")
        #expect(request.request.text == "Call=c\(String(repeating: "0", count: 23))1&To=%2B1%202")
        // The vector that is in every description of HMAC-SHA256, in Base64.
        #expect(request.request.header("X-Sign") == "97yD9DBThCSxMpjmqm+xQ+9NWaFJRhdZl0edvC0aPNg=")

        peer.answered(run: 1, status: 200, body: "<x path=/a/b/>")
        let second = calls(&peer).first
        let upgrade = try #require(second)
        #expect(upgrade.isUpgrade && upgrade.afterMs == 50)
        #expect(upgrade.request.url == "/a/b/" && upgrade.request.method == "GET")
        let opened = peer.upgraded(run: 1, id: 7, path: "/a/b/", atNs: 0)
        #expect(opened.map(\.afterMs) == [0, 20])
        #expect(opened[1].kind == .message(Array(#"{"event":"start"}"#.utf8), isBinary: false))
        let pong = peer.message(Array(#"{"event":"ping","n":"3"}"#.utf8), isBinary: false, id: 7, atNs: 0)
        #expect(pong.first?.kind == .message(Array(#"{"pong":"3"}"#.utf8), isBinary: false))
        _ = peer.message(Array(#"{"event":"stop"}"#.utf8), isBinary: false, id: 7, atNs: 0)
        var now = state(&peer, 1)
        #expect(now["state"] == "running")
        _ = peer.close(code: 1000, reason: "", id: 7, atNs: 0)
        now = state(&peer, 1)
        #expect(now["state"] == "passed")
    }

    @Test("An answer that was not awaited fails the dialogue, and says what it was")
    func wrongAnswer() throws {
        var peer = VendorPeer(try VendorScript(Self.script))
        _ = peer.begin("incoming")
        peer.answered(run: 1, status: 403, body: "no")
        let now = state(&peer, 1)
        #expect(now["state"] == "failed")
        #expect(now["problem"]?.string?.contains("200 was awaited") == true)
        #expect(now["problem"]?.string?.contains("403: no") == true)
    }

    @Test("Waits until the plugin asks, and remembers what it asked for")
    func outgoing() throws {
        var peer = VendorPeer(try VendorScript(Self.script))
        _ = peer.begin("outgoing")
        var sent = calls(&peer)
        #expect(sent.isEmpty)
        let headers = [("Content-Type", "application/x-www-form-urlencoded")]
        _ = peer.request(VendorRequest("POST", "https://v/calls", headers: headers, body: Array("From=1".utf8)), id: 1, atNs: 0)
        sent = calls(&peer)
        #expect(sent.isEmpty)
        _ = peer.request(VendorRequest("POST", "https://v/calls", headers: headers, body: Array("To=%2B49".utf8)), id: 2, atNs: 0)
        sent = calls(&peer)
        #expect(sent.map(\.request.text) == ["+49"])
        let now = state(&peer, 1)
        #expect(now["state"] == "passed")
    }

    @Test(
        "A step that cannot be meant is told with its place",
        arguments: [
            (#"{"request": {"path": "voice"}}"#, "server.dialogues.a[0].request.path: is missing"),
            (#"{"request": {"path": "/v", "sign": {"key": "k"}}}"#, "server.dialogues.a[0].request.sign: expected"),
            (#"{"upgrade": {"path": "/{{nobody}}"}}"#, "uses {{nobody}}, which nothing sets"),
            (#"{"answer": {"status": 7}}"#, "server.dialogues.a[0].answer.status: expected an integer"),
            (#"{"asks": {}}"#, "server.dialogues.a[0]"),
        ])
    func refused(_ step: String, _ problem: String) {
        #expect(throws: ScriptError.self) { try VendorScript(#"{"server": {"dialogues": {"a": [\#(step)]}}}"#) }
        do {
            _ = try VendorScript(#"{"server": {"dialogues": {"a": [\#(step)]}}}"#)
        } catch {
            #expect("\(error)".contains(problem), "\(error)")
        }
    }
}
