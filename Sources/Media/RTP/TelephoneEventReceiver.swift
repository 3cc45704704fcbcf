// Digits that arrive as telephone events (RFC 4733), each reported once.
//
// A press is a run of packets with one event, one timestamp and a growing duration, the last of them three times with
// the end bit. Any of these may be lost, and some peers do not keep to it: the timestamp moves within a press (Sonus),
// audio is sent in between, the marker is missing or is on every packet (Huawei), a duration is zero. So a press is
// reported at the first sign of its end: the end bit, the start of another press, or a pause; and what looks like a
// continuation of the press just reported is part of it.

/// Recognises presses in a stream of telephone-event packets.
struct TelephoneEventReceiver: BitwiseCopyable {
    /// Packets of a press come every 20 to 50 ms; five of them missing is an end.
    private static let pauseNs: Int64 = 250_000_000
    /// The three end packets of one press follow each other closely; a second press cannot come sooner than its pause.
    private static let repeatNs: Int64 = 80_000_000

    private var event: UInt8 = 0
    private var timestamp: UInt32 = 0
    private var duration: UInt16 = 0
    private var lastNs: Int64 = 0
    private var isPressed = false
    private var isKnown = false

    /// Takes the payload of a telephone-event packet. Returns the digits that were completed by it, at most two: one
    /// whose end was lost, and this one.
    mutating func receive(
        _ payload: UnsafeRawBufferPointer, timestamp: UInt32, marker: Bool, now: Int64
    ) -> (DTMFDigit?, DTMFDigit?) {
        guard payload.count >= 4 else { return (nil, nil) }
        let event = payload[0]
        let isEnd = payload[1] & 0x80 != 0
        let duration = payload.bigEndian16(at: 2)
        var earlier: DTMFDigit?

        let age = Int32(bitPattern: timestamp &- self.timestamp)
        if isKnown, age < 0 { return (nil, nil) }
        let isSame = isKnown && event == self.event && (age == 0 || continues(marker, isEnd, duration, now))
        if !isSame {
            if isPressed { earlier = DTMFDigit(event: self.event) }
            isPressed = true
        }
        isKnown = true
        self.event = event
        self.timestamp = timestamp
        self.duration = duration
        lastNs = now
        guard isEnd, isPressed else { return (earlier, nil) }
        isPressed = false
        return (earlier, DTMFDigit(event: event))
    }

    /// The digit whose packets stopped without an end.
    mutating func poll(now: Int64) -> DTMFDigit? {
        guard isPressed, now &- lastNs >= Self.pauseNs else { return nil }
        isPressed = false
        return DTMFDigit(event: event)
    }

    /// Whether a packet of the same event with a later timestamp still belongs to the press before.
    private func continues(_ marker: Bool, _ isEnd: Bool, _ duration: UInt16, _ now: Int64) -> Bool {
        let isClose = now &- lastNs < Self.repeatNs
        // A reported press: only its repeated ends follow this closely, with the duration that was reported.
        if !isPressed { return isClose && isEnd && duration == self.duration }
        // A running one goes on growing; past 16 bits its duration begins anew with a new timestamp (section 2.5.1.3).
        let grows = duration > self.duration || self.duration >= 0xFF00
        return isClose && !marker && (grows || isEnd && duration == self.duration)
    }
}

/// One of the sixteen keys, and the hook flash.
public enum DTMFDigit: UInt8, Sendable, BitwiseCopyable, CaseIterable {
    case zero, one, two, three, four, five, six, seven, eight, nine, star, pound, a, b, c, d, flash

    /// Nil for events that are no keys.
    init?(event: UInt8) { self.init(rawValue: event) }

    public init?(_ character: Character) {
        guard let index = Self.characters.firstIndex(of: Character(character.uppercased())) else { return nil }
        self.init(rawValue: UInt8(index))
    }

    /// "0" to "9", "*", "#", "A" to "D", "!" for a flash.
    public var character: Character { Self.characters[Int(rawValue)] }

    private static let characters = Array("0123456789*#ABCD!")
}
