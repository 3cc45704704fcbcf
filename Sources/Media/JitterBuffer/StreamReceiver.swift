// From packets to an unbroken line of samples: jitter buffer, decoder, concealment, and the small corrections of time
// that keep the delay where the network needs it.
//
// Everything is pulled. Each 20 ms of our clock one frame is produced, come what may, so the caller's audio has a
// position without gaps. A sender whose clock drifts, and a network that changes, are both seen as the same thing:
// audio is held longer or shorter than needed. Then ten milliseconds are taken out or put in where it is quiet
// (cross-faded, so that there is no edge). In loud speech nothing is touched until the delay leaves its bounds
// altogether.

/// The inbound half of a stream, apart from its socket. Driven by one thread.
struct StreamReceiver: ~Copyable {
    /// 120 ms of Opus at 16 kHz, the longest packet there is, on top of a frame that is not quite complete.
    private static let pendingLimit = 1_920 + 2 * MediaFrame.sampleLimit
    /// Below this mean magnitude (about -44 dBFS) ten milliseconds more or less are not heard.
    private static let quietLevel = 200
    /// Too deep costs only delay; too shallow costs the next packet, so it is mended sooner.
    private static let deepSlackNs: Int64 = 15_000_000
    private static let shallowSlackNs: Int64 = 5_000_000

    let clockRateHz: Int
    let sampleRateHz: Int
    private let frameCount: Int
    private(set) var jitter: JitterBuffer
    private var concealer: PacketLossConcealer
    private let opus: OpusDecoder?
    private var doubler = HalfBandFilter()
    private let mu = G711Tables.mu
    private let a = G711Tables.a

    private let pending: UnsafeMutablePointer<Int16>
    private var pendingCount = 0
    private let narrow: UnsafeMutablePointer<Int16>
    private var flags: MediaFrame.Flags = []
    private var isComfortNoise = false
    private var eventUntilNs = Int64.min
    private var stretchedInARow = 0
    private var framesSinceCorrection = 0

    // Counted here, published by the stream.
    private(set) var lateCount: UInt64 = 0
    private(set) var duplicateCount: UInt64 = 0
    private(set) var concealedSampleCount: UInt64 = 0
    private(set) var correctionCount: UInt64 = 0
    private(set) var restartCount: UInt64 = 0
    private(set) var unusableCount: UInt64 = 0

    /// Nil only when memory is exhausted.
    init?(codec: AudioCodec, sampleRateHz: Int) {
        clockRateHz = codec.clockRateHz
        self.sampleRateHz = sampleRateHz
        frameCount = sampleRateHz / 50
        jitter = JitterBuffer(clockRateHz: codec.clockRateHz)
        concealer = PacketLossConcealer(sampleRateHz: sampleRateHz)
        opus = codec == .opus ? OpusDecoder(sampleRateHz: sampleRateHz) : nil
        pending = MediaMemory.allocate(Int16.self, count: Self.pendingLimit)
        narrow = MediaMemory.allocate(Int16.self, count: JitterBuffer.payloadLimit)
        if codec == .opus && opus == nil { return nil }
    }

    deinit {
        MediaMemory.deallocate(pending, count: Self.pendingLimit)
        MediaMemory.deallocate(narrow, count: JitterBuffer.payloadLimit)
    }

    /// How long the audio that is about to be produced has been held.
    private func heldNs(now: Int64) -> Int64 {
        excessNs(now).map { $0 + jitter.delay.targetNs } ?? 0
    }

    // MARK: Packets in

    /// The sender changed: its SSRC is another, or it comes from elsewhere.
    mutating func restart() {
        jitter.restart()
        concealer.reset()
        flags.insert(.discontinuity)
        restartCount &+= 1
    }

    /// Takes an audio packet of a codec whose clock is the stream's.
    mutating func receive(_ packet: RTPPacket, codec: AudioCodec, payload: UnsafeRawBufferPointer, now: Int64) {
        let duration: Int
        if codec == .opus {
            guard let ticks = OpusDecoder.duration(of: payload) else { unusableCount &+= 1; return }
            duration = ticks
        } else {
            duration = payload.count
        }
        guard duration > 0, duration * 1_000 <= 120 * clockRateHz else { unusableCount &+= 1; return }
        // The slot remembers the codec and not the number, which the next negotiation may give to something else.
        var packet = packet
        packet.payloadType = codec.rawValue
        switch jitter.insert(packet, payload: payload, duration: duration, now: now) {
        case .stored: break
        case .duplicate: duplicateCount &+= 1
        case .late: lateCount &+= 1
        case .tooLong: unusableCount &+= 1
        case .restarted:
            restartCount &+= 1
            flags.insert(.discontinuity)
        }
    }

    /// The peer sends comfort noise (RFC 3389): until the next audio packet nothing is missing.
    mutating func noteComfortNoise() { isComfortNoise = true }

    /// The peer sends a telephone event instead of audio: for the next packets nothing is missing.
    mutating func noteTelephoneEvent(now: Int64) { eventUntilNs = now &+ 80_000_000 }

    // MARK: Audio out

    /// Fills `frame` with the 20 ms that are due at `now`. `position` is the caller's.
    mutating func produce(into frame: UnsafeMutablePointer<MediaFrame>, now: Int64) {
        while pendingCount < frameCount { decodeMore(now: now) }
        let samples = frame.samples
        let captured = now &- heldNs(now: now)
        if !correct(into: samples, now: now) { take(frameCount, into: samples) }
        frame.pointee.captureNs = captured
        frame.pointee.sampleRateHz = Int32(sampleRateHz)
        frame.pointee.sampleCount = Int32(frameCount)
        frame.pointee.flags = flags
        flags = []
    }

    private var pendingNs: Int64 { Int64(pendingCount) &* 1_000_000_000 / Int64(sampleRateHz) }

    private func excessNs(_ now: Int64) -> Int64? { jitter.excessNs(now: now, pendingNs: pendingNs) }

    private mutating func decodeMore(now: Int64) {
        let wanted = frameCount - pendingCount
        let ticks = wanted * clockRateHz / sampleRateHz
        let target = pending + pendingCount
        switch jitter.next(now: now, duration: ticks) {
        case .silence:
            target.update(repeating: 0, count: wanted)
            pendingCount += wanted
            concealer.reset()
            flags.insert(.silenceFill)
        case .decode(let index):
            pendingCount += decode(index, into: target)
            jitter.release(index)
            isComfortNoise = false
            stretchedInARow = 0
        case .conceal(let following):
            conceal(wanted, ticks: ticks, following: following, into: target, now: now)
            pendingCount += wanted
        }
    }

    private mutating func decode(_ index: Int, into target: UnsafeMutablePointer<Int16>) -> Int {
        let slot = jitter.slot(index)
        let payload = jitter.payload(index)
        let count = Int(slot.byteCount)
        switch AudioCodec(rawValue: slot.payloadType) {
        case .opus?:
            let limit = Self.pendingLimit - pendingCount
            guard let decoded = opus?.decode(payload, count: count, into: target, limit: limit) else {
                unusableCount &+= 1
                return 0
            }
            return decoded
        case let codec?:
            let tables = codec == .pcmu ? mu : a
            if sampleRateHz == 8_000 {
                tables.decode(payload, count: count, into: target)
                concealer.hear(target, count: count)
                return count
            }
            tables.decode(payload, count: count, into: narrow)
            doubler.double(narrow, count: count, into: target)
            concealer.hear(target, count: 2 * count)
            return 2 * count
        case nil:
            return 0
        }
    }

    private mutating func conceal(
        _ count: Int, ticks: Int, following: Int, into target: UnsafeMutablePointer<Int16>, now: Int64
    ) {
        if isComfortNoise || now < eventUntilNs || concealer.concealedCount > sampleRateHz / 5 {
            target.update(repeating: 0, count: count)
            flags.insert(.silenceFill)
            // Nothing is audible, so this is the moment to be as late as needed and no later.
            if let excess = excessNs(now), excess > 10_000_000 { jitter.skip(ns: excess) }
            return
        }
        flags.insert(.concealed)
        concealedSampleCount &+= UInt64(count)
        // The packet may be on its way still: rather than giving it up, give it more time. At most 100 ms at once.
        if stretchedInARow < 5, let excess = excessNs(now), excess < -Self.shallowSlackNs {
            jitter.stretch(by: ticks)
            stretchedInARow += 1
        }
        // Redundancy covers a whole packet; a part of one is left to libopus' own invention.
        let slot = following >= 0 ? jitter.slot(following) : JitterBuffer.Slot()
        let successor = following >= 0 && Int(slot.duration) == ticks ? jitter.payload(following) : nil
        let successorCount = successor == nil ? 0 : Int(slot.byteCount)
        if opus?.conceal(count, successor: successor, successorCount: successorCount, into: target) == true { return }
        concealer.conceal(count, into: target)
    }

    /// Takes ten milliseconds out or puts them in, when that is due. False: the frame is still to be taken as it is.
    private mutating func correct(into samples: UnsafeMutablePointer<Int16>, now: Int64) -> Bool {
        framesSinceCorrection += 1
        // Not more often than every 100 ms: a correction is a tenth of the time at most.
        guard framesSinceCorrection >= 5, let excess = excessNs(now) else { return false }
        let half = frameCount / 2
        let isForced = excess > DelayModel.maximumDelayNs
        guard excess > Self.deepSlackNs || excess < -Self.shallowSlackNs, isForced || isQuiet else { return false }
        if excess < 0 {
            samples.update(from: pending, count: half)
            for index in 0..<half { samples[half + index] = blend(pending[half + index], pending[index], index, half) }
            drop(half)
        } else {
            if pendingCount < frameCount + half { decodeMore(now: now) }
            guard pendingCount >= frameCount + half else { return false }
            for index in 0..<half { pending[half + index] = blend(pending[index], pending[half + index], index, half) }
            drop(half)
            take(frameCount, into: samples)
        }
        framesSinceCorrection = 0
        correctionCount &+= 1
        return true
    }

    private var isQuiet: Bool {
        var sum = 0
        for index in 0..<frameCount { sum += Int(pending[index].magnitude) }
        return sum < Self.quietLevel * frameCount
    }

    @inline(__always)
    private func blend(_ from: Int16, _ to: Int16, _ index: Int, _ count: Int) -> Int16 {
        Int16(truncatingIfNeeded: (Int(from) * (count - index) + Int(to) * index) / count)
    }

    private mutating func take(_ count: Int, into samples: UnsafeMutablePointer<Int16>) {
        samples.update(from: pending, count: count)
        drop(count)
    }

    private mutating func drop(_ count: Int) {
        pendingCount -= count
        if pendingCount > 0 { pending.update(from: pending + count, count: pendingCount) }
    }
}
