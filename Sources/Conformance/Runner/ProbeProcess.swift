// One probe, from its start to the last of its children.
//
// The thread that starts a probe stays with it until it is gone: the kernel's "kill me when my parent dies" means the
// thread that made it. It waits in one `poll` for all that can happen, and looks at the processor time only when the
// limit could have been reached.
//
//     spawn → mark → job → (verdict, output, questions)* → end or deadline → strays → reap

import CConformance
import Glibc
import Synchronization

/// How a probe ended, and all that was seen of it. What that means for a rule is `RuleResult`'s affair.
struct ProbeOutcome: Sendable {
    enum End: Sendable, Equatable {
        case exited(Int32)
        case signalled(Int32)
        case expired(ProbeBudget.Limit)
    }

    var end: End
    var verdict: VerdictReader.Verdict
    var crumb: ProbeCrumb
    var standardOutput = CapturedOutput()
    var standardError = CapturedOutput()
    var strays: [String] = []
    var cpuMs = 0.0
    var wallMs = 0.0
}

/// A running probe. Used by the thread that started it.
final class ProbeProcess {
    private static let nextMark = Atomic<UInt32>(1)
    /// What is read at once from a stream.
    private static let chunkBytes = 64 << 10

    private let process: pid_t
    private let ended: Int32
    private let budget: ProbeBudget
    private let strays: Strays
    private let page: Int32
    private let verdictPipe: Int32
    private let outputPipe: Int32
    private let errorPipe: Int32
    private let peerSocket: Int32

    private var verdict: VerdictReader
    private var channel: PeerChannel
    private var standardOutput = CapturedOutput()
    private var standardError = CapturedOutput()
    private let beganNs = runnerClockNs()

    /// Starts a probe in `directory`, which is its home and its temporary directory too.
    init(
        job: Job, peer: (any ProbePeer)?, settings: RunSettings, directory: String, nurseries: Nurseries
    ) throws(RunnerFailure) {
        let mark = Self.nextMark.wrappingAdd(1, ordering: .relaxed).oldValue % 500_000 + 1
        let tag = "VCHOST_CONFORM=\(getpid())-\(mark)"
        var ends = ProbeEnds()
        do throws(RunnerFailure) {
            try ends.open()
            process =
                settings.hasNursery
                ? try nurseries.probe(ends.probes, directory: directory, tag: tag)
                : try Self.spawn(settings, ends.probes, directory: directory, more: [tag])
        } catch {
            ends.close()
            throw error
        }
        ends.closeChildSide()
        page = ends.page
        verdictPipe = ends.verdict.mine
        outputPipe = ends.output.mine
        errorPipe = ends.error.mine
        peerSocket = ends.peer.mine
        budget = settings.budget
        strays = Strays(mark: mark, tag: tag, probe: process)
        verdict = VerdictReader(nonce: job.nonce)
        channel = PeerChannel(job: job, peer: peer)
        // Before the job is sent the probe does nothing, so nothing can be started that is not marked.
        var marked = vcc_child_mark(process, mark)
        if marked == 0 { marked = vcc_child_confine(process, budget.cpuSecondsMax) }
        let descriptor = vcc_child_descriptor(process)
        ended = descriptor
        guard marked == 0, descriptor >= 0 else {
            kill(process, SIGKILL)
            while waitpid(process, nil, 0) < 0, errno == EINTR {}
            throw RunnerFailure("a probe cannot be watched", errno: marked != 0 ? marked : -descriptor)
        }
    }

    deinit {
        for descriptor in [page, verdictPipe, outputPipe, errorPipe, peerSocket, ended] where descriptor >= 0 {
            close(descriptor)
        }
    }

    /// Sends the job, and stays until the probe and all that it started are gone.
    func run() throws(RunnerFailure) -> ProbeOutcome {
        let expired = converse()
        // Read now: what the page says after a kill is the same, but a stray may still write to it.
        let crumb = ProbeCrumb(descriptor: page)
        if expired != nil { kill(process, SIGKILL) }
        awaitEnd()
        let left = strays.clear()
        kill(-process, SIGKILL)
        drain()
        var status: Int32 = 0
        var usage = rusage()
        while wait4(process, &status, 0, &usage) < 0 {
            guard errno == EINTR else { throw RunnerFailure("a probe's end was lost", errno: errno) }
        }
        if let signal = Interruption.signal {
            throw RunnerFailure("the run was ended by \(ProbeCrumb.signalName(signal))")
        }
        let signal = status & 0x7f
        let end: ProbeOutcome.End =
            expired.map { .expired($0) } ?? (signal == 0 ? .exited(status >> 8 & 0xff) : .signalled(signal))
        return ProbeOutcome(
            end: end, verdict: verdict.verdict, crumb: crumb, standardOutput: standardOutput,
            standardError: standardError, strays: left, cpuMs: usage.ru_utime.ms + usage.ru_stime.ms,
            wallMs: Double(runnerClockNs() - beganNs) / 1e6)
    }

    // MARK: While it lives

    /// Serves the probe until it ends. Returns the limit when one was reached first.
    private func converse() -> ProbeBudget.Limit? {
        var doneMs: Int?
        var isPeerOpen = true
        var isVerdictOpen = true
        var isOutputOpen = true
        var isErrorOpen = true
        while true {
            let passedMs = Int((runnerClockNs() - beganNs) / 1_000_000)
            let usedMs = Int(vcc_child_cpu_ns(process) / 1_000_000)
            let timeoutMs: Int
            let step = budget.step(
                cpuMs: usedMs, wallMs: passedMs, cores: RunSettings.cores, crowding: ProbeBudget.crowding)
            switch step {
            case .expired(let limit): return limit
            case .wait(let ms): timeoutMs = ms
            }
            if verdict.verdict.isDone {
                // It has said all; what still runs in it is the plugin's, and is not waited for.
                doneMs = doneMs ?? passedMs
                if passedMs - doneMs! > budget.partingMs { return .wall }
            }

            var waiting = [
                pollfd(fd: ended, events: Int16(POLLIN), revents: 0),
                pollfd(fd: isVerdictOpen ? verdictPipe : -1, events: Int16(POLLIN), revents: 0),
                pollfd(fd: isOutputOpen ? outputPipe : -1, events: Int16(POLLIN), revents: 0),
                pollfd(fd: isErrorOpen ? errorPipe : -1, events: Int16(POLLIN), revents: 0),
                pollfd(
                    fd: isPeerOpen ? peerSocket : -1,
                    events: Int16(POLLIN) | (channel.outgoing.isEmpty ? 0 : Int16(POLLOUT)), revents: 0),
                pollfd(fd: Interruption.descriptor, events: Int16(POLLIN), revents: 0),
            ]
            guard poll(&waiting, nfds_t(waiting.count), Int32(doneMs == nil ? timeoutMs : min(timeoutMs, 50))) > 0
            else { continue }
            if waiting[1].revents != 0 {
                isVerdictOpen = Self.readAll(verdictPipe) { verdict.take($0) }
                if verdict.verdict.isFlooded { return .words }
            }
            if waiting[2].revents != 0 {
                isOutputOpen = Self.readAll(outputPipe) { bytes in
                    standardOutput.take(bytes)
                    return true
                }
            }
            if waiting[3].revents != 0 {
                isErrorOpen = Self.readAll(errorPipe) { bytes in
                    standardError.take(bytes)
                    return true
                }
            }
            if waiting[4].revents != 0 {
                isPeerOpen = servePeer(waiting[4].revents)
                if !isPeerOpen { shutdown(peerSocket, Int32(SHUT_RDWR)) }
            }
            if waiting[0].revents != 0 { return nil }
            if waiting[5].revents != 0 { return .wall }
        }
    }

    private func servePeer(_ events: Int16) -> Bool {
        if events & Int16(POLLOUT) != 0 {
            let count = channel.outgoing.withUnsafeBytes {
                send(peerSocket, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
            }
            if count > 0 { channel.sent(count) }
            if count < 0, errno != EAGAIN, errno != EINTR { return false }
        }
        if events & Int16(POLLIN | POLLHUP | POLLERR) != 0 {
            return Self.readAll(peerSocket) { channel.take($0) }
        }
        return true
    }

    /// Gives `take` what there is. False at the end of the stream, or when `take` wants no more.
    private static func readAll(_ descriptor: Int32, _ take: (ArraySlice<UInt8>) -> Bool) -> Bool {
        var chunk = [UInt8](repeating: 0, count: Self.chunkBytes)
        let count = read(descriptor, &chunk, chunk.count)
        if count > 0 { return take(chunk[..<count]) }
        return count < 0 && (errno == EAGAIN || errno == EINTR)
    }

    // MARK: After its end

    /// The descriptor becomes readable when the last thread is gone; after SIGKILL that is at once.
    private func awaitEnd() {
        var waiting = pollfd(fd: ended, events: Int16(POLLIN), revents: 0)
        while poll(&waiting, 1, -1) < 0, errno == EINTR {}
    }

    /// What is still in the pipes; nobody writes any more.
    private func drain() {
        func more(_ descriptor: Int32, _ take: (ArraySlice<UInt8>) -> Bool) {
            var chunk = [UInt8](repeating: 0, count: Self.chunkBytes)
            // A pipe holds 64 KiB, unless it was enlarged: 1 MiB is what anybody may.
            for _ in 0..<32 {
                let count = read(descriptor, &chunk, chunk.count)
                guard count > 0, take(chunk[..<count]) else { return }
            }
        }
        more(verdictPipe) { verdict.take($0) }
        more(outputPipe) { bytes in
            standardOutput.take(bytes)
            return true
        }
        more(errorPipe) { bytes in
            standardError.take(bytes)
            return true
        }
    }

    // MARK: Its start

    /// Starts the program of the settings with those descriptors as 1 to 5.
    static func spawn(
        _ settings: RunSettings, _ descriptors: [Int32], directory: String, more: [String]
    ) throws(RunnerFailure) -> pid_t {
        var variables = [
            "PATH": "/usr/bin:/bin", "HOME": directory, "TMPDIR": directory, "LANG": "C.UTF-8",
            "SWIFT_BACKTRACE": "enable=no",
            // What `free` keeps for its thread counts as memory in use. A library with a dozen threads fills a dozen
            // such caches over its first hundred calls, which looks like a leak and is none.
            "GLIBC_TUNABLES": "glibc.malloc.tcache_count=0",
        ]
        // Where the Swift runtime is, when it is not where the program was told.
        if let path = getenv("LD_LIBRARY_PATH") { variables["LD_LIBRARY_PATH"] = String(cString: path) }
        variables.merge(settings.probeEnvironment) { $1 }
        let environment = variables.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" } + more
        var arguments: [UnsafeMutablePointer<CChar>?] = settings.probe.map { strdup($0) } + [nil]
        var words: [UnsafeMutablePointer<CChar>?] = environment.map { strdup($0) } + [nil]
        defer { (arguments + words).forEach { free($0) } }
        var child: pid_t = 0
        let result = arguments.withUnsafeMutableBufferPointer { arguments in
            words.withUnsafeMutableBufferPointer { words in
                directory.withCString { directory in
                    var plan = vcc_probe_plan(
                        program: arguments[0]!, arguments: arguments.baseAddress!, environment: words.baseAddress!,
                        directory: directory, standard_output: descriptors[0], standard_error: descriptors[1],
                        verdict: descriptors[2], page: descriptors[3], peer: descriptors[4])
                    return vcc_probe_spawn(&plan, &child)
                }
            }
        }
        guard result == 0 else {
            throw RunnerFailure("the probe \(settings.probe[0]) does not start", errno: result)
        }
        return child
    }
}

extension timeval {
    fileprivate var ms: Double { Double(tv_sec) * 1_000 + Double(tv_usec) / 1_000 }
}

/// Nanoseconds of the clock that never goes back.
func runnerClockNs() -> UInt64 {
    var now = timespec()
    clock_gettime(CLOCK_MONOTONIC, &now)
    return UInt64(now.tv_sec) &* 1_000_000_000 &+ UInt64(now.tv_nsec)
}
