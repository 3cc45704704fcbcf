// Finds the calls of a plugin that take too long.
//
// Every frame of every call comes this way, and of 157 ns on the line some 70 were readings of the clock.
// So the end is read from the kernel's coarse clock, which is a tick late at most and costs a fifth, and the exact
// one is asked only where that leaves it open whether the call was slow. A value of its own and not a method of the
// provider: sessions have a copy, since a provider is referred to weakly, and whatever ever was is retained and
// released the slow way.

import Glibc

struct SlowCalls: Sendable {
    private let faults: PluginFaults
    private let limitNs: UInt64

    init(faults: PluginFaults, limitMs: Int) {
        self.faults = faults
        limitNs = UInt64(limitMs) * 1_000_000
    }

    /// Runs `body`, a VC_CONTROL call, with the time at which it begins; notes a fault when it was slow.
    @inline(__always)
    func watch<Result>(_ slot: StaticString, call: String, _ body: (_ beginNs: UInt64) -> Result) -> Result {
        let begin = hostClockNs()
        let result = body(begin)
        if coarseClockNs() &+ coarseTickNs > begin &+ limitNs { look(slot, call, begin) }
        return result
    }

    private func look(_ slot: StaticString, _ call: String, _ begin: UInt64) {
        let tookNs = hostClockNs() &- begin
        guard tookNs > limitNs else { return }
        faults.note(
            .slowCall, sort: "\(slot)", call: call,
            "\(slot) took \(tookNs / 1_000_000) ms; it must answer at once and report by an event")
    }
}

/// How far the coarse clock may lag behind the exact one.
private let coarseTickNs: UInt64 = {
    var tick = timespec()
    clock_getres(CLOCK_MONOTONIC_COARSE, &tick)
    return UInt64(tick.tv_sec) &* 1_000_000_000 &+ UInt64(tick.tv_nsec)
}()

private func coarseClockNs() -> UInt64 {
    var now = timespec()
    clock_gettime(CLOCK_MONOTONIC_COARSE, &now)
    return UInt64(now.tv_sec) &* 1_000_000_000 &+ UInt64(now.tv_nsec)
}
