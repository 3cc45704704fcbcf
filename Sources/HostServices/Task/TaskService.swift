// "vc.task/1": threads for work that computes or waits. One provider's tasks wait in a queue of its own, and the
// threads take from the queues in turn, so a provider with 256 tasks does not make another wait for all of them.
//
// A task that never returns keeps its thread; the contract gives it no deadline, and a thread cannot be ended from
// outside. Half of the threads therefore are the most that one provider gets at a time.

import Glibc
import PluginABI
import Providers
import Synchronization

let taskTable = ServiceTable(vc_task(size: UInt32(MemoryLayout<vc_task>.size), reserved: 0, run: taskRun))

public final class TaskService: Sendable {
    /// The bound of the contract, `service/task.h`.
    static let waitingPerProviderMax = 256

    private struct Work: @unchecked Sendable {
        var owner: vc_handle
        var function: vc_task_fn
        var context: UnsafeMutableRawPointer?
    }

    private struct Queue {
        var waiting: [Work] = []
        var running = 0
    }

    private struct State {
        var queues: [String: Queue] = [:]
        /// Providers in the order in which they are served.
        var turns: [String] = []
        /// Tasks under way by owner.
        var running: [vc_handle: Int] = [:]
        /// Owners that have been given their clean-up.
        var known: Set<vc_handle> = []
        var isOver = false
    }

    private let monitor = Monitor(State())
    private let runningPerProviderMax: Int
    private let threads = Mutex<[ServiceThread]>([])

    init(threadCount: Int) {
        runningPerProviderMax = max(1, threadCount / 2)
        threads.withLock { threads in
            for number in 0..<threadCount { threads.append(ServiceThread("task \(number)") { [self] in work() }) }
        }
    }

    func run(owner: PluginObject, _ function: @escaping vc_task_fn, context: UnsafeMutableRawPointer?) -> vc_status {
        let handle = owner.handle
        let provider = "\(owner.plugin)/\(owner.name)"
        let (status, isFirst): (vc_status, Bool) = monitor.withLock { state in
            guard !state.isOver else { return (.closed, false) }
            guard state.queues[provider, default: Queue()].waiting.count < Self.waitingPerProviderMax else {
                return (.again, false)
            }
            if state.queues[provider, default: Queue()].waiting.isEmpty { state.turns.append(provider) }
            state.queues[provider, default: Queue()].waiting.append(
                Work(owner: handle, function: function, context: context))
            return (.ok, state.known.insert(handle).inserted)
        }
        if isFirst { owner.whenEnded { [weak self] in self?.discard(of: handle, provider: provider) } }
        if status == .ok { monitor.broadcast() }  // `waitUntilIdle` sleeps here too, and must not swallow it
        return status
    }

    /// Waits until no task of `owner` runs any more. Whoever calls a plugin's `destroy` calls this first, after `end()`
    /// and without holding the object's lock, since a task may wait for that. False when `timeoutMs` was not enough:
    /// the object must then be left alone for ever.
    public func waitUntilIdle(_ owner: vc_handle, timeoutMs: UInt64) -> Bool {
        let deadlineNs = Monotonic.nowNs() + timeoutMs * 1_000_000
        return monitor.wait { state, now in
            if state.running[owner] == nil { return .ready(true) }
            return now >= deadlineNs ? .ready(false) : .sleepUntil(deadlineNs)
        }
    }

    /// Ends the threads that are idle; what runs is left to the end of the process.
    func stop() {
        let isIdle = monitor.withLock { state in
            state.isOver = true
            state.queues = [:]
            state.turns = []
            return state.running.isEmpty
        }
        monitor.broadcast()
        threads.withLock { threads in
            for thread in threads { if isIdle { thread.join() } else { thread.detach() } }
            threads = []
        }
    }

    private func discard(of owner: vc_handle, provider: String) {
        monitor.withLock { state in
            state.known.remove(owner)
            state.queues[provider]?.waiting.removeAll { $0.owner == owner }
            if state.queues[provider]?.waiting.isEmpty ?? true { state.turns.removeAll { $0 == provider } }
        }
    }

    private func work() {
        while true {
            let next: (work: Work, provider: String)? = monitor.wait { state, _ in
                if state.isOver { return .ready(nil) }
                guard let next = Self.take(&state, runningPerProviderMax) else { return .sleep }
                return .ready(next)
            }
            guard let next else { return }
            next.work.function(next.work.context)
            monitor.withLock { state in
                state.queues[next.provider]?.running -= 1
                if let queue = state.queues[next.provider], queue.running == 0, queue.waiting.isEmpty {
                    state.queues[next.provider] = nil
                }
                let left = state.running[next.work.owner, default: 1] - 1
                state.running[next.work.owner] = left == 0 ? nil : left
            }
            monitor.broadcast()  // for `waitUntilIdle`, and for a provider that had all the threads it may have
        }
    }

    private static func take(_ state: inout State, _ runningMax: Int) -> (work: Work, provider: String)? {
        guard let turn = state.turns.firstIndex(where: { state.queues[$0]!.running < runningMax }) else { return nil }
        let provider = state.turns.remove(at: turn)
        let work = state.queues[provider]!.waiting.removeFirst()
        state.queues[provider]!.running += 1
        state.running[work.owner, default: 0] += 1
        if !state.queues[provider]!.waiting.isEmpty { state.turns.append(provider) }
        return (work, provider)
    }
}

private func taskRun(_ owner: vc_handle, _ work: @escaping vc_task_fn, _ context: UnsafeMutableRawPointer?) -> vc_status
{
    guard let services = HostServices.current else { return .closed }
    guard !isNullFunction(work) else { return .badArgument }
    guard let object = HandleTable.shared.resolve(owner) else { return .stale }
    return services.tasks.run(owner: object, work, context: context)
}
