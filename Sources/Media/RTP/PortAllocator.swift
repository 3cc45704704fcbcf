// Port pairs for RTP and RTCP: an even port and the odd one above it (RFC 3550 section 11).
//
// A pair that was given back rests before it is used again, because the old peer may go on sending for a while and its
// packets must not be heard in another call. Pairs are handed out round the range, so the one that rested longest comes
// first. A port that somebody else has bound is no error: the next pair is tried.

import Glibc

/// Both sockets of an RTP session.
struct SocketPair: Sendable {
    var rtp: Int32
    var rtcp: Int32
    var port: UInt16

    func closeBoth() {
        close(rtp)
        close(rtcp)
    }
}

/// Hands out port pairs and takes them back. A value; whoever owns it serialises.
struct PortAllocator {
    /// Late packets of a call that is over: a peer that lost the BYE gives up after 32 s (RFC 3261, timer F).
    static let restNs: Int64 = 35_000_000_000

    /// Even ports, in the order of the range. Empty: the kernel chooses.
    private let firstEven: Int
    private let pairCount: Int
    private var next = 0
    private var isInUse: [Bool]
    private var freeAtNs: [Int64]

    init(range: ClosedRange<UInt16>?) {
        if let range {
            firstEven = (Int(range.lowerBound) + 1) & ~1
            pairCount = max(0, (Int(range.upperBound) - firstEven + 1) / 2)
        } else {
            firstEven = 0
            pairCount = 0
        }
        isInUse = Array(repeating: false, count: pairCount)
        freeAtNs = Array(repeating: .min, count: pairCount)
        hasRange = range != nil
    }

    private let hasRange: Bool

    /// Binds a pair on `address` (its port is not used), or throws `MediaError.noPorts` when every pair is taken or
    /// resting.
    mutating func take(on address: SocketAddress, now: Int64) throws(MediaError) -> SocketPair {
        guard hasRange else { return try Self.bindAnyPair(on: address) }
        var lastError: Int32 = 0
        for step in 0..<pairCount {
            let index = (next + step) % pairCount
            if isInUse[index] || freeAtNs[index] > now { continue }
            let port = UInt16(firstEven + 2 * index)
            if let pair = Self.bindPair(on: address, port: port, error: &lastError) {
                next = index + 1
                isInUse[index] = true
                return pair
            }
            // An address that is not ours fails for every port alike.
            if lastError == EADDRNOTAVAIL { throw .cannotBind(address.host, errno: lastError) }
        }
        throw .noPorts(pairs: pairCount)
    }

    /// Takes a closed pair back; it rests from `now` on.
    mutating func giveBack(port: UInt16, now: Int64) {
        guard hasRange else { return }
        let index = (Int(port) - firstEven) / 2
        isInUse[index] = false
        freeAtNs[index] = now &+ Self.restNs
    }

    private static func bindAnyPair(on address: SocketAddress) throws(MediaError) -> SocketPair {
        var lastError: Int32 = 0
        // The kernel knows nothing of pairs; half of its choices are odd, and some neighbours are taken.
        for _ in 0..<64 {
            guard let probe = socket(on: address, port: 0, error: &lastError) else { break }
            let port = boundPort(of: probe)
            guard port % 2 == 0, port != 0, let upper = socket(on: address, port: port + 1, error: &lastError) else {
                close(probe)
                continue
            }
            return SocketPair(rtp: probe, rtcp: upper, port: port)
        }
        throw .cannotBind(address.host, errno: lastError)
    }

    private static func bindPair(on address: SocketAddress, port: UInt16, error: inout Int32) -> SocketPair? {
        guard let rtp = socket(on: address, port: port, error: &error) else { return nil }
        guard let rtcp = socket(on: address, port: port + 1, error: &error) else {
            close(rtp)
            return nil
        }
        return SocketPair(rtp: rtp, rtcp: rtcp, port: port)
    }

    private static func socket(on address: SocketAddress, port: UInt16, error: inout Int32) -> Int32? {
        let type = Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue) | Int32(SOCK_NONBLOCK.rawValue)
        let descriptor = Glibc.socket(address.isIPv6 ? AF_INET6 : AF_INET, type, 0)
        guard descriptor >= 0 else {
            error = errno
            return nil
        }
        var local = address
        local.port = port
        guard local.withPointer({ bind(descriptor, $0, $1) }) == 0 else {
            error = errno
            close(descriptor)
            return nil
        }
        // Marks voice for routers that look (RFC 4594: EF). Refusal changes nothing.
        var expedited: Int32 = 0xB8
        setsockopt(descriptor, Int32(IPPROTO_IP), IP_TOS, &expedited, socklen_t(MemoryLayout<Int32>.size))
        return descriptor
    }

    private static func boundPort(of descriptor: Int32) -> UInt16 {
        var local = sockaddr_in6()
        var length = socklen_t(MemoryLayout<sockaddr_in6>.size)
        _ = withUnsafeMutablePointer(to: &local) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(descriptor, $0, &length) }
        }
        return UInt16(bigEndian: local.sin6_port)
    }
}
