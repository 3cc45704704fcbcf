// A thread of the host's services. Swift's own concurrency is not used here: a thread that sleeps in `poll` or in a
// plugin would take one of its pool's few threads away from everybody else.

import Glibc

/// Starts a named thread, and can wait for its end.
final class ServiceThread: Sendable {
    private let identifier: pthread_t

    /// `name` shows in `top -H`; Linux keeps 15 bytes of it.
    init(_ name: String, _ body: @escaping @Sendable () -> Void) {
        let start = ThreadStart(name: String(name.prefix(15)), body: body)
        var identifier = pthread_t()
        let result = pthread_create(&identifier, nil, runThread, Unmanaged.passRetained(start).toOpaque())
        precondition(result == 0, "no thread \"\(name)\" could be started: \(String(cString: strerror(result)))")
        self.identifier = identifier
    }

    func join() { pthread_join(identifier, nil) }

    func detach() { pthread_detach(identifier) }
}

private final class ThreadStart: Sendable {
    let name: String
    let body: @Sendable () -> Void

    init(name: String, body: @escaping @Sendable () -> Void) {
        self.name = name
        self.body = body
    }
}

private func runThread(_ context: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? {
    let start = Unmanaged<ThreadStart>.fromOpaque(context!).takeRetainedValue()
    setName(start.name)
    start.body()
    return nil
}

/// By its file: Swift's Glibc has neither `pthread_setname_np` nor `prctl`. A thread without a name works as well.
private func setName(_ name: String) {
    let descriptor = open("/proc/thread-self/comm", O_WRONLY | O_CLOEXEC)
    guard descriptor >= 0 else { return }
    _ = write(descriptor, name, name.utf8.count)
    close(descriptor)
}
