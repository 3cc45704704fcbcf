/// A point on the host's monotonic clock.
///
/// The machines of this module own no clock: each `handle(_:at:)` is told what time it is, so a test can run an hour of
/// conversation in a millisecond and replay a failure from its seed. One number of nanoseconds is all that needs. The
/// standard library's `ContinuousClock.Instant` was refused because it cannot be built from a number, which a virtual
/// clock and the C line (`vc.clock/1` counts nanoseconds) both must do.
public struct Instant: Comparable, Hashable, Sendable {
    /// Nanoseconds since an origin that is fixed while the host runs.
    public var nanoseconds: UInt64

    public init(nanoseconds: UInt64) {
        self.nanoseconds = nanoseconds
    }

    public static let origin = Instant(nanoseconds: 0)

    public static func < (earlier: Instant, later: Instant) -> Bool {
        earlier.nanoseconds < later.nanoseconds
    }

    /// The instant `milliseconds` later. Earlier for a negative number, and never before the origin.
    public func advanced(byMs milliseconds: Int) -> Instant {
        if milliseconds >= 0 {
            return Instant(nanoseconds: nanoseconds &+ UInt64(milliseconds) &* 1_000_000)
        }
        let back = UInt64(-milliseconds) &* 1_000_000
        return Instant(nanoseconds: nanoseconds > back ? nanoseconds - back : 0)
    }

    /// Whole milliseconds from `earlier` to this instant, and 0 if `earlier` is in fact later.
    public func milliseconds(since earlier: Instant) -> Int {
        self > earlier ? Int((nanoseconds - earlier.nanoseconds) / 1_000_000) : 0
    }
}
