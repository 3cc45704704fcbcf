import Glibc
import JSON
import Testing

@testable import Conformance

@Suite("The peer of a signalling plugin")
struct SignallingTests {
    private static let script = #"""
        {"config": {"port": "{{plugin.port}}"}, "udp": {"dialogues": {"call": [
          {"send": ["INVITE sip:agent@127.0.0.1:{{plugin.port}} SIP/2.0", "Call-ID: c{{run}}@peer", "CSeq: 1 INVITE"], "body": ["v=0", "s=-"]},
          {"expect": {"start": "SIP/2.0 200", "headers": {"Call-ID": "c{{run}}@peer", "To": "/tag=(?<tag>[^;]+)/"}, "body": "m=audio"},
           "skip": ["SIP/2.0 1"], "withinMs": 500},
          {"send": ["ACK sip:agent SIP/2.0", "To: <sip:agent>;tag={{tag}}"]},
          {"pauseMs": 100},
          {"send": ["BYE sip:agent SIP/2.0"]},
          {"expect": {"start": "SIP/2.0 200"}}]}}}
        """#
    private let ok = "SIP/2.0 200 OK\r\ni: c3@peer\r\nTo: <sip:agent>;tag=abc;x\r\nContent-Length: 9\r\n\r\nm=audio 1"

    private func dialogue() throws -> SignallingDialogue {
        SignallingDialogue(try VendorScript(Self.script).dialogues["call"]!, variables: ["plugin.port": "5070", "peer.port": "5071", "run": "3"])
    }

    @Test("A dialogue fills in, counts the body, waits, and skips what it may")
    func passes() throws {
        var dialogue = try dialogue()
        #expect(dialogue.start(nowNs: 0) == [
            "INVITE sip:agent@127.0.0.1:5070 SIP/2.0\r\nCall-ID: c3@peer\r\nCSeq: 1 INVITE\r\nContent-Length: 10\r\n\r\nv=0\r\ns=-\r\n"
        ])
        #expect(dialogue.receive("SIP/2.0 100 Trying\r\n\r\n", nowNs: 0) == [])
        #expect(dialogue.receive("OPTIONS sip:x SIP/2.0\r\n\r\n", nowNs: 0) == nil)
        #expect(dialogue.receive(ok, nowNs: 5) == ["ACK sip:agent SIP/2.0\r\nTo: <sip:agent>;tag=abc\r\nContent-Length: 0\r\n\r\n"])
        // A repeated 200 gets its ACK again (RFC 3261, 13.2.2.4), and the dialogue stays where it is.
        #expect(dialogue.receive(ok, nowNs: 6)?.first?.hasPrefix("ACK") == true)
        #expect(dialogue.deadlineNs == 100_000_005)
        #expect(dialogue.tick(nowNs: 100_000_004) == [])
        #expect(dialogue.tick(nowNs: 100_000_005).first?.hasPrefix("BYE") == true)
        #expect(dialogue.state == .running)
        _ = dialogue.receive("SIP/2.0 200 OK\r\nCSeq: 2 BYE\r\n\r\n", nowNs: 100_000_006)
        #expect(dialogue.state == .passed && dialogue.deadlineNs == nil)
    }

    @Test("A datagram goes out as it stands, and one without lines is all start")
    func datagrams() throws {
        let script = #"""
            {"udp": {"dialogues": {"call": [
              {"sendText": "{\"run\":{{run}}}", "afterMs": 10},
              {"expect": {"start": "/^\\{\"id\":\"(?<id>[0-9]+)\"\\}$/"}},
              {"sendText": "{\"result\":\"OK\",\"id\":\"{{id}}\"}"}]}}}
            """#
        var dialogue = SignallingDialogue(try VendorScript(script).dialogues["call"]!, variables: ["run": "3"])
        #expect(dialogue.start(nowNs: 0) == [] && dialogue.deadlineNs == 10_000_000)
        #expect(dialogue.tick(nowNs: 10_000_000) == [#"{"run":3}"#])
        #expect(dialogue.receive(#"{"id":"17"}"#, nowNs: 10_000_000) == [#"{"result":"OK","id":"17"}"#])
        #expect(dialogue.state == .passed)
    }

    @Test("What does not come in time fails the dialogue, which says what came instead")
    func fails() throws {
        var dialogue = try dialogue()
        _ = dialogue.start(nowNs: 0)
        _ = dialogue.receive("SIP/2.0 180 Ringing\r\n\r\n", nowNs: 0)
        #expect(dialogue.receive(ok.replacing("c3@", with: "c4@"), nowNs: 1) == nil)
        _ = dialogue.tick(nowNs: 500_000_000)
        let reason = "step 1: no message that begins with SIP/2.0 200 within 500 ms; "
            + "received: SIP/2.0 180 Ringing; not awaited: SIP/2.0 200 OK"
        #expect(dialogue.state == .failed(reason))
    }

    @Test("Over real sockets: the desk gives ports, calls the plugin, and follows the dialogue")
    func sockets() throws {
        let desk = try VendorDesk(try VendorScript(Self.script))
        #expect(desk.pluginPort > 0 && desk.peerPort > 0 && desk.pluginPort != desk.peerPort)
        let plugin = try #require(UDPPlugin(port: desk.pluginPort, peer: desk.peerPort))
        #expect(desk.answer(#"{"ask":"udp-run","dialogue":"none"}"#).contains("has no dialogue"))
        #expect(desk.answer(#"{"ask":"udp-run","dialogue":"call"}"#) == #"{"run":1}"#)
        #expect(plugin.receive()?.hasPrefix("INVITE") == true)
        plugin.send(ok.replacing("c3@", with: "c1@"))
        #expect(plugin.receive()?.hasPrefix("ACK") == true)
        #expect(plugin.receive()?.hasPrefix("BYE") == true)
        plugin.send("NOTIFY sip:x SIP/2.0\r\n\r\n")
        plugin.send("SIP/2.0 200 OK\r\n\r\n")
        var state = JSONValue.null
        for _ in 0..<200 {
            state = try JSONValue(parsing: desk.answer(#"{"ask":"udp-state","run":1}"#))
            if state["state"] != "running" { break }
            usleep(10_000)
        }
        #expect(state["state"] == "passed")
        #expect(state["unexpected"] == ["NOTIFY sip:x SIP/2.0\r\n\r\n"])
    }
}

/// A socket where the plugin would listen.
private final class UDPPlugin {
    private let socket: Int32
    private let peer: Int

    init?(port: Int, peer: Int) {
        self.peer = peer
        socket = Glibc.socket(AF_INET, Int32(SOCK_DGRAM.rawValue), 0)
        var patience = timeval(tv_sec: 3, tv_usec: 0)
        setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &patience, socklen_t(MemoryLayout<timeval>.size))
        guard Self.withAddress(port, { bind(socket, $0, $1) }) == 0 else { return nil }
    }

    deinit { close(socket) }

    func receive() -> String? {
        var buffer = [UInt8](repeating: 0, count: 4096)
        let count = recv(socket, &buffer, buffer.count, 0)
        return count > 0 ? String(decoding: buffer[..<count], as: UTF8.self) : nil
    }

    func send(_ text: String) {
        var text = text
        text.withUTF8 { bytes in _ = Self.withAddress(peer) { sendto(socket, bytes.baseAddress, bytes.count, 0, $0, $1) } }
    }

    private static func withAddress<Result>(_ port: Int, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Result) -> Result {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = UInt16(port).bigEndian
        address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        return withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, socklen_t(MemoryLayout<sockaddr_in>.size)) }
        }
    }
}
