import Glibc
import JSON
import PluginABI
import Providers
import Testing

@testable import HostServices

@Suite("WebSockets, against a real server")
struct WebSocketServiceTests {
    static let peer = Peer("ws_peer.py")
    let origin = "ws://127.0.0.1:\(peer.port)"

    @Test(
        "Messages go out and come back whole, in order and of their kind, also those sent before the connection was up")
    func echo() {
        let owner = Stage.object()
        let recorder = ConversationRecorder(Conversation())
        let socket = connectSocket(owner, "\(origin)/echo", into: recorder)
        #expect(socket.status == status(VC_OK))
        #expect(sendText(socket.handle, "before") == status(VC_OK))
        #expect(recorder.wait { $0.isOpen })
        for number in 0..<200 { #expect(sendText(socket.handle, "message \(number) ü") == status(VC_OK)) }
        #expect(sendBytes(socket.handle, [0, 1, 2, 255]) == status(VC_OK))
        #expect(sendText(socket.handle, "") == status(VC_OK))
        #expect(recorder.wait { $0.messages.count == 203 })
        let messages = recorder.state.messages
        #expect(messages[0].text == "before" && messages[200].text == "message 199 ü" && !messages[200].isBinary)
        #expect(messages[201] == .init(bytes: [0, 1, 2, 255], isBinary: true) && messages[202].bytes.isEmpty)
        #expect(closeSocket(socket.handle, 1000, "done") == status(VC_OK))
        #expect(sendText(socket.handle, "late") == status(VC_E_CLOSED))
        #expect(recorder.wait { $0.isClosed })
        #expect(recorder.state.failure == nil)
        #expect(sendText(socket.handle, "later") == status(VC_E_STALE))
        Stage.destroy(owner)
    }

    @Test("The upgrade has the path, the headers with secrets, and the subprotocols")
    func headers() {
        let owner = Stage.object()
        let recorder = ConversationRecorder(Conversation())
        _ = connectSocket(
            owner, "\(origin)/headers?model=a&x=1", into: recorder, protocols: "token, v1",
            headers: [("Authorization", "Token ${secret:API_KEY}"), ("X-Long", String(repeating: "k", count: 8_000))])
        #expect(recorder.wait { $0.messages.count == 1 })
        let seen = (try? JSONValue(parsing: recorder.state.messages.first?.text ?? "")) ?? .null
        #expect(seen["target"] == "/headers?model=a&x=1" && seen["authorization"] == "Token correct horse battery")
        #expect(seen["host"] == .string("127.0.0.1:\(Self.peer.port)") && seen["sec-websocket-protocol"] == "token,v1")
        #expect(seen["x-long"]?.string?.count == 8_000)
        Stage.destroy(owner)
    }

    @Test("Fragments are joined, with a ping between them")
    func fragments() {
        let owner = Stage.object()
        let recorder = ConversationRecorder(Conversation())
        _ = connectSocket(owner, "\(origin)/fragments", into: recorder)
        #expect(recorder.wait { $0.messages.count == 1 })
        #expect(recorder.state.messages.first == .init(bytes: Array("one two three".utf8), isBinary: false))
        Stage.destroy(owner)
    }

    @Test("A message of 1 MiB arrives, and a larger one ends the connection")
    func large() {
        let owner = Stage.object()
        let fits = ConversationRecorder(Conversation())
        let tooLarge = ConversationRecorder(Conversation())
        _ = connectSocket(owner, "\(origin)/large?n=\(1 << 20)", into: fits)
        _ = connectSocket(owner, "\(origin)/large?n=\(1 << 20 + 1)", into: tooLarge)
        #expect(fits.wait { $0.messages.count == 1 } && fits.state.messages[0].bytes.count == 1 << 20)
        #expect(tooLarge.wait { $0.isClosed })
        #expect(tooLarge.state.messages.isEmpty && tooLarge.state.failure?.code == status(VC_E_VENDOR))
        Stage.destroy(owner)
    }

    @Test("A slow plugin gets every message of a flood, in order")
    func flood() {
        let owner = Stage.object()
        var slow = Conversation()
        slow.lingerMs = 2
        let recorder = ConversationRecorder(slow)
        _ = connectSocket(owner, "\(origin)/flood?n=300&size=20000", into: recorder, pingMs: 100)
        #expect(recorder.wait { $0.messages.count == 300 || $0.isClosed })
        let numbers = recorder.state.messages.map { Int($0.bytes[2]) << 8 | Int($0.bytes[3]) }
        #expect(numbers == Array(0..<300) && recorder.state.failure == nil)
        Stage.destroy(owner)
    }

    @Test("When 256 KiB wait to be sent, send says so, and writable follows when the peer reads on")
    func writable() {
        let owner = Stage.object()
        let recorder = ConversationRecorder(Conversation())
        let socket = connectSocket(owner, "\(origin)/echo", into: recorder)
        // Not up yet, so everything waits.
        let chunk = [UInt8](repeating: 7, count: 64 << 10)
        for _ in 0..<4 { #expect(sendBytes(socket.handle, chunk) == status(VC_OK)) }
        var answer = sendBytes(socket.handle, chunk)
        if recorder.state.isOpen { answer = status(VC_E_AGAIN) }  // it was faster than we are
        #expect(answer == status(VC_E_AGAIN))
        #expect(recorder.wait { $0.messages.count >= 4 })
        #expect(recorder.wait { $0.writable == 1 })
        #expect(sendBytes(socket.handle, chunk) == status(VC_OK))
        Stage.destroy(owner)
    }

    @Test("A peer that does not read holds the sender at 256 KiB, and is given up by ping")
    func deaf() {
        let owner = Stage.object()
        let recorder = ConversationRecorder(Conversation())
        let socket = connectSocket(owner, "\(origin)/deaf", into: recorder, pingMs: 600)
        #expect(recorder.wait { $0.isOpen })
        let chunk = [UInt8](repeating: 7, count: 64 << 10)
        // The kernel's buffers take some megabytes; then nothing moves any more.
        var refusals = 0
        for _ in 0..<2_000 where refusals < 3 {
            if sendBytes(socket.handle, chunk) == status(VC_E_AGAIN) {
                refusals += 1
                sleep(milliseconds: 50)
            } else {
                refusals = 0
                usleep(200)
            }
        }
        #expect(refusals == 3)
        #expect(recorder.wait { $0.isClosed })
        #expect(recorder.state.failure?.code == status(VC_E_NETWORK))
        Stage.destroy(owner)
    }

    @Test("A peer that answers no ping is given up, and one that answers is not")
    func ping() {
        let owner = Stage.object()
        let mute = ConversationRecorder(Conversation())
        let alive = ConversationRecorder(Conversation())
        _ = connectSocket(owner, "\(origin)/mute", into: mute, pingMs: 150)
        let socket = connectSocket(owner, "\(origin)/echo", into: alive, pingMs: 150)
        #expect(mute.wait { $0.isClosed })
        #expect(
            mute.state.failure?.code == status(VC_E_NETWORK) && mute.state.failure?.message.contains("pings") == true)
        sleep(milliseconds: 500)
        #expect(sendText(socket.handle, "still here") == status(VC_OK) && alive.wait { $0.messages.count == 1 })
        Stage.destroy(owner)
    }

    @Test("The peer's close code and reason reach the plugin, without an error", arguments: [1000, 1011, 4001])
    func peerCloses(_ code: UInt32) {
        let owner = Stage.object(plugin: "peerCloses-\(code)")
        let recorder = ConversationRecorder(Conversation())
        _ = connectSocket(owner, "\(origin)/bye?code=\(code)", into: recorder)
        #expect(recorder.wait { $0.isClosed })
        let state = recorder.state
        #expect(state.code == code && state.reason == "as asked" && state.failure == nil)
        Stage.destroy(owner)
    }

    @Test("A connection that is cut is an error of the network")
    func drop() {
        let owner = Stage.object()
        let recorder = ConversationRecorder(Conversation())
        _ = connectSocket(owner, "\(origin)/drop", into: recorder)
        #expect(recorder.wait { $0.isClosed })
        #expect(recorder.state.failure?.code == status(VC_E_NETWORK) && recorder.state.failure?.isRetryable == true)
        Stage.destroy(owner)
    }

    @Test("A close that the peer does not answer is over after 2 s")
    func closeTimeout() {
        let owner = Stage.object()
        let recorder = ConversationRecorder(Conversation())
        let socket = connectSocket(owner, "\(origin)/mute", into: recorder)
        #expect(recorder.wait { $0.isOpen })
        let begun = Monotonic.nowNs()
        #expect(closeSocket(socket.handle) == status(VC_OK))
        #expect(recorder.wait { $0.isClosed })
        #expect(recorder.state.failure?.code == status(VC_E_TIMEOUT))
        #expect(Monotonic.nowNs() - begun < 8_000_000_000)
        Stage.destroy(owner)
    }

    @Test(
        "A refused upgrade is told by its status",
        arguments: [401: VC_E_AUTH, 429: VC_E_QUOTA, 404: VC_E_VENDOR, 500: VC_E_VENDOR])
    func refused(_ http: Int, _ code: Int) {
        let owner = Stage.object(plugin: "refused-\(http)")
        let recorder = ConversationRecorder(Conversation())
        _ = connectSocket(owner, "\(origin)/status/\(http)", into: recorder)
        #expect(recorder.wait { $0.isClosed })
        #expect(recorder.state.failure?.code == status(code))
        #expect(recorder.state.failure?.protocolStatus == UInt32(http) && !recorder.state.isOpen)
        Stage.destroy(owner)
    }

    @Test("An upgrade that takes too long is a timeout, and one with a wrong accept an error")
    func upgrade() {
        let owner = Stage.object()
        let slow = ConversationRecorder(Conversation())
        let wrong = ConversationRecorder(Conversation())
        _ = connectSocket(owner, "\(origin)/slow-upgrade", into: slow, connectMs: 200)
        _ = connectSocket(owner, "\(origin)/bad-accept", into: wrong)
        #expect(slow.wait { $0.isClosed } && slow.state.failure?.code == status(VC_E_TIMEOUT))
        #expect(wrong.wait { $0.isClosed } && wrong.state.failure != nil && !wrong.state.isOpen)
        Stage.destroy(owner)
    }

    @Test("Nothing listens there: an error that says what to do and names the origin alone")
    func nobody() {
        let owner = Stage.object()
        let recorder = ConversationRecorder(Conversation())
        let origin = "ws://127.0.0.1:\(closedPort())"
        _ = connectSocket(owner, "\(origin)/v1?key=hidden", into: recorder)
        #expect(recorder.wait { $0.isClosed })
        #expect(recorder.state.failure?.code == status(VC_E_NETWORK))
        #expect(recorder.state.failure?.message.contains(origin) == true)
        #expect(recorder.state.failure?.message.contains("hidden") == false)
        Stage.destroy(owner)
    }

    @Test("wss works where the certificate is trusted, by host name, and an untrusted one is refused")
    func secure() {
        let owner = Stage.object()
        let peer = Peer("ws_peer.py", "--tls", Stage.certificate.path, Stage.certificate.keyPath)
        let recorder = ConversationRecorder(Conversation())
        let socket = connectSocket(owner, "wss://localhost:\(peer.port)/echo", into: recorder)
        #expect(sendText(socket.handle, "secret") == status(VC_OK))
        #expect(recorder.wait { $0.messages.count == 1 || $0.isClosed })
        #expect(recorder.state.messages.first?.text == "secret" && recorder.state.failure == nil)
        let wrongName = ConversationRecorder(Conversation())
        _ = connectSocket(owner, "wss://127.0.0.1:\(peer.port)/echo", into: wrongName)
        #expect(wrongName.wait { $0.isClosed || $0.isOpen } && !wrongName.state.isOpen)
        #expect(wrongName.state.failure?.code == status(VC_E_NETWORK))
        Stage.destroy(owner)
    }

    @Test("The ninth connection of an owner is refused, and a closed one makes room")
    func limit() {
        let owner = Stage.object()
        let recorder = ConversationRecorder(Conversation())
        let last = ConversationRecorder(Conversation())
        for _ in 0..<7 { #expect(connectSocket(owner, "\(origin)/echo", into: recorder).status == status(VC_OK)) }
        let socket = connectSocket(owner, "\(origin)/echo", into: last)
        #expect(connectSocket(owner, "\(origin)/echo", into: recorder).status == status(VC_E_AGAIN))
        #expect(closeSocket(socket.handle) == status(VC_OK))
        #expect(last.wait { $0.isClosed })
        #expect(connectSocket(owner, "\(origin)/echo", into: recorder).status == status(VC_OK))
        Stage.destroy(owner)
    }

    @Test("Nothing is called on an object that was destroyed with sockets open")
    func destroyRace() {
        for round in 0..<40 {
            let owner = Stage.object(plugin: "ws-destroyRace")
            let recorder = ConversationRecorder(Conversation())
            for _ in 0..<4 { _ = connectSocket(owner, "\(origin)/flood?n=200&size=500", into: recorder) }
            usleep(UInt32(round * 400))
            var callsThen = 0
            Stage.destroy(owner) { callsThen = recorder.state.calls }
            usleep(2_000)
            #expect(recorder.state.calls == callsThen)
        }
    }

    @Test("Bad URLs, protocols and close codes are refused")
    func arguments() {
        let owner = Stage.object()
        let recorder = ConversationRecorder(Conversation())
        for url in ["http://127.0.0.1/", "", "ws://", "/x", "ws://a b/"] {
            #expect(connectSocket(owner, url, into: recorder).status == status(VC_E_ARGUMENT))
        }
        #expect(
            connectSocket(owner, "\(origin)/echo", into: recorder, protocols: "a b").status == status(VC_E_ARGUMENT))
        let socket = connectSocket(owner, "\(origin)/echo", into: recorder)
        for code in [0, 999, 1005, 1006, 1015, 5000] as [UInt32] {
            #expect(closeSocket(socket.handle, code) == status(VC_E_ARGUMENT))
        }
        Stage.destroy(owner)
    }
}
