// Audio in frames of the one length that the contract promises, whatever lengths it comes in.
//
// A resampler gives less at first and more later, and 20 ms at one rate are not always whole samples at another. What
// is left over waits for what follows; where audio is missing there is nothing that follows, and it is dropped: less
// than a frame, at the end of a stretch that the recogniser was told is over.

struct FrameCutter {
    let frameSamples: Int
    private var rest: [Int16] = []

    init(frameSamples: Int) { self.frameSamples = frameSamples }

    /// Calls `each` for every whole frame that there is now.
    mutating func cut(_ samples: UnsafeBufferPointer<Int16>, _ each: (UnsafeBufferPointer<Int16>) -> Void) {
        guard rest.isEmpty else {
            rest.append(contentsOf: samples)
            let joined = rest
            joined.withUnsafeBufferPointer { rest = Array($0[wholeFrames(of: $0, each)...]) }
            return
        }
        let used = wholeFrames(of: samples, each)
        if used < samples.count { rest = Array(samples[used...]) }
    }

    /// How many samples went.
    private func wholeFrames(
        of samples: UnsafeBufferPointer<Int16>, _ each: (UnsafeBufferPointer<Int16>) -> Void
    ) -> Int {
        var start = 0
        while start + frameSamples <= samples.count {
            each(UnsafeBufferPointer(rebasing: samples[start..<start + frameSamples]))
            start += frameSamples
        }
        return start
    }

    mutating func dropRest() { rest.removeAll(keepingCapacity: true) }
}
