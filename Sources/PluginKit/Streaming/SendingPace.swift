// How fast audio may be sent. A recogniser that listens in real time takes a little more than that, to catch up after a
// broken connection, and no more: vendors cut off whoever sends an hour in a minute.

/// A token bucket of audio: a short burst, and a rate.
public struct SendingPace: Sendable {
    private let samplesPerS: Double
    private let burst: Double
    private var allowance: Double
    private var lastNs: UInt64?

    /// - Parameters:
    ///   - factor: times real time; 1.25 catches up a second in four.
    ///   - burstMs: what may be sent at once.
    public init(rateHz: Int, factor: Double, burstMs: Int) {
        samplesPerS = Double(rateHz) * factor
        burst = Double(rateHz * burstMs / 1000)
        allowance = burst
    }

    /// How many samples may be sent now.
    public mutating func allowed(now nowNs: UInt64) -> Int {
        if let lastNs, nowNs > lastNs {
            allowance = min(burst, allowance + samplesPerS * Double(nowNs - lastNs) / 1e9)
        }
        lastNs = max(nowNs, lastNs ?? 0)
        return Int(allowance)
    }

    public mutating func sent(_ samples: Int) { allowance -= Double(samples) }
}
