// What RFC 3550 wants counted about a sender: appendix A.1 (sequence), A.3 (loss), A.8 (jitter). Telephone events and
// comfort noise count too: they are packets of the same sequence.

/// Counts the packets of one sender.
struct ReceptionStatistics: BitwiseCopyable {
    private(set) var packetCount: UInt64 = 0
    private(set) var isStarted = false
    private var baseSequence: UInt32 = 0
    private var highestSequence: UInt16 = 0
    private var cycles: UInt32 = 0
    private var receivedSinceBase: UInt32 = 0
    private var expectedBefore: UInt32 = 0
    private var receivedBefore: UInt32 = 0
    private var lastTransit: Int64?
    /// Sixteen times the jitter, in ticks of the clock.
    private var scaledJitter: Int64 = 0
    /// Lost by senders that came before the present one.
    private var lostEarlier: Int64 = 0

    /// Another sender, or another timeline: counting begins anew.
    mutating func restart() {
        lostEarlier = lost
        isStarted = false
        lastTransit = nil
    }

    mutating func receive(_ packet: RTPPacket, clockRateHz: Int, now: Int64) {
        packetCount &+= 1
        if isStarted, abs(Int(Int16(bitPattern: packet.sequence &- highestSequence))) > 1_000 { restart() }
        if !isStarted {
            isStarted = true
            baseSequence = UInt32(packet.sequence)
            highestSequence = packet.sequence
            cycles = 0
            receivedSinceBase = 0
            expectedBefore = 0
            receivedBefore = 0
        } else if Int16(bitPattern: packet.sequence &- highestSequence) > 0 {
            if packet.sequence < highestSequence { cycles &+= 1 << 16 }
            highestSequence = packet.sequence
        }
        receivedSinceBase &+= 1

        let arrival = now / 1_000 * Int64(clockRateHz / 1_000) / 1_000
        let transit = arrival &- Int64(packet.timestamp)
        if let last = lastTransit {
            // Unsigned timestamps wrap; the difference of two does not matter beyond 32 bits.
            let difference = abs(Int64(Int32(truncatingIfNeeded: transit &- last)))
            // A new talk spurt after a jump is no jitter.
            if difference < Int64(clockRateHz) { scaledJitter += difference - (scaledJitter + 8) >> 4 }
        }
        lastTransit = transit
    }

    var extendedHighestSequence: UInt32 { cycles | UInt32(highestSequence) }
    private var expected: UInt32 { isStarted ? extendedHighestSequence &- baseSequence &+ 1 : 0 }

    /// Packets expected and not received. Negative when there were duplicates.
    var lost: Int64 { lostEarlier + (isStarted ? Int64(expected) - Int64(receivedSinceBase) : 0) }

    /// In ticks of the clock.
    var jitter: UInt32 { UInt32(clamping: scaledJitter >> 4) }

    /// The share of packets lost since the last call, in 1/256 (appendix A.3).
    mutating func takeFractionLost() -> UInt8 {
        let expectedNow = expected &- expectedBefore
        let receivedNow = receivedSinceBase &- receivedBefore
        expectedBefore = expected
        receivedBefore = receivedSinceBase
        guard expectedNow > 0, expectedNow > receivedNow else { return 0 }
        return UInt8(clamping: (UInt64(expectedNow - receivedNow) << 8) / UInt64(expectedNow))
    }
}
