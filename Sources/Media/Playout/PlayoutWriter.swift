// The writing end of a stream's playout. Whoever gets the voice's audio writes here, on one thread at a time; the room
// left is the back-pressure that goes back to the voice.

import Synchronization

/// How much of what was played the caller has heard.
public struct PlayedPosition: Equatable, Sendable {
    /// The epoch that played last.
    public var epoch: UInt64
    /// Samples of that epoch that were sent, at the stream's conversation rate.
    public var samples: UInt64
}

/// What became of samples that were written.
public enum PlayoutWrite: Equatable, Sendable {
    /// So many of them are queued; write the rest when there is room.
    case accepted(Int)
    /// Their epoch was flushed: nothing more of it will ever be played.
    case stale
}

/// The producer's side of `Playout`.
struct PlayoutWriter: BitwiseCopyable {
    let samples: LockFreeRing<Int16>
    let marks: LockFreeRing<PlayoutMark>
    private var epoch: UInt32?
    private var minimumEpoch: UInt32 = 0
    private var isFinished = false
    private var written: UInt64 = 0

    init(samples: LockFreeRing<Int16>, marks: LockFreeRing<PlayoutMark>) {
        self.samples = samples
        self.marks = marks
    }

    /// Queues as much as there is room for.
    mutating func write(_ audio: UnsafeBufferPointer<Int16>, epoch: UInt64) -> PlayoutWrite {
        let epoch = Self.narrow(epoch)
        if epoch < minimumEpoch || epoch < self.epoch ?? 0 { return .stale }
        if self.epoch != epoch || isFinished {
            guard !audio.isEmpty, samples.freeCount > 0 else { return .accepted(0) }
            if self.epoch != epoch {
                guard marks.push(PlayoutMark(kind: .begin, epoch: epoch, index: written)) else { return .accepted(0) }
            }
            self.epoch = epoch
            isFinished = false
        }
        let count = samples.push(contentsOf: audio)
        written &+= UInt64(count)
        return .accepted(count)
    }

    /// Says that nothing more of `epoch` will come, so that its last sample can be reported as such. False: the ring of
    /// marks is full for now.
    mutating func finish(epoch: UInt64) -> Bool {
        let epoch = Self.narrow(epoch)
        if epoch < minimumEpoch || epoch < self.epoch ?? 0 { return true }
        if self.epoch != epoch {
            // Nothing was ever written: it begins and ends at the same sample, and is reported all the same.
            guard marks.capacity - marks.count() >= 2 else { return false }
            _ = marks.push(PlayoutMark(kind: .begin, epoch: epoch, index: written))
            self.epoch = epoch
        } else if isFinished {
            return true
        }
        guard marks.push(PlayoutMark(kind: .end, epoch: epoch, index: written)) else { return false }
        isFinished = true
        return true
    }

    /// Epochs before this one were flushed.
    mutating func refuse(before epoch: UInt32) { minimumEpoch = max(minimumEpoch, epoch) }

    /// The position is published in one word, so an epoch has 32 bits of it: four billion interruptions of one call.
    static func narrow(_ epoch: UInt64) -> UInt32 {
        precondition(epoch <= UInt64(UInt32.max), "epoch \(epoch) does not fit 32 bits")
        return UInt32(epoch)
    }
}
