// The playout's promise: what was pulled was heard, to the sample, whatever happens in between.

import Synchronization
import Testing

@testable import Media

@Suite("Playout")
struct PlayoutTests {
    /// A playout with both its ends, at 8 kHz.
    private final class Rig {
        let samples = LockFreeRing<Int16>(capacity: Playout.sampleCapacity)
        let marks = LockFreeRing<PlayoutMark>(capacity: Playout.markCapacity)
        let word = UnsafeMutablePointer<Atomic<UInt64>>.allocate(capacity: 1)
        var playout: Playout
        var writer: PlayoutWriter
        var notices: [PlayoutNotice] = []

        init() {
            word.initialize(to: Atomic(0))
            playout = Playout(samples: samples, marks: marks, position: word, sampleRateHz: 8_000)
            writer = PlayoutWriter(samples: samples, marks: marks)
        }

        deinit {
            samples.deallocate()
            marks.deallocate()
            word.deallocate()
        }

        var epoch: UInt64 { word.pointee.load(ordering: .relaxed) >> 32 }
        var played: UInt64 { word.pointee.load(ordering: .relaxed) & 0xFFFF_FFFF }

        func write(_ samples: [Int16], epoch: UInt64) -> PlayoutWrite {
            withSamples(samples) { writer.write($0, epoch: epoch) }
        }

        func finish(epoch: UInt64) -> Bool { writer.finish(epoch: epoch) }

        func pull(_ count: Int = 160) -> [Int16] {
            var output = [Int16](repeating: 1, count: count)
            _ = playout.pull(count, into: &output) { notices.append($0) }
            return output
        }
    }

    private func ramp(_ range: Range<Int>) -> [Int16] { range.map { Int16($0 % 10_000 + 100) } }

    @Test("Samples come out as they went in, then silence")
    func passThrough() {
        let rig = Rig()
        #expect(rig.write(ramp(0..<200), epoch: 1) == .accepted(200))
        #expect(rig.pull() == ramp(0..<160))
        #expect(rig.pull() == ramp(160..<200) + [Int16](repeating: 0, count: 120))
        #expect(rig.epoch == 1 && rig.played == 200)
        #expect(rig.pull() == [Int16](repeating: 0, count: 160))
    }

    @Test("It takes what it has room for and says how much that was")
    func bounded() {
        let rig = Rig()
        #expect(rig.write(ramp(0..<40_000), epoch: 1) == .accepted(Playout.sampleCapacity))
        #expect(rig.write(ramp(0..<10), epoch: 1) == .accepted(0))
        _ = rig.pull()
        #expect(rig.write(ramp(0..<1_000), epoch: 1) == .accepted(160))
    }

    @Test("A pause stops before the next sample, a resume goes on at exactly that sample")
    func pauseAndResume() {
        let rig = Rig()
        _ = rig.write(ramp(0..<1_600), epoch: 1)
        #expect(rig.pull() == ramp(0..<160))
        rig.playout.pause()
        let faded = rig.pull()
        // The next five milliseconds, fading, and nothing after them.
        #expect(faded[0] == 260 && faded[39] < 20)
        #expect(faded[40...].allSatisfy { $0 == 0 })
        #expect(rig.played == 160)
        for _ in 0..<100 { #expect(rig.pull() == [Int16](repeating: 0, count: 160)) }
        #expect(rig.played == 160)
        rig.playout.resume()
        let resumed = rig.pull()
        #expect(resumed[0] == 0)
        #expect(Array(resumed[40...]) == ramp(200..<320))
        #expect(rig.played == 320)
    }

    @Test("Fades are monotone: no sample of a fade jumps")
    func noClick() {
        let rig = Rig()
        _ = rig.write([Int16](repeating: 10_000, count: 1_600), epoch: 1)
        var heard = rig.pull()
        rig.playout.pause()
        heard += rig.pull()
        rig.playout.resume()
        heard += rig.pull()
        let steps = zip(heard, heard.dropFirst()).map { abs(Int($0) - Int($1)) }
        #expect(steps.max()! <= 10_000 / 40 + 1)
    }

    @Test("A flush drops what is older within the frame, and tells how much of it was heard")
    func flush() {
        let rig = Rig()
        _ = rig.write(ramp(0..<1_600), epoch: 1)
        _ = rig.pull()
        rig.writer.refuse(before: 2)
        guard case .flushed(epoch: 1, played: 160)? = rig.playout.flush(before: 2) else {
            Issue.record("the flush must report epoch 1 with 160 samples")
            return
        }
        #expect(rig.samples.count() == 0)
        #expect(rig.write(ramp(0..<10), epoch: 1) == .stale)
        #expect(rig.write(ramp(5_000..<5_400), epoch: 2) == .accepted(400))
        let first = rig.pull()
        // The old epoch's last milliseconds fade out under the new one's first.
        #expect(Array(first[40...]) == ramp(5_040..<5_160))
        #expect(rig.epoch == 2 && rig.played == 160)
        #expect(rig.pull() == ramp(5_160..<5_320))
    }

    @Test("What a voice still writes of a flushed epoch is never heard")
    func stragglers() {
        let rig = Rig()
        _ = rig.write(ramp(0..<320), epoch: 1)
        _ = rig.pull()
        // The writer does not know yet: the race that a flush must win.
        _ = rig.playout.flush(before: 3)
        #expect(rig.write(ramp(320..<640), epoch: 1) == .accepted(320))
        #expect(rig.write(ramp(0..<160), epoch: 2) == .accepted(160))
        _ = rig.pull()
        #expect(rig.pull().allSatisfy { $0 == 0 })
        #expect(rig.write(ramp(700..<860), epoch: 3) == .accepted(160))
        #expect(rig.pull() == ramp(700..<860))
        #expect(rig.epoch == 3 && rig.played == 160)
    }

    @Test("A flush ends a pause: the next turn is heard")
    func flushWhilePaused() {
        let rig = Rig()
        _ = rig.write(ramp(0..<800), epoch: 1)
        _ = rig.pull()
        rig.playout.pause()
        _ = rig.pull()
        _ = rig.playout.flush(before: 2)
        _ = rig.write(ramp(0..<160), epoch: 2)
        #expect(rig.pull() == ramp(0..<160))
    }

    @Test("The end of an epoch is reported when its last sample was pulled, not before")
    func drained() {
        let rig = Rig()
        _ = rig.write(ramp(0..<300), epoch: 4)
        #expect(rig.finish(epoch: 4))
        _ = rig.pull()
        #expect(rig.notices.isEmpty)
        _ = rig.pull()
        guard case .drained(epoch: 4, played: 300)? = rig.notices.first, rig.notices.count == 1 else {
            Issue.record("epoch 4 must be drained once, after 300 samples: \(rig.notices)")
            return
        }
        #expect(rig.playout.underrunCount == 0)
    }

    @Test("An epoch that ends without a sample is drained too")
    func emptyEpoch() {
        let rig = Rig()
        #expect(rig.finish(epoch: 1))
        _ = rig.pull()
        #expect(rig.notices.count == 1)
    }

    @Test("A voice that runs dry in mid-epoch is counted once for each time")
    func underrun() {
        let rig = Rig()
        _ = rig.write(ramp(0..<200), epoch: 1)
        for _ in 0..<10 { _ = rig.pull() }
        #expect(rig.playout.underrunCount == 1)
        _ = rig.write(ramp(0..<170), epoch: 1)
        for _ in 0..<10 { _ = rig.pull() }
        #expect(rig.playout.underrunCount == 2)
    }

    @Test("Two epochs in one frame: each is counted for itself")
    func twoEpochsInAFrame() {
        let rig = Rig()
        _ = rig.write(ramp(0..<100), epoch: 1)
        #expect(rig.finish(epoch: 1))
        _ = rig.write(ramp(500..<800), epoch: 2)
        #expect(rig.pull() == ramp(0..<100) + ramp(500..<560))
        #expect(rig.epoch == 2 && rig.played == 60)
    }

    @Test("More time never credits fewer samples, and never one that was not written", arguments: 0..<40)
    func creditIsMonotone(seed: Int) {
        var random = SplitMix(seed: UInt64(seed))
        let rig = Rig()
        var epoch: UInt64 = 1
        var written: [UInt64: UInt64] = [:]
        var last: (epoch: UInt64, played: UInt64) = (0, 0)
        var pausedAt: UInt64?
        for _ in 0..<600 {
            switch Int.random(in: 0..<12, using: &random) {
            case 0..<4:
                let count = Int.random(in: 0..<500, using: &random)
                if case .accepted(let taken) = rig.write(ramp(0..<count), epoch: epoch) {
                    written[epoch, default: 0] += UInt64(taken)
                }
            case 4:
                rig.playout.pause()
                pausedAt = rig.epoch == epoch ? rig.played : nil
            case 5:
                rig.playout.resume()
                pausedAt = nil
            case 6:
                epoch += UInt64.random(in: 1...2, using: &random)
                rig.writer.refuse(before: UInt32(epoch))
                _ = rig.playout.flush(before: UInt32(epoch))
                pausedAt = nil
            case 7:
                _ = rig.finish(epoch: epoch)
            default:
                _ = rig.pull()
            }
            let now = (epoch: rig.epoch, played: rig.played)
            #expect(now.epoch > last.epoch || now.epoch == last.epoch && now.played >= last.played)
            #expect(now.played <= written[now.epoch, default: 0])
            if let pausedAt { #expect(now.played == pausedAt) }
            last = now
        }
    }
}
