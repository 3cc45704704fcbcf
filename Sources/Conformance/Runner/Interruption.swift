// SIGINT and SIGTERM while probes run: the run ends, and leaves nothing behind.
//
// To die of the signal would leave the run's folder, and the children of plugins that left their session. So a handler
// writes a byte into a pipe that every thread of the runner polls besides its probe; each kills what it has, and the
// run ends as with any failure of its own. A second signal finds the default action again, for who cannot wait.

import Glibc
import Synchronization

enum Interruption {
    private static let raised = Atomic<Int32>(0)
    private static let reader = Atomic<Int32>(-1)
    private static let writer = Atomic<Int32>(-1)

    /// Readable when the run was interrupted; -1 when nobody listens.
    static var descriptor: Int32 { reader.load(ordering: .relaxed) }

    /// The signal that ended the run; nil: none did.
    static var signal: Int32? {
        let number = raised.load(ordering: .acquiring)
        return number == 0 ? nil : number
    }

    /// From now on signals end the run in order. For the program, which does nothing else; not for a library's user.
    static func listen() {
        guard descriptor < 0 else { return }
        var ends: [Int32] = [-1, -1]
        guard pipe(&ends) == 0 else { return }
        for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        reader.store(ends[0], ordering: .relaxed)
        writer.store(ends[1], ordering: .relaxed)
        var ours = sigset_t()
        sigemptyset(&ours)
        for number in [SIGINT, SIGTERM, SIGHUP] {
            sigaddset(&ours, number)
            var action = sigaction()
            action.__sigaction_handler.sa_handler = interrupt
            action.sa_flags = Int32(bitPattern: UInt32(SA_RESETHAND))
            sigaction(number, &action, nil)
        }
        // Who started us may have had them blocked, as the threads of libdispatch have.
        pthread_sigmask(SIG_UNBLOCK, &ours, nil)
    }

    /// In the signal's handler.
    fileprivate static func raise(_ number: Int32) {
        raised.store(number, ordering: .releasing)
        var byte: UInt8 = 1
        write(writer.load(ordering: .relaxed), &byte, 1)
    }

    /// Ends the process as the signal would have done, so that the shell sees what happened.
    static func dieIfRaised() {
        guard let number = signal else { return }
        Glibc.signal(number, SIG_DFL)
        kill(getpid(), number)
    }
}

private func interrupt(_ number: Int32) { Interruption.raise(number) }
