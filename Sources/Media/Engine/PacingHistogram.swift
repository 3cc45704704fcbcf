// How late frames were sent against the tick to which they belong: a histogram, because the mean of pacing says
// nothing and its tail is what is heard.

/// Lateness of sent frames.
public struct PacingHistogram: Sendable, Equatable {
    /// Upper bounds of the buckets in microseconds; the last bucket has none.
    public static let boundsUs = [50, 100, 150, 200, 300, 500, 1_000, 2_000, 3_000, 5_000, 10_000, 20_000]
    /// Frames in each bucket, one more than there are bounds.
    public internal(set) var counts: [UInt64]

    public var total: UInt64 { counts.reduce(0, +) }

    /// The bound under which the given share (0 to 1) of all frames were, in microseconds; nil when there are none, or
    /// when they reach into the last bucket.
    public func quantileUs(_ share: Double) -> Int? {
        let limit = Double(total) * share
        var sum: UInt64 = 0
        for (bound, count) in zip(Self.boundsUs, counts) {
            sum += count
            if total > 0, Double(sum) >= limit { return bound }
        }
        return nil
    }

    @inline(__always)
    static func figure(forNs lateness: Int64) -> ThreadFigure {
        switch lateness {
        case ..<50_000: .under50
        case ..<100_000: .under100
        case ..<150_000: .under150
        case ..<200_000: .under200
        case ..<300_000: .under300
        case ..<500_000: .under500
        case ..<1_000_000: .under1000
        case ..<2_000_000: .under2000
        case ..<3_000_000: .under3000
        case ..<5_000_000: .under5000
        case ..<10_000_000: .under10000
        case ..<20_000_000: .under20000
        default: .beyond
        }
    }

    init(_ boards: [StatisticsBoard<ThreadFigure>]) {
        let figures: [ThreadFigure] = [
            .under50, .under100, .under150, .under200, .under300, .under500, .under1000, .under2000, .under3000,
            .under5000, .under10000, .under20000, .beyond,
        ]
        counts = figures.map { figure in boards.reduce(0) { $0 + $1.get(figure) } }
    }
}
