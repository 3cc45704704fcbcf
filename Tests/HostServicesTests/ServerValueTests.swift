import PluginABI
import Providers
import Testing

@testable import HostServices

@Suite("What the listener decides, as values")
struct ServerValueTests {
    @Test("A request's path and query are kept as they came")
    func target() throws {
        let plain = try RequestTarget("/twilio/voice?CallSid=CA%2B1&b=")
        #expect(plain.path == "/twilio/voice" && plain.query == "CallSid=CA%2B1&b=")
        let encoded = try RequestTarget("/a%20b/%C3%BC?")
        #expect(encoded.path == "/a%20b/%C3%BC" && encoded.query.isEmpty)
        #expect(try RequestTarget("http://host:1/x?y=1") == RequestTarget("/x?y=1"))
        #expect(try RequestTarget("HTTPS://host") == RequestTarget("/"))
        #expect(try RequestTarget("/a?b?c=/../").query == "b?c=/../")
    }

    @Test(
        "A path that could be read in two ways is refused",
        arguments: [
            "/a/../b", "/a/./b", "/..", "/%2e%2e/b", "/a/%2E./b", "/a%2fb", "/a%5cb", "/a\\b", "/a%00", "/a%0d", "/a%",
            "/a%2", "/a%g1", "/a%+1", "/a b", "/a#b", "a", "", "*", "/ü", "http://host?x",
        ])
    func ambiguous(_ target: String) {
        #expect(throws: RequestTarget.Refusal.self) { try RequestTarget(target) }
    }

    @Test("The longest path wins, a second provider cannot take one, and all go with their owner")
    func routes() {
        let one = PluginObject(level: .provider, plugin: "one", name: "telephony.one") { _ in 0 }
        let two = PluginObject(level: .provider, plugin: "two", name: "telephony.two") { _ in 0 }
        var table = RouteTable()
        func add(_ path: String, _ owner: PluginObject) -> RouteTable.Refusal? {
            table.add(Route(path: path, owner: owner, handle: visit, context: nil), perOwnerMax: 3)
        }
        #expect(add("/a/", one) == nil && add("/a/b/", two) == nil && add("/a/b", one) == nil)
        #expect(add("/a/b", two) == .taken(by: "telephony.one"))
        #expect(table.route(for: "/a/b")?.owner === one && table.route(for: "/a/b/c")?.owner === two)
        #expect(table.route(for: "/a/")?.owner === one && table.route(for: "/a/c/d")?.path == "/a/")
        #expect(table.route(for: "/a") == nil && table.route(for: "/ab") == nil)
        #expect(add("/1", one) == nil && add("/2", one) == .full)
        table.removeAll(of: one)
        #expect(table.route(for: "/a/b") == nil && table.route(for: "/a/b/c")?.owner === two && table.count == 1)
    }

    @Test("An exchange is answered once, and resumed only when it rests")
    func exchange() {
        var early = ExchangeState<Int>()
        #expect(early.give(1) == .kept && early.give(2) == .tooLate && !early.suspended())
        #expect(early.take() == 1 && early.take() == nil)
        var late = ExchangeState<Int>()
        #expect(late.suspended() && late.isOpen && late.give(3) == .resume && late.give(4) == .tooLate)
        #expect(late.take() == 3 && !late.isOpen)
        var abandoned = ExchangeState<Int>()
        #expect(abandoned.abandon() == nil && abandoned.give(5) == .tooLate)
    }

    @Test("Connections are counted by address, and what takes too long is cut once")
    func connections() {
        var limits = ServerSettings()
        limits.connectionsMax = 3
        limits.connectionsPerAddressMax = 2
        var table = ConnectionTable(limits: limits)
        let second: UInt64 = 1_000_000_000
        table.began(1, descriptor: 11, address: "a", now: 0)
        table.began(2, descriptor: 12, address: "a", now: 0)
        #expect(table.refusal(of: "a") == .address && table.refusal(of: "b") == nil)
        table.began(3, descriptor: 13, address: "b", now: 0)
        #expect(table.refusal(of: "c") == .full)

        table.moved(1, to: .serving, now: second)
        table.moved(2, to: .idle, now: second)
        #expect(table.overdue(now: 9 * second).isEmpty)
        let slow = table.overdue(now: 10 * second)
        #expect(slow.count == 1 && slow[0].descriptor == 13 && slow[0].phase == .receiving)
        #expect(table.overdue(now: 30 * second).isEmpty)
        #expect(table.overdue(now: 31 * second).map(\.descriptor) == [12])
        table.moved(1, to: .sending, now: 31 * second)
        #expect(table.overdue(now: 61 * second).map(\.descriptor) == [11])
        table.moved(1, to: .receiving, now: 61 * second)
        #expect(table.overdue(now: 99 * second).isEmpty)

        table.ended(1)
        table.ended(1)
        #expect(table.refusal(of: "a") == nil && table.count == 2)
        table.ended(3)
        #expect(table.address(of: 2) == "a" && table.address(of: 3).isEmpty)
    }

    @Test("The proof of the handshake is that of RFC 6455, 1.3, and a wrong handshake is refused")
    func handshake() throws {
        #expect(UpgradeRequest.accept(for: "dGhlIHNhbXBsZSBub25jZQ==") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
        let right = [
            ("Upgrade", "WebSocket"), ("connection", "keep-alive , Upgrade"), ("Sec-WebSocket-Version", "13"),
            ("SEC-WEBSOCKET-KEY", "dGhlIHNhbXBsZSBub25jZQ=="), ("Sec-WebSocket-Protocol", "a, b"),
            ("Sec-WebSocket-Protocol", "c"),
        ]
        func find(_ method: String = "GET", _ version: String = "HTTP/1.1", without: Int? = nil, with: (String, String)? = nil)
            throws(HostAnswer) -> UpgradeRequest?
        {
            var headers = right
            if let without { headers.remove(at: without) }
            if let with { headers.append(with) }
            return try UpgradeRequest.find(
                method: method, version: version, headers: headers.map { (name: $0.0, value: $0.1) })
        }
        #expect(try find()?.protocols == ["a", "b", "c"])
        #expect(try find(without: 0) == nil)
        #expect(throws: HostAnswer.malformed) { try find("POST") }
        #expect(throws: HostAnswer.malformed) { try find("GET", "HTTP/1.0") }
        #expect(throws: HostAnswer.malformed) { try find(without: 1) }
        #expect(throws: HostAnswer.version) { try find(without: 2, with: ("Sec-WebSocket-Version", "8")) }
        #expect(throws: HostAnswer.malformed) { try find(without: 3, with: ("Sec-WebSocket-Key", "short")) }
        #expect(throws: HostAnswer.malformed) { try find(with: ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")) }
    }

    @Test("An address to listen on is in digits, with a port")
    func listenAddress() {
        #expect(ListenAddress(parsing: "127.0.0.1:8080") == ListenAddress(host: "127.0.0.1", port: 8080))
        #expect(ListenAddress(parsing: "[::1]:0")?.description == "[::1]:0")
        for wrong in ["127.0.0.1", ":8080", "localhost:80", "::1:80", "[127.0.0.1]:80", "1.2.3.4:99999", "1.2.3:1", ""] {
            #expect(ListenAddress(parsing: wrong) == nil, "\(wrong)")
        }
    }
}
