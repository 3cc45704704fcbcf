import Control
import Glibc
import JSON
import Synchronization
import Testing

@Suite("The control socket answers one request after the other")
struct ControlSocketTests {
    private static func path() -> String { "/tmp/vchost-control-\(getpid())-\(UInt32.random(in: 0 ... .max)).sock" }

    /// Answers with the request.
    private func serve() throws -> (ControlSocket, String) {
        let path = Self.path()
        let socket = try ControlSocket(path: path) { request, answer in
            answer(["ok": true, "echo": request])
        }
        try socket.appear()
        return (socket, path)
    }

    private static func connect(to path: String) -> Int32 {
        let descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
        let connected = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                Glibc.connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        precondition(connected == 0, "connect: \(errno)")
        return descriptor
    }

    private static func line(_ descriptor: Int32) -> String {
        var line: [UInt8] = []
        var byte: UInt8 = 0
        while recv(descriptor, &byte, 1, 0) == 1, byte != 0x0a { line.append(byte) }
        return String(decoding: line, as: UTF8.self)
    }

    @Test("A question gets its answer, and the socket is the owner's alone")
    func answer() throws {
        let (socket, path) = try serve()
        defer { socket.stop() }
        let answer = try ControlClient.ask(path, ["command": "plugins"], timeoutMs: 5_000)
        #expect(answer["ok"] == true && answer["echo"]?["command"] == "plugins")
        var status = stat()
        #expect(stat(path, &status) == 0 && status.st_mode & 0o777 == 0o600)
    }

    @Test("Several requests of one client are answered in their order, and nonsense with what is expected")
    func order() throws {
        let (socket, path) = try serve()
        defer { socket.stop() }
        let client = Self.connect(to: path)
        defer { close(client) }
        let requests = "{\"n\":1}\n[]\n{\"n\":2}\n"
        #expect(send(client, requests, requests.utf8.count, 0) == requests.utf8.count)
        #expect(Self.line(client).contains("\"n\":1"))
        #expect(Self.line(client).contains("a request is a JSON object on one line"))
        #expect(Self.line(client).contains("\"n\":2"))
    }

    @Test("A request without an end is refused with its bound")
    func tooLong() throws {
        let (socket, path) = try serve()
        defer { socket.stop() }
        let client = Self.connect(to: path)
        defer { close(client) }
        let text = String(repeating: "x", count: 20_000)
        _ = send(client, text, text.utf8.count, Int32(MSG_NOSIGNAL))
        #expect(Self.line(client).contains("at most 16384 bytes"))
        #expect(Self.line(client).isEmpty)
    }

    @Test("A client that hangs up while its answer is being made harms nobody")
    func goneMeanwhile() throws {
        let held = Mutex<(@Sendable (JSONValue) -> Void)?>(nil)
        let path = Self.path()
        let socket = try ControlSocket(path: path) { request, answer in
            if request["wait"] == true { held.withLock { $0 = answer } } else { answer(["ok": true]) }
        }
        try socket.appear()
        defer { socket.stop() }
        let client = Self.connect(to: path)
        let request = "{\"wait\":true}\n"
        _ = send(client, request, request.utf8.count, 0)
        for _ in 0..<500 where held.withLock({ $0 == nil }) { usleep(10_000) }
        close(client)
        // Others are answered meanwhile.
        #expect(try ControlClient.ask(path, ["command": "x"], timeoutMs: 5_000)["ok"] == true)
        held.withLock { $0 }?(["ok": true])
        #expect(try ControlClient.ask(path, ["command": "x"], timeoutMs: 5_000)["ok"] == true)
    }

    @Test("Without a host the client says what is missing")
    func nobody() {
        #expect(throws: SettingsError.self) {
            try ControlClient.ask("/tmp/there-is-no-such-socket", ["command": "x"], timeoutMs: 100)
        }
    }
}
