import Glibc
import Synchronization

/// One thread on which many calls live.
///
/// Every call is handled by one thread only, so a conversation needs no lock and its events have one order. A thread
/// per call was refused (500 stacks, 500 wake-ups), and so was Swift's concurrency: a task's wake-up has no deadline
/// that the code can see, and a test could not hold its clock. What a loop does never waits; it sleeps in one place,
/// until rung or until the next timer.
///
///   any thread ── post ──► mailbox ── ring ──► loop: mailboxes, inbound frames, due timers ──► actions
public final class CallLoop: Sendable {
    /// What only the loop's thread touches, behind a lock that nobody else takes while it runs: the lock costs
    /// nothing then, and the compiler can check the rest.
    private struct Living {
        var calls: [Int: Call] = [:]
        var timers = LoopTimers()
    }

    private struct Arrivals {
        var calls: [Call] = []
        var numbers = 0
        var stopping: HangUpReason?
        var isRunning = false
    }

    private let living = Mutex(Living())
    private let arrivals = Mutex(Arrivals())
    private let doorbell = LoopDoorbell()
    private let calls = Atomic<Int>(0)
    private let clock: @Sendable () -> Instant

    /// - Parameter clock: the host's monotonic clock; a test gives its own.
    public init(clock: @escaping @Sendable () -> Instant = CallLoop.monotonicClock) {
        self.clock = clock
    }

    @Sendable public static func monotonicClock() -> Instant {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return Instant(nanoseconds: UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec))
    }

    /// Takes a ringing call in. Its sessions are opened at once; it speaks after `CallEvent.answered`.
    ///
    /// Nothing but the returned mailbox is needed from then on: the call leaves the loop by itself when it is over.
    public func add(_ identity: CallIdentity, policy: CallPolicy, edges: CallEdges) -> CallMailbox {
        let mailbox = CallMailbox(doorbell: doorbell, outboundRateHz: edges.audio.outboundRateHz)
        arrivals.withLock { arrivals in
            arrivals.numbers += 1
            arrivals.calls.append(
                Call(number: arrivals.numbers, identity: identity, policy: policy, edges: edges, mailbox: mailbox))
            calls.add(1, ordering: .relaxed)
        }
        doorbell.ring()
        return mailbox
    }

    /// Calls that are in the loop or about to be. May be asked from anywhere, a call's own doors among them.
    public var count: Int { calls.load(ordering: .relaxed) }

    /// Starts the thread. May be called once.
    public func start(name: String = "calls") {
        arrivals.withLock { arrivals in
            precondition(!arrivals.isRunning, "the loop \(name) was started twice")
            arrivals.isRunning = true
        }
        var thread = pthread_t()
        let context = Unmanaged.passRetained(LoopThread(loop: self, name: name))
        let result = pthread_create(&thread, nil, runLoopThread, context.toOpaque())
        precondition(result == 0, "pthread_create failed with \(result): raise the limit of threads")
        pthread_detach(thread)
    }

    /// Ends every call with `reason` and stops the thread once they are over.
    public func stop(_ reason: HangUpReason = .shutdown) {
        arrivals.withLock { $0.stopping = reason }
        doorbell.ring()
    }

    fileprivate func run() {
        while true {
            let next = turn()
            let isStopping = arrivals.withLock { $0.stopping != nil && $0.calls.isEmpty }
            if isStopping, living.withLock({ $0.calls.isEmpty }) { return }
            let now = clock()
            doorbell.wait(timeoutNs: next.map { $0 > now ? $0.nanoseconds - now.nanoseconds : 0 })
        }
    }

    /// One round: whatever has arrived and whatever is due. Returns when the next timer is due. The thread calls it for
    /// ever; a test calls it by hand.
    @discardableResult
    func turn() -> Instant? {
        doorbell.silence()
        let (arrived, stopping) = arrivals.withLock { arrivals in
            defer { arrivals.calls = [] }
            return (arrivals.calls, arrivals.stopping)
        }
        return living.withLock { living in
            for call in arrived {
                living.calls[call.number] = call
                call.begin(at: clock(), timers: &living.timers)
            }
            if let stopping {
                for call in living.calls.values { call.mailbox.post(.end(stopping)) }
            }
            for (_, call) in living.calls where call.mailbox.hasWork {
                call.takeMail(at: clock(), timers: &living.timers)
            }
            let now = clock()
            while let due = living.timers.popDue(at: now) {
                living.calls[due.call]?.fired(due.id, at: now, timers: &living.timers)
            }
            for (number, call) in living.calls where call.isOver {
                living.timers.cancelAll(of: number)
                living.calls[number] = nil
                calls.subtract(1, ordering: .relaxed)
            }
            return living.timers.next
        }
    }

    /// Timers armed, for tests.
    var timerCount: Int { living.withLock { $0.timers.count } }
}

private final class LoopThread {
    let loop: CallLoop
    let name: String

    init(loop: CallLoop, name: String) {
        self.loop = loop
        self.name = name
    }
}

/// Body of the thread. A global function, as C needs one.
private func runLoopThread(_ context: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? {
    let thread = Unmanaged<LoopThread>.fromOpaque(context!).takeRetainedValue()
    // Through /proc because Swift's `Glibc` has no pthread_setname_np. The kernel keeps 15 bytes of a name; without it
    // the thread is harder to find in a profile, and nothing else.
    let comm = open("/proc/thread-self/comm", O_WRONLY | O_CLOEXEC)
    if comm >= 0 {
        _ = Array(thread.name.utf8.prefix(15)).withUnsafeBytes { write(comm, $0.baseAddress, $0.count) }
        close(comm)
    }
    thread.loop.run()
    return nil
}
