// One clock for everything that is audio. The wall clock steps when it is set; CLOCK_MONOTONIC does not, is the same
// for every process of the machine, and reading it is no system call.

import Glibc

/// The clock of the media engine.
public enum MonotonicClock {
    /// Nanoseconds since an arbitrary start (CLOCK_MONOTONIC).
    @inline(__always)
    public static var now: Int64 {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return Int64(time.tv_sec) &* 1_000_000_000 &+ Int64(time.tv_nsec)
    }

    /// Sleeps until `deadlineNs` on this clock. An absolute deadline, so that being late once does not shift what
    /// follows.
    static func sleep(untilNs deadlineNs: Int64) {
        var time = timespec()
        time.tv_sec = Int(deadlineNs / 1_000_000_000)
        time.tv_nsec = Int(deadlineNs % 1_000_000_000)
        while clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &time, nil) == EINTR {}
    }
}

/// The wall clock in the form in which RTCP carries it: RFC 3550 section 4.
enum NTPClock {
    /// Seconds since 1900 in the upper 32 bits, their fraction in the lower.
    static var now: UInt64 {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        let seconds = UInt64(time.tv_sec) + 2_208_988_800
        return seconds << 32 | (UInt64(time.tv_nsec) << 32) / 1_000_000_000
    }
}
