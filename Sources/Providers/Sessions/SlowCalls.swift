// Finds the calls of a plugin that take too long.
//
// Every frame of every call comes this way, and of 157 ns on the line some 70 were readings of the clock.
// So the end is read from the kernel's coarse clock, which is a tick late at most and costs a fifth, and the exact
// one is asked only where that leaves it open whether the call was slow. A value of its own and not a method of the
// provider: sessions have a copy, since a provider is referred to weakly, and whatever ever was is retained and
// released the slow way.
//
// The same two readings tell how much time a plugin takes. A call during which the coarse clock ticked is booked with
// the ticks, and all others with nothing: since calls and ticks know nothing of each other, a call of 40 us meets a
// tick of 4 ms once in a hundred times, and the sum is right over the thousands of calls of a minute. That is how a
// sampling profiler counts, and it costs one comparison.

import Glibc
import Synchronization

/// What a provider's plugin has used up in process.
public final class CallAccount: Sendable {
    private let callCount = Atomic<UInt64>(0)
    private let eventCount = Atomic<UInt64>(0)
    private let tickCount = Atomic<UInt64>(0)

    /// Calls into the plugin.
    public var calls: UInt64 { callCount.load(ordering: .relaxed) }
    /// Events that it emitted.
    public var events: UInt64 { eventCount.load(ordering: .relaxed) }
    /// Time within calls into the plugin, sampled by the tick of the kernel's clock.
    public var callbackMs: UInt64 { tickCount.load(ordering: .relaxed) &* coarseTickNs / 1_000_000 }

    @inline(__always)
    func called() { callCount.wrappingAdd(1, ordering: .relaxed) }

    @inline(__always)
    func emitted() { eventCount.wrappingAdd(1, ordering: .relaxed) }

    /// The coarse clock ticked within a call.
    @inline(never)
    func ticked(fromNs begin: UInt64, toNs end: UInt64) {
        tickCount.wrappingAdd((end &- begin) / max(1, coarseTickNs) &+ 1, ordering: .relaxed)
    }
}

struct SlowCalls: Sendable {
    private let faults: PluginFaults
    private let account: CallAccount
    private let limitNs: UInt64

    init(faults: PluginFaults, account: CallAccount, limitMs: Int) {
        self.faults = faults
        self.account = account
        limitNs = UInt64(limitMs) * 1_000_000
    }

    /// Runs `body`, a VC_CONTROL call, with the time at which it begins; notes a fault when it was slow.
    @inline(__always)
    func watch<Result>(_ slot: StaticString, call: String, _ body: (_ beginNs: UInt64) -> Result) -> Result {
        let begin = hostClockNs()
        let result = body(begin)
        let end = coarseClockNs()
        if end > begin { account.ticked(fromNs: begin, toNs: end) }
        if end &+ coarseTickNs > begin &+ limitNs { look(slot, call, begin) }
        account.called()
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
