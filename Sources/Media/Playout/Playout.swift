// The agent's voice on its way out: samples written ahead by whoever synthesises them, pulled one frame at a time when
// the frame is due. What has been pulled has been sent, so what the caller heard is known to the sample.
//
// Two rings and no lock. Samples are in one; the other holds marks ("from sample n on it is epoch e", "epoch e ends at
// sample n"), so that the samples themselves carry nothing. Pause, resume and flush arrive as commands between two
// frames and take effect at exactly the sample that would have been next.
//
// A cut in the middle of a vowel clicks. So pause and flush play the next five milliseconds once more than they are
// counted: faded to nothing, and *not* taken as heard. A resume starts again at the first uncounted sample, fading in.
// The count can therefore be short of what the ear caught by five milliseconds, and never beyond it.

import Synchronization

/// A change in the meaning of the samples that follow.
struct PlayoutMark: BitwiseCopyable {
    enum Kind: UInt8, BitwiseCopyable { case begin, end }
    var kind: Kind
    var epoch: UInt32
    /// The place in the stream of samples, counted from the first ever written.
    var index: UInt64
}

/// What the playout tells the call.
enum PlayoutNotice: BitwiseCopyable {
    /// The last sample of an epoch that was finished was sent.
    case drained(epoch: UInt32, played: UInt64)
    /// A flush ended an epoch; so much of it had been sent.
    case flushed(epoch: UInt32, played: UInt64)
}

/// The reading end of a stream's playout. Driven by the media thread; the writing end is `PlayoutWriter`.
struct Playout: ~Copyable {
    /// The voice's credit is two seconds of audio (its plugin keeps the rest), and this is two seconds at 16 kHz.
    static let sampleCapacity = 32_768
    /// Two marks for each clause spoken; two seconds hold no more than a few.
    static let markCapacity = 64

    private let samples: LockFreeRing<Int16>
    private let marks: LockFreeRing<PlayoutMark>
    /// Epoch in the upper half, samples sent in the lower: read by the call's thread.
    private let position: UnsafeMutablePointer<Atomic<UInt64>>
    private var fadeCount: Int

    private var readIndex: UInt64 = 0
    private var epoch: UInt32 = 0
    private var played: UInt64 = 0
    private var isInEpoch = false
    private var minimumEpoch: UInt32 = 0
    private(set) var isPaused = false
    private var isUnderrun = false
    private var wasAudible = false
    private var fadeInLeft = 0
    private var tail = InlineArray<80, Int16>(repeating: 0)
    private var tailCount = 0

    private(set) var underrunCount: UInt64 = 0
    private(set) var sentCount: UInt64 = 0

    init(
        samples: LockFreeRing<Int16>, marks: LockFreeRing<PlayoutMark>,
        position: UnsafeMutablePointer<Atomic<UInt64>>, sampleRateHz: Int
    ) {
        self.samples = samples
        self.marks = marks
        self.position = position
        fadeCount = sampleRateHz / 200
    }

    /// The rate at which samples are written, once it is known. Before the first of them.
    mutating func setSampleRate(_ sampleRateHz: Int) { fadeCount = sampleRateHz / 200 }

    /// Whether something is waiting that a frame would carry.
    var hasAudio: Bool { !isPaused && samples.count() > 0 }

    /// Epoch of the sample that is next.
    var currentEpoch: UInt32 { epoch }

    /// Copies a whole frame of what comes `offset` samples after the next one, without taking it. False when there is
    /// less.
    func peek(_ count: Int, offset: Int, into output: UnsafeMutablePointer<Int16>) -> Bool {
        guard !isPaused, samples.count() >= offset + count else { return false }
        return samples.peek(into: output, count: count, offset: offset) == count
    }

    /// Passes what stands before the next sample, so that `currentEpoch` is that sample's. False when there is none.
    mutating func begin(_ notify: (PlayoutNotice) -> Void) -> Bool {
        guard !isPaused else { return false }
        dropStale()
        while passMark(notify) {}
        return samples.count() > 0
    }

    // MARK: Commands, between two frames

    /// Stops before the next sample. Sending goes on, with silence.
    mutating func pause() {
        guard !isPaused else { return }
        keepTail()
        isPaused = true
    }

    /// Goes on at the sample at which it paused.
    mutating func resume() {
        guard isPaused else { return }
        isPaused = false
        if isInEpoch { fadeInLeft = fadeCount }
    }

    /// Drops everything of epochs before `epoch`, whatever is written of them later, and ends a pause: what comes next
    /// is another turn.
    mutating func flush(before epoch: UInt32) -> PlayoutNotice? {
        guard epoch > minimumEpoch else { return nil }
        minimumEpoch = epoch
        let cutsIn = isInEpoch && self.epoch < epoch
        if cutsIn && !isPaused { keepTail() }
        isPaused = false
        let notice: PlayoutNotice? = cutsIn ? .flushed(epoch: self.epoch, played: played) : nil
        if cutsIn { isInEpoch = false }
        dropStale()
        return notice
    }

    // MARK: Audio out

    /// Fills `count` samples, with silence where there is nothing to play. Returns whether there is anything but
    /// silence.
    mutating func pull(
        _ count: Int, into output: UnsafeMutablePointer<Int16>, notify: (PlayoutNotice) -> Void
    ) -> Bool {
        var filled = 0
        if !isPaused {
            dropStale()
            while filled < count {
                // Samples before marks: a mark is written before the samples behind it.
                let waiting = samples.count()
                if passMark(notify) { continue }
                let taken = samples.peek(
                    into: output + filled, count: min(count - filled, min(waiting, distanceToMark)))
                guard taken > 0 else { break }
                samples.discard(taken)
                readIndex &+= UInt64(taken)
                fadeIn(output + filled, count: taken)
                played &+= UInt64(taken)
                filled += taken
                // An epoch may go on after its end was announced.
                isInEpoch = true
            }
            if filled > 0 { position.pointee.store(UInt64(epoch) << 32 | played, ordering: .releasing) }
            noteUnderrun(isShort: filled < count)
        }
        sentCount &+= UInt64(filled)
        (output + filled).update(repeating: 0, count: count - filled)
        wasAudible = filled == count
        let hadTail = tailCount > 0
        mixTail(into: output)
        return filled > 0 || hadTail
    }

    /// Handles the mark at the read position, if there is one.
    private mutating func passMark(_ notify: (PlayoutNotice) -> Void) -> Bool {
        guard let mark = marks.peek(), mark.index == readIndex else { return false }
        marks.discard(1)
        switch mark.kind {
        case .begin:
            epoch = mark.epoch
            played = 0
            isInEpoch = true
            position.pointee.store(UInt64(epoch) << 32, ordering: .releasing)
        case .end:
            guard isInEpoch, mark.epoch == epoch else { return true }
            isInEpoch = false
            notify(.drained(epoch: epoch, played: played))
        }
        // What was begun may be stale already.
        dropStale()
        return true
    }

    private var distanceToMark: Int {
        guard let mark = marks.peek() else { return .max }
        return Int(mark.index &- readIndex)
    }

    /// Drops what belongs to epochs that were flushed.
    private mutating func dropStale() {
        while true {
            let waiting = samples.count()
            let mark = marks.peek()
            if let mark, mark.index == readIndex, mark.epoch < minimumEpoch {
                marks.discard(1)
                // An epoch that begins stale never begins; its samples belong to nobody.
                if mark.kind == .begin {
                    epoch = mark.epoch
                    played = 0
                    isInEpoch = false
                }
                continue
            }
            guard epoch < minimumEpoch, waiting > 0 else { return }
            let stale = min(waiting, mark.map { Int($0.index &- readIndex) } ?? waiting)
            guard stale > 0 else { return }
            samples.discard(stale)
            readIndex &+= UInt64(stale)
        }
    }

    private mutating func noteUnderrun(isShort: Bool) {
        if !isShort {
            isUnderrun = false
        } else if isInEpoch, played > 0, !isUnderrun {
            isUnderrun = true
            underrunCount &+= 1
        }
    }

    // MARK: Fades

    /// Remembers the next few milliseconds, faded out, without taking them from the ring.
    private mutating func keepTail() {
        guard wasAudible, isInEpoch, epoch == currentEpochOfNextSample else { return }
        let limit = min(fadeCount, distanceToMark)
        var count = 0
        withUnsafeTemporaryAllocation(of: Int16.self, capacity: fadeCount) { next in
            count = samples.peek(into: next.baseAddress!, count: limit)
            for index in 0..<count {
                tail[index] = Int16(truncatingIfNeeded: Int(next[index]) * (fadeCount - index) / fadeCount)
            }
        }
        tailCount = count
    }

    private var currentEpochOfNextSample: UInt32 {
        if let mark = marks.peek(), mark.index == readIndex, mark.kind == .begin { return mark.epoch }
        return epoch
    }

    private mutating func mixTail(into output: UnsafeMutablePointer<Int16>) {
        for index in 0..<tailCount { output[index] = Int16(clamping: Int(output[index]) + Int(tail[index])) }
        tailCount = 0
    }

    private mutating func fadeIn(_ samples: UnsafeMutablePointer<Int16>, count: Int) {
        for index in 0..<min(count, fadeInLeft) {
            let gain = fadeCount - fadeInLeft + index
            samples[index] = Int16(truncatingIfNeeded: Int(samples[index]) * gain / fadeCount)
        }
        fadeInLeft -= min(count, fadeInLeft)
    }
}
