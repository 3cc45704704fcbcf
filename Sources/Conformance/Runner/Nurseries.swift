// Where probes come from, when they are this program: see `nursery.h`.
//
// A nursery for each thread that wants a probe at the same time, taken and given back. They live as long as the run:
// when it ends they find their socket closed and end too.

import CConformance
import Glibc

/// The nurseries of a run.
final class Nurseries: @unchecked Sendable {
    private struct Nursery {
        let process: pid_t
        let socket: Int32
    }

    /// Tells the program that it is to be a nursery and not a probe.
    static let variable = "VCHOST_CONFORM_NURSERY"

    private let settings: RunSettings
    private let mutex = BenchMonitor()
    /// Those that nobody uses now.
    private var idle: [Nursery] = []

    init(_ settings: RunSettings) { self.settings = settings }

    deinit {
        for nursery in idle { Self.end(nursery) }
    }

    /// Has a probe made. The descriptors are those that it gets as 1 to 5.
    func probe(_ descriptors: [Int32], directory: String, tag: String) throws(RunnerFailure) -> pid_t {
        // One that is gone (a plugin may kill whom it likes) is replaced, once.
        for attempt in 0..<2 {
            let nursery: Nursery
            if let one = mutex.locked({ idle.popLast() }) { nursery = one } else { nursery = try start() }
            var made: pid_t = 0
            let result = vcc_nursery_probe(nursery.socket, descriptors, directory, tag, &made)
            if result == 0 {
                mutex.locked { idle.append(nursery) }
                return made
            }
            Self.end(nursery)
            if attempt > 0 || result != EPIPE { throw RunnerFailure("a probe cannot be made", errno: result) }
        }
        preconditionFailure("two attempts, and neither an answer nor a failure")
    }

    private func start() throws(RunnerFailure) -> Nursery {
        var ends: [Int32] = [-1, -1]
        let kind = Int32(SOCK_SEQPACKET.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
        guard socketpair(AF_UNIX, kind, 0, &ends) == 0 else { throw RunnerFailure("no socket", errno: errno) }
        let mine = ends[0]
        // All five are above those that they become.
        let theirs = fcntl(ends[1], F_DUPFD_CLOEXEC, 16)
        let nowhere = open("/dev/null", O_RDWR | O_CLOEXEC)
        let raised = fcntl(nowhere, F_DUPFD_CLOEXEC, 16)
        defer { for end in [ends[1], theirs, nowhere, raised] where end >= 0 { close(end) } }
        guard theirs >= 0, raised >= 0 else {
            close(mine)
            throw RunnerFailure("no descriptor", errno: errno)
        }
        let process = try ProbeProcess.spawn(
            settings, [raised, raised, raised, raised, theirs], directory: "/", more: ["\(Self.variable)=1"])
        return Nursery(process: process, socket: mine)
    }

    private static func end(_ nursery: Nursery) {
        close(nursery.socket)
        // It ends by itself; who was stopped or changed by a plugin is helped.
        kill(nursery.process, SIGKILL)
        while waitpid(nursery.process, nil, 0) < 0, errno == EINTR {}
    }
}
