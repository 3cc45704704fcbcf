// How long packets must be held so that almost all of them are in time.
//
// Each packet's transit (arrival minus its place on the sender's timeline) is compared with the smallest transit of
// the last seconds: that packet met an empty network, so the difference is what the network added. The differences go
// into a histogram that forgets, and the delay to hold is its 97th percentile with a margin. A percentile, because a
// mean says nothing about the late ones and a maximum lets one hiccup delay a whole call.
//
// The smallest transit is taken over two windows of four seconds, so that it follows a sender whose clock runs faster
// or slower than ours; its slow movement *is* that drift, and is reported as such.

/// An estimate of the network's delay variation, and of the drift of the sender's clock.
struct DelayModel: BitwiseCopyable {
    static let minimumDelayNs: Int64 = 20_000_000
    static let maximumDelayNs: Int64 = 200_000_000
    static let initialDelayNs: Int64 = 40_000_000

    private static let bucketNs: Int64 = 5_000_000
    private static let bucketCount = 44
    private static let windowNs: Int64 = 4_000_000_000
    /// One packet weighs this much; every 32 packets all weights shrink by a sixteenth, a memory of about ten seconds.
    private static let weight: UInt32 = 1 << 12

    private var buckets = InlineArray<44, UInt32>(repeating: 0)
    private var total: UInt32 = 0
    private var packets: UInt32 = 0
    private var windowMinimum = Int64.max
    private var previousMinimum = Int64.max
    private var windowEndNs: Int64 = 0
    private var firstMinimum = Int64.max
    private var firstMinimumAtNs: Int64 = 0

    /// How long to hold a packet that met an empty network.
    private(set) var targetNs = DelayModel.initialDelayNs
    /// How much faster (positive) the sender's clock runs than ours, in millionths; 0 until ten seconds are known.
    private(set) var driftPPM: Int32 = 0

    /// The smallest transit of the last four to eight seconds.
    var baseTransitNs: Int64 { min(windowMinimum, previousMinimum) }

    /// Forgets the timeline, because the sender started another, but not how bad the network is.
    mutating func restartTimeline() {
        windowMinimum = .max
        previousMinimum = .max
        firstMinimum = .max
        windowEndNs = 0
        driftPPM = 0
    }

    mutating func observe(transitNs: Int64, now: Int64) {
        if now >= windowEndNs {
            if windowEndNs != 0 {
                noteDrift(now)
                previousMinimum = windowMinimum
                windowMinimum = .max
            }
            windowEndNs = now &+ Self.windowNs
        }
        windowMinimum = min(windowMinimum, transitNs)

        let extra = transitNs &- baseTransitNs
        let bucket = min(Int(extra / Self.bucketNs), Self.bucketCount - 1)
        buckets[bucket] &+= Self.weight
        total &+= Self.weight
        packets &+= 1
        if packets % 32 == 0 { forget() }
        // Half a second of packets before the first guess is given up: less is no distribution.
        if packets >= 25 { targetNs = percentile() }
    }

    private mutating func forget() {
        total = 0
        for index in 0..<Self.bucketCount {
            buckets[index] &-= buckets[index] >> 4
            total &+= buckets[index]
        }
    }

    private func percentile() -> Int64 {
        let limit = total - total / 32
        var sum: UInt32 = 0
        var index = 0
        while index < Self.bucketCount - 1 {
            sum &+= buckets[index]
            if sum >= limit { break }
            index += 1
        }
        // The upper edge of the bucket, and one bucket more as margin.
        let delay = Int64(index + 2) * Self.bucketNs
        return min(max(delay, Self.minimumDelayNs), Self.maximumDelayNs)
    }

    private mutating func noteDrift(_ now: Int64) {
        guard windowMinimum != .max else { return }
        if firstMinimum == .max {
            firstMinimum = windowMinimum
            firstMinimumAtNs = now
            return
        }
        let elapsed = now &- firstMinimumAtNs
        guard elapsed >= 10_000_000_000 else { return }
        // A fast sender's packets seem to arrive earlier and earlier.
        let ppm = (firstMinimum &- windowMinimum) &* 1_000 / (elapsed / 1_000)
        driftPPM = Int32(clamping: min(max(ppm, -2_000), 2_000))
    }
}
