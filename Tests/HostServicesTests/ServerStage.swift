// A plugin that serves paths, and a client that writes bytes: what the tests of "vc.server/1" share.

import CPlatform
import Glibc
import PluginABI
import Providers

@testable import HostServices

/// A set of services of its own, for tests with their own bounds.
final class ServerUnderTest: Sendable {
    let server: ServerService
    let sockets: WebSocketService
    let port: Int
    private let lanes = DeliveryLanes { _, _ in }
    private let logger: Logger

    init(_ change: (inout ServerSettings) -> Void = { _ in }) throws {
        var settings = ServerSettings()
        settings.listen = ListenAddress(host: "127.0.0.1", port: 0)
        change(&settings)
        logger = Stage.services.logger
        sockets = WebSocketService(
            authoritiesPath: nil, servedMax: settings.connectionsMax, lanes: lanes, logger: logger,
            metrics: processMetrics)
        server = ServerService(settings, lanes: lanes, sockets: sockets, logger: logger, metrics: processMetrics)
        port = Int(try server.reserve() ?? 0)
        try server.open()
    }

    func stop() {
        server.stop()
        lanes.stop()
    }
}

/// What a path of the test's plugin saw, and how it answers.
struct Visit: Sendable {
    struct Request: Sendable {
        var exchange: vc_handle
        var method: String
        var path: String
        var query: String
        var peer: String
        var headers: [(name: String, value: String)]
        var body: [UInt8]

        func header(_ name: String) -> String? { headers.first { $0.name == name }?.value }
    }

    enum Behaviour: Sendable {
        case answer(UInt32, String)
        /// Leaves it to the test.
        case wait
        /// Accepts a WebSocket that says everything back, for the owner with this handle.
        case echo(vc_handle)
        /// The same, each for another owner, in turn.
        case echoEach([vc_handle])
        /// Accepts a WebSocket that writes down what happens.
        case record(vc_handle, ConversationRecorder, protocol: String)
    }

    var behaviour: Behaviour
    var requests: [Request] = []
    /// Of the last `respond` or `upgrade`.
    var status: vc_status = 1
    var sockets: [vc_handle] = []
}

typealias VisitRecorder = Recorder<Visit>

extension Stage {
    static var server: vc_server { table(VC_SERVICE_SERVER, vc_server.self) }

    static func provider(plugin: String = #function, name: String = "telephony.main") -> PluginObject {
        _ = services
        let object = PluginObject(level: .provider, plugin: plugin, name: name, secrets: ["API_KEY"]) { _ in
            vc_status(VC_OK)
        }
        precondition(HandleTable.shared.insert(object) != 0)
        return object
    }

    static func route(_ owner: PluginObject, _ path: String, to recorder: VisitRecorder) -> vc_status {
        server.route(owner.handle, path, visit, recorder.context)
    }
}

extension Visit.Request {
    init(_ request: UnsafePointer<vc_server_request>) {
        let fields = UnsafeBufferPointer(start: request.pointee.headers, count: Int(request.pointee.header_count))
        self.init(
            exchange: request.pointee.exchange, method: request.pointee.method.text(),
            path: request.pointee.path.text(), query: request.pointee.query.text(), peer: request.pointee.peer.text(),
            headers: fields.map { ($0.name.text(), $0.value.text()) }, body: request.pointee.body.bytes)
    }
}

func visit(_ context: UnsafeMutableRawPointer?, _ request: UnsafePointer<vc_server_request>) {
    let recorder = VisitRecorder.of(context)
    let copy = Visit.Request(request)
    let behaviour = recorder.state.behaviour
    var status: vc_status = 1
    var socket: vc_handle = 0
    switch behaviour {
    case .answer(let code, let text): status = respond(copy.exchange, code, text)
    case .wait: break
    case .echo(let owner): (status, socket) = acceptEcho(copy.exchange, owner)
    case .echoEach(let owners):
        (status, socket) = acceptEcho(copy.exchange, owners[recorder.state.requests.count % owners.count])
    case .record(let owner, let conversation, let name):
        (status, socket) = accept(copy.exchange, owner, conversation, protocol: name)
    }
    recorder.change {
        $0.requests.append(copy)
        $0.status = status
        if socket != 0 { $0.sockets.append(socket) }
    }
}

func respond(
    _ exchange: vc_handle, _ status: UInt32, _ text: String, headers: [(name: String, value: String)] = []
) -> vc_status {
    lend(headers) { fields, count in lend(text) { Stage.server.respond(exchange, status, fields, count, $0) } }
}

func accept(
    _ exchange: vc_handle, _ owner: vc_handle, _ recorder: ConversationRecorder, protocol name: String = ""
) -> (vc_status, vc_handle) {
    var events = recordingEvents
    var socket: vc_handle = 0
    let status = Stage.server.upgrade(exchange, owner, name, &events, recorder.context, &socket)
    return (status, socket)
}

private func acceptEcho(_ exchange: vc_handle, _ owner: vc_handle) -> (vc_status, vc_handle) {
    var events = vc_ws_events()
    events.size = UInt32(MemoryLayout<vc_ws_events>.size)
    events.message = sayBack
    var socket: vc_handle = 0
    return (Stage.server.upgrade(exchange, owner, "", &events, nil, &socket), socket)
}

private func sayBack(
    _ context: UnsafeMutableRawPointer?, _ socket: vc_handle, _ bytes: vc_str, _ isBinary: UInt32
) {
    _ = Stage.webSocket.send(socket, bytes, isBinary)
}

/// A client of TCP that writes what it is told, right or wrong.
final class RawClient {
    private let descriptor: Int32
    private var buffered: [UInt8] = []

    init(_ port: Int) {
        descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var timeout = timeval(tv_sec: 20, tv_usec: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &timeout, socklen_t(MemoryLayout<timeval>.size))
        let address = ListenAddress(host: "127.0.0.1", port: UInt16(port))
        _ = address.withSocketAddress { connect(descriptor, $0, $1) }
    }

    deinit { close(descriptor) }

    func write(_ text: String) { write(Array(text.utf8)) }

    func write(_ bytes: [UInt8]) {
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
            guard count > 0 else { return }
            rest = rest.dropFirst(count)
        }
    }

    func shutDownWriting() { shutdown(descriptor, Int32(SHUT_WR)) }

    /// Nil at the end of the connection.
    func read(_ count: Int) -> [UInt8]? {
        while buffered.count < count { guard fill() else { return nil } }
        defer { buffered.removeFirst(count) }
        return Array(buffered.prefix(count))
    }

    /// True when the server ended the connection, whatever it sent before.
    func isEnded() -> Bool {
        while fill() {}
        return errno != EAGAIN
    }

    private func fill() -> Bool {
        var chunk = [UInt8](repeating: 0, count: 64 << 10)
        errno = 0
        let count = recv(descriptor, &chunk, chunk.count, 0)
        guard count > 0 else { return false }
        buffered.append(contentsOf: chunk.prefix(count))
        return true
    }

    /// Status, header lines and body of the next answer; nil when the connection ends first.
    func response() -> (status: Int, head: String, body: String)? {
        var head: [UInt8] = []
        while !head.suffix(4).elementsEqual([13, 10, 13, 10]) {
            guard let next = read(1) else { return nil }
            head += next
        }
        let text = String(decoding: head, as: UTF8.self)
        let length = text.split(separator: "\r\n").first { $0.lowercased().hasPrefix("content-length:") }.flatMap {
            Int($0.split(separator: " ").last ?? "")
        }
        let body = read(length ?? 0) ?? []
        return (Int(text.split(separator: " ")[1]) ?? 0, text, String(decoding: body, as: UTF8.self))
    }

    func get(_ target: String, _ headers: String = "") -> (status: Int, head: String, body: String)? {
        write("GET \(target) HTTP/1.1\r\nHost: test\r\n\(headers)\r\n")
        return response()
    }

    // MARK: WebSocket, RFC 6455

    func upgrade(_ path: String, _ headers: String = "", then bytes: [UInt8] = []) -> (status: Int, head: String)? {
        write(Array(Self.upgradeRequest(path, headers).utf8) + bytes)
        return response().map { ($0.status, $0.head) }
    }

    static func upgradeRequest(_ path: String, _ headers: String = "") -> String {
        "GET \(path) HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n"
            + "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\(headers)\r\n"
    }

    static func frame(
        _ opcode: UInt8, _ payload: [UInt8] = [], isFinal: Bool = true, reserved: UInt8 = 0, isMasked: Bool = true
    ) -> [UInt8] {
        var bytes: [UInt8] = [(isFinal ? 0x80 : 0) | reserved << 4 | opcode]
        let masked: UInt8 = isMasked ? 0x80 : 0
        switch payload.count {
        case ..<126: bytes.append(masked | UInt8(payload.count))
        case ..<65_536: bytes += [masked | 126, UInt8(payload.count >> 8), UInt8(payload.count & 0xff)]
        default: bytes += [masked | 127] + (0..<8).map { UInt8(truncatingIfNeeded: payload.count >> (56 - 8 * $0)) }
        }
        guard isMasked else { return bytes + payload }
        let mask: [UInt8] = [0x11, 0x22, 0x33, 0x44]
        return bytes + mask + payload.enumerated().map { $1 ^ mask[$0 & 3] }
    }

    func frame() -> (opcode: UInt8, payload: [UInt8])? {
        guard let head = read(2) else { return nil }
        precondition(head[1] & 0x80 == 0, "a server's frames are not masked")
        var length = Int(head[1])
        if length == 126 {
            guard let more = read(2) else { return nil }
            length = Int(more[0]) << 8 | Int(more[1])
        } else if length == 127 {
            guard let more = read(8) else { return nil }
            length = more.reduce(0) { $0 << 8 | Int($1) }
        }
        guard let payload = read(length) else { return nil }
        return (head[0] & 0x0f, payload)
    }

    /// The code of the next close frame, skipping others.
    func closeCode() -> Int? {
        while let next = frame() {
            if next.opcode == 8 { return next.payload.count < 2 ? 0 : Int(next.payload[0]) << 8 | Int(next.payload[1]) }
        }
        return nil
    }
}
