// What is heard for a packet that did not come: the last pitch period again, and again, ever quieter. Speech is nearly
// periodic over 20 ms, so one lost packet is hardly noticed; after 60 ms whatever is repeated has become a buzz, so it
// has faded to nothing by then. In the spirit of ITU-T G.711 Appendix I, without its delay: the joint is smoothed when
// audio comes back, not before.
//
// The pitch is found by normalised correlation over the last 35 ms, at every second sample: a few thousand
// multiplications, only when a packet was lost.

/// Conceals losses of a codec that cannot do it itself, at one sample rate.
struct PacketLossConcealer: ~Copyable {
    private let rate: Int
    private let history: UnsafeMutablePointer<Int16>
    private let historyCount: Int
    private var pitch = 0
    /// Samples made up since the last real one.
    private(set) var concealedCount = 0

    init(sampleRateHz: Int) {
        rate = sampleRateHz
        historyCount = sampleRateHz / 20
        history = MediaMemory.allocate(Int16.self, count: historyCount)
    }

    deinit { MediaMemory.deallocate(history, count: historyCount) }

    /// Forgets what was heard: nothing may be repeated across a silence.
    mutating func reset() {
        history.update(repeating: 0, count: historyCount)
        concealedCount = 0
    }

    /// Makes up `count` samples.
    mutating func conceal(_ count: Int, into output: UnsafeMutablePointer<Int16>) {
        if concealedCount == 0 { pitch = findPitch() }
        let fadeBegin = rate / 100
        let fadeLength = rate / 20
        for index in 0..<count {
            let position = concealedCount + index
            let gain = max(0, min(fadeLength, fadeLength - (position - fadeBegin)))
            let sample = Int(history[historyCount - pitch + position % pitch])
            output[index] = Int16(truncatingIfNeeded: sample * gain / fadeLength)
        }
        concealedCount += count
    }

    /// Learns from real audio, and joins it smoothly to what was made up before it.
    mutating func hear(_ samples: UnsafeMutablePointer<Int16>, count: Int) {
        if concealedCount > 0 {
            let overlap = min(rate / 200, count)
            withUnsafeTemporaryAllocation(of: Int16.self, capacity: overlap) { made in
                conceal(overlap, into: made.baseAddress!)
                for index in 0..<overlap {
                    let new = Int(samples[index]) * index + Int(made[index]) * (overlap - index)
                    samples[index] = Int16(truncatingIfNeeded: new / overlap)
                }
            }
            concealedCount = 0
        }
        if count >= historyCount {
            history.update(from: samples + (count - historyCount), count: historyCount)
        } else {
            history.update(from: history + count, count: historyCount - count)
            (history + (historyCount - count)).update(from: samples, count: count)
        }
    }

    private func findPitch() -> Int {
        let shortest = rate / 200
        let longest = rate * 15 / 1_000
        let window = rate / 50
        let recent = history + (historyCount - window)
        var best = longest
        var bestScore: Float = 0
        for lag in stride(from: shortest, through: longest, by: 1) {
            var cross: Float = 0
            var energy: Float = 1
            for index in stride(from: 0, to: window, by: 2) {
                let past = Float((recent - lag)[index])
                cross += Float(recent[index]) * past
                energy += past * past
            }
            let score = cross > 0 ? cross * cross / energy : 0
            if score > bestScore {
                bestScore = score
                best = lag
            }
        }
        return best
    }
}
