// An internet address that can be compared, copied and given to the kernel without a conversion: the media thread does
// that fifty times a second for every call. Its bytes are those of the kernel's `sockaddr_in6`; a `sockaddr_in` is the
// first half of the same shape, so one type serves both families.

import Glibc

/// An IPv4 or IPv6 address with a UDP port.
public struct SocketAddress: Equatable, Hashable, Sendable, BitwiseCopyable, CustomStringConvertible {
    private var family: sa_family_t = 0
    private var networkPort: UInt16 = 0
    /// The IPv4 address, or the flow label of IPv6.
    private var fourBytes: UInt32 = 0
    private var upperHalf: UInt64 = 0
    private var lowerHalf: UInt64 = 0
    private var scope: UInt32 = 0

    /// No address at all: equal to none that a packet can come from.
    init() {}

    /// An address written in digits, or nil when `host` is not one (a host name is not looked up: that would block).
    public init?(host: String, port: UInt16) {
        var v4 = in_addr()
        var v6 = in6_addr()
        if inet_pton(AF_INET, host, &v4) == 1 {
            family = sa_family_t(AF_INET)
            fourBytes = v4.s_addr
        } else if inet_pton(AF_INET6, host, &v6) == 1 {
            family = sa_family_t(AF_INET6)
            (upperHalf, lowerHalf) = unsafeBitCast(v6, to: (UInt64, UInt64).self)
        } else {
            return nil
        }
        networkPort = port.bigEndian
    }

    public var isIPv6: Bool { family == sa_family_t(AF_INET6) }
    var isKnown: Bool { family != 0 }

    public var port: UInt16 {
        get { UInt16(bigEndian: networkPort) }
        set { networkPort = newValue.bigEndian }
    }

    /// `0.0.0.0` or `::`: the old way to put a call on hold (RFC 3264 section 8.4).
    public var isUnspecified: Bool { isIPv6 ? upperHalf == 0 && lowerHalf == 0 : fourBytes == 0 }

    /// The address in digits, without the port.
    public var host: String {
        withUnsafeTemporaryAllocation(of: CChar.self, capacity: Int(INET6_ADDRSTRLEN)) { text in
            if isIPv6 {
                var address = unsafeBitCast((upperHalf, lowerHalf), to: in6_addr.self)
                inet_ntop(AF_INET6, &address, text.baseAddress!, socklen_t(text.count))
            } else {
                var address = in_addr(s_addr: fourBytes)
                inet_ntop(AF_INET, &address, text.baseAddress!, socklen_t(text.count))
            }
            return String(cString: text.baseAddress!)
        }
    }

    public var description: String { isIPv6 ? "[\(host)]:\(port)" : "\(host):\(port)" }

    /// The length that the kernel wants with this address.
    var length: socklen_t {
        socklen_t(isIPv6 ? MemoryLayout<sockaddr_in6>.size : MemoryLayout<sockaddr_in>.size)
    }

    @inline(__always)
    public static func == (left: Self, right: Self) -> Bool {
        left.networkPort == right.networkPort && left.hasHost(of: right)
    }

    /// Whether both are the same host; the ports may differ.
    @inline(__always)
    func hasHost(of other: Self) -> Bool {
        guard family == other.family else { return false }
        return isIPv6 ? upperHalf == other.upperHalf && lowerHalf == other.lowerHalf : fourBytes == other.fourBytes
    }

    public func hash(into hasher: inout Hasher) {
        hasher.combine(networkPort)
        hasher.combine(isIPv6 ? lowerHalf : UInt64(fourBytes))
    }

    @inline(__always)
    func withPointer<Result>(_ body: (UnsafePointer<sockaddr>, socklen_t) -> Result) -> Result {
        withUnsafePointer(to: self) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, length) }
        }
    }
}
