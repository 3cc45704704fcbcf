// Events that wait for credit.
//
// The host takes at most two seconds of audio ahead of the playout and then answers VC_E_AGAIN; a voice is faster than
// that. So what is refused waits here, in order, and so does everything after it. The bounds are for a vendor that
// sends without end: 4 MiB is a minute and a half of speech at 22 kHz, more than anybody asks a voice for in one turn.

struct Outbox<Item> {
    static var bytesMax: Int { 4 << 20 }
    static var itemsMax: Int { 8192 }

    private var items: [Item?] = []
    private var head = 0
    private var sizes: [Int] = []
    private(set) var bytes = 0

    var count: Int { items.count - head }
    var isEmpty: Bool { count == 0 }
    var isFull: Bool { bytes >= Self.bytesMax || count >= Self.itemsMax }
    var first: Item? { isEmpty ? nil : items[head] }

    /// Adds an item. The caller has looked at `isFull`; what ends a request is added in any case, since there are no
    /// more of those than there are requests.
    mutating func append(_ item: Item, bytes size: Int) {
        items.append(item)
        sizes.append(size)
        bytes += size
    }

    mutating func removeFirst() {
        bytes -= sizes[head]
        items[head] = nil
        head += 1
        // Shifting a long queue for each item would make emptying it quadratic.
        if head == items.count {
            items.removeAll(keepingCapacity: true)
            sizes.removeAll(keepingCapacity: true)
            head = 0
        } else if head >= 256 && head * 2 > items.count {
            items.removeFirst(head)
            sizes.removeFirst(head)
            head = 0
        }
    }

    mutating func removeAll(where shouldRemove: (Item) -> Bool) {
        var kept = Outbox()
        for index in head..<items.count {
            guard let item = items[index], !shouldRemove(item) else { continue }
            kept.append(item, bytes: sizes[index])
        }
        self = kept
    }
}
