// A thread of the bench, for rules about threads: a host calls from any of its own.

import CConformance
import Glibc

final class BenchThread: @unchecked Sendable {
    private let body: () throws -> Any
    private let monitor = BenchMonitor()
    private var isDone = false
    private(set) var outcome: Result<Any, any Error>?
    private var thread = pthread_t()

    /// Starts at once.
    init(_ body: @escaping () throws -> Any) {
        self.body = body
        pthread_create(&thread, nil, benchThread, Unmanaged.passRetained(self).toOpaque())
        pthread_detach(thread)
    }

    fileprivate func run() {
        _ = vcc_crash_adopt_thread()
        let result = Result { try body() }
        monitor.locked {
            outcome = result
            isDone = true
        }
    }

    /// Waits for it in real time. False: it did not end.
    func join(ms: Int) -> Bool {
        for _ in 0..<ms * 2 {
            if monitor.locked({ isDone }) { return true }
            usleep(500)
        }
        return monitor.locked { isDone }
    }
}

private func benchThread(_ context: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? {
    Unmanaged<BenchThread>.fromOpaque(context!).takeRetainedValue().run()
    return nil
}

/// A door that a rule holds shut: who comes waits until it is opened.
final class BenchGate: @unchecked Sendable {
    private let monitor = BenchMonitor()
    private var isOpen = false
    private var waiting = 0

    /// Waits in real time, at most ten seconds.
    func pass() {
        monitor.locked { waiting += 1 }
        for _ in 0..<20_000 {
            if monitor.locked({ isOpen }) { return }
            usleep(500)
        }
    }

    /// Whether somebody waits at it within `ms`.
    func isReached(ms: Int) -> Bool {
        for _ in 0..<ms * 2 {
            if monitor.locked({ waiting > 0 }) { return true }
            usleep(500)
        }
        return false
    }

    func open() { monitor.locked { isOpen = true } }
}
