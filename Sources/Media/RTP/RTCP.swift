// Reports to the peer and from it (RFC 3550 section 6): how many packets were lost on the way, how regularly they
// came, and how long the way is. One compound packet every five seconds, give or take half of that so that a thousand
// calls do not report at once (section 6.3.1, with the minimum interval, which two participants never exceed).

/// What a report says about the stream that is described in it (section 6.4.1).
struct RTCPReportBlock: Equatable, BitwiseCopyable {
    var ssrc: UInt32
    var fractionLost: UInt8
    var cumulativeLost: Int32
    var extendedHighestSequence: UInt32
    var jitter: UInt32
    /// The middle 32 bits of the NTP time in the last sender report received, and the time since then in 1/65536 s.
    var lastReport: UInt32
    var delaySinceLastReport: UInt32
}

/// What a received compound packet contained that matters to a call.
struct RTCPReception: Equatable, BitwiseCopyable {
    /// Middle 32 bits of the sender report's NTP time.
    var senderReportTime: UInt32?
    /// What the peer says about our stream.
    var block: RTCPReportBlock?
    var isGoodbye = false

    /// Reads a compound packet (section 6.1), looking for reports about `ssrc`. Nil when it is malformed.
    init?(parsing datagram: UnsafeRawBufferPointer, about ssrc: UInt32) {
        var offset = 0
        while offset < datagram.count {
            guard datagram.count - offset >= 4, datagram[offset] >> 6 == 2 else { return nil }
            let count = Int(datagram[offset] & 0x1F)
            let type = datagram[offset + 1]
            let length = (Int(datagram.bigEndian16(at: offset + 2)) + 1) * 4
            guard length <= datagram.count - offset else { return nil }
            switch type {
            case 200, 201:
                let blocks = type == 200 ? 28 : 8
                guard length >= blocks + 24 * count else { return nil }
                if type == 200 { senderReportTime = datagram.bigEndian32(at: offset + 10) }
                for index in 0..<count {
                    let place = offset + blocks + 24 * index
                    guard datagram.bigEndian32(at: place) == ssrc else { continue }
                    let lost = datagram.bigEndian32(at: place + 4)
                    block = RTCPReportBlock(
                        ssrc: ssrc, fractionLost: UInt8(lost >> 24), cumulativeLost: Int32(bitPattern: lost << 8) >> 8,
                        extendedHighestSequence: datagram.bigEndian32(at: place + 8),
                        jitter: datagram.bigEndian32(at: place + 12), lastReport: datagram.bigEndian32(at: place + 16),
                        delaySinceLastReport: datagram.bigEndian32(at: place + 20))
                }
            case 203:
                isGoodbye = true
            default:
                break
            }
            offset += length
        }
        guard offset > 0 else { return nil }
    }

    /// The time to the peer and back, in 1/65536 s, when the report answers one of ours (section 6.4.1).
    func roundTrip(now: UInt64) -> UInt32? {
        guard let block, block.lastReport != 0 else { return nil }
        let elapsed = UInt32(truncatingIfNeeded: now >> 16) &- block.lastReport &- block.delaySinceLastReport
        // A clock that was set in between gives nonsense; a way of more than half an hour is.
        return elapsed < 0x8000_0000 ? elapsed : nil
    }
}

/// Writes compound packets, and says when.
struct RTCPReporter: BitwiseCopyable {
    static let byteLimit = 128
    private static let intervalNs: Int64 = 5_000_000_000

    private var dueNs: Int64 = 0
    private var random: UInt32
    private var lastReportReceived: UInt32 = 0
    private var lastReportReceivedNs: Int64 = 0

    init(seed: UInt32) { random = seed | 1 }

    /// Whether a report is due; if so, the next one is planned.
    mutating func isDue(now: Int64) -> Bool {
        if dueNs == 0 {
            // The first after half an interval (section 6.2).
            dueNs = now &+ nextInterval() / 2
            return false
        }
        guard now >= dueNs else { return false }
        dueNs = now &+ nextInterval()
        return true
    }

    mutating func note(_ reception: RTCPReception, now: Int64) {
        if let time = reception.senderReportTime {
            lastReportReceived = time
            lastReportReceivedNs = now
        }
    }

    /// Half to one and a half times the interval.
    private mutating func nextInterval() -> Int64 {
        random ^= random << 13
        random ^= random >> 17
        random ^= random << 5
        return Self.intervalNs / 2 + Int64(random % 1_024) * Self.intervalNs / 1_024
    }

    /// Writes SR or RR, SDES with the CNAME, and BYE at the end of a stream. Returns the number of bytes.
    func write(
        to bytes: UnsafeMutableRawPointer, ssrc: UInt32, sent: (packets: UInt32, octets: UInt32, timestamp: UInt32)?,
        block: RTCPReportBlock?, goodbye: Bool, ntp: UInt64, now: Int64
    ) -> Int {
        var offset = 0
        func put(_ value: UInt32) {
            bytes.storeBytes(of: value.bigEndian, toByteOffset: offset, as: UInt32.self)
            offset += 4
        }
        let blocks: UInt32 = block == nil ? 0 : 1
        if let sent {
            put(0x80C8_0000 | blocks << 24 | (6 + blocks * 6))
            put(ssrc)
            put(UInt32(ntp >> 32))
            put(UInt32(truncatingIfNeeded: ntp))
            put(sent.timestamp)
            put(sent.packets)
            put(sent.octets)
        } else {
            put(0x80C9_0000 | blocks << 24 | (1 + blocks * 6))
            put(ssrc)
        }
        if let block {
            put(block.ssrc)
            put(UInt32(block.fractionLost) << 24 | UInt32(bitPattern: block.cumulativeLost) & 0xFF_FFFF)
            put(block.extendedHighestSequence)
            put(block.jitter)
            put(lastReportReceived)
            let delay = lastReportReceived == 0 ? 0 : (now &- lastReportReceivedNs) / 1_000 * 65_536 / 1_000_000
            put(UInt32(truncatingIfNeeded: delay))
        }
        // SDES: our CNAME is our SSRC in hexadecimal, as short and anonymous as RFC 7022 wants it. 8 characters: the
        // item takes 10 bytes, the end of the list 2.
        put(0x81CA_0004)
        put(ssrc)
        bytes.storeBytes(of: 1, toByteOffset: offset, as: UInt8.self)
        bytes.storeBytes(of: 8, toByteOffset: offset + 1, as: UInt8.self)
        for digit in 0..<8 {
            let nibble = UInt8(truncatingIfNeeded: ssrc >> UInt32(28 - 4 * digit)) & 0x0F
            bytes.storeBytes(of: nibble + (nibble < 10 ? 0x30 : 0x57), toByteOffset: offset + 2 + digit, as: UInt8.self)
        }
        bytes.storeBytes(of: 0, toByteOffset: offset + 10, as: UInt16.self)
        offset += 12
        if goodbye {
            put(0x81CB_0001)
            put(ssrc)
        }
        return offset
    }
}
