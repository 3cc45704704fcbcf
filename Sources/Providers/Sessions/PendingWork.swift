// What is asked of a session before its plugin is READY: a connection is being made behind it. Two seconds of audio and
// a turn's worth of requests; beyond that the oldest audio goes, because the newest words matter most, and requests are
// refused, because to drop one of several would change what is said.

struct PendingWork {
    struct Item: Sendable {
        let slot: StaticString
        /// nil: it belongs to no epoch.
        let epoch: UInt64?
        /// Of audio.
        let samples: Int
        let run: @Sendable (UnsafeMutableRawPointer?) -> Void
    }

    private let samplesMax: Int
    private let requestsMax: Int
    private var items: [Item] = []
    private var samples = 0
    private var requests = 0
    private(set) var droppedSamples = 0

    init(samplesMax: Int = 0, requestsMax: Int = 0) {
        self.samplesMax = samplesMax
        self.requestsMax = requestsMax
    }

    var isEmpty: Bool { items.isEmpty }

    mutating func append(_ item: Item) -> Bool {
        if item.samples == 0 {
            guard requests < requestsMax else { return false }
            requests += 1
        } else {
            samples += item.samples
            while samples > samplesMax, let oldest = items.firstIndex(where: { $0.samples > 0 }) {
                samples -= items[oldest].samples
                droppedSamples += items[oldest].samples
                items.remove(at: oldest)
            }
            guard samples <= samplesMax else {
                samples -= item.samples
                return false
            }
        }
        items.append(item)
        return true
    }

    mutating func drop(olderThan epoch: UInt64) {
        items.removeAll { item in item.epoch.map { $0 < epoch } ?? false }
        samples = items.reduce(0) { $0 + $1.samples }
        requests = items.count { $0.samples == 0 }
    }

    mutating func takeAll() -> [Item] {
        defer {
            items = []
            samples = 0
            requests = 0
        }
        return items
    }
}
