import Glibc
import Synchronization

/// Wakes a sleeping loop from any thread.
///
/// A pipe that is never full for long, because a write to it neither waits nor allocates: a media thread may ring. The
/// flag keeps the number of system calls at one per sleep however many calls ring. A condition variable was refused
/// because signalling it takes a lock that the sleeper may hold. An eventfd would do as well, yet it is not part of
/// Swift's `Glibc` module, and a pipe costs the same. Sleeping is exact to a millisecond, which is `poll`'s unit.
final class LoopDoorbell: Sendable {
    private let readEnd: Int32
    private let writeEnd: Int32
    private let rung = Atomic<Bool>(false)

    init() {
        var ends: [Int32] = [-1, -1]
        let result = pipe(&ends)
        precondition(result == 0, "pipe failed with errno \(errno): raise the limit of open files")
        for end in ends {
            _ = fcntl(end, F_SETFD, FD_CLOEXEC)
            _ = fcntl(end, F_SETFL, O_NONBLOCK)
        }
        readEnd = ends[0]
        writeEnd = ends[1]
    }

    deinit {
        close(readEnd)
        close(writeEnd)
    }

    /// Safe on every thread, media threads among them.
    func ring() {
        guard !rung.exchange(true, ordering: .sequentiallyConsistent) else { return }
        var byte: UInt8 = 1
        _ = write(writeEnd, &byte, 1)
    }

    /// Sleeps until rung, or until `timeoutNs` have passed (a minute at most); nil sleeps for as long as it takes.
    func wait(timeoutNs: UInt64?) {
        var poll = pollfd(fd: readEnd, events: Int16(POLLIN), revents: 0)
        // Rounded up: waking before the deadline would only mean another sleep.
        let timeoutMs = timeoutNs.map { Int32(min(($0 + 999_999) / 1_000_000, 60_000)) } ?? -1
        Glibc.poll(&poll, 1, timeoutMs)
    }

    /// To be called before the work is looked at, so that what arrives meanwhile rings again.
    func silence() {
        // Read whatever the flag says: a ringer may set the flag, be overtaken here, and write its byte afterwards; a
        // byte left behind would wake every later sleep. An exchange and not a store: it must read what the last ringer
        // wrote, so that its work is visible here.
        var bytes: UInt64 = 0
        _ = read(readEnd, &bytes, 8)
        _ = rung.exchange(false, ordering: .sequentiallyConsistent)
    }
}
