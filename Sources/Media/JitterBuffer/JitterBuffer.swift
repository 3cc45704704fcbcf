// Packets in, in whatever order and rhythm they come; decisions out, one at a time, whenever the playout clock asks for
// more audio (RFC 3550 leaves this to us; the shape is that of an adaptive playout buffer).
//
// The buffer thinks in time and not in numbers of packets: a packet is due at (its place on the sender's timeline) +
// (the smallest transit seen) + (the delay that the network needs at present). So it does not matter whether packets
// carry 10 or 60 ms, and the delay in which we are can be computed exactly instead of being averaged out of a fill
// level. Being too deep or too shallow is told to the owner (`excessNs`), who shortens or stretches where nobody hears
// it.
//
// It never decodes: what is missing is called missing, and `StreamReceiver` conceals it.

/// A reordering buffer for the packets of one sender.
struct JitterBuffer: ~Copyable {
    /// 200 ms of 10 ms packets are 20; the rest is for bursts.
    static let capacity = 32
    /// 60 ms of G.711 are 480 bytes, and Opus at the bit rate we ask for is far less.
    static let payloadLimit = 640

    struct Slot: BitwiseCopyable {
        var isOccupied = false
        var payloadType: UInt8 = 0
        var byteCount: UInt16 = 0
        var sequence: Int64 = 0
        /// In the sender's clock, unwrapped.
        var timestamp: Int64 = 0
        var duration: Int32 = 0
    }

    enum Insertion: BitwiseCopyable {
        case stored
        case duplicate
        /// Its time has passed.
        case late
        case tooLong
        /// Stored, as the first packet of a new timeline: what was buffered is gone.
        case restarted
    }

    enum Decision: BitwiseCopyable {
        /// Nothing is missing: not begun yet, or the sender was silent between two packets.
        case silence
        /// Decode this slot, then `release` it.
        case decode(slot: Int)
        /// A packet is missing whose successor is in `following`, or -1.
        case conceal(following: Int)
    }

    private let slots: UnsafeMutablePointer<Slot>
    private let payloads: UnsafeMutablePointer<UInt8>
    private let clockRateHz: Int64

    private(set) var delay = DelayModel()
    private var isStarted = false
    private var isPlaying = false
    private var highestSequence: Int64 = 0
    private var highestTimestamp: Int64 = 0
    private var nextSequence: Int64 = 0
    /// The sender's time of the next sample to be decoded.
    private var nextTimestamp: Int64 = 0
    /// Bit n: the packet n before the highest was seen. Tells a duplicate from a late packet.
    private var seen: UInt64 = 0
    private var consecutiveLate = 0
    /// How long, in the sender's clock, nothing could be decoded.
    private var starvedFor: Int64 = 0

    private(set) var overflowCount: UInt64 = 0

    init(clockRateHz: Int) {
        self.clockRateHz = Int64(clockRateHz)
        slots = MediaMemory.allocate(Slot.self, count: Self.capacity)
        slots.initialize(repeating: Slot(), count: Self.capacity)
        payloads = MediaMemory.allocate(UInt8.self, count: Self.capacity * Self.payloadLimit)
    }

    deinit {
        MediaMemory.deallocate(slots, count: Self.capacity)
        MediaMemory.deallocate(payloads, count: Self.capacity * Self.payloadLimit)
    }

    func slot(_ index: Int) -> Slot { slots[index] }
    func payload(_ index: Int) -> UnsafePointer<UInt8> { UnsafePointer(payloads + index * Self.payloadLimit) }

    /// Forgets everything that is buffered and waits for a new first packet: another SSRC, another codec.
    mutating func restart() {
        for index in 0..<Self.capacity { slots[index].isOccupied = false }
        isStarted = false
        isPlaying = false
        delay.restartTimeline()
    }

    // MARK: Packets in

    /// Takes a packet whose payload lasts `duration` ticks of the sender's clock.
    mutating func insert(
        _ packet: RTPPacket, payload: UnsafeRawBufferPointer, duration: Int, now: Int64
    ) -> Insertion {
        guard payload.count <= Self.payloadLimit else { return .tooLong }
        let step = Int(Int16(truncatingIfNeeded: Int(packet.sequence) - Int(truncatingIfNeeded: highestSequence)))
        let sequence = highestSequence + Int64(step)
        let advance = packet.timestamp &- UInt32(truncatingIfNeeded: highestTimestamp)
        let timestamp = highestTimestamp + Int64(Int32(bitPattern: advance))
        var restarted = false
        if !isStarted {
            start(packet, now: now)
            return store(packet, payload, Int64(packet.sequence), Int64(packet.timestamp), duration, restarted: false)
        }
        // A jump this far is no loss but another stream with the same SSRC (RFC 3550 appendix A.1 is as strict).
        if abs(step) > 1_000 { restarted = true }
        let transit = now &- nanoseconds(timestamp)
        // So is a timeline that moved against the clock by more than any network delays.
        if abs(transit &- delay.baseTransitNs) > 2_000_000_000 { restarted = true }
        if restarted {
            restart()
            start(packet, now: now)
            return store(packet, payload, Int64(packet.sequence), Int64(packet.timestamp), duration, restarted: true)
        }

        if step <= 0 {
            if step > -64, seen & (1 << UInt64(-step)) != 0 { return .duplicate }
            if step > -64 { seen |= 1 << UInt64(-step) }
        } else {
            seen = step < 64 ? seen << UInt64(step) | 1 : 1
            highestSequence = sequence
            highestTimestamp = timestamp
        }
        delay.observe(transitNs: transit, now: now)

        if isPlaying, timestamp + Int64(duration) <= nextTimestamp || sequence < nextSequence {
            consecutiveLate += 1
            // Nothing is being played that could be disturbed, or everything is late: the sender's timeline has slipped
            // (it stood still during its silence, or the path became longer), so this packet is where it goes on.
            if starvedFor >= clockRateHz / 10 || consecutiveLate >= 5 {
                restart()
                start(packet, now: now)
                return store(
                    packet, payload, Int64(packet.sequence), Int64(packet.timestamp), duration, restarted: true)
            }
            return .late
        }
        consecutiveLate = 0
        return store(packet, payload, sequence, timestamp, duration, restarted: false)
    }

    private mutating func start(_ packet: RTPPacket, now: Int64) {
        isStarted = true
        isPlaying = false
        highestSequence = Int64(packet.sequence)
        highestTimestamp = Int64(packet.timestamp)
        nextSequence = highestSequence
        nextTimestamp = highestTimestamp
        seen = 1
        consecutiveLate = 0
        starvedFor = 0
        delay.observe(transitNs: now &- nanoseconds(highestTimestamp), now: now)
    }

    private mutating func store(
        _ packet: RTPPacket, _ payload: UnsafeRawBufferPointer, _ sequence: Int64, _ timestamp: Int64,
        _ duration: Int, restarted: Bool
    ) -> Insertion {
        let index = Int(sequence & Int64(Self.capacity - 1))
        if slots[index].isOccupied, slots[index].sequence != sequence { overflowCount &+= 1 }
        if !isPlaying, sequence < nextSequence {
            // The first packets of a stream may change places too.
            nextSequence = sequence
            nextTimestamp = timestamp
        }
        slots[index] = Slot(
            isOccupied: true, payloadType: packet.payloadType, byteCount: UInt16(payload.count), sequence: sequence,
            timestamp: timestamp, duration: Int32(duration))
        if payload.count > 0 {
            UnsafeMutableRawPointer(payloads + index * Self.payloadLimit)
                .copyMemory(from: payload.baseAddress!, byteCount: payload.count)
        }
        return restarted ? .restarted : .stored
    }

    // MARK: Audio out

    /// How much longer than needed the audio is held that will be decoded next, when `pendingNs` of decoded audio are
    /// still to be played before it. Negative: packets need more time than they are given. Nil: nothing is being
    /// played.
    func excessNs(now: Int64, pendingNs: Int64) -> Int64? {
        guard isPlaying else { return nil }
        return delayNs(now: now, pendingNs: pendingNs) &- delay.targetNs
    }

    /// How long the audio that plays at `now` has been here, counted from the earliest that it could have arrived.
    func delayNs(now: Int64, pendingNs: Int64) -> Int64 {
        now &- (nanoseconds(nextTimestamp) &- pendingNs &+ delay.baseTransitNs)
    }

    /// What to do next at the playout clock's time `now`. `duration` is how much audio is wanted, in the sender's
    /// clock.
    mutating func next(now: Int64, duration: Int) -> Decision {
        guard isStarted else { return .silence }
        if !isPlaying {
            guard delayNs(now: now, pendingNs: 0) >= delay.targetNs else { return .silence }
            isPlaying = true
        }
        guard let index = earliest() else {
            // Not waiting for anything in particular: the timeline goes on, so that whoever resumes in time is on it.
            nextTimestamp += Int64(duration)
            starvedFor += Int64(duration)
            return .conceal(following: -1)
        }
        let slot = slots[index]
        if slot.timestamp > nextTimestamp {
            // In order but later in time: the sender was silent in between. Out of order: something is missing.
            let missing = min(slot.timestamp - nextTimestamp, Int64(duration))
            if slot.sequence == nextSequence {
                nextTimestamp += missing
                return .silence
            }
            nextTimestamp += missing
            starvedFor += missing
            // Only a direct successor carries the redundancy for what is missing.
            let isDirect = slot.timestamp == nextTimestamp && slot.sequence == nextSequence + 1
            return .conceal(following: isDirect ? index : -1)
        }
        nextSequence = slot.sequence + 1
        nextTimestamp = slot.timestamp + Int64(slot.duration)
        starvedFor = 0
        return .decode(slot: index)
    }

    mutating func release(_ index: Int) { slots[index].isOccupied = false }

    /// A frame was made up without using the timeline's time: what was next is still next, a frame later.
    mutating func stretch(by duration: Int) { nextTimestamp -= Int64(duration) }

    /// Nothing is audible: jumps over time instead of playing it, so that the delay shrinks. Not past what is buffered.
    mutating func skip(ns: Int64) {
        let ticks = ns &* clockRateHz / 1_000_000_000
        if let index = earliest() {
            nextTimestamp = min(nextTimestamp + ticks, max(slots[index].timestamp, nextTimestamp))
        } else {
            nextTimestamp += ticks
        }
    }

    /// The buffered packet with the lowest sequence number that is not behind us.
    private mutating func earliest() -> Int? {
        let expected = Int(nextSequence & Int64(Self.capacity - 1))
        if slots[expected].isOccupied, slots[expected].sequence == nextSequence { return expected }
        guard highestSequence > nextSequence || isStarted else { return nil }
        var found: Int?
        for index in 0..<Self.capacity where slots[index].isOccupied {
            if slots[index].sequence < nextSequence {
                slots[index].isOccupied = false
            } else if found == nil || slots[index].sequence < slots[found!].sequence {
                found = index
            }
        }
        return found
    }

    @inline(__always)
    private func nanoseconds(_ timestamp: Int64) -> Int64 {
        timestamp &* 1_000_000 / (clockRateHz / 1_000)
    }
}
