import JSON
import PluginABI
import Testing

@testable import Conformance

/// One process has one `VendorServices.current`, so these run one after another.
@Suite("The services that reach a vendor", .serialized)
struct VendorServicesTests {
    private static let script = #"""
        {"http": [{"when": {"url": "https://v/json"}, "answer": {"json": {"a": 1}}},
                  {"when": {"url": "https://v/long"}, "answer": {"text": "abcdef", "chunkBytes": 2, "everyMs": 100}}],
         "ws": [{"when": {"url": "wss://v/"}, "on": [{"expect": {"any": true}, "then": []}],
                 "dialogues": {"incoming": [{"send": {"text": "call {{run}}"}}, {"expect": {"text": "answer {{run}}"}}]}},
                {"when": {"url": "wss://hello/"}, "subprotocol": "x",
                 "script": [{"send": {"text": "hello"}}, {"expect": {"text": "bye"}}, {"close": {"code": 4000, "reason": "done"}}]}]}
        """#

    private func bench() throws -> ServiceBench { try ServiceBench(Self.script) }

    // MARK: vc.http/1

    @Test("response once, data as it comes, done once and last, each at its time")
    func exchange() throws {
        let bench = try bench()
        let (status, handle) = bench.start { $0.url = "https://v/long" }
        #expect(status == vc_status(VC_OK) && handle != 0)
        #expect(bench.heard == [])
        bench.clock.advance(ms: 20)
        #expect(bench.heard == ["200 Content-Type=text/plain; charset=utf-8", "data ab"])
        bench.clock.advance(ms: 100)
        #expect(bench.heard.last == "data cd")
        bench.clock.advance(ms: 100)
        #expect(Array(bench.heard.suffix(2)) == ["data ef", "done"])
        // The deadline goes with the request.
        #expect(bench.clock.pendingCount == 0)
        bench.clock.advance(ms: 40_000)
        #expect(bench.heard.count == 5 && bench.services.openCount == 0)
        #expect(bench.breaches == [])
    }

    @Test("The 33rd request of one owner is answered AGAIN, whatever others do, and when one ends there is room")
    func bound() throws {
        let bench = try bench()
        for _ in 0..<32 { #expect(bench.start().status == vc_status(VC_OK)) }
        #expect(bench.start().status == vc_status(VC_E_AGAIN))
        #expect(bench.start { $0.owner = 8 }.status == vc_status(VC_OK))
        bench.clock.advance(ms: 50)
        #expect(bench.start().status == vc_status(VC_OK))
        #expect(bench.breaches == [])
    }

    @Test("A request may be started within `done` of another, even when there were 32")
    func startWithinDone() throws {
        let bench = try bench()
        for _ in 0..<32 { _ = bench.start() }
        var status = vc_status(VC_E_INTERNAL)
        bench.onHeard["done"] = { [unowned bench] in
            bench.onHeard = [:]
            status = bench.start().status
        }
        bench.clock.advance(ms: 20)
        #expect(status == vc_status(VC_OK))
    }

    @Test("After cancel nothing more is called, done included, and the vendor sees it")
    func cancel() throws {
        let bench = try bench()
        let handle = bench.start { $0.url = "https://v/long" }.handle
        bench.clock.advance(ms: 20)
        #expect(bench.http.cancel(handle) == vc_status(VC_OK))
        bench.clock.advance(ms: 60_000)
        #expect(bench.heard.count == 2 && bench.clock.pendingCount == 0)
        #expect(bench.seen[0].isCanceled)
        #expect(bench.breaches == [])
    }

    @Test("A cancel within a callback stops what would come at the same time")
    func cancelWithin() throws {
        let bench = try bench()
        var handle: vc_handle = 0
        bench.onHeard["200"] = { [unowned bench] in _ = bench.http.cancel(handle) }
        handle = bench.start().handle
        bench.clock.advance(ms: 1_000)
        #expect(bench.heard == ["200 Content-Type=application/json"])
    }

    @Test("A new epoch ends the requests of older ones, without a word, and not those that outlive epochs")
    func epoch() throws {
        let bench = try bench()
        let old = bench.start().handle
        _ = bench.start { $0.epoch = UInt64.max }
        bench.owners.owners[7]!.epoch = 2
        bench.services.epochRaised(7, to: 2)
        bench.clock.advance(ms: 1_000)
        #expect(bench.heard == ["200 Content-Type=application/json", #"data {"a":1}"#, "done"])
        #expect(bench.seen.map(\.isCanceled) == [true, false])
        // The plugin may not have known yet, so the stale handle is nobody's fault.
        #expect(bench.http.cancel(old) == vc_status(VC_E_STALE) && bench.breaches == [])
        #expect(bench.start { $0.epoch = 1 }.status == vc_status(VC_E_CANCELED) && bench.breaches == [])
    }

    @Test("The end of an epoch or of an owner counts from that instant, even before the services are told")
    func endsAtOnce() throws {
        for isGone in [true, false] {
            let bench = try bench()
            _ = bench.start { $0.url = "https://v/long" }
            bench.clock.advance(ms: 20)
            bench.owners.owners[7] = ServiceOwner(epoch: 2, isGone: isGone)
            bench.clock.advance(ms: 1_000)
            #expect(bench.heard.count == 2 && bench.services.openCount == 0 && bench.clock.pendingCount == 0)
            #expect(bench.seen[0].isCanceled)
        }
    }

    @Test("When its owner ends, nothing more is called, and nothing can be begun for it")
    func owner() throws {
        let bench = try bench()
        _ = bench.start()
        bench.owners.owners[7]!.isGone = true
        bench.services.ownerEnded(7)
        bench.clock.advance(ms: 1_000)
        #expect(bench.heard == [] && bench.seen[0].isCanceled)
        #expect(bench.start().status == vc_status(VC_E_STALE))
        #expect(bench.start { $0.owner = 55 }.status == vc_status(VC_E_STALE))
        #expect(bench.breaches == ["http.start for an object that is gone", "http.start for a handle that never was: 55"])
    }

    @Test("The deadline ends an answer that does not end, and the first-byte limit one that does not begin")
    func deadlines() throws {
        let bench = try bench()
        bench.services.arm(.stall)
        _ = bench.start { $0.deadlineMs = 500 }
        _ = bench.start { $0.deadlineMs = 5_000; $0.firstByteMs = 300 }
        _ = bench.start()
        bench.services.disarm()
        _ = bench.start { $0.url = "https://v/long"; $0.deadlineMs = 150; $0.firstByteMs = 100 }
        bench.clock.advance(ms: 600)
        let failures = bench.heard.filter { $0.hasPrefix("failed") }
        #expect(failures == [
            "failed -24 the answer of https://v was not complete after 150 ms: raise the deadline or ask for less",
            "failed -24 https://v took the request and did not answer in time: look at its load, or raise the deadline",
            "failed -24 https://v took the request and did not answer in time: look at its load, or raise the deadline",
        ])
        #expect(bench.seen.map(\.isCanceled) == [true, true, false, true])
        bench.clock.advance(ms: 29_400)
        #expect(bench.heard.filter { $0.hasPrefix("failed") }.count == 4)
        #expect(bench.services.openCount == 0)
    }

    @Test("A secret is filled in for the vendor, if the manifest lists it")
    func secrets() throws {
        let bench = try bench()
        #expect(bench.start { $0.headers = [("Authorization", "Bearer ${secret:KEY}"), ("X-Plain", "$1 ${x}")] }.status == vc_status(VC_OK))
        #expect(bench.seen[0].request.header("authorization") == "Bearer s3cret")
        #expect(bench.seen[0].request.header("x-plain") == "$1 ${x}")
        #expect(bench.start { $0.headers = [("A", "${secret:UNSET}")] }.status == vc_status(VC_E_NOT_FOUND))
        #expect(bench.breaches == [])
        #expect(bench.start { $0.headers = [("A", "${secret:OTHER}")] }.status == vc_status(VC_E_ARGUMENT))
        #expect(bench.breaches == ["http.start: the secret OTHER is not in the manifest"])
    }

    @Test("What a header forbids is refused and written down", arguments: [
        ("method", #"http.start: the method "PO ST" is no token"#), ("url", #"http.start: "/v1/listen" is no absolute URL of http or https"#),
        ("header", "http.start: the header X has a control character, a line break say"),
        ("name", #"http.start: the header name "X Y" is no token of RFC 9110"#), ("headers", "http.start: 65 headers; 64 are the most"),
        ("size", "http.start: a NULL pointer, or a struct without its size"),
    ])
    func misuse(what: String, breach: String) throws {
        let bench = try bench()
        let result = bench.start { request in
            switch what {
            case "method": request.method = "PO ST"
            case "url": request.url = "/v1/listen"
            case "header": request.headers = [("X", "a\r\nY: b")]
            case "name": request.headers = [("X Y", "a")]
            case "headers": request.headers = (0..<65).map { ("X\($0)", "a") }
            default: request.size = 0
            }
        }
        #expect(result.status == vc_status(VC_E_ARGUMENT))
        #expect(bench.breaches == [breach])
        #expect(bench.seen == [])
    }

    @Test("A handle is used once too often: after cancel, after done, and one that never was")
    func staleHandles() throws {
        let bench = try bench()
        let (first, second) = (bench.start().handle, bench.start().handle)
        _ = bench.http.cancel(first)
        bench.clock.advance(ms: 100)
        for handle in [first, second, 1234] { #expect(bench.http.cancel(handle) == vc_status(VC_E_STALE)) }
        #expect(bench.breaches == [
            "http.cancel of a handle that is stale: it was cancelled already",
            "http.cancel of a handle that is stale: its `done` was called", "http.cancel of a handle that never was: 1234",
        ])
    }

    @Test("A rule lets a service fail at one call")
    func refusal() throws {
        let bench = try bench()
        bench.services.refuse { [unowned bench] name in
            name == "http.start" && bench.services.callCount(name) == 2 ? vc_status(VC_E_AGAIN) : nil
        }
        #expect((0..<3).map { _ in bench.start().status } == [0, vc_status(VC_E_AGAIN), 0])
        #expect(bench.breaches == [])
    }

    // MARK: vc.ws/1

    @Test("opened once, messages in order, closed once and last, with the code of the vendor")
    func socket() throws {
        let bench = try bench()
        let (status, socket) = bench.connect("wss://hello/", protocols: "x, y", headers: [("Authorization", "${secret:KEY}")])
        #expect(status == vc_status(VC_OK))
        bench.clock.advance(ms: 100)
        #expect(bench.heard == ["opened", "message hello"])
        #expect(bench.send(socket, Array("bye".utf8), isBinary: 0) == vc_status(VC_OK))
        bench.clock.advance(ms: 100_000)
        #expect(bench.heard == ["opened", "message hello", "closed 4000 done"])
        #expect(bench.seen[0].request.header("sec-websocket-protocol") == "x, y")
        #expect(bench.seen[0].request.header("authorization") == "s3cret")
        #expect(bench.services.openCount == 0 && bench.clock.pendingCount == 0 && bench.breaches == [])
        #expect(bench.send(socket, [1]) == vc_status(VC_E_STALE))
        #expect(bench.breaches == ["ws.send of a handle that is stale: its `closed` was called"])
    }

    @Test("A dialogue begins when a rule wants it, on the connection that is open, and says when it has passed")
    func dialogueByName() throws {
        let bench = try bench()
        #expect(bench.services.beginDialogue("incoming") == nil)
        let socket = bench.connect().handle
        bench.clock.advance(ms: 100)
        #expect(bench.services.beginDialogue("outgoing") == nil)
        let run = try #require(bench.services.beginDialogue("incoming"))
        bench.clock.advance(ms: 100)
        #expect(bench.heard == ["opened", "message call 1"])
        #expect(bench.services.dialogue(run)["state"] == "running")
        #expect(bench.send(socket, Array("answer 1".utf8), isBinary: 0) == vc_status(VC_OK))
        #expect(bench.services.dialogue(run)["state"] == "passed")
        #expect(bench.breaches == [])
    }

    @Test("What is sent before the connection is open reaches the vendor then")
    func early() throws {
        let bench = try bench()
        let socket = bench.connect().handle
        #expect(bench.send(socket, [1, 2]) == vc_status(VC_OK))
        #expect(bench.seen[0].messages == [])
        bench.clock.advance(ms: 20)
        #expect(bench.seen[0].messages.map(\.bytes) == [[1, 2]])
    }

    @Test("The ninth connection of one owner is answered AGAIN")
    func socketBound() throws {
        let bench = try bench()
        #expect((0..<9).map { _ in bench.connect().status } == Array(repeating: 0, count: 8) + [vc_status(VC_E_AGAIN)])
        #expect(bench.connect(owner: 8).status == vc_status(VC_OK))
    }

    @Test("Behind 256 KiB that the vendor does not read, send is answered AGAIN, and writable follows when half is read")
    func writable() throws {
        let bench = try bench()
        bench.services.arm(.slowReader(bytesPerS: 100_000))
        let socket = bench.connect().handle
        bench.clock.advance(ms: 20)
        let kilobytes = [UInt8](repeating: 0, count: 64 << 10)
        #expect((0..<5).map { _ in bench.send(socket, kilobytes) } == [0, 0, 0, 0, vc_status(VC_E_AGAIN)])
        bench.clock.advance(ms: 1_000)
        #expect(!bench.heard.contains("writable"))
        bench.clock.advance(ms: 1_000)
        #expect(bench.heard.filter { $0 == "writable" }.count == 1)
        #expect(bench.send(socket, kilobytes) == vc_status(VC_OK))
        bench.clock.advance(ms: 10_000)
        #expect(bench.seen[0].messages.count == 5 && bench.heard == ["opened", "writable"])
        #expect(bench.breaches == [])
    }

    @Test("A close is answered by the vendor; where it does not answer, closed follows after 2 s")
    func closes() throws {
        let bench = try bench()
        let socket = bench.connect().handle
        bench.clock.advance(ms: 20)
        #expect(bench.close(socket, 1000, "bye") == vc_status(VC_OK))
        bench.clock.advance(ms: 20)
        #expect(bench.heard == ["opened", "closed 1000 bye"])
        #expect(bench.seen[0].ending?.code == 1000)

        bench.services.arm(.silentPeer)
        let silent = bench.connect().handle
        bench.clock.advance(ms: 20)
        #expect(bench.close(silent) == vc_status(VC_OK))
        bench.clock.advance(ms: 1_999)
        #expect(bench.heard.last == "opened")
        bench.clock.advance(ms: 1)
        #expect(bench.heard.last == "closed 0  failed -24 wss://v did not answer the close frame within 2 s")
        #expect(bench.breaches == [])
    }

    @Test("A vendor that is gone without a word is found by pings")
    func pings() throws {
        let bench = try bench()
        bench.services.arm(.silentPeer)
        _ = bench.connect(pingMs: 1_000)
        bench.clock.advance(ms: 2_019)
        #expect(bench.heard == ["opened"])
        bench.clock.advance(ms: 1)
        #expect(bench.heard.last == "closed 0  failed -23 wss://v does not answer pings any more: connect again")
    }

    @Test("A connection that is never made is given up after connect_ms; a refused one tells why")
    func connecting() throws {
        let bench = try bench()
        bench.services.arm(.stall, times: 1)
        _ = bench.connect(connectMs: 300)
        bench.clock.advance(ms: 300)
        #expect(bench.heard == ["closed 0  failed -24 no WebSocket to wss://v within 300 ms: check the address, the route and the firewall"])
        bench.services.arm(.status(401, retryAfterS: nil))
        _ = bench.connect()
        bench.clock.advance(ms: 300)
        #expect(bench.heard.last?.hasPrefix("closed 0  failed -21 wss://v refused the credential with status 401") == true)
    }

    @Test("A message of more than a mebibyte closes the connection with 1009")
    func tooLarge() throws {
        let bench = try bench()
        bench.services.arm(.hugeMessage)
        _ = bench.connect("wss://hello/")
        bench.clock.advance(ms: 1_000)
        #expect(bench.heard == ["opened", "closed 1009  failed -25 wss://hello sent a message larger than 1048576 bytes"])
        #expect(bench.seen[0].ending != nil)
    }

    @Test("When its owner ends, a connection is dropped without a word to the plugin")
    func socketOwner() throws {
        let bench = try bench()
        let socket = bench.connect("wss://hello/").handle
        bench.clock.advance(ms: 20)
        bench.owners.owners[7]!.isGone = true
        bench.services.ownerEnded(7)
        bench.clock.advance(ms: 1_000)
        #expect(bench.heard == ["opened"] && bench.seen[0].ending?.code == 0)
        #expect(bench.send(socket, [1]) == vc_status(VC_E_STALE) && bench.breaches == [])
    }

    @Test("What ws.h forbids is refused and written down")
    func socketMisuse() throws {
        let bench = try bench()
        #expect(bench.connect("https://v/").status == vc_status(VC_E_ARGUMENT))
        let socket = bench.connect().handle
        bench.clock.advance(ms: 20)
        #expect(bench.send(socket, [UInt8](repeating: 0, count: (1 << 20) + 1)) == vc_status(VC_E_ARGUMENT))
        #expect(bench.send(socket, [1], isBinary: 2) == vc_status(VC_E_ARGUMENT))
        #expect(bench.send(socket, [0xff], isBinary: 0) == vc_status(VC_E_ARGUMENT))
        #expect(bench.close(socket, 1005) == vc_status(VC_E_ARGUMENT))
        #expect(bench.close(socket) == vc_status(VC_OK))
        #expect(bench.send(socket, [1]) == vc_status(VC_E_CLOSED))
        #expect(bench.close(socket) == vc_status(VC_E_CLOSED))
        #expect(bench.breaches == [
            #"ws.connect: "https://v/" is no absolute URL of ws or wss"#, "ws.send: a message of 1048577 bytes; 1048576 are the most",
            "ws.send: `binary` is 2; it is 1 or 0", "ws.send: a text that is no UTF-8",
            "ws.close: code 1005, or a reason of 0 bytes, cannot be sent", "ws.send: after ws.close of the same socket",
            "ws.close: a second time for the same socket",
        ])
    }
}
