// Where the runner's threads meet: they take rules from one plan and hang up the results.
//
// Threads and not tasks, because each of them sleeps in `poll` for as long as its probe lives, and Swift's pool has no
// thread to spare for that.

import Glibc

/// A plan that several threads work off.
final class WorkBoard: @unchecked Sendable {
    private let mutex: UnsafeMutablePointer<pthread_mutex_t>
    private let changed: UnsafeMutablePointer<pthread_cond_t>
    private let items: [RunItem]
    /// The rest is guarded by `mutex`.
    private var plan: RunPlan
    private var failure: RunnerFailure?
    /// Told of each result, one at a time.
    private let onResult: (RuleResult) -> Void

    init(_ plan: RunPlan, onResult: @escaping (RuleResult) -> Void) {
        self.plan = plan
        items = plan.items
        self.onResult = onResult
        mutex = .allocate(capacity: 1)
        pthread_mutex_init(mutex, nil)
        changed = .allocate(capacity: 1)
        pthread_cond_init(changed, nil)
    }

    deinit {
        pthread_cond_destroy(changed)
        changed.deallocate()
        pthread_mutex_destroy(mutex)
        mutex.deallocate()
    }

    /// Works the plan off with `count` threads. Returns when all is done, or throws the runner's first failure.
    func work(
        threads count: Int, _ run: @escaping @Sendable (RunItem, Int) throws(RunnerFailure) -> RuleResult
    ) throws(RunnerFailure) -> RunPlan {
        var threads: [pthread_t] = []
        for _ in 0..<count {
            var thread = pthread_t()
            let worker = Unmanaged.passRetained(Worker(board: self, run: run))
            let code = pthread_create(&thread, nil, runWorker, worker.toOpaque())
            guard code == 0 else {
                worker.release()
                stop(RunnerFailure("no thread can be started", errno: code))
                break
            }
            threads.append(thread)
        }
        for thread in threads { pthread_join(thread, nil) }
        if let failure { throw failure }
        return plan
    }

    /// What one thread does.
    fileprivate func workOff(_ run: (RunItem, Int) throws(RunnerFailure) -> RuleResult) {
        while let index = take() {
            do throws(RunnerFailure) {
                put(index, try run(items[index], index))
            } catch {
                stop(error)
            }
        }
    }

    private func take() -> Int? {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        while failure == nil {
            switch plan.next() {
            case .run(let index): return index
            case .finished: return nil
            case .wait: pthread_cond_wait(changed, mutex)
            }
        }
        return nil
    }

    private func put(_ index: Int, _ result: RuleResult) {
        pthread_mutex_lock(mutex)
        let skipped = plan.finish(index, result)
        for result in [result] + skipped { onResult(result) }
        pthread_cond_broadcast(changed)
        pthread_mutex_unlock(mutex)
    }

    private func stop(_ why: RunnerFailure) {
        pthread_mutex_lock(mutex)
        failure = failure ?? why
        pthread_cond_broadcast(changed)
        pthread_mutex_unlock(mutex)
    }
}

private final class Worker: Sendable {
    let board: WorkBoard
    let run: @Sendable (RunItem, Int) throws(RunnerFailure) -> RuleResult

    init(board: WorkBoard, run: @escaping @Sendable (RunItem, Int) throws(RunnerFailure) -> RuleResult) {
        self.board = board
        self.run = run
    }
}

private func runWorker(_ context: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? {
    let worker = Unmanaged<Worker>.fromOpaque(context!).takeRetainedValue()
    worker.board.workOff(worker.run)
    return nil
}
