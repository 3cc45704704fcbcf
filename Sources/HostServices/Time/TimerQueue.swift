// Which timer is due, as a value: a binary heap by time, with numbers that tell timers of the same instant apart, so
// that they fire in the order in which they were armed. Disarmed timers stay in the heap until their time comes, unless
// they become the larger half of it: taking one out of the middle costs more than carrying it along.

struct TimerQueue: Sendable {
    struct Entry: Sendable, Equatable {
        var atNs: UInt64
        var order: UInt64
        var identifier: UInt64

        func isBefore(_ other: Entry) -> Bool { (atNs, order) < (other.atNs, other.order) }
    }

    private var heap: [Entry] = []
    private var armed: Set<UInt64> = []
    private var nextOrder: UInt64 = 0

    /// When the next timer is due.
    var nextNs: UInt64? { heap.first?.atNs }

    /// Timers that will fire.
    var count: Int { armed.count }

    mutating func arm(_ identifier: UInt64, atNs: UInt64) {
        nextOrder += 1
        armed.insert(identifier)
        heap.append(Entry(atNs: atNs, order: nextOrder, identifier: identifier))
        siftUp(heap.count - 1)
    }

    mutating func disarm(_ identifier: UInt64) {
        armed.remove(identifier)
        if heap.count > 64, heap.count > 2 * armed.count {
            heap = heap.filter { armed.contains($0.identifier) }.sorted { $0.isBefore($1) }  // a sorted array is a heap
        }
    }

    /// Takes out what is due at `now`, in order.
    mutating func due(now: UInt64) -> [UInt64] {
        var due: [UInt64] = []
        while let first = heap.first, first.atNs <= now {
            removeFirst()
            if armed.remove(first.identifier) != nil { due.append(first.identifier) }
        }
        return due
    }

    private mutating func removeFirst() {
        heap[0] = heap[heap.count - 1]
        heap.removeLast()
        var index = 0
        while true {
            var smallest = index
            for child in [2 * index + 1, 2 * index + 2] where child < heap.count && heap[child].isBefore(heap[smallest])
            {
                smallest = child
            }
            if smallest == index { return }
            heap.swapAt(index, smallest)
            index = smallest
        }
    }

    private mutating func siftUp(_ start: Int) {
        var index = start
        while index > 0, heap[index].isBefore(heap[(index - 1) / 2]) {
            heap.swapAt(index, (index - 1) / 2)
            index = (index - 1) / 2
        }
    }
}
