// Digits that are sent as telephone events (RFC 4733 section 2.5.1): one packet for each frame of 20 ms while the key
// is down, all with the timestamp of its beginning, then the end three times, then a pause, because a receiver that
// lost the ends tells two presses apart by it.

/// Sends a queue of digits, one packet a frame.
struct TelephoneEventSender: BitwiseCopyable {
    /// A caller who pastes a card number sends 19.
    static let queueLimit = 32
    /// Tone 100 ms and pause 100 ms: what the slowest of switches take for a press.
    private static let toneFrames = 5
    private static let endFrames = 3
    private static let pauseFrames = 5

    struct Packet: BitwiseCopyable {
        var event: UInt8
        var isEnd: Bool
        var marker: Bool
        /// Timestamp of the beginning, which all packets of the press carry.
        var timestamp: UInt32
        var duration: UInt16
    }

    private var queue = InlineArray<32, UInt8>(repeating: 0)
    private var queued = 0
    private var frame = 0
    private var start: UInt32 = 0
    private var isActive = false

    /// False when the queue is full.
    mutating func enqueue(_ digit: DTMFDigit) -> Bool {
        guard queued < Self.queueLimit else { return false }
        queue[queued] = digit.rawValue
        queued += 1
        return true
    }

    /// While true, frames belong to this sender and not to the voice.
    var isBusy: Bool { isActive || queued > 0 }

    /// The packet for this frame, if the frame has one; nil in the pause.
    mutating func next(timestamp: UInt32, frameTicks: Int) -> Packet? {
        if !isActive {
            guard queued > 0 else { return nil }
            isActive = true
            frame = 0
            start = timestamp
        }
        let place = frame
        frame += 1
        if place < Self.toneFrames + Self.endFrames - 1 {
            let isEnd = place >= Self.toneFrames - 1
            return Packet(
                event: queue[0], isEnd: isEnd, marker: place == 0, timestamp: start,
                duration: UInt16(min(place + 1, Self.toneFrames) * frameTicks))
        }
        if frame >= Self.toneFrames + Self.endFrames + Self.pauseFrames {
            isActive = false
            queued -= 1
            for index in 0..<queued { queue[index] = queue[index + 1] }
        }
        return nil
    }

    static func write(_ packet: Packet, to payload: UnsafeMutableRawPointer) {
        payload.storeBytes(of: packet.event, as: UInt8.self)
        // Volume -10 dBm0.
        payload.storeBytes(of: (packet.isEnd ? 0x80 : 0) | 10, toByteOffset: 1, as: UInt8.self)
        payload.storeBytes(of: packet.duration.bigEndian, toByteOffset: 2, as: UInt16.self)
    }
}
