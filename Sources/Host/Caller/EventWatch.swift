// The caller's view into the host: the lines of its event socket that are about this call.

import Glibc
import JSON

struct EventWatch: ~Copyable {
    /// A host that lives lets a watcher in within milliseconds.
    private static let welcomeTimeoutMs: Int32 = 5_000

    private let descriptor: Int32
    private var buffer: [UInt8] = []
    private let from: String
    /// The host's id of our call, from its first event on.
    private(set) var call: String?

    /// - Parameter from: our address, unique to this call, by which the host's first event of it is known.
    init?(socket path: String, from: String) {
        self.from = from
        descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        guard path.utf8.count < MemoryLayout.size(ofValue: address.sun_path) else { return nil }
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
        let connected = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        guard connected == 0 else {
            close(descriptor)
            return nil
        }
        // The call must not begin before the host watches for us: its first event would be missed.
        var byte: UInt8 = 0
        while byte != 0x0a {
            var incoming = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
            guard poll(&incoming, 1, Self.welcomeTimeoutMs) > 0, recv(descriptor, &byte, 1, 0) == 1 else {
                close(descriptor)
                return nil
            }
        }
        _ = fcntl(descriptor, F_SETFL, O_NONBLOCK)
    }

    deinit { close(descriptor) }

    /// What came since the last time, about this call only.
    mutating func take() -> [JSONValue] {
        var chunk = [UInt8](repeating: 0, count: 16 << 10)
        while true {
            let count = recv(descriptor, &chunk, chunk.count, 0)
            guard count > 0 else { break }
            buffer += chunk[..<count]
        }
        var events: [JSONValue] = []
        while let end = buffer.firstIndex(of: 0x0a) {
            let line = String(decoding: buffer[..<end], as: UTF8.self)
            buffer.removeFirst(end + 1)
            guard let event = try? JSONValue(parsing: line) else { continue }
            if call == nil, event["event"]?.string == "incoming", event["from"]?.string?.contains(from) == true {
                call = event["call"]?.string
            }
            if let call, event["call"]?.string == call { events.append(event) }
        }
        return events
    }
}
