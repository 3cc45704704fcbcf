// One series of numbers, recorded without waiting: every record is one or two atomic additions, on any thread, the
// media threads included. There is no lock and no retry loop on that path, so a scrape in progress costs nobody
// anything.
//
// Doubles cannot be added atomically without a loop. A sum is kept as two integers instead, the whole part and the
// fraction in units of 2⁻³², each added by itself. A scrape between the two additions is off by less than one,
// once.

import Glibc
import Synchronization

public final class Metric: @unchecked Sendable {
    public enum Kind: UInt32, Sendable {
        case counter = 1, gauge, histogram

        var name: String {
            switch self {
            case .counter: "counter"
            case .gauge: "gauge"
            case .histogram: "histogram"
            }
        }
    }

    /// What is spoken takes tenths of a second and a frame takes 20 ms; so 1 ms to 30 s, about two steps to an octave.
    static let secondsBounds: [Double] = [
        0.001, 0.0025, 0.005, 0.01, 0.02, 0.04, 0.06, 0.1, 0.15, 0.2, 0.3, 0.4, 0.6, 0.8, 1, 1.5, 2, 3, 5, 10, 30,
    ]
    /// A frame of G.711 up to an answer of ten minutes.
    static let bytesBounds: [Double] = [
        64, 160, 320, 1_024, 4_096, 16_384, 65_536, 262_144, 1_048_576, 16_777_216, 67_108_864,
    ]

    let kind: Kind
    let name: String
    let labels: [(name: String, value: String)]
    let bounds: [Double]

    /// Whole part, fraction; then a counter for each bucket, the last for what is above all bounds.
    private let cells: UnsafeMutablePointer<Atomic<UInt64>>

    init(kind: Kind, name: String, labels: [(name: String, value: String)]) {
        self.kind = kind
        self.name = name
        self.labels = labels
        bounds = kind == .histogram ? (name.hasSuffix("_bytes") ? Self.bytesBounds : Self.secondsBounds) : []
        cells = .allocate(capacity: bounds.count + 3)
        for index in 0..<bounds.count + 3 { (cells + index).initialize(to: Atomic(0)) }
    }

    deinit {
        cells.deinitialize(count: bounds.count + 3)
        cells.deallocate()
    }

    /// Adds to a counter, sets a gauge, observes in a histogram. Wait-free. What is no number is dropped, and so is
    /// what would make a counter fall.
    public func record(_ value: Double) {
        switch kind {
        case .counter:
            if value >= 0 { add(value) }
        case .gauge:
            if !value.isNaN { cells[0].store(value.bitPattern, ordering: .relaxed) }
        case .histogram:
            guard value >= 0 else { return }
            // Some twenty bounds: counting up is as quick as halving, and the small ones are the frequent ones.
            var bucket = 0
            while bucket < bounds.count, value > bounds[bucket] { bucket += 1 }
            cells[2 + bucket].wrappingAdd(1, ordering: .relaxed)
            add(value)
        }
    }

    public func increment() { cells[0].wrappingAdd(1, ordering: .relaxed) }

    /// A counter's or a gauge's value, a histogram's sum.
    public var value: Double {
        let first = cells[0].load(ordering: .relaxed)
        guard kind != .gauge else { return Double(bitPattern: first) }
        return Double(first) + Double(cells[1].load(ordering: .relaxed)) / 4_294_967_296
    }

    /// Observations in each bucket of a histogram, not summed up.
    var buckets: [UInt64] { (0...bounds.count).map { cells[2 + $0].load(ordering: .relaxed) } }

    private func add(_ value: Double) {
        let bounded = min(value, 9e15)  // where doubles stop having a fraction, and infinity with it
        let whole = bounded.rounded(.down)
        if whole > 0 { cells[0].wrappingAdd(UInt64(whole), ordering: .relaxed) }
        let fraction = UInt64((bounded - whole) * 4_294_967_296)
        if fraction > 0 { cells[1].wrappingAdd(fraction, ordering: .relaxed) }
    }
}
