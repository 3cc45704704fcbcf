import Glibc
import JSON
import PluginABI
import Providers
import Testing

@testable import HostServices

@Suite("WebSockets that come in through the listener")
struct ServedSocketTests {
    /// A provider that serves `path`, and a session for its sockets.
    final class Served {
        let provider: PluginObject
        let session: PluginObject
        let visits: VisitRecorder
        let conversation = ConversationRecorder(Conversation())

        init(_ path: String, plugin: String = #function, protocol name: String = "", echo: Bool = false) {
            provider = Stage.provider(plugin: plugin)
            session = Stage.object(plugin: plugin, name: "telephony.main")
            visits = VisitRecorder(
                Visit(
                    behaviour: echo
                        ? .echo(session.handle) : .record(session.handle, conversation, protocol: name)))
            precondition(Stage.route(provider, path, to: visits) == vc_status(VC_OK))
        }

        /// The socket that the plugin has, once a client is there.
        var socket: vc_handle {
            _ = visits.wait { !$0.sockets.isEmpty }
            return visits.state.sockets.last ?? 0
        }

        func end() {
            Stage.destroy(session)
            Stage.destroy(provider)
        }
    }

    @Test("Our own client, libwebsockets, talks with a served path in both directions, whole and in order")
    func echo() {
        let served = Served("/echo", echo: true)
        let client = Stage.object(plugin: "client of \(#function)")
        let recorder = ConversationRecorder(Conversation())
        let socket = connectSocket(client, "ws://127.0.0.1:\(Stage.port)/echo", into: recorder)
        #expect(recorder.wait { $0.isOpen })
        for number in 0..<300 { #expect(sendText(socket.handle, "message \(number) ü") == status(VC_OK)) }
        #expect(recorder.wait { $0.messages.count == 300 })
        #expect(recorder.state.messages.enumerated().allSatisfy { $1.text == "message \($0) ü" && !$1.isBinary })
        for size in [0, 1, 125, 126, 65_535, 65_536, 1 << 20] {
            let bytes = (0..<size).map { UInt8(truncatingIfNeeded: $0 &* 31) }
            recorder.change { $0.messages = [] }
            #expect(sendBytes(socket.handle, bytes) == status(VC_OK))
            #expect(recorder.wait { $0.messages.count == 1 }, "\(size)")
            #expect(recorder.state.messages.first == .init(bytes: bytes, isBinary: true), "\(size)")
        }
        #expect(closeSocket(socket.handle) == status(VC_OK))
        #expect(recorder.wait { $0.isClosed } && recorder.state.failure == nil)
        Stage.destroy(client)
        served.end()
    }

    @Test("The plugin chooses a subprotocol of the client's, sends before the upgrade is out, and closes with a code")
    func subprotocol() {
        let served = Served("/chosen", protocol: "audio.twilio.com")
        served.visits.change { $0.behaviour = .wait }
        let client = RawClient(Stage.port)
        client.write(RawClient.upgradeRequest("/chosen", "Sec-WebSocket-Protocol: other, audio.twilio.com\r\n"))
        #expect(served.visits.wait { $0.requests.count == 1 })
        let exchange = served.visits.state.requests[0].exchange
        #expect(accept(exchange, served.session.handle, served.conversation, protocol: "no").0 == status(VC_E_ARGUMENT))
        let stranger = Stage.object(plugin: "stranger")
        #expect(accept(exchange, stranger.handle, served.conversation).0 == status(VC_E_ARGUMENT))
        #expect(accept(exchange, 77, served.conversation).0 == status(VC_E_STALE))
        let (accepted, socket) = accept(
            exchange, served.session.handle, served.conversation, protocol: "audio.twilio.com")
        #expect(accepted == status(VC_OK) && sendText(socket, "at once") == status(VC_OK))
        #expect(accept(exchange, served.session.handle, served.conversation).0 == status(VC_E_STALE))
        let answer = client.response()
        #expect(answer?.status == 101)
        #expect(answer?.head.contains("Sec-WebSocket-Protocol: audio.twilio.com\r\n") == true)
        #expect(answer?.head.contains("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n") == true)
        #expect(client.frame()?.payload == Array("at once".utf8))
        #expect(served.conversation.wait { $0.isOpen })
        #expect(closeSocket(socket, 4_001, "over") == status(VC_OK))
        #expect(sendText(socket, "late") == status(VC_E_CLOSED))
        let close = client.frame()
        #expect(close?.opcode == 8 && close?.payload == [0x0f, 0xa1] + Array("over".utf8))
        client.write(RawClient.frame(8, [0x0f, 0xa1]))
        #expect(served.conversation.wait { $0.isClosed })
        #expect(served.conversation.state.code == 4_001 && served.conversation.state.failure == nil)
        #expect(client.isEnded() && sendText(socket, "later") == status(VC_E_STALE))
        Stage.destroy(stranger)
        served.end()
    }

    @Test("Frames that were sent before the upgrade's answer are not lost")
    func early() {
        let served = Served("/early")
        let client = RawClient(Stage.port)
        let first = RawClient.frame(1, Array("one".utf8)) + RawClient.frame(2, [1, 2, 3])
        #expect(client.upgrade("/early", then: first + RawClient.frame(1, Array("half".utf8)).prefix(4))?.status == 101)
        #expect(served.conversation.wait { $0.messages.count == 2 })
        client.write(Array(RawClient.frame(1, Array("half".utf8)).dropFirst(4)))
        #expect(served.conversation.wait { $0.messages.count == 3 })
        #expect(served.conversation.state.messages.map(\.text) == ["one", "\u{1}\u{2}\u{3}", "half"])
        served.end()
    }

    @Test("Fragments are joined around a ping, the ping is answered, and a peer's close returned")
    func fragments() {
        let served = Served("/fragments")
        let client = RawClient(Stage.port)
        #expect(client.upgrade("/fragments")?.status == 101)
        client.write(RawClient.frame(1, Array("one ".utf8), isFinal: false))
        client.write(RawClient.frame(9, Array("between".utf8)))
        client.write(RawClient.frame(0, Array("two".utf8)))
        let pong = client.frame()
        #expect(pong?.opcode == 10 && pong?.payload == Array("between".utf8))
        #expect(served.conversation.wait { $0.messages.count == 1 })
        #expect(served.conversation.state.messages.first?.text == "one two")
        client.write(RawClient.frame(8, [0x03, 0xe9] + Array("bye".utf8)))
        #expect(client.closeCode() == 1001 && client.isEnded())
        #expect(served.conversation.wait { $0.isClosed })
        let end = served.conversation.state
        #expect(end.code == 1001 && end.reason == "bye" && end.failure == nil)
        served.end()
    }

    @Test(
        "Frames that break the protocol end the WebSocket with the code that RFC 6455 has for it",
        arguments: [
            (1002, RawClient.frame(1, Array("unmasked".utf8), isMasked: false)),
            (1002, RawClient.frame(1, Array("reserved".utf8), reserved: 4)),
            (1002, RawClient.frame(3, Array("unknown".utf8))),
            (1002, RawClient.frame(0, Array("nothing to go on with".utf8))),
            // wslay refuses these two in its lower half and closes without a code, as it may (7.1.7).
            (0, RawClient.frame(9, [UInt8](repeating: 0, count: 126))),
            (0, RawClient.frame(9, [], isFinal: false)),
            (1002, RawClient.frame(8, [0x03, 0xec])),
            (1007, RawClient.frame(1, [0x66, 0xff, 0x66])),
            (1007, RawClient.frame(1, [0xed, 0xa0, 0x80])),
            (1009, RawClient.frame(2, [UInt8](repeating: 0, count: 1 << 20 + 1))),
        ])
    func violations(_ code: Int, _ frame: [UInt8]) {
        let path = "/violations/\(code)/\(frame.prefix(40).reduce(0) { $0 &* 31 &+ Int($1) } & 0xffff_ffff)"
        let served = Served(path, plugin: path)
        let client = RawClient(Stage.port)
        #expect(client.upgrade(path)?.status == 101)
        client.write(frame)
        #expect(client.closeCode() == code)
        #expect(served.conversation.wait { $0.isClosed })
        let end = served.conversation.state
        #expect(end.messages.isEmpty && end.failure?.code == status(VC_E_VENDOR))
        #expect(end.failure?.message.contains("\(code == 0 ? 1002 : code)") == true)
        #expect(client.isEnded())
        served.end()
    }

    @Test("A message of 1 MiB in fragments arrives, one byte more does not")
    func large() {
        let served = Served("/large")
        let client = RawClient(Stage.port)
        #expect(client.upgrade("/large")?.status == 101)
        let part = [UInt8](repeating: 7, count: 1 << 18)
        for number in 0..<4 { client.write(RawClient.frame(number == 0 ? 2 : 0, part, isFinal: number == 3)) }
        #expect(served.conversation.wait { $0.messages.count == 1 })
        #expect(served.conversation.state.messages.first?.bytes.count == 1 << 20)
        for number in 0..<4 { client.write(RawClient.frame(number == 0 ? 2 : 0, part, isFinal: false)) }
        client.write(RawClient.frame(0, [1]))
        #expect(client.closeCode() == 1009)
        served.end()
    }

    @Test("A client that is gone, or closes its half without a close frame, is told as a broken connection")
    func broken() {
        let served = Served("/broken")
        var client: RawClient? = RawClient(Stage.port)
        #expect(client?.upgrade("/broken")?.status == 101)
        client?.write(RawClient.frame(1, Array("last words".utf8)))
        client?.shutDownWriting()
        #expect(served.conversation.wait { $0.isClosed })
        let end = served.conversation.state
        #expect(end.messages.map(\.text) == ["last words"] && end.failure?.code == status(VC_E_NETWORK))
        client = nil
        served.end()
    }

    @Test("A slow plugin gets every message of a flood, in order, and the client is held back meanwhile")
    func flood() {
        let served = Served("/flood")
        served.conversation.change { $0.lingerMs = 2 }
        let client = RawClient(Stage.port)
        #expect(client.upgrade("/flood")?.status == 101)
        for number in 0..<400 {
            client.write(
                RawClient.frame(
                    2, [UInt8(number >> 8), UInt8(number & 0xff)] + [UInt8](repeating: 0, count: 20_000)))
        }
        client.write(RawClient.frame(8, [0x03, 0xe8]))
        #expect(served.conversation.wait(seconds: 20) { $0.isClosed })
        let numbers = served.conversation.state.messages.map { Int($0.bytes[0]) << 8 | Int($0.bytes[1]) }
        #expect(numbers == Array(0..<400))
        served.end()
    }

    @Test("When 256 KiB wait to be sent, send says so, and writable follows when the client reads on")
    func backPressure() {
        let served = Served("/deaf")
        let client = RawClient(Stage.port)
        #expect(client.upgrade("/deaf")?.status == 101)
        let socket = served.socket
        var sent = 0
        // The kernel's buffers of both sides take some megabytes first.
        while sent < 4_000, sendBytes(socket, [UInt8](repeating: 1, count: 16 << 10)) == status(VC_OK) { sent += 1 }
        #expect(sent < 4_000 && served.conversation.state.writable == 0)
        for _ in 0..<sent { #expect(client.frame()?.payload.count == 16 << 10) }
        #expect(served.conversation.wait { $0.writable == 1 })
        #expect(sendText(socket, "on") == status(VC_OK) && client.frame()?.payload == Array("on".utf8))
        served.end()
    }

    @Test("A client that does not read and is closed is given up within two seconds")
    func closeOfTheDeaf() {
        let served = Served("/closed")
        let client = RawClient(Stage.port)
        #expect(client.upgrade("/closed")?.status == 101)
        let socket = served.socket
        while sendBytes(socket, [UInt8](repeating: 1, count: 64 << 10)) == status(VC_OK) {}
        let begun = Monotonic.nowNs()
        #expect(closeSocket(socket) == status(VC_OK))
        #expect(served.conversation.wait { $0.isClosed })
        #expect(Monotonic.nowNs() - begun >= 1_900_000_000)
        #expect(served.conversation.state.failure?.code == status(VC_E_TIMEOUT))
        served.end()
    }

    @Test("The end of the owner closes with 1001, and nothing more is called")
    func ownerEnds() {
        let served = Served("/going")
        let client = RawClient(Stage.port)
        #expect(client.upgrade("/going")?.status == 101)
        let socket = served.socket
        #expect(served.conversation.wait { $0.isOpen })
        Stage.destroy(served.session)
        #expect(client.closeCode() == 1001)
        client.write(RawClient.frame(1, Array("hello?".utf8)) + RawClient.frame(8, [0x03, 0xe9]))
        #expect(client.isEnded() && sendText(socket, "x") == status(VC_E_STALE))
        #expect(!served.conversation.state.isClosed && served.conversation.state.messages.isEmpty)
        Stage.destroy(served.provider)
    }

    @Test("A client that hung up before its upgrade was answered is told to the plugin as closed")
    func hungUp() {
        let served = Served("/hung")
        served.visits.change { $0.behaviour = .wait }
        var client: RawClient? = RawClient(Stage.port)
        client?.write(RawClient.upgradeRequest("/hung"))
        #expect(served.visits.wait { $0.requests.count == 1 })
        client = nil
        sleep(milliseconds: 50)
        let (accepted, _) = accept(
            served.visits.state.requests[0].exchange, served.session.handle, served.conversation)
        #expect(accepted == status(VC_OK))
        #expect(served.conversation.wait { $0.isClosed })
        #expect(served.conversation.state.failure?.code == status(VC_E_NETWORK))
        served.end()
    }

    @Test("A client that answers pings stays, and one that does not is given up")
    func pings() throws {
        let under = try ServerUnderTest { $0.pingMs = 300 }
        let owner = Stage.provider()
        let visits = VisitRecorder(Visit(behaviour: .wait))
        #expect(under.server.route("/pings", for: owner, visit, visits.context) == status(VC_OK))
        func open(_ number: Int) -> (RawClient, ConversationRecorder) {
            let client = RawClient(under.port)
            let recorder = ConversationRecorder(Conversation())
            client.write(RawClient.upgradeRequest("/pings"))
            #expect(visits.wait { $0.requests.count == number })
            let exchange = under.server.exchange(visits.state.requests[number - 1].exchange)!
            let accepted = under.server.upgrade(
                exchange, for: owner, protocol: "", events: recordingEvents, context: recorder.context, tell: { _ in })
            #expect(accepted == status(VC_OK) && client.response()?.status == 101)
            return (client, recorder)
        }
        let (alive, aliveRecorder) = open(1)
        let (mute, muteRecorder) = open(2)
        for _ in 0..<4 {
            #expect(alive.frame()?.opcode == 9)
            alive.write(RawClient.frame(10))
        }
        #expect(muteRecorder.wait { $0.isClosed } && !aliveRecorder.state.isClosed)
        #expect(muteRecorder.state.failure?.code == status(VC_E_NETWORK))
        #expect(mute.isEnded())
        under.stop()
        // The host's end is an end as well.
        #expect(alive.closeCode() == 1001)
        Stage.destroy(owner)
    }

    @Test("With a certificate the listener speaks TLS, for requests and for WebSockets")
    func secure() throws {
        let under = try ServerUnderTest {
            $0.certificatePath = Stage.certificate.path
            $0.keyPath = Stage.certificate.keyPath
            $0.receiveMs = 3_000
        }
        let owner = Stage.provider()
        let visits = VisitRecorder(Visit(behaviour: .wait))
        #expect(under.server.route("/tls", for: owner, visit, visits.context) == status(VC_OK))
        let client = Stage.object(plugin: "client of \(#function)")
        let (outside, inside) = (ConversationRecorder(Conversation()), ConversationRecorder(Conversation()))
        let socket = connectSocket(client, "wss://localhost:\(under.port)/tls", into: outside)
        #expect(visits.wait { $0.requests.count == 1 })
        var served: vc_handle = 0
        let waiting = try #require(under.server.exchange(visits.state.requests[0].exchange))
        let accepted = under.server.upgrade(
            waiting, for: owner, protocol: "", events: recordingEvents, context: inside.context) { served = $0 }
        #expect(accepted == status(VC_OK) && outside.wait { $0.isOpen })
        // Many records of TLS, of which nobody but the sender knows that they are to come.
        let large = (0..<900_000).map { UInt8(truncatingIfNeeded: $0 &* 7) }
        #expect(sendText(socket.handle, "in") == status(VC_OK) && sendBytes(socket.handle, large) == status(VC_OK))
        #expect(inside.wait { $0.messages.count == 2 } && inside.state.messages[1].bytes == large)
        #expect(under.sockets.send(served, .init(bytes: Array("out".utf8), isBinary: false)) == status(VC_OK))
        #expect(under.sockets.send(served, .init(bytes: large, isBinary: true)) == status(VC_OK))
        #expect(outside.wait { $0.messages.count == 2 } && outside.state.messages.last?.bytes == large)
        #expect(closeSocket(socket.handle) == status(VC_OK))
        #expect(outside.wait { $0.isClosed })
        #expect(outside.state.failure == nil, "\(String(describing: outside.state.failure))")
        #expect(inside.wait { $0.isClosed } && inside.state.failure == nil)
        let answer = exchange(client, "https://localhost:\(under.port)/nowhere")
        #expect(answer.status == 404)
        // Without TLS nobody is understood.
        #expect(RawClient(under.port).get("/tls") == nil)
        under.stop()
        Stage.destroy(client)
        Stage.destroy(owner)
        #expect {
            _ = try ServerUnderTest { $0.certificatePath = Stage.certificate.path }
        } throws: { "\($0)".contains("belong together") }
    }

    @Test("Two hundred calls' worth of media comes back complete and in order")
    func load() throws {
        let provider = Stage.provider()
        let sessions = (0..<200).map { Stage.object(plugin: "\(#function)", name: "telephony.main", call: "call-\($0)") }
        let visits = VisitRecorder(Visit(behaviour: .echoEach(sessions.map(\.handle))))
        #expect(Stage.route(provider, "/media", to: visits) == status(VC_OK))
        let output = output(of: "ws_clients.py", "ws://127.0.0.1:\(Stage.port)/media", "200", "50", "3")
        if getenv("VCHOST_MEASURE") != nil { print("MEASURED served WebSockets, 200 of 50/s: \(output)") }
        let result = try JSONValue(parsing: output)
        #expect(result["errors"] == [] && result["received"] == 30_000 && result["closed"] == 200, "\(output)")
        for session in sessions { Stage.destroy(session) }
        Stage.destroy(provider)
    }
}
