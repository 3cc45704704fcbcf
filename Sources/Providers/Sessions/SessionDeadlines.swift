// The thread that does for sessions what may not be done where it becomes due.
//
// The host may not call into a plugin from within the plugin's own `emit`, so what an event makes possible (sending
// what waited for READY, destroying what is CLOSED) is done here; and what did not happen in time is noticed here. One
// thread for all: its jobs are short calls of plugins, which answer at once or are logged.

import Glibc

final class SessionDeadlines: Sendable {
    static let shared = SessionDeadlines()

    private struct Job {
        let atNs: UInt64
        let number: UInt64
        let work: @Sendable () -> Void
    }

    private struct State {
        var jobs: [Job] = []
        var next: UInt64 = 0
    }

    private let state = Waiting(State())

    private init() {
        var thread = pthread_t()
        let created = pthread_create(&thread, nil, runSessionDeadlines, nil)
        precondition(created == 0, "no thread for the sessions' deadlines: error \(created)")
        pthread_detach(thread)
    }

    /// Has `work` done on the thread, at `atNs` or as soon as possible.
    func schedule(atNs: UInt64 = 0, _ work: @escaping @Sendable () -> Void) {
        state.change { state in
            // Sessions have a handful of jobs; a sorted array is as good as a heap below some thousands.
            let job = Job(atNs: atNs, number: state.next, work: work)
            state.next += 1
            let place = state.jobs.firstIndex { $0.atNs > atNs } ?? state.jobs.count
            state.jobs.insert(job, at: place)
        }
    }

    func schedule(afterMs: Int, _ work: @escaping @Sendable () -> Void) {
        schedule(atNs: hostClockNs() + UInt64(afterMs) * 1_000_000, work)
    }

    fileprivate func run() -> Never {
        while true {
            let job = state.wait(until: { $0.jobs.first?.atNs }) { state -> Job? in
                guard let first = state.jobs.first, first.atNs <= hostClockNs() else { return nil }
                return state.jobs.removeFirst()
            }
            job?.work()
        }
    }
}

private func runSessionDeadlines(_: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? {
    SessionDeadlines.shared.run()
}
