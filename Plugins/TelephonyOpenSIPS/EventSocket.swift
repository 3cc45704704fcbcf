// The one socket: events come to it, and commands leave from it, so that their answers come back to it too. OpenSIPS
// answers whoever asks, and one port is one hole in a firewall. It is not connected: each worker of OpenSIPS sends its
// events from a port of its own.

import Glibc
import PluginKit

/// Where we listen and where OpenSIPS does.
struct Addresses: Sendable {
    let eventIP: String
    let eventPort: Int
    let advertisedIP: String
    let managementHost: String
    let managementPort: Int
    /// From where events are taken; empty: from anywhere.
    let sources: [String]

    func check() throws(PluginError) {
        let texts =
            [("event_ip", eventIP), ("event_advertised_ip", advertisedIP)] + sources.map { ("event_sources", $0) }
        for (key, text) in texts where !text.isEmpty && Self.ipv4(text) == nil {
            throw PluginError(
                .configuration,
                "\(key) is \"\(text)\", which is no IPv4 address; write 127.0.0.1 or 192.0.2.7: OpenSIPS' events know "
                    + "no others")
        }
        guard !managementHost.isEmpty else {
            throw PluginError(.configuration, "mi_ip is empty; write the address of OpenSIPS' mi_datagram socket")
        }
    }

    static func ipv4(_ text: String) -> in_addr? {
        var address = in_addr()
        return inet_pton(AF_INET, text, &address) == 1 ? address : nil
    }

    /// Where the management interface is. A name is asked for at the name server, which may take seconds.
    func management() -> sockaddr_in? {
        var found = sockaddr_in()
        found.sin_family = sa_family_t(AF_INET)
        found.sin_port = UInt16(managementPort).bigEndian
        if let address = Self.ipv4(managementHost) {
            found.sin_addr = address
            return found
        }
        var hints = addrinfo()
        hints.ai_family = AF_INET
        hints.ai_socktype = Int32(SOCK_DGRAM.rawValue)
        var list: UnsafeMutablePointer<addrinfo>?
        guard getaddrinfo(managementHost, nil, &hints, &list) == 0, let first = list?.pointee.ai_addr else {
            return nil
        }
        defer { freeaddrinfo(list) }
        found.sin_addr = UnsafeRawPointer(first).assumingMemoryBound(to: sockaddr_in.self).pointee.sin_addr
        return found
    }

    /// What OpenSIPS is told to send its events to: of 0.0.0.0, the address from which this machine reaches it.
    func announcedIP() -> String {
        if !advertisedIP.isEmpty { return advertisedIP }
        guard eventIP == "0.0.0.0", Self.ipv4(managementHost) != nil, var peer = management() else {
            return eventIP == "0.0.0.0" ? "127.0.0.1" : eventIP
        }
        let probe = socket(AF_INET, Int32(SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        guard probe >= 0 else { return "127.0.0.1" }
        defer { close(probe) }
        var own = sockaddr_in()
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        // Of UDP: no packet leaves, the routes are asked.
        guard withSocketAddress(&peer, { connect(probe, $0, $1) }) == 0,
            withSocketAddress(&own, { address, _ in getsockname(probe, address, &length) }) == 0
        else { return "127.0.0.1" }
        return EventSocket.text(own.sin_addr)
    }
}

func withSocketAddress<Result>(
    _ address: inout sockaddr_in, _ body: (UnsafeMutablePointer<sockaddr>, socklen_t) -> Result
) -> Result {
    withUnsafeMutablePointer(to: &address) { pointer in
        pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
            body($0, socklen_t(MemoryLayout<sockaddr_in>.size))
        }
    }
}

/// Events in, commands out. It belongs to the thread.
final class EventSocket: @unchecked Sendable {
    /// OpenSIPS' events are as large as a datagram can be.
    static let datagramBytesMax = 65_535
    /// A burst of calls is some hundred events; the kernel gives what its limits allow.
    private static let bufferBytes: Int32 = 4 << 20

    private(set) var descriptor: Int32
    let port: Int
    private let sources: Set<in_addr_t>
    private var buffer = [UInt8](repeating: 0, count: datagramBytesMax)

    /// Binds. The error says which port, why not, and what to do.
    init(_ addresses: Addresses) throws(PluginError) {
        let type = SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue
        descriptor = socket(AF_INET, Int32(type), 0)
        guard descriptor >= 0 else {
            throw PluginError(.memory, "no file descriptor is left: raise the limit of open files (ulimit -n)")
        }
        var size = Self.bufferBytes
        setsockopt(descriptor, SOL_SOCKET, SO_RCVBUF, &size, socklen_t(MemoryLayout<Int32>.size))
        var own = sockaddr_in()
        own.sin_family = sa_family_t(AF_INET)
        own.sin_port = UInt16(addresses.eventPort).bigEndian
        own.sin_addr = Addresses.ipv4(addresses.eventIP) ?? in_addr()
        let bound = descriptor
        guard withSocketAddress(&own, { bind(bound, $0, $1) }) == 0 else {
            let failure = errno
            close(descriptor)
            let mend =
                switch failure {
                case EADDRINUSE: "stop the other program, or set another event_port"
                case EADDRNOTAVAIL: "set event_ip to an address of this machine, or 0.0.0.0"
                default: "set another event_ip or event_port"
                }
            throw PluginError(
                .network,
                "UDP port \(addresses.eventPort) of \(addresses.eventIP) cannot be bound "
                    + "(\(String(cString: strerror(failure)))): \(mend)")
        }
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        _ = withSocketAddress(&own) { address, _ in getsockname(bound, address, &length) }
        port = Int(UInt16(bigEndian: own.sin_port))
        sources = Set(addresses.sources.compactMap { Addresses.ipv4($0)?.s_addr })
    }

    deinit { shut() }

    /// Lets go of the port.
    func shut() {
        if descriptor >= 0 { close(descriptor) }
        descriptor = -1
    }

    func send(_ text: String, to peer: sockaddr_in) {
        guard descriptor >= 0 else { return }
        var text = text
        var peer = peer
        // What the kernel does not take is a datagram lost on its way, which the repetition is for.
        text.withUTF8 { bytes in
            _ = withSocketAddress(&peer) { sendto(descriptor, bytes.baseAddress, bytes.count, 0, $0, $1) }
        }
    }

    /// The next datagram and its sender, "127.0.0.1:41123"; nil: none waits.
    func receive() -> (bytes: ArraySlice<UInt8>, peer: String)? {
        guard descriptor >= 0 else { return nil }
        while true {
            var from = sockaddr_in()
            var length = socklen_t(MemoryLayout<sockaddr_in>.size)
            let got = withSocketAddress(&from) { address, _ in
                recvfrom(descriptor, &buffer, buffer.count, 0, address, &length)
            }
            if got < 0 {
                if errno == EINTR { continue }
                return nil
            }
            guard got > 0, sources.isEmpty || sources.contains(from.sin_addr.s_addr) else { continue }
            return (buffer[..<got], "\(Self.text(from.sin_addr)):\(UInt16(bigEndian: from.sin_port))")
        }
    }

    static func text(_ address: in_addr) -> String {
        let bytes = UInt32(bigEndian: address.s_addr)
        return "\(bytes >> 24).\(bytes >> 16 & 255).\(bytes >> 8 & 255).\(bytes & 255)"
    }
}
