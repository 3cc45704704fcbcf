// The threads on which tasks of "vc.task/1" run.
//
// One thread as long as it keeps up, so that two tasks never race in a report; another one only when a task waits for
// long, because a task may block and the host has a pool. The driver waits until they are idle, and only then moves the
// clock.

import CPlatform
import Glibc
import PluginABI

final class TaskRunner: @unchecked Sendable {
    private struct Item {
        let owner: vc_handle
        let work: vc_task_fn
        let context: UnsafeMutableRawPointer?
    }

    private var mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private var changed = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
    private var queue: [Item] = []
    private var running: [vc_handle: Int] = [:]
    private var threads = 0
    private var handles: Set<pthread_t> = []
    private var started = 0
    private var finished = 0

    /// As the contract says for each provider; one provider is under test.
    static let queueMax = 256
    private static let threadsMax = 8
    /// Real time for which a task may wait before another thread is started for it.
    private static let patienceMs = 50
    /// Real time after which the tasks count as hung. The runner's own deadline is longer, and names the rule.
    private static let idleDeadlineMs = 20_000

    init() {
        pthread_mutex_init(mutex, nil)
        pthread_cond_init(changed, nil)
    }

    var threadCount: Int { locked { threads } }
    /// Tasks that ran to their end.
    var finishedCount: Int { locked { finished } }

    func run(_ owner: vc_handle, _ work: @escaping vc_task_fn, _ context: UnsafeMutableRawPointer?) -> vc_status {
        locked {
            guard queue.count < Self.queueMax else { return vc_status(VC_E_AGAIN) }
            queue.append(Item(owner: owner, work: work, context: context))
            if threads == 0 { startThread() }
            pthread_cond_broadcast(changed)
            return vc_status(VC_OK)
        }
    }

    /// Forgets what has not begun for `owner`, and waits for what has.
    func drop(_ owner: vc_handle) {
        locked {
            queue.removeAll { $0.owner == owner }
            var waitedMs = 0
            while running[owner] != nil, waitedMs < Self.idleDeadlineMs { waitedMs += waitForChange(ms: 10) }
        }
    }

    /// Whether a thread is one of those on which tasks run.
    func isTaskThread(_ thread: pthread_t) -> Bool { locked { handles.contains(thread) } }

    func isRunning(for owner: vc_handle) -> Bool { locked { running[owner] != nil } }

    /// False: they did not come to rest.
    func waitUntilIdle() -> Bool {
        locked {
            var waitedMs = 0
            while !queue.isEmpty || !running.isEmpty {
                guard waitedMs < Self.idleDeadlineMs else { return false }
                waitedMs += waitForChange(ms: Self.patienceMs)
                if !queue.isEmpty, running.values.reduce(0, +) == threads, threads < Self.threadsMax { startThread() }
            }
            return true
        }
    }

    private func startThread() {
        threads += 1
        var thread = pthread_t()
        pthread_create(&thread, nil, taskThread, Unmanaged.passUnretained(self).toOpaque())
        pthread_detach(thread)
        handles.insert(thread)
    }

    fileprivate func work() {
        pthread_mutex_lock(mutex)
        while true {
            guard !queue.isEmpty else {
                pthread_cond_wait(changed, mutex)
                continue
            }
            let item = queue.removeFirst()
            running[item.owner, default: 0] += 1
            started += 1
            pthread_mutex_unlock(mutex)
            item.work(item.context)
            pthread_mutex_lock(mutex)
            finished += 1
            running[item.owner]! -= 1
            if running[item.owner] == 0 { running[item.owner] = nil }
            pthread_cond_broadcast(changed)
        }
    }

    /// How long it waited at most.
    private func waitForChange(ms: Int) -> Int {
        var until = timespec()
        clock_gettime(CLOCK_REALTIME, &until)
        until.tv_nsec += ms * 1_000_000
        until.tv_sec += until.tv_nsec / 1_000_000_000
        until.tv_nsec %= 1_000_000_000
        // A wait that was cut short by a change cost nothing worth counting.
        return pthread_cond_timedwait(changed, mutex, &until) == ETIMEDOUT ? ms : 0
    }

    private func locked<Result>(_ body: () -> Result) -> Result {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        return body()
    }
}

private func taskThread(_ context: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? {
    Unmanaged<TaskRunner>.fromOpaque(context!).takeUnretainedValue().work()
    return nil
}
