// A lock that can also wait. `Mutex` of the standard library cannot, and a semaphore beside it would have to be kept in
// step with the state by hand. Only service threads wait here; media threads never come near.

import Glibc

/// A value behind a lock, and a way to sleep until it changes.
final class Monitor<State>: @unchecked Sendable {
    private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let condition = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
    private var state: State

    init(_ state: State) {
        self.state = state
        pthread_mutex_init(mutex, nil)
        // Deadlines are of the monotonic clock: a corrected wall clock must not delay a timer.
        var attributes = pthread_condattr_t()
        pthread_condattr_init(&attributes)
        pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC)
        pthread_cond_init(condition, &attributes)
        pthread_condattr_destroy(&attributes)
    }

    deinit {
        pthread_cond_destroy(condition)
        pthread_mutex_destroy(mutex)
        condition.deallocate()
        mutex.deallocate()
    }

    func withLock<Result>(_ body: (inout State) throws -> Result) rethrows -> Result {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        return try body(&state)
    }

    /// Wakes one of the threads that wait.
    func signal() { pthread_cond_signal(condition) }

    /// Wakes all of them.
    func broadcast() { pthread_cond_broadcast(condition) }

    /// Sleeps until `ready` gives something. Each look is told the time, and may answer when to look again by itself.
    func wait<Result>(_ ready: (inout State, _ now: UInt64) -> Wait<Result>) -> Result {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        while true {
            switch ready(&state, Monotonic.nowNs()) {
            case .ready(let result):
                return result
            case .sleep:
                pthread_cond_wait(condition, mutex)
            case .sleepUntil(let deadlineNs):
                var deadline = timespec(
                    tv_sec: Int(deadlineNs / 1_000_000_000), tv_nsec: Int(deadlineNs % 1_000_000_000))
                pthread_cond_timedwait(condition, mutex, &deadline)
            }
        }
    }
}

enum Wait<Result> {
    case ready(Result)
    case sleep
    case sleepUntil(UInt64)
}
