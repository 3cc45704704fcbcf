import JSON
import Testing

@testable import Conformance

@Suite("A vendor fails")
struct VendorFaultTests {
    static let all: [VendorFault] = [
        .refused, .dnsFailure, .tlsFailure, .resetBeforeFirstByte, .resetInTheMiddle, .halfClose, .cutShort, .stall, .slowFirstByte(ms: 700),
        .slowLoris, .status(429, retryAfterS: 2), .status(500, retryAfterS: nil), .notJSON, .truncatedJSON, .wrongContentType, .invalidUTF8,
        .oneByteChunks, .splitAt(7), .lineEnd(.crlf), .lineEnd(.cr), .missingDone, .comments, .noSpaces, .emptyBody, .hugeBody,
        .closeCode(1011, afterMessages: 2), .abruptEnd(afterMessages: 1), .fragmented, .slowReader(bytesPerS: 0), .silentPeer, .hugeMessage,
    ]

    private static let script = #"""
        {"errors": {"401": {"json": {"detail": "who are you"}}},
         "http": [{"when": {"url": "https://v/sse"}, "answer": {"sse": [{"data": {"delta": "Hello, this is long."}}, "[DONE]"]}},
                  {"when": {"url": "https://v/audio"}, "answer": {"audio": {"ms": 10, "rateHz": 8000}}},
                  {"when": {"url": "https://v/json"}, "answer": {"json": {"text": "hello"}}}],
         "ws": [{"when": {}, "script": [{"send": {"json": {"n": 1}}}, {"send": {"json": {"n": 2}}}, {"send": {"json": {"n": 3}}}]}]}
        """#

    private func exchange(_ fault: VendorFault?, _ path: String = "json") throws -> VendorExchange {
        var peer = VendorPeer(try VendorScript(Self.script))
        if let fault { peer.arm(fault) }
        return peer.request(VendorRequest("POST", "https://v/\(path)"), id: 1, atNs: 0)
    }

    private func text(_ exchange: VendorExchange) -> String { String(decoding: exchange.body, as: UTF8.self) }

    private func failure(_ exchange: VendorExchange) -> VendorFailure? {
        if case .failed(_, let failure) = exchange.end { failure } else { nil }
    }

    @Test("Every fault survives its line", arguments: all)
    func line(fault: VendorFault) throws {
        #expect(VendorFault(try JSONValue(parsing: fault.json.text)) == fault)
    }

    @Test("A connection that is not made has no head, and says why", arguments: [
        (VendorFault.refused, true, "nothing answers at https://v:"), (.dnsFailure, true, "the host name of https://v has no address"),
        (.tlsFailure, false, "the certificate of https://v is not trusted"),
        (.resetBeforeFirstByte, true, "https://v closed the connection without an answer"),
    ])
    func noConnection(fault: VendorFault, isRetryable: Bool, message: String) throws {
        let exchange = try exchange(fault)
        #expect(exchange.afterMs == nil && exchange.chunks.isEmpty)
        #expect(failure(exchange)?.code == -23)
        #expect(failure(exchange)?.isRetryable == isRetryable)
        #expect(failure(exchange)?.message.hasPrefix(message) == true)
    }

    @Test("A reset and a half close break off in the middle; cut short ends properly there", arguments: [
        VendorFault.resetInTheMiddle, .halfClose, .cutShort,
    ])
    func middle(fault: VendorFault) throws {
        let exchange = try exchange(fault)
        #expect(exchange.status == 200)
        #expect(text(exchange) == #"{"text":"#)
        #expect((failure(exchange) == nil) == (fault == .cutShort))
    }

    @Test("A stream has a comment before each event, or no space behind its colons; what is no stream stays as it is")
    func otherSpellings() throws {
        #expect(
            text(try exchange(.comments, "sse"))
                == ": keep-alive\n\ndata: {\"delta\":\"Hello, this is long.\"}\n\n: keep-alive\n\ndata: [DONE]\n\n")
        #expect(text(try exchange(.noSpaces, "sse")) == "data:{\"delta\":\"Hello, this is long.\"}\n\ndata:[DONE]\n\n")
        for fault in [VendorFault.comments, .noSpaces] { #expect(try exchange(fault) == exchange(nil)) }
    }

    @Test("A stall has nothing at all, a slow first byte has all of it later, and a slow body a byte each 100 ms")
    func slow() throws {
        let stalled = try exchange(.stall)
        #expect(stalled.afterMs == nil && stalled.end == .never)
        let late = try exchange(.slowFirstByte(ms: 700))
        #expect(late.afterMs == 720 && late.end == .complete(atMs: 720) && text(late) == #"{"text":"hello"}"#)
        let slow = try exchange(.slowLoris)
        #expect(slow.chunks.map(\.atMs) == (1...16).map { 20 + 100 * $0 })
        #expect(slow.chunks.allSatisfy { $0.bytes.count == 1 } && slow.end == .complete(atMs: 1620))
    }

    @Test("A status has the vendor's own body where the script has one, and Retry-After where it is asked for")
    func status() throws {
        #expect(text(try exchange(.status(401, retryAfterS: nil))) == #"{"detail":"who are you"}"#)
        let limited = try exchange(.status(429, retryAfterS: 2))
        #expect(limited.status == 429 && text(limited).contains("rate_limit_exceeded"))
        #expect(limited.headers.contains { $0 == ("Retry-After", "2") })
        #expect(try !exchange(.status(503, retryAfterS: nil)).headers.contains { $0.name == "Retry-After" })
    }

    @Test("Garbage is garbage in its own way")
    func garbage() throws {
        #expect(text(try exchange(.notJSON)).hasPrefix("<html>"))
        #expect(text(try exchange(.truncatedJSON)) == #"{"text":"#)
        let strange = try exchange(.wrongContentType)
        #expect(text(strange) == #"{"text":"hello"}"# && strange.headers.map(\.value) == ["application/x-unknown"])
        let broken = try exchange(.invalidUTF8)
        #expect(String(validating: broken.body, as: UTF8.self) == nil && broken.headers.map(\.value) == ["application/json"])
        let empty = try exchange(.emptyBody)
        #expect(empty.status == 200 && empty.body.isEmpty && empty.end == .complete(atMs: 20))
    }

    @Test("The pieces change and the bytes do not")
    func pieces() throws {
        let whole = try exchange(nil, "sse").body
        let single = try exchange(.oneByteChunks, "sse")
        #expect(single.body == whole && single.chunks.count == whole.count)
        for offset in [0, 1, 7, whole.count] {
            let split = try exchange(.splitAt(offset), "sse")
            #expect(split.body == whole && split.chunks.count == (offset == 0 || offset == whole.count ? 1 : 2))
        }
    }

    @Test("A stream of events has other line ends, or no end")
    func events() throws {
        #expect(text(try exchange(.lineEnd(.crlf), "sse")).hasSuffix("data: [DONE]\r\n\r\n"))
        #expect(text(try exchange(.lineEnd(.cr), "sse")).hasSuffix("data: [DONE]\r\r"))
        let endless = text(try exchange(.missingDone, "sse"))
        #expect(endless.contains("Hello") && !endless.contains("[DONE]"))
    }

    @Test("A huge body is still right", arguments: ["json", "sse", "audio"])
    func huge(path: String) throws {
        let exchange = try exchange(.hugeBody, path)
        #expect(exchange.body.count >= (1 << 20) - 2 && exchange.body.count < 3 << 20)
        if path == "json" { #expect(try JSONValue(parsing: text(exchange))["text"] == "hello") }
        if path == "sse" { #expect(text(exchange).hasSuffix("data: [DONE]\n\n")) }
    }

    @Test("A fault waits for its requests: some are left alone, some are hit, the rest is well again")
    func armed() throws {
        var peer = VendorPeer(try VendorScript(Self.script))
        peer.arm(.status(500, retryAfterS: nil), url: "https://v/json", skip: 1, times: 2)
        let paths = ["json", "audio", "json", "json", "json"]
        let statuses = paths.map { peer.request(VendorRequest("POST", "https://v/\($0)"), id: 1, atNs: 0).status }
        #expect(statuses == [200, 200, 500, 500, 200])
        peer.arm(.refused)
        peer.disarm()
        #expect(peer.request(VendorRequest("POST", "https://v/json"), id: 1, atNs: 0).status == 200)
    }

    private func open(_ fault: VendorFault) throws -> [VendorSocketAction] {
        var peer = VendorPeer(try VendorScript(Self.script))
        peer.arm(fault)
        return peer.open(VendorRequest("GET", "wss://v/"), id: 1, atNs: 0)
    }

    @Test("An upgrade fails in the words of the host", arguments: [
        (VendorFault.refused, Int32(-23)), (.dnsFailure, -23), (.tlsFailure, -23), (.status(401, retryAfterS: nil), -21),
        (.status(429, retryAfterS: nil), -22), (.status(500, retryAfterS: nil), -25),
    ])
    func upgrade(fault: VendorFault, code: Int32) throws {
        let actions = try open(fault)
        guard actions.count == 1, case .closed(0, "", let failure?) = actions[0].kind else { return #expect(Bool(false)) }
        #expect(failure.code == code)
    }

    @Test("A vendor leaves after so many messages, with a code or without a word")
    func leaves() throws {
        let closed = try open(.closeCode(1011, afterMessages: 2))
        #expect(closed.count == 4)
        #expect(closed.last?.kind == .closed(code: 1011, reason: "conformance", nil))
        let abrupt = try open(.abruptEnd(afterMessages: 1))
        #expect(abrupt.count == 3)
        guard case .closed(0, "", let failure?) = abrupt.last?.kind else { return #expect(Bool(false)) }
        #expect(failure.message == "wss://v broke the connection off without a close frame: connect again")
    }

    @Test("Half a message, nothing at all, too much, and fragments that come late and whole")
    func messages() throws {
        #expect(try open(.stall) == [])
        #expect(try open(.truncatedJSON)[1].kind == .message(Array(#"{"n"#.utf8), isBinary: false))
        guard case .message(let large, _) = try open(.hugeMessage)[1].kind else { return #expect(Bool(false)) }
        #expect(large.count == (1 << 20) + 1)
        #expect(try open(.fragmented).map(\.afterMs) == [20, 50, 70, 90])
        #expect(try open(.silentPeer).map(\.kind) == [.opened(subprotocol: "", readsBytesPerS: nil, answersPings: false)])
    }
}
