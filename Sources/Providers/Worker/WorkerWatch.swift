// The thread that looks after all workers: hears of their ends, reads what they write, sends the heartbeat, and starts
// again what is due. One for all, asleep in `poll` while nothing happens; without workers it does not exist.

import CPlatform
import Glibc
import Synchronization

final class WorkerWatch: Sendable {
    static let shared = WorkerWatch()

    private struct State {
        var workers: [Worker] = []
        var isRunning = false
    }

    private let state = Mutex(State())
    private let bell: Int32

    private init() { bell = eventfd(0, Int32(EFD_NONBLOCK | EFD_CLOEXEC)) }

    func add(_ worker: Worker) {
        let mustStart = state.withLock { state in
            state.workers.append(worker)
            defer { state.isRunning = true }
            return !state.isRunning
        }
        if mustStart {
            var thread = pthread_t()
            let created = pthread_create(&thread, nil, runWorkerWatch, nil)
            precondition(created == 0, "no thread to watch workers: error \(created)")
            pthread_detach(thread)
        }
        wake()
    }

    func wake() {
        var one: UInt64 = 1
        _ = write(bell, &one, 8)
    }

    fileprivate func run() -> Never {
        vch_name_this_thread("workers")
        var lastBeats: [ObjectIdentifier: UInt64] = [:]
        while true {
            let workers = state.withLock { $0.workers }
            var waiting = [pollfd(fd: bell, events: Int16(POLLIN), revents: 0)]
            for worker in workers {
                waiting += worker.descriptors.map { pollfd(fd: $0, events: Int16(POLLIN), revents: 0) }
            }
            // What is due soonest: a heartbeat, a restart, a goodbye; a twentieth of a second serves all of them.
            _ = poll(&waiting, UInt(waiting.count), workers.isEmpty ? -1 : 50)
            var rings: UInt64 = 0
            _ = read(bell, &rings, 8)
            let now = hostClockNs()
            for worker in workers {
                let identity = ObjectIdentifier(worker)
                if now &- lastBeats[identity, default: 0] >= UInt64(worker.plan.options.heartbeatMs) * 1_000_000 {
                    lastBeats[identity] = now
                    worker.beat()
                }
                if !worker.look(now: now) {
                    lastBeats[identity] = nil
                    state.withLock { state in state.workers.removeAll { $0 === worker } }
                }
            }
        }
    }
}

private func runWorkerWatch(_: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? { WorkerWatch.shared.run() }
