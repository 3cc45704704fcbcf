// The only lock-free code of the media path, so that it has to be got right once.
//
// Every hand-over between a media thread and the rest of the host is one of these: commands to the engine, events to
// the call, samples to the playout, frames to the call and to the detector. One producer thread; one or two consumer
// threads, each of which reads everything, at its own speed.
//
// Indices only grow (64 bits never wrap) and the position in the buffer is the index masked, so full and empty cannot
// be mistaken for each other. The producer owns `head`. A reader owns its `tail`, with one exception: a ring of live
// audio must drop its *oldest* element when a reader is too slow, and only the producer knows that. So `tail` carries
// a bit that says "being read". The producer moves a tail on by compare-and-exchange and never while that bit is set;
// nobody ever copies an element that is being overwritten, which a sequence lock could not promise.
//
// Refused: a mutex (a media thread would wait for a preempted reader) and a ring per reader (twice the memory and twice
// the copying for the same audio).

import Synchronization

/// A bounded queue between one producer thread and one or two consumer threads that neither locks nor allocates.
///
/// The value is a handle: copying it copies no elements, and its memory lives until `deallocate()`.
struct LockFreeRing<Element: BitwiseCopyable>: @unchecked Sendable {
    /// What became of an element that was pushed over the end of a full ring.
    enum LivePush {
        case stored
        /// It is stored; the oldest element of at least one reader was dropped for it.
        case droppedOldest
        /// It is lost: a reader was just copying the slot that it needed.
        case refused
    }

    let capacity: Int
    let readers: Int
    private let mask: UInt64
    private let buffer: UnsafeMutablePointer<Element>
    /// `head`, then a `tail` for each reader, each on a cache line of its own: producer and reader run on two cores.
    private let indices: UnsafeMutablePointer<Atomic<UInt64>>

    private static var indexStride: Int { 8 }
    private static var beingRead: UInt64 { 1 << 63 }

    /// A ring of `capacity` elements, a power of two.
    init(capacity: Int, readers: Int = 1) {
        precondition(capacity > 0 && capacity & (capacity - 1) == 0, "capacity must be a power of two, is \(capacity)")
        precondition((1...2).contains(readers), "a ring has one or two readers, not \(readers)")
        self.capacity = capacity
        self.readers = readers
        mask = UInt64(capacity - 1)
        // Zeroed, and so touched now: the first lap of a media thread takes no page faults.
        buffer = MediaMemory.allocate(Element.self, count: capacity)
        let words = Self.indexStride * (1 + readers)
        indices = MediaMemory.allocate(Atomic<UInt64>.self, count: words)
        for word in 0..<words { (indices + word).initialize(to: Atomic(0)) }
    }

    /// Frees the memory. No thread may use any copy of this handle afterwards.
    func deallocate() {
        MediaMemory.deallocate(buffer, count: capacity)
        MediaMemory.deallocate(indices, count: Self.indexStride * (1 + readers))
    }

    /// Bytes of memory that a ring of this shape takes.
    var byteCount: Int { capacity * MemoryLayout<Element>.stride + Self.indexStride * (1 + readers) * 8 }

    @inline(__always) private var head: UnsafeMutablePointer<Atomic<UInt64>> { indices }
    @inline(__always) private func tail(_ reader: Int) -> UnsafeMutablePointer<Atomic<UInt64>> {
        indices + Self.indexStride * (1 + reader)
    }
    @inline(__always) private func slot(_ index: UInt64) -> UnsafeMutablePointer<Element> {
        buffer + Int(index & mask)
    }

    // MARK: Producer

    /// Elements that can be pushed now. It can only have grown by the time they are.
    var freeCount: Int {
        let written = head.pointee.load(ordering: .relaxed)
        var backlog: UInt64 = 0
        for reader in 0..<readers {
            let read = tail(reader).pointee.load(ordering: .acquiring) & ~Self.beingRead
            backlog = max(backlog, written &- read)
        }
        return capacity - Int(backlog)
    }

    /// Adds an element, or returns false when the ring is full.
    @discardableResult
    func push(_ element: Element) -> Bool {
        guard freeCount > 0 else { return false }
        let written = head.pointee.load(ordering: .relaxed)
        slot(written).pointee = element
        head.pointee.store(written &+ 1, ordering: .releasing)
        return true
    }

    /// Adds as many of `elements` as there is room for, in order, and returns how many that were.
    func push(contentsOf elements: UnsafeBufferPointer<Element>) -> Int {
        let count = min(elements.count, freeCount)
        guard count > 0, let source = elements.baseAddress else { return 0 }
        let written = head.pointee.load(ordering: .relaxed)
        let start = Int(written & mask)
        let first = min(count, capacity - start)
        (buffer + start).update(from: source, count: first)
        if count > first { buffer.update(from: source + first, count: count - first) }
        head.pointee.store(written &+ UInt64(count), ordering: .releasing)
        return count
    }

    /// Adds a live element, which `fill` writes in place; a reader that has a full ring behind it loses its oldest.
    func pushLive(_ fill: (UnsafeMutablePointer<Element>) -> Void) -> LivePush {
        let written = head.pointee.load(ordering: .relaxed)
        var outcome = LivePush.stored
        for reader in 0..<readers {
            let word = tail(reader)
            var seen = word.pointee.load(ordering: .acquiring)
            while written &- (seen & ~Self.beingRead) >= UInt64(capacity) {
                // The slot that we need is the very one being copied. Waiting is not for this thread.
                if seen & Self.beingRead != 0 { return .refused }
                let result = word.pointee.weakCompareExchange(
                    expected: seen, desired: seen &+ 1, successOrdering: .acquiringAndReleasing,
                    failureOrdering: .acquiring)
                if result.exchanged { outcome = .droppedOldest }
                seen = result.exchanged ? seen &+ 1 : result.original
            }
        }
        fill(slot(written))
        head.pointee.store(written &+ 1, ordering: .releasing)
        return outcome
    }

    // MARK: Consumers

    /// Elements that `reader` has not read yet.
    func count(reader: Int = 0) -> Int {
        let read = tail(reader).pointee.load(ordering: .relaxed) & ~Self.beingRead
        return Int(head.pointee.load(ordering: .acquiring) &- read)
    }

    /// Takes the oldest element that `reader` has not read.
    func pop(reader: Int = 0) -> Element? {
        let word = tail(reader)
        var seen = word.pointee.load(ordering: .acquiring)
        while true {
            guard head.pointee.load(ordering: .acquiring) != seen else { return nil }
            let result = word.pointee.weakCompareExchange(
                expected: seen, desired: seen | Self.beingRead, successOrdering: .acquiringAndReleasing,
                failureOrdering: .acquiring)
            if result.exchanged { break }
            seen = result.original
        }
        let element = slot(seen).pointee
        word.pointee.store(seen &+ 1, ordering: .releasing)
        return element
    }

    /// The oldest element, left where it is. Only for rings that are never pushed to by `pushLive`.
    func peek() -> Element? {
        let read = tail(0).pointee.load(ordering: .relaxed)
        guard head.pointee.load(ordering: .acquiring) != read else { return nil }
        return slot(read).pointee
    }

    /// Copies up to `count` elements, the first of them `offset` after the oldest, and leaves them in the ring.
    ///
    /// Only for rings that are never pushed to by `pushLive`. Returns how many were copied.
    func peek(into destination: UnsafeMutablePointer<Element>, count: Int, offset: Int = 0) -> Int {
        let read = tail(0).pointee.load(ordering: .relaxed)
        let available = Int(head.pointee.load(ordering: .acquiring) &- read) - offset
        let count = min(count, available)
        guard count > 0 else { return 0 }
        let start = Int((read &+ UInt64(offset)) & mask)
        let first = min(count, capacity - start)
        destination.update(from: buffer + start, count: first)
        if count > first { (destination + first).update(from: buffer, count: count - first) }
        return count
    }

    /// Gives up the oldest `count` elements, of those that `count(reader:)` reported. Not for rings of `pushLive`.
    func discard(_ count: Int) {
        let read = tail(0).pointee.load(ordering: .relaxed)
        tail(0).pointee.store(read &+ UInt64(count), ordering: .releasing)
    }
}
