/// The timers of all calls of a loop, in one heap.
///
/// Cancelling leaves the entry in the heap and forgets its generation, so both arming and cancelling are cheap; an
/// entry without a living generation is passed over when it comes up. Used on the loop's thread only.
struct LoopTimers {
    struct Key: Hashable {
        var call: Int
        var id: TimerID
    }

    private struct Entry {
        var at: Instant
        var generation: UInt64
        var key: Key
    }

    private var heap: [Entry] = []
    private var living: [Key: UInt64] = [:]
    private var generations: UInt64 = 0

    var count: Int { living.count }

    func count(of call: Int) -> Int {
        living.keys.count { $0.call == call }
    }

    mutating func arm(_ key: Key, at: Instant) {
        generations += 1
        living[key] = generations
        heap.append(Entry(at: at, generation: generations, key: key))
        var child = heap.count - 1
        while child > 0, comesBefore(child, (child - 1) / 2) {
            heap.swapAt(child, (child - 1) / 2)
            child = (child - 1) / 2
        }
        // Dead entries are swept when they outnumber the living, so that re-arming for ever needs no more memory.
        if heap.count > 64, heap.count > 4 * living.count { sweep() }
    }

    mutating func cancel(_ key: Key) {
        living[key] = nil
    }

    /// A call is over, and with it all it waited for.
    mutating func cancelAll(of call: Int) {
        for key in living.keys where key.call == call { living[key] = nil }
    }

    var next: Instant? {
        mutating get {
            dropDead()
            return heap.first?.at
        }
    }

    /// The next timer that is due, in the order of their deadlines and, for equal ones, of arming.
    mutating func popDue(at now: Instant) -> Key? {
        dropDead()
        guard let first = heap.first, first.at <= now else { return nil }
        living[first.key] = nil
        removeFirst()
        return first.key
    }

    private mutating func dropDead() {
        while let first = heap.first, living[first.key] != first.generation { removeFirst() }
    }

    private mutating func sweep() {
        heap = heap.filter { living[$0.key] == $0.generation }
        heap.sort { ($0.at, $0.generation) < ($1.at, $1.generation) }
    }

    private mutating func removeFirst() {
        heap.swapAt(0, heap.count - 1)
        heap.removeLast()
        var parent = 0
        while true {
            var least = parent
            for child in [2 * parent + 1, 2 * parent + 2] where child < heap.count && comesBefore(child, least) {
                least = child
            }
            guard least != parent else { return }
            heap.swapAt(parent, least)
            parent = least
        }
    }

    private func comesBefore(_ one: Int, _ other: Int) -> Bool {
        (heap[one].at, heap[one].generation) < (heap[other].at, heap[other].generation)
    }
}
