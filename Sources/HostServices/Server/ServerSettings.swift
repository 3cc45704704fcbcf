// What the host's own listener is started with: where, with which certificate, and its bounds. The service itself is
// "vc.server/1" (`ServerService`).

import Glibc

/// The listener for vendors that call us, and how much it takes of whom.
public struct ServerSettings: Sendable {
    /// Nil: there is no listener, and `route` says so.
    public var listen: ListenAddress?
    /// PEM files, both or none: with them the listener speaks TLS and nothing else.
    public var certificatePath = ""
    public var keyPath = ""

    /// A call of a vendor that streams audio holds one connection, so this is four times the calls of a usual host.
    public var connectionsMax = 2_000
    /// Behind a proxy all connections come from one address: this keeps one stranger from taking them all, no more.
    public var connectionsPerAddressMax = 1_000

    /// The request line and the header fields. Proxies add some hundred bytes, tokens have up to 8 KiB.
    var headBytesMax = 32 << 10
    /// A webhook has one or two kilobytes.
    var bodyBytesMax = 64 << 10
    /// Of a body that is refused, so much is read and dropped, because a client that is cut off while it sends does not
    /// see the answer.
    var droppedBytesMax = 1 << 20
    /// What a plugin may answer with. Larger things are files, and not this service's affair.
    var responseBytesMax = 1 << 20
    var responseHeadBytesMax = 8 << 10
    /// Requests that wait for one provider, each with its body: a burst of webhooks when a campaign starts.
    var exchangesPerProviderMax = 256
    var routesPerProviderMax = 64

    /// The bound of the contract, `service/server.h`.
    var answerMs: UInt64 = 10_000
    /// From its first byte to its last: a client that sends a byte now and then must not hold a connection for ever.
    var receiveMs: UInt64 = 10_000
    /// Between two requests on one connection.
    var idleMs: UInt64 = 30_000
    /// Until the client has taken the whole answer.
    var sendMs: UInt64 = 30_000

    /// A WebSocket from which nothing is heard for so long is asked whether anybody is there.
    var pingMs = WebSocketService.defaultPingMs

    public init() {}
}

/// A numeric address and a port, `127.0.0.1:8080` or `[::1]:8080`. A name could mean several addresses, and another one
/// tomorrow.
public struct ListenAddress: Sendable, Equatable, CustomStringConvertible {
    public var host: String
    public var port: UInt16

    public init(host: String, port: UInt16) {
        self.host = host
        self.port = port
    }

    public init?(parsing text: String) {
        guard let colon = text.lastIndex(of: ":"), let port = UInt16(text[text.index(after: colon)...]) else {
            return nil
        }
        var host = text[..<colon]
        if host.hasPrefix("["), host.hasSuffix("]") {
            host = host.dropFirst().dropLast()
            guard host.contains(":") else { return nil }
        } else if host.contains(":") {
            return nil
        }
        self.init(host: String(host), port: port)
        guard withSocketAddress({ _, _ in true }) == true else { return nil }
    }

    public var description: String { host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)" }

    var isIPv6: Bool { host.contains(":") }

    /// Nil when the host is not an address in digits.
    func withSocketAddress<Result>(_ body: (UnsafePointer<sockaddr>, socklen_t) -> Result) -> Result? {
        if isIPv6 {
            var address = sockaddr_in6()
            address.sin6_family = sa_family_t(AF_INET6)
            address.sin6_port = port.bigEndian
            guard inet_pton(AF_INET6, host, &address.sin6_addr) == 1 else { return nil }
            return withSockaddr(&address, body)
        }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        guard inet_pton(AF_INET, host, &address.sin_addr) == 1 else { return nil }
        return withSockaddr(&address, body)
    }

    private func withSockaddr<Address, Result>(
        _ address: inout Address, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Result
    ) -> Result {
        withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, socklen_t(MemoryLayout<Address>.size)) }
        }
    }
}
