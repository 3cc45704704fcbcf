// The thread of a detector: it runs the engine's rounds, and lets calls in and out between them.
//
// Absolute time (a sleep that is late does not shift those after it) and a period, instead of a wake-up from the media
// threads: a doorbell would be a system call for each frame of each call on the threads that must not make any, and
// would wake this one 50 times a second for each call. With no call it sleeps on a condition and costs nothing.
//
// The plugin is called on this thread and nothing interrupts it: a detector that never returns would deafen its calls.
// That is what a worker process is for; in process the deadline finds one that is slow, not one that hangs.

import Glibc
import PluginABI
import Synchronization

/// Runs one detector provider for any number of calls.
public final class DetectionThread: @unchecked Sendable {
    private enum Command {
        case add(DetectionStream)
        case remove(DetectionStream, @Sendable () -> Void)
        case stop(@Sendable () -> Void)
    }

    public let configuration: DetectionConfiguration
    private let detector: DetectorTable?
    private let clock: @Sendable () -> UInt64
    private let log: @Sendable (String) -> Void

    private let mutex: UnsafeMutablePointer<pthread_mutex_t>
    private let condition: UnsafeMutablePointer<pthread_cond_t>
    /// Guarded by `mutex`.
    private var commands: [Command] = []
    /// Guarded by `mutex`. Nothing is taken up any more.
    private var hasStopped = false
    private let commandsWaiting = Atomic<Bool>(false)
    private let published = Mutex(DetectionStatistics())

    /// Without a `detector` the built-in energy detector decides alone. `log` is called on the detection thread, and
    /// only when a detector stops or begins again to work.
    public init(
        detector: DetectorTable?, configuration: DetectionConfiguration,
        clock: @escaping @Sendable () -> UInt64 = { monotonicNs() }, log: @escaping @Sendable (String) -> Void
    ) {
        self.detector = detector
        self.configuration = configuration
        self.clock = clock
        self.log = log
        mutex = .allocate(capacity: 1)
        pthread_mutex_init(mutex, nil)
        condition = .allocate(capacity: 1)
        pthread_cond_init(condition, nil)
    }

    deinit {
        pthread_cond_destroy(condition)
        condition.deallocate()
        pthread_mutex_destroy(mutex)
        mutex.deallocate()
    }

    /// Starts the thread, which keeps `self` until `stop`. Called once. Throws the errno of pthread_create.
    public func start() throws(DetectionThreadError) {
        let context = Unmanaged.passRetained(self).toOpaque()
        var thread = pthread_t()
        let code = pthread_create(&thread, nil, runDetectionThread, context)
        guard code == 0 else {
            Unmanaged<DetectionThread>.fromOpaque(context).release()
            throw DetectionThreadError(name: configuration.name, code: code)
        }
        pthread_detach(thread)
    }

    /// Listens to a call from now on. Any thread.
    ///
    /// - Parameters:
    ///   - session: what the plugin's `open` left in `state`; nil without a detector.
    ///   - sink: called on the detection thread; it posts to the call's mailbox and returns.
    /// - Returns: nil when the detector has no window for `rateHz`, which is 8000 or 16000.
    public func add(
        source: any DetectorAudioSource, rateHz: Int, session: UnsafeMutableRawPointer?,
        gate: SpeechGate.Configuration = .init(), sink: @escaping DetectionStream.Sink
    ) -> DetectionStream? {
        guard rateHz == 8000 || rateHz == 16000 else { return nil }
        let own = rateHz == 8000 ? EnergyDetector.windowSamples8k : EnergyDetector.windowSamples16k
        // The energy detector stands in window by window, so a detector with another window cannot be replaced by it.
        if let detector, detector.windowSamples(rateHz: rateHz) != own { return nil }
        let stream = DetectionStream(
            source: source, rateHz: rateHz, windowSamples: own, session: session, gate: gate, sink: sink)
        post(.add(stream))
        return stream
    }

    /// Stops listening to a call. Any thread. `completion` is called on the detection thread when nothing of the call
    /// is in use there any more; only then may the plugin's session be destroyed.
    public func remove(_ stream: DetectionStream, completion: @escaping @Sendable () -> Void) {
        post(.remove(stream, completion))
    }

    /// Ends the thread after the round under way; `completion` is its last act. Calls still in it are let go, and from
    /// then on `remove` answers on the thread that calls it.
    public func stop(completion: @escaping @Sendable () -> Void) { post(.stop(completion)) }

    /// As of the last round.
    public var statistics: DetectionStatistics { published.withLock { $0 } }

    private func post(_ command: Command) {
        pthread_mutex_lock(mutex)
        let isTaken = !hasStopped
        if isTaken {
            commands.append(command)
            commandsWaiting.store(true, ordering: .releasing)
            pthread_cond_signal(condition)
        }
        pthread_mutex_unlock(mutex)
        if !isTaken { Self.answer(command) }
    }

    /// Answers a command that comes when there is nothing left to do for it.
    private static func answer(_ command: Command) {
        switch command {
        case .add: break
        case .remove(_, let completion), .stop(let completion): completion()
        }
    }

    private func takeCommands(waiting: Bool) -> [Command] {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        while waiting, commands.isEmpty { pthread_cond_wait(condition, mutex) }
        defer { commands = [] }
        commandsWaiting.store(false, ordering: .relaxed)
        return commands
    }

    fileprivate func run() {
        let engine = DetectionEngine(detector: detector, configuration: configuration, clock: clock, log: log)
        var next = monotonicNs()
        while true {
            let isIdle = engine.streams.isEmpty
            if isIdle || commandsWaiting.load(ordering: .acquiring) {
                let taken = takeCommands(waiting: isIdle)
                for (index, command) in taken.enumerated() {
                    switch command {
                    case .add(let stream): engine.add(stream)
                    case .remove(let stream, let completion):
                        engine.remove(stream)
                        completion()
                    case .stop:
                        published.withLock { $0 = engine.statistics }
                        return finish(with: Array(taken[index...]))
                    }
                }
            }
            engine.round()
            published.withLock { $0 = engine.statistics }
            // A round that took longer than its period is followed by the next at once, but missed ones are not made
            // up.
            next = max(next + configuration.roundNs, monotonicNs())
            sleep(untilNs: next)
        }
    }

    /// The last act: answers what was asked together with the stop, the stop itself at the very end.
    private func finish(with rest: [Command]) {
        pthread_mutex_lock(mutex)
        hasStopped = true
        let late = commands
        commands = []
        pthread_mutex_unlock(mutex)
        for command in rest.dropFirst() + late { Self.answer(command) }
        Self.answer(rest[0])
    }
}

/// The detection thread could not be started.
public struct DetectionThreadError: Error, CustomStringConvertible {
    public let name: String
    public let code: Int32

    public var description: String {
        "\(name): no thread for the detector (\(String(cString: strerror(code)))); raise ulimit -u"
    }
}

private func runDetectionThread(_ context: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? {
    Unmanaged<DetectionThread>.fromOpaque(context!).takeRetainedValue().run()
    return nil
}

/// Nanoseconds of CLOCK_MONOTONIC, which `vc.clock/1` shows to plugins.
public func monotonicNs() -> UInt64 {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return UInt64(time.tv_sec) &* 1_000_000_000 &+ UInt64(time.tv_nsec)
}

private func sleep(untilNs deadline: UInt64) {
    var time = timespec()
    time.tv_sec = Int(deadline / 1_000_000_000)
    time.tv_nsec = Int(deadline % 1_000_000_000)
    while clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &time, nil) == EINTR {}
}
