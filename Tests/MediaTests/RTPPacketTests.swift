import Testing

@testable import Media

@Suite("RTP header")
struct RTPPacketTests {
    private func parse(_ bytes: [UInt8]) throws -> RTPPacket {
        try bytes.withUnsafeBytes { try RTPPacket(parsing: $0) }
    }

    private let plain: [UInt8] = [0x80, 0x80, 0xFF, 0xFE, 0, 0, 0, 160, 1, 2, 3, 4]

    @Test("A plain packet is read as it was written")
    func plainPacket() throws {
        let packet = try parse(plain + [9, 9, 9])
        #expect(packet.marker)
        #expect(packet.payloadType == 0)
        #expect(packet.sequence == 0xFFFE)
        #expect(packet.timestamp == 160)
        #expect(packet.ssrc == 0x0102_0304)
        #expect(packet.payloadOffset == 12 && packet.payloadCount == 3)
        var written = [UInt8](repeating: 0, count: 12)
        written.withUnsafeMutableBytes { packet.write(to: $0.baseAddress!) }
        #expect(written == plain)
    }

    @Test("CSRCs, a header extension and padding are stepped over")
    func everythingAtOnce() throws {
        var bytes = plain
        bytes[0] = 0xB2
        bytes += [UInt8](repeating: 7, count: 8)
        bytes += [0xBE, 0xDE, 0, 1, 1, 2, 3, 4]
        bytes += [42, 43, 0, 0, 3]
        let packet = try parse(bytes)
        #expect(packet.payloadOffset == 28)
        #expect(packet.payloadCount == 2)
    }

    @Test("A truncated list of CSRCs is refused")
    func truncatedCSRC() {
        var bytes = plain
        bytes[0] = 0x8F
        #expect(throws: RTPFault.truncated) { try parse(bytes + [1, 2, 3, 4]) }
    }

    @Test("A header extension that is longer than the packet is refused", arguments: [0, 2, 4])
    func truncatedExtension(extra: Int) {
        var bytes = plain
        bytes[0] = 0x90
        bytes += [0, 0, 0, 2].prefix(extra)
        #expect(throws: RTPFault.truncated) { try parse(bytes) }
    }

    @Test("Padding that is longer than the payload, or of no length, is refused", arguments: [UInt8(5), 0])
    func badPadding(last: UInt8) {
        var bytes = plain
        bytes[0] = 0xA0
        #expect(throws: RTPFault.badPadding) { try parse(bytes + [1, 2, 3, last]) }
    }

    @Test("Another version, and less than a header, are refused")
    func notRTP() {
        var bytes = plain
        bytes[0] = 0x40
        #expect(throws: RTPFault.wrongVersion) { try parse(bytes) }
        #expect(throws: RTPFault.tooShort) { try parse(Array(plain.dropLast())) }
        #expect(throws: RTPFault.tooShort) { try parse([]) }
    }

    @Test("Random bytes are parsed or refused, and never read beyond their end")
    func randomBytes() {
        var random = SplitMix(seed: 1)
        for _ in 0..<20_000 {
            var bytes = (0..<Int.random(in: 0...60, using: &random)).map { _ in
                UInt8.random(in: 0...255, using: &random)
            }
            if !bytes.isEmpty { bytes[0] = bytes[0] & 0x3F | 0x80 }
            if let packet = try? parse(bytes) { #expect(packet.payloadOffset + packet.payloadCount <= bytes.count) }
            _ = bytes.withUnsafeBytes { RTCPReception(parsing: $0, about: 1) }
        }
    }

    @Test("A compound report is read back with everything that was put into it")
    func report() throws {
        let reporter = RTCPReporter(seed: 1)
        let block = RTCPReportBlock(
            ssrc: 77, fractionLost: 12, cumulativeLost: -3, extendedHighestSequence: 0x1_0005, jitter: 40,
            lastReport: 0,
            delaySinceLastReport: 0)
        var bytes = [UInt8](repeating: 0, count: RTCPReporter.byteLimit)
        let count = bytes.withUnsafeMutableBytes {
            reporter.write(
                to: $0.baseAddress!, ssrc: 5, sent: (10, 1_600, 320), block: block, goodbye: true,
                ntp: 0x1122_3344_5566_7788, now: 0)
        }
        #expect(count == 28 + 24 + 20 + 8)
        let read = try #require(bytes[..<count].withUnsafeBytes { RTCPReception(parsing: $0, about: 77) })
        #expect(read.senderReportTime == 0x3344_5566)
        #expect(read.block == block)
        #expect(read.isGoodbye)
        #expect(bytes[..<(count - 1)].withUnsafeBytes { RTCPReception(parsing: $0, about: 77) } == nil)
    }

    @Test("The round trip is now less the report less the peer's delay")
    func roundTrip() throws {
        var reception = try #require(([0x80, 201, 0, 1, 0, 0, 0, 1] as [UInt8]).withUnsafeBytes {
            RTCPReception(parsing: $0, about: 1)
        })
        #expect(reception.roundTrip(now: 1 << 40) == nil)
        reception.block = RTCPReportBlock(
            ssrc: 1, fractionLost: 0, cumulativeLost: 0, extendedHighestSequence: 0, jitter: 0,
            lastReport: 0x0001_0000, delaySinceLastReport: 0x8000)
        #expect(reception.roundTrip(now: UInt64(0x0001_0000 + 0x8000 + 0x1000) << 16) == 0x1000)
    }

    @Test("Reports are two and a half to seven and a half seconds apart")
    func reportInterval() {
        var reporter = RTCPReporter(seed: 99)
        var now: Int64 = 1
        var last: Int64?
        var gaps: [Int64] = []
        for _ in 0..<60_000 {
            if reporter.isDue(now: now) {
                if let last { gaps.append((now - last) / 1_000_000) }
                last = now
            }
            now += 20_000_000
        }
        #expect(gaps.count > 200)
        #expect(gaps.allSatisfy { (2_500...7_520).contains($0) })
        #expect(Set(gaps).count > 50)
    }

    @Test("The opinion score follows the simplified E-model")
    func opinionScore() {
        func score(_ delay: Double, _ loss: Double, _ robustness: Double) -> Double {
            (StreamStatistics.meanOpinionScore(oneWayDelayMs: delay, lossPercent: loss, lossRobustness: robustness)
                * 100)
                .rounded() / 100
        }
        #expect(score(100, 0, 25.1) == 4.36)
        #expect(score(100, 1, 4.3) == 3.73)
        #expect(score(100, 1, 25.1) == 4.26)
        #expect(score(150, 3, 25.1) == 4.00)
        #expect(score(300, 0, 25.1) == 3.71)
        #expect(score(300, 100, 0.1) == 1)
    }
}

/// A generator whose numbers are the same in every run.
struct SplitMix: RandomNumberGenerator {
    var state: UInt64
    init(seed: UInt64) { state = seed }
    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}
