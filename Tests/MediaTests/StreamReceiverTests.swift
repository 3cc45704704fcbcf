// Networks that lose, reorder, double and delay, under a virtual clock.

import Testing

@testable import Media

@Suite("Jitter buffer and receiver")
struct StreamReceiverTests {
    private static let frameNs: Int64 = 20_000_000

    /// A sender and a receiver, in time.
    private final class Rig {
        var receiver = StreamReceiver(codec: .pcmu, sampleRateHz: 8_000)!
        let frame = UnsafeMutablePointer<MediaFrame>.allocate(capacity: 1)
        var heard: [Int16] = []
        var flags: [MediaFrame.Flags] = []

        init() { frame.initialize(to: MediaFrame()) }
        deinit { frame.deallocate() }

        func send(_ index: Int, at now: Int64, sequence: UInt16? = nil, timestamp: UInt32? = nil, count: Int = 160) {
            let packet = RTPPacket(
                payloadType: 0, marker: index == 0, sequence: sequence ?? UInt16(truncatingIfNeeded: 65_500 + index),
                timestamp: timestamp ?? UInt32(truncatingIfNeeded: 4_294_960_000 + index * count), ssrc: 1)
            let payload = (0..<count).map { G711.mu.encode(StreamReceiverTests.sample(index * count + $0)) }
            payload.withUnsafeBytes { receiver.receive(packet, codec: .pcmu, payload: $0, now: now) }
        }

        func produce(at now: Int64) {
            receiver.produce(into: frame, now: now)
            frame.pointee.withSamples { heard += $0 }
            flags.append(frame.pointee.flags)
        }
    }

    /// A loud signal in which every place can be told from the others nearby.
    static func sample(_ index: Int) -> Int16 { Int16((index * 37) % 8_000 + 1_000) }
    static func decoded(_ range: Range<Int>) -> [Int16] { range.map { G711.mu.decode(G711.mu.encode(sample($0))) } }

    /// Sends packet n at 20 n ms plus `delay(n)` (nil: lost) and produces a frame every 20 ms.
    private func play(packets: Int, delayMs: (Int) -> Double?, countOf: Int = 160, driftPPM: Double = 0) -> Rig {
        let rig = Rig()
        let packetNs = Double(countOf) * 125_000 * (1 - driftPPM * 1e-6)
        var arrivals = (0..<packets).compactMap { index in
            delayMs(index).map { (index: index, at: Int64(Double(index) * packetNs + $0 * 1e6)) }
        }
        arrivals.sort { $0.at < $1.at }
        var pending = arrivals[...]
        let end = Int64(Double(packets) * packetNs) + 300_000_000
        // Half a millisecond off, so that nothing depends on who comes first at the same instant.
        var now: Int64 = 500_000
        while now < end {
            while let next = pending.first, next.at <= now {
                pending.removeFirst()
                rig.send(next.index, at: next.at, count: countOf)
            }
            rig.produce(at: now)
            now += Self.frameNs
        }
        return rig
    }

    private func contains(_ rig: Rig, _ expected: [Int16]) -> Bool {
        guard let first = rig.heard.firstIndex(where: { $0 != 0 }) else { return false }
        return Array(rig.heard[first...].prefix(expected.count)) == expected
    }

    @Test("A perfect network: every sample, once, across both wraps, 40 ms late")
    func perfect() {
        let rig = play(packets: 100, delayMs: { _ in 0 })
        #expect(contains(rig, Self.decoded(0..<16_000)))
        let first = rig.heard.firstIndex { $0 != 0 }!
        #expect((200...480).contains(first))
        #expect(rig.receiver.lateCount + rig.receiver.duplicateCount + rig.receiver.concealedSampleCount <= 2_000)
        #expect(!rig.flags[5..<95].contains { $0.contains(.concealed) })
    }

    @Test("Packets of 10, 30 and 60 ms", arguments: [80, 240, 480])
    func otherPacketTimes(count: Int) {
        let rig = play(packets: 16_000 / count, delayMs: { _ in 0 }, countOf: count)
        #expect(contains(rig, Self.decoded(0..<15_000)))
    }

    @Test("Reordered and doubled packets are put right")
    func reordered() {
        let rig = play(packets: 100, delayMs: { $0 % 10 == 3 ? 25 : 0 })
        #expect(contains(rig, Self.decoded(0..<16_000)))
        #expect(rig.receiver.lateCount == 0)

        let doubled = Rig()
        var now: Int64 = 0
        for index in 0..<50 {
            doubled.send(index, at: now)
            doubled.send(index, at: now)
            doubled.produce(at: now)
            now += Self.frameNs
        }
        #expect(doubled.receiver.duplicateCount == 50)
        #expect(contains(doubled, Self.decoded(0..<7_000)))
    }

    @Test("A lost packet is concealed, flagged, and shifts nothing")
    func loss() {
        let rig = play(packets: 100, delayMs: { $0 == 50 ? nil : 0 })
        let first = rig.heard.firstIndex { $0 != 0 }!
        #expect(Array(rig.heard[first..<first + 8_000]) == Self.decoded(0..<8_000))
        // Five milliseconds of the packet after are the seam.
        #expect(Array(rig.heard[first + 8_200..<first + 15_000]) == Self.decoded(8_200..<15_000))
        let made = rig.heard[first + 8_000..<first + 8_160]
        #expect(made.contains { abs(Int($0)) > 1_000 }, "a concealed frame is no silence")
        #expect(rig.flags.filter { $0.contains(.concealed) }.count >= 1)
        #expect(rig.receiver.lateCount == 0)
    }

    @Test("A packet after its playout is counted and dropped")
    func late() {
        let rig = play(packets: 60, delayMs: { $0 == 15 ? 120 : 0 })
        #expect(rig.receiver.lateCount == 1)
    }

    @Test("A network that gets worse is given more time, at most 200 ms; one that gets better is given less")
    func adapts() {
        var random = SplitMix(seed: 4)
        // Speech with pauses: corrections are made where it is quiet.
        let rig = Rig()
        var arrivals: [(index: Int, at: Int64)] = []
        for index in 0..<3_000 {
            let jitter =
                index < 1_000 ? Double.random(in: 0...90, using: &random) : Double.random(in: 0...5, using: &random)
            arrivals.append((index, Int64(index) * Self.frameNs + Int64(jitter * 1e6)))
        }
        arrivals.sort { $0.at < $1.at }
        var pending = arrivals[...]
        var targets: [Int64] = []
        var held: [Int64] = []
        for tick in 0..<3_000 {
            let now = Int64(tick) * Self.frameNs + 500_000
            while let next = pending.first, next.at <= now {
                pending.removeFirst()
                let packet = RTPPacket(
                    payloadType: 0, marker: false, sequence: UInt16(truncatingIfNeeded: next.index),
                    timestamp: UInt32(next.index * 160), ssrc: 1)
                let isPause = next.index % 50 > 40
                let payload = (0..<160).map { isPause ? 0xFF : G711.mu.encode(Self.sample($0)) }
                payload.withUnsafeBytes { rig.receiver.receive(packet, codec: .pcmu, payload: $0, now: next.at) }
            }
            rig.produce(at: now)
            targets.append(rig.receiver.jitter.delay.targetNs / 1_000_000)
            held.append((now - rig.frame.pointee.captureNs) / 1_000_000)
        }
        #expect((80...110).contains(targets[990]), "target \(targets[990])")
        #expect((60...140).contains(held[990]), "held \(held[990])")
        #expect(targets[2_990] <= 25, "target \(targets[2_990])")
        #expect(held[2_990] <= 60, "held \(held[2_990])")
        #expect(targets.allSatisfy { (20...200).contains($0) })
        #expect(rig.receiver.correctionCount > 2)
    }

    @Test("A sender's clock that drifts is followed, reported, and never runs the buffer empty or full",
        arguments: [-200.0, 200.0])
    func drift(ppm: Double) {
        let rig = Rig()
        var sent = 0
        var held: [Int64] = []
        for tick in 0..<30_000 {
            let now = Int64(tick) * Self.frameNs + 500_000
            while Double(sent) * 20e6 * (1 - ppm * 1e-6) <= Double(now) {
                let at = Int64(Double(sent) * 20e6 * (1 - ppm * 1e-6))
                let packet = RTPPacket(
                    payloadType: 0, marker: false, sequence: UInt16(truncatingIfNeeded: sent),
                    timestamp: UInt32(truncatingIfNeeded: sent * 160), ssrc: 1)
                let isPause = sent % 100 > 85
                let payload = (0..<160).map { isPause ? 0xFF : G711.mu.encode(Self.sample($0)) }
                payload.withUnsafeBytes { rig.receiver.receive(packet, codec: .pcmu, payload: $0, now: at) }
                sent += 1
            }
            rig.produce(at: now)
            held.append((now - rig.frame.pointee.captureNs) / 1_000_000)
            rig.heard = []
        }
        #expect(held[100...].allSatisfy { (12...60).contains($0) }, "\(held.min()!) to \(held.max()!)")
        #expect(abs(Double(rig.receiver.jitter.delay.driftPPM) - ppm) < 20, "\(rig.receiver.jitter.delay.driftPPM)")
        #expect(rig.receiver.restartCount == 0)
    }

    @Test("A silent sender whose timestamps went on is heard where it says")
    func silenceWithTime() {
        let rig = play(packets: 150, delayMs: { (50..<100).contains($0) ? nil : 0 })
        // The delay may have been made shorter in the silence, so it is only known roughly where it goes on.
        let resumed = Self.decoded(16_200..<22_000)
        let offsets = rig.heard.indices.filter { rig.heard[$0...].starts(with: resumed) }
        // The signal repeats itself every second; what came before the silence is the same as what comes after.
        #expect(offsets.contains { (15_800...17_000).contains($0) })
        #expect(rig.flags.contains(.silenceFill))
    }

    @Test("A sender whose timestamps stood still in its silence is heard again, with a discontinuity")
    func silenceWithoutTime() {
        let rig = Rig()
        var now: Int64 = 500_000
        for index in 0..<150 {
            let isSilent = (50..<100).contains(index)
            let number = index < 50 ? index : index - 50
            if !isSilent { rig.send(number, at: now) }
            rig.produce(at: now + 100_000)
            now += Self.frameNs
        }
        let tail = rig.heard.suffix(3_000)
        #expect(tail.contains { abs(Int($0)) > 900 })
        #expect(rig.receiver.restartCount == 1)
        #expect(rig.flags.contains { $0.contains(.discontinuity) })
    }

    @Test("A jump of more than a thousand sequence numbers, or of the timestamps, is a new timeline")
    func jumps() {
        let rig = Rig()
        var now: Int64 = 500_000
        for index in 0..<90 {
            let sequence = UInt16(index < 30 ? index : index < 60 ? index + 5_000 : index + 5_000)
            let timestamp = UInt32(index * 160 + (index >= 60 ? 9_000_000 : 0))
            rig.send(index, at: now, sequence: sequence, timestamp: timestamp)
            rig.produce(at: now + 100_000)
            now += Self.frameNs
        }
        #expect(rig.receiver.restartCount == 2)
        let tail = Array(rig.heard.suffix(160 * 20))
        #expect(!tail.contains(0))
    }

    @Test("Telephone events and comfort noise in the stream are silence and not a loss")
    func events() {
        let rig = Rig()
        var now: Int64 = 500_000
        for index in 0..<60 {
            if index < 20 || index >= 30 {
                rig.send(index, at: now)
            } else {
                rig.receiver.noteTelephoneEvent(now: now)
            }
            rig.produce(at: now + 100_000)
            now += Self.frameNs
        }
        #expect(rig.receiver.concealedSampleCount <= 160 * 3)
        #expect(rig.receiver.restartCount == 0)
    }

    @Test("Too long a payload is counted and not stored")
    func tooLong() {
        let rig = Rig()
        rig.send(0, at: 0, count: 900)
        #expect(rig.receiver.unusableCount == 1)
    }

    @Test("After 60 ms without a packet nothing is made up any more")
    func fadesOut() {
        let rig = play(packets: 60, delayMs: { $0 < 40 ? 0 : nil })
        let first = rig.heard.firstIndex { $0 != 0 }!
        #expect(rig.heard[(first + 6_400 + 640)...].allSatisfy { $0 == 0 })
    }

    @Test("Opus at 16 kHz carries a tone, and goes on after a loss")
    func opus() {
        let encoder = OpusEncoder(sampleRateHz: 16_000)!
        var receiver = StreamReceiver(codec: .opus, sampleRateHz: 16_000)!
        let frame = UnsafeMutablePointer<MediaFrame>.allocate(capacity: 1)
        frame.initialize(to: MediaFrame())
        defer { frame.deallocate() }
        var heard: [Int16] = []
        var packetBytes = [UInt8](repeating: 0, count: 1_400)
        for index in 0..<100 {
            let now = Int64(index) * Self.frameNs
            let input = tone(hertz: 500, count: 320, rate: 16_000, from: index * 320)
            let count = encoder.encode(input, count: 320, into: &packetBytes, limit: 1_400)!
            let packet = RTPPacket(
                payloadType: 111, marker: false, sequence: UInt16(index), timestamp: UInt32(index * 960), ssrc: 1)
            if index != 60 {
                packetBytes[..<count].withUnsafeBytes {
                    receiver.receive(packet, codec: .opus, payload: UnsafeRawBufferPointer(rebasing: $0[...]), now: now)
                }
            }
            receiver.produce(into: frame, now: now + 100_000)
            #expect(frame.pointee.sampleRateHz == 16_000 && frame.pointee.sampleCount == 320)
            frame.pointee.withSamples { heard += $0 }
        }
        func energy(_ range: Range<Int>) -> Double {
            let sum = heard[range].reduce(0.0) { $0 + Double($1) * Double($1) }
            return (sum / Double(range.count)).squareRoot()
        }
        #expect((4_000...7_500).contains(energy(10_000..<18_000)))
        #expect(energy(63 * 320..<64 * 320) > 1_000)
        let concealed = receiver.concealedSampleCount
        #expect(concealed == 320)
    }
}
