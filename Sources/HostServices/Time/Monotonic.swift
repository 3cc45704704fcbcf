// The one clock of the process: CLOCK_MONOTONIC, which `Monitor`, the timers and `captured_ns` share.

import Glibc

/// Nanoseconds since an arbitrary moment; never goes back.
public enum Monotonic {
    public static func nowNs() -> UInt64 { read(CLOCK_MONOTONIC) }

    /// Nanoseconds since 1970-01-01 UTC. It may jump.
    public static func wallNs() -> UInt64 { read(CLOCK_REALTIME) }

    private static func read(_ clock: clockid_t) -> UInt64 {
        var time = timespec()
        clock_gettime(clock, &time)
        return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
    }
}
