import Glibc
import PluginABI
import Providers
import Testing

@testable import HostServices

@Suite("The host's own listener")
struct ServerServiceTests {
    @Test("A request reaches its provider as it was sent, and the answer its client")
    func roundTrip() {
        let owner = Stage.provider()
        let recorder = VisitRecorder(Visit(behaviour: .wait))
        #expect(Stage.route(owner, "/round/trip", to: recorder) == status(VC_OK))
        let client = RawClient(Stage.port)
        client.write(
            "POST /round/trip?a=%20b&c HTTP/1.1\r\nHost: test\r\nX-Twilio-Signature: abc=\r\nx-CASE: One\r\nx-CASE: Two\r\n"
                + "Content-Length: 9\r\n\r\nFrom=%2B1")
        #expect(recorder.wait { $0.requests.count == 1 })
        let request = recorder.state.requests[0]
        #expect(request.method == "POST" && request.path == "/round/trip" && request.query == "a=%20b&c")
        #expect(request.peer == "127.0.0.1" && String(decoding: request.body, as: UTF8.self) == "From=%2B1")
        #expect(request.header("X-Twilio-Signature") == "abc=" && request.header("x-CASE") == "One")
        #expect(request.headers.filter { $0.name == "x-CASE" }.map(\.value) == ["One", "Two"])
        let headers = [
            ("Content-Type", "text/xml"), ("X-Secret", "${secret:API_KEY}"), ("Content-Length", "1"),
            ("Connection", "close"),
        ].map { (name: $0.0, value: $0.1) }
        #expect(respond(request.exchange, 200, "<Response/>", headers: headers) == status(VC_OK))
        let answer = client.response()
        #expect(answer?.status == 200 && answer?.body == "<Response/>")
        #expect(answer?.head.contains("Content-Type: text/xml\r\n") == true)
        // An answer goes to a stranger: what looks like the name of a secret stays what it is.
        #expect(answer?.head.contains("X-Secret: ${secret:API_KEY}\r\n") == true)
        #expect(respond(request.exchange, 200, "again") == status(VC_E_STALE))

        // The connection is kept, and requests that come at once are answered in their order.
        recorder.change { $0.behaviour = .answer(204, "") }
        client.write("GET /round/trip HTTP/1.1\r\nHost: t\r\n\r\nGET /nowhere HTTP/1.1\r\nHost: t\r\n\r\n")
        #expect(client.response()?.status == 204 && client.response()?.status == 404)
        Stage.destroy(owner)
    }

    @Test("What nobody serves and what is no valid request gets an answer that says so")
    func refusals() {
        let owner = Stage.provider()
        let recorder = VisitRecorder(Visit(behaviour: .answer(200, "ok")))
        #expect(Stage.route(owner, "/served/", to: recorder) == status(VC_OK))
        func ask(_ request: String) -> (status: Int, head: String, body: String)? {
            let client = RawClient(Stage.port)
            client.write(request)
            return client.response()
        }
        let missing = ask("GET /served HTTP/1.1\r\nHost: t\r\n\r\n")
        #expect(missing?.status == 404 && missing?.body == "Nothing is served at this path.\n")
        #expect(ask("GET /served/a/b HTTP/1.1\r\nHost: t\r\n\r\n")?.status == 200)
        #expect(ask("GET /served/../x HTTP/1.1\r\nHost: t\r\n\r\n")?.status == 400)
        #expect(ask("GET /served/%2e%2e/x HTTP/1.1\r\nHost: t\r\n\r\n")?.status == 400)
        #expect(ask("TRACE /served/ HTTP/1.1\r\nHost: t\r\n\r\n")?.status == 405)
        #expect(ask("GET /served/ HTTP/1.1\r\n\r\n")?.status == 400)
        #expect(ask("GET /served/ HTTP/1.1\r\nHost: t\r\nHost: u\r\n\r\n")?.status == 400)
        #expect(
            ask("POST /served/ HTTP/1.1\r\nHost: t\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")?
                .status == 400)
        #expect(ask("POST /served/ HTTP/1.1\r\nHost: t\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\na")?.status == 400)
        #expect(ask("GET /served/ HTTP/1.1\r\nHost: t\r\nX: \(String(repeating: "x", count: 34_000))\r\n\r\n")?.status == 431)
        let upgrade = "GET /served/ HTTP/1.1\r\nHost: t\r\nUpgrade: websocket\r\nConnection: upgrade\r\n"
        let old = ask(upgrade + "Sec-WebSocket-Version: 8\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
        #expect(old?.status == 426 && old?.head.contains("Sec-WebSocket-Version: 13") == true)
        #expect(ask(upgrade + "Sec-WebSocket-Version: 13\r\n\r\n")?.status == 400)
        #expect(recorder.wait { $0.requests.count == 1 })
        // The client that answers nothing but HEAD sees no body.
        #expect(ask("HEAD /served/ HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n")?.status == 200)
        Stage.destroy(owner)
    }

    @Test("A body of 64 KiB is taken, a larger one refused, whether its length is told or not")
    func bodies() {
        let owner = Stage.provider()
        let recorder = VisitRecorder(Visit(behaviour: .answer(200, "ok")))
        #expect(Stage.route(owner, "/bodies", to: recorder) == status(VC_OK))
        func post(_ count: Int) -> Int? {
            let client = RawClient(Stage.port)
            client.write("POST /bodies HTTP/1.1\r\nHost: t\r\nContent-Length: \(count)\r\n\r\n")
            client.write([UInt8](repeating: 0x61, count: min(count, 4 << 20)))
            return client.response()?.status
        }
        func chunked(_ count: Int) -> Int? {
            let client = RawClient(Stage.port)
            client.write("POST /bodies HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n")
            let chunk = String(1 << 10, radix: 16) + "\r\n" + String(repeating: "b", count: 1 << 10) + "\r\n"
            for _ in 0..<count >> 10 { client.write(chunk) }
            client.write("0\r\n\r\n")
            return client.response()?.status
        }
        #expect(post(64 << 10) == 200 && chunked(64 << 10) == 200)
        #expect(recorder.wait { $0.requests.map(\.body.count) == [64 << 10, 64 << 10] })
        #expect(post(64 << 10 + 1) == 413 && post(1 << 20) == 413 && chunked(65 << 10) == 413)
        // So large that it is not even read: the answer may be lost to the reset, but nothing else may come.
        #expect([413, nil].contains(post(4 << 20)) && [413, nil].contains(chunked(2 << 20)))
        let expecting = RawClient(Stage.port)
        expecting.write("POST /bodies HTTP/1.1\r\nHost: t\r\nExpect: 100-continue\r\nContent-Length: 99999999\r\n\r\n")
        #expect(expecting.response()?.status == 413)
        #expect(recorder.state.requests.count == 2)
        Stage.destroy(owner)
    }

    @Test("A path has one owner, and is gone with it, its waiting requests answered")
    func ownership() {
        let one = Stage.provider(name: "telephony.one")
        let two = Stage.provider(name: "telephony.two")
        let recorder = VisitRecorder(Visit(behaviour: .wait))
        #expect(Stage.route(one, "/owned", to: recorder) == status(VC_OK))
        #expect(Stage.route(two, "/owned", to: recorder) == status(VC_E_ARGUMENT))
        #expect(Stage.log.contains("served by telephony.one already"))
        for wrong in ["owned", "/a?b", "/a/../b", "/%zz", ""] {
            #expect(Stage.route(one, wrong, to: recorder) == status(VC_E_ARGUMENT), "\(wrong)")
        }
        let session = Stage.object()
        #expect(Stage.route(session, "/session", to: recorder) == status(VC_E_ARGUMENT))
        #expect(Stage.server.route(12_345, "/x", visit, nil) == status(VC_E_STALE))
        let client = RawClient(Stage.port)
        client.write("GET /owned HTTP/1.1\r\nHost: t\r\n\r\n")
        #expect(recorder.wait { $0.requests.count == 1 })
        Stage.destroy(one)
        let answer = client.response()
        #expect(answer?.status == 503 && answer?.head.contains("Retry-After: 1") == true)
        #expect(respond(recorder.state.requests[0].exchange, 200, "late") == status(VC_E_STALE))
        #expect(client.get("/owned")?.status == 404)
        #expect(Stage.route(two, "/owned", to: recorder) == status(VC_OK))
        Stage.destroy(two)
        Stage.destroy(session)
    }

    @Test("A wrong answer is refused with a reason, and the right one still goes out")
    func wrongAnswers() {
        let owner = Stage.provider()
        let recorder = VisitRecorder(Visit(behaviour: .wait))
        #expect(Stage.route(owner, "/wrong", to: recorder) == status(VC_OK))
        let client = RawClient(Stage.port)
        client.write("GET /wrong HTTP/1.1\r\nHost: t\r\n\r\n")
        #expect(recorder.wait { $0.requests.count == 1 })
        let exchange = recorder.state.requests[0].exchange
        for code: UInt32 in [0, 101, 199, 600] { #expect(respond(exchange, code, "") == status(VC_E_ARGUMENT)) }
        #expect(respond(exchange, 204, "body") == status(VC_E_ARGUMENT))
        #expect(respond(exchange, 200, "", headers: [("X-Split", "a\r\nSet-Cookie: b")]) == status(VC_E_ARGUMENT))
        #expect(respond(exchange, 200, "", headers: [("X-Long", String(repeating: "l", count: 9_000))]) == status(VC_E_ARGUMENT))
        let large = String(repeating: "l", count: 1 << 20)
        #expect(respond(exchange, 200, large + "l") == status(VC_E_ARGUMENT))
        let conversation = ConversationRecorder(Conversation())
        #expect(accept(exchange, owner.handle, conversation).0 == status(VC_E_STATE))
        #expect(respond(exchange, 599, large) == status(VC_OK))
        let answer = client.response()
        #expect(answer?.status == 599 && answer?.body == large)
        Stage.destroy(owner)
    }

    @Test("A request that its plugin forgets is answered with 504, and the plugin named in the log")
    func forgotten() throws {
        let under = try ServerUnderTest { $0.answerMs = 200 }
        let owner = Stage.provider()
        let recorder = VisitRecorder(Visit(behaviour: .wait))
        #expect(under.server.route("/forgotten", for: owner, visit, recorder.context) == status(VC_OK))
        let client = RawClient(under.port)
        let begun = Monotonic.nowNs()
        #expect(client.get("/forgotten")?.status == 504)
        #expect(Monotonic.nowNs() - begun >= 200_000_000)
        #expect(under.server.exchange(recorder.state.requests[0].exchange) == nil)
        // The client hears of it first.
        for _ in 0..<100 where !Stage.log.contains("a request was not answered") { sleep(milliseconds: 20) }
        #expect(Stage.log.contains("a request was not answered"))
        // The next one is alive as ever.
        #expect(client.get("/other")?.status == 404)
        under.stop()
        Stage.destroy(owner)
    }

    @Test("A provider has a bounded number of waiting requests; the next one hears 503")
    func overload() throws {
        let under = try ServerUnderTest { $0.exchangesPerProviderMax = 3 }
        let owner = Stage.provider()
        let recorder = VisitRecorder(Visit(behaviour: .wait))
        #expect(under.server.route("/busy", for: owner, visit, recorder.context) == status(VC_OK))
        let waiting = (0..<3).map { _ in RawClient(under.port) }
        for client in waiting { client.write("GET /busy HTTP/1.1\r\nHost: t\r\n\r\n") }
        #expect(recorder.wait { $0.requests.count == 3 })
        #expect(RawClient(under.port).get("/busy")?.status == 503)
        // The end of the host answers those that wait, and does not wait for the plugin.
        let begun = Monotonic.nowNs()
        under.stop()
        #expect(Monotonic.nowNs() - begun < 2_000_000_000)
        Stage.destroy(owner)
    }

    @Test("A client that sends a byte now and then is cut off, and so is one that is silent")
    func slowClients() throws {
        let under = try ServerUnderTest {
            $0.receiveMs = 500
            $0.idleMs = 500
        }
        let silent = RawClient(under.port)
        let drip = RawClient(under.port)
        let idle = RawClient(under.port)
        #expect(idle.get("/x")?.status == 404)
        drip.write("GET / HTTP/1.1\r\nHost: t\r\nX: ")
        for _ in 0..<20 {
            drip.write("a")
            sleep(milliseconds: 100)
        }
        drip.write("\r\n\r\n")
        #expect(drip.response() == nil && silent.isEnded() && idle.isEnded())
        under.stop()
    }

    @Test("One address cannot take more connections than it may, and room is given back")
    func addresses() throws {
        let under = try ServerUnderTest { $0.connectionsPerAddressMax = 4 }
        var clients = (0..<4).map { _ in RawClient(under.port) }
        for client in clients { #expect(client.get("/x")?.status == 404) }
        #expect(RawClient(under.port).get("/x") == nil)
        clients = []
        // The listener hears of the ends a moment later.
        for _ in 0..<100 where under.server.connectionCount > 0 { sleep(milliseconds: 10) }
        #expect(RawClient(under.port).get("/x")?.status == 404)
        under.stop()
    }

    @Test("A client of IPv4 at a socket of IPv6 is known by its IPv4 address")
    func mappedAddress() throws {
        let under = try ServerUnderTest { $0.listen = ListenAddress(host: "::ffff:127.0.0.1", port: 0) }
        let owner = Stage.provider()
        let recorder = VisitRecorder(Visit(behaviour: .wait))
        #expect(under.server.route("/mapped", for: owner, visit, recorder.context) == status(VC_OK))
        RawClient(under.port).write("GET /mapped HTTP/1.1\r\nHost: t\r\n\r\n")
        #expect(recorder.wait { $0.requests.count == 1 } && recorder.state.requests[0].peer == "127.0.0.1")
        under.stop()
        Stage.destroy(owner)
    }

    @Test("Without a listener a path is refused, and the log names the key")
    func off() throws {
        let under = try ServerUnderTest { $0.listen = nil }
        let owner = Stage.provider()
        #expect(under.server.route("/off", for: owner, visit, nil) == status(VC_E_CONFIG))
        #expect(Stage.log.contains("set listen in [server]"))
        under.stop()
        Stage.destroy(owner)
    }

    @Test("A port that is taken is told, with the key")
    func takenPort() {
        #expect {
            _ = try ServerUnderTest { $0.listen = ListenAddress(host: "127.0.0.1", port: UInt16(Stage.port)) }
        } throws: { "\($0)".contains("[server] listen") }
    }
}
