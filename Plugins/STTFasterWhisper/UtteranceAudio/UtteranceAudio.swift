// The caller's audio, as long as it may be asked for.
//
// A recogniser that works on whole utterances needs the samples between two positions, and both positions are told
// late: where an utterance begins is known when the detector is sure, a fifth of a second after it did. So the newest
// audio is always kept, whether somebody speaks or not, and an utterance is cut out of it.

public struct UtteranceAudio: Sendable {
    /// Kept while nobody speaks: more than the 500 ms that the host may look back, with room for a slow detector.
    public static let preRollMs = 2000
    /// A longer gap than this is not filled with silence: what came before it belongs to another sentence.
    static let gapMaxMs = 1000

    private let rateHz: Int
    private let samplesMax: Int
    private var samples: [Int16] = []
    /// Position of `samples[0]`.
    private var base: UInt64 = 0
    /// Where the open utterance begins; nil: nobody speaks.
    private var start: UInt64?
    /// Where the latest closed utterance ended.
    private var closed: UInt64 = 0

    /// Samples that were dropped because an utterance was longer than the bound.
    public private(set) var droppedSamples: UInt64 = 0

    /// - Parameter secondsMax: the longest utterance; of a longer one the end is kept.
    public init(rateHz: Int, secondsMax: Int) {
        self.rateHz = rateHz
        samplesMax = max(rateHz * secondsMax, rateHz * Self.preRollMs / 1000)
        samples.reserveCapacity(rateHz * Self.preRollMs / 1000 * 2)
    }

    /// Position after the newest sample.
    public var end: UInt64 { base + UInt64(samples.count) }

    /// Makes room for a frame that begins at `position`, and has the caller append its samples from the offset
    /// returned.
    ///
    /// A gap becomes silence; what was heard already is left out.
    public mutating func append(at position: UInt64, _ fill: (inout [Int16], _ offset: Int) -> Void) {
        if samples.isEmpty && position > end {
            base = position
        } else if position > end {
            let gap = position - end
            if gap <= UInt64(rateHz * Self.gapMaxMs / 1000) {
                samples.append(contentsOf: repeatElement(0, count: Int(gap)))
            } else {
                samples.removeAll(keepingCapacity: true)
                base = position
            }
        }
        fill(&samples, Int(end - position))
        trim()
    }

    /// An utterance begins at `position`; audio before it is needed no more.
    public mutating func begin(at position: UInt64) { start = position }

    /// The utterance is closed at `position`.
    public mutating func close(at position: UInt64) {
        closed = max(closed, position)
        start = nil
        trim()
    }

    /// The part of the utterance that is there, up to `position`; without a beginning, what came since the last one.
    public func range(upTo position: UInt64) -> Range<UInt64> {
        let from = max(base, start ?? closed)
        let to = min(position, end)
        return from < to ? from..<to : to..<to
    }

    public subscript(range: Range<UInt64>) -> [Int16] {
        let range = range.clamped(to: base..<end)
        return Array(samples[Int(range.lowerBound - base)..<Int(range.upperBound - base)])
    }

    /// Whether somebody speaks between two positions, compared with how loud `reference` is.
    ///
    /// Two frames of 20 ms in a row must be within 30 dB of the loudest of the reference and above -50 dBFS: a click is
    /// one frame, line noise is 35 dB below speech and more, and a final "s" is 25 dB below.
    public func isSpeech(in range: Range<UInt64>, comparedWith reference: Range<UInt64>) -> Bool {
        let loudest = energies(in: reference).max() ?? 0
        let threshold = max(Self.silenceEnergy, loudest / 1000)
        var isPreviousLoud = false
        for energy in energies(in: range) {
            if energy > threshold && isPreviousLoud { return true }
            isPreviousLoud = energy > threshold
        }
        return false
    }

    /// Nothing louder than -50 dBFS for two frames: a recogniser would invent words.
    public func isSilent(in range: Range<UInt64>) -> Bool {
        !isSpeech(in: range, comparedWith: range.lowerBound..<range.lowerBound)
    }

    /// -50 dBFS, as a mean square.
    private static let silenceEnergy = 32768.0 * 32768.0 * 1e-5

    /// Mean squares of the frames of 20 ms, without their mean: some lines have a constant offset.
    private func energies(in range: Range<UInt64>) -> [Double] {
        let range = range.clamped(to: base..<end)
        let frame = max(1, rateHz / 50)
        var energies: [Double] = []
        var index = Int(range.lowerBound - base)
        let last = Int(range.upperBound - base)
        while index < last {
            let stop = min(index + frame, last)
            var sum = 0.0
            var squares = 0.0
            for sample in samples[index..<stop] {
                sum += Double(sample)
                squares += Double(sample) * Double(sample)
            }
            let count = Double(stop - index)
            energies.append(squares / count - (sum / count) * (sum / count))
            index = stop
        }
        return energies
    }

    private mutating func trim() {
        let kept = UInt64(rateHz * Self.preRollMs / 1000)
        var oldest = end > kept ? end - kept : 0
        if let start { oldest = min(oldest, start) }
        if end > UInt64(samplesMax) { oldest = max(oldest, end - UInt64(samplesMax)) }
        // Shifting the memory once a second is cheaper than a ring that every reader has to unwind.
        guard oldest > base + UInt64(rateHz) else { return }
        if let start, oldest > start { droppedSamples += oldest - max(base, start) }
        samples.removeFirst(Int(min(oldest, end) - base))
        base = oldest
    }
}
