// A worker as a process: its guardian, three descriptors, and how it ends.
//
//     host ── life ──► guardian ──► worker ──► whatever the plugin starts
//       └──── control, memory ────────┘
//
// No path may leave an orphan. The host dies: the guardian reads the end of `life`, and ends the worker and every
// descendant. The guardian dies: the kernel kills the worker (PR_SET_PDEATHSIG), the worker reads the end of `control`
// all the same, and the host looks for processes that bear the worker's tag in their environment. The worker dies: the
// guardian, as the subreaper of all below it, ends what is left, a child that called setsid as well.
//
// The guardian is a fork of the worker before its second thread, so it costs the pages that it writes to. A cgroup
// would do the same, where a host may make one; most containers do not let it.

import CPlatform
import Glibc

final class WorkerProcess: @unchecked Sendable {
    enum Ending: Equatable {
        case signal(Int32)
        case exit(Int32)
        /// The guardian went without a word.
        case unknown
    }

    /// Descriptors in the child.
    static let lifeNumber: Int32 = 3
    static let controlNumber: Int32 = 4
    static let memoryNumber: Int32 = 5
    static let tagVariable = "VCHOST_WORKER"

    let guardian: pid_t
    let life: Int32
    let control: Int32
    /// Standard output and standard error.
    let output: Int32
    let tag: String

    // Touched by the watch's thread only.
    private(set) var worker: pid_t = 0
    private var workerDescriptor: Int32 = -1
    private(set) var ending: Ending?
    /// The most that it had at a time; known from its end on.
    private(set) var memoryKiB: UInt64 = 0
    private var lifeText: [UInt8] = []
    private(set) var controlText: [UInt8] = []
    private var isReaped = false
    private var isClosed = false
    private var isControlOver = false
    private var isOutputOver = false

    /// Those at whose other end somebody is.
    var openDescriptors: [Int32] {
        [life] + (isControlOver ? [] : [control]) + (isOutputOver ? [] : [output])
    }

    /// A backtrace of 48 frames has 5 KiB.
    private static let controlBytesMax = 16 << 10

    /// Starts a worker for `plan` on `memory`. Throws why it does not start.
    init(_ plan: WorkerPlan, memory: Int32) throws(WorkerFault) {
        func pair() -> (ours: Int32, theirs: Int32)? {
            var ends: [Int32] = [-1, -1]
            guard socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &ends) == 0 else { return nil }
            return (ends[0], ends[1])
        }
        var pipes: [Int32] = [-1, -1]
        guard let lifes = pair(), let controls = pair(), pipe(&pipes) == 0 else {
            throw WorkerFault("there are no descriptors for a worker: \(String(cString: strerror(errno)))")
        }
        // Out of the way of the numbers that they get in the child.
        let theirs = [lifes.theirs, controls.theirs, memory, pipes[1]].map { fcntl($0, F_DUPFD_CLOEXEC, 32) }
        for end in [lifes.theirs, controls.theirs, pipes[1]] { close(end) }
        for end in [lifes.ours, controls.ours, pipes[0]] {
            _ = fcntl(end, F_SETFD, FD_CLOEXEC)
            _ = fcntl(end, F_SETFL, O_NONBLOCK)
        }
        life = lifes.ours
        control = controls.ours
        output = pipes[0]
        tag = "\(getpid())-\(String(UInt64.random(in: .min ... .max), radix: 36))"

        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_adddup2(&actions, theirs[3], STDOUT_FILENO)
        posix_spawn_file_actions_adddup2(&actions, theirs[3], STDERR_FILENO)
        for (source, number) in zip(theirs, [Self.lifeNumber, Self.controlNumber, Self.memoryNumber]) {
            posix_spawn_file_actions_adddup2(&actions, source, number)
        }
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        var none = sigset_t()
        var all = sigset_t()
        sigemptyset(&none)
        sigfillset(&all)
        posix_spawnattr_setsigmask(&attributes, &none)
        posix_spawnattr_setsigdefault(&attributes, &all)
        posix_spawnattr_setflags(
            &attributes, Int16(POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF))
        let words =
            plan.options.command
            + [plan.path, plan.sha256, plan.plugin, "\(plan.options.memoryBytes)", "\(plan.options.filesMax)"]
        var arguments: [UnsafeMutablePointer<CChar>?] = words.map { strdup($0) } + [nil]
        var variables: [UnsafeMutablePointer<CChar>?] =
            Self.environment(plan.options, tag: tag).map { strdup($0) } + [nil]
        defer { (arguments + variables).forEach { free($0) } }
        var child: pid_t = 0
        let failure = posix_spawn(&child, words[0], &actions, &attributes, &arguments, &variables)
        theirs.forEach { close($0) }
        guardian = child
        guard failure == 0 else {
            isReaped = true
            closeDescriptors()
            throw WorkerFault("\(words[0]) does not start: \(String(cString: strerror(failure)))")
        }
    }

    deinit { closeDescriptors() }

    /// Ours, without what changes how a program is loaded, and without what the operator keeps to the host.
    private static func environment(_ options: WorkerOptions, tag: String) -> [String] {
        let ours = Set(options.environment.keys).union([tagVariable, "SWIFT_BACKTRACE", "GLIBC_TUNABLES"])
        var variables: [String] = []
        var next = environ
        while let entry = next.pointee {
            let text = String(cString: entry)
            let name = String(text.prefix { $0 != "=" })
            let isForeign =
                name.hasPrefix("LD_") || name.hasPrefix("MALLOC_") || name.hasPrefix("VCHOST__")
                || name == "NOTIFY_SOCKET"
            if !isForeign, !ours.contains(name), !options.withheldVariables.contains(name) { variables.append(text) }
            next += 1
        }
        return variables + [
            "\(tagVariable)=\(tag)", "SWIFT_BACKTRACE=enable=no",
            // Each arena reserves 64 MiB of address space, and the limit of memory counts what is reserved.
            "GLIBC_TUNABLES=glibc.malloc.arena_max=4",
        ] + options.environment.map { "\($0.key)=\($0.value)" }
    }

    // MARK: What it says

    /// Reads what the guardian said. True when the worker has ended.
    func readLife() -> Bool {
        let (bytes, isEnd) = Self.read(life, max: 4_096)
        lifeText += bytes
        for line in String(decoding: lifeText, as: UTF8.self).split(separator: "\n") {
            let words = line.split(separator: " ")
            guard words.count == 4, let first = Int32(words[1]), let second = Int32(words[2]) else { continue }
            if words[0] == "started", worker == 0 {
                worker = first
                workerDescriptor = vch_process_open(first)
            }
            if words[0] == "ended" {
                ending = first != 0 ? .signal(first) : .exit(second)
                memoryKiB = UInt64(words[3]) ?? 0
            }
        }
        if isEnd, ending == nil { ending = .unknown }
        return ending != nil
    }

    /// Reads the handshake, or a dying worker's backtrace.
    func readControl() {
        guard !isControlOver else { return }
        let (bytes, isEnd) = Self.read(control, max: 4_096)
        isControlOver = isEnd
        controlText += bytes.prefix(max(0, Self.controlBytesMax - controlText.count))
    }

    /// What the worker wrote to its standard output and error since.
    func readOutput() -> [UInt8] {
        guard !isOutputOver else { return [] }
        let (bytes, isEnd) = Self.read(output, max: 64 << 10)
        isOutputOver = isEnd
        return bytes
    }

    private static func read(_ descriptor: Int32, max: Int) -> (bytes: [UInt8], isEnd: Bool) {
        var bytes: [UInt8] = []
        while bytes.count < max {
            var buffer = [UInt8](repeating: 0, count: 4_096)
            let got = Glibc.read(descriptor, &buffer, buffer.count)
            if got < 0, errno == EINTR { continue }
            if got == 0 { return (bytes, true) }
            guard got > 0 else { return (bytes, errno != EAGAIN) }
            bytes += buffer[..<got]
        }
        return (bytes, false)
    }

    // MARK: Its end

    /// kill -9. What it left behind is the guardian's to end.
    func kill() {
        if workerDescriptor >= 0 {
            vch_process_kill(workerDescriptor)
        } else {
            // Not yet split in two: the guardian is all there is, or ends the rest when our end of its line closes.
            shutdown(life, Int32(SHUT_RDWR))
            Glibc.kill(guardian, SIGKILL)
        }
    }

    /// After the end: takes the guardian's status from the kernel. True when that is done.
    func reap() -> Bool {
        guard !isReaped else { return true }
        var status: Int32 = 0
        let got = waitpid(guardian, &status, WNOHANG)
        isReaped = got == guardian || (got < 0 && errno == ECHILD)
        return isReaped
    }

    /// Ends whatever bears this worker's tag. For when the guardian could not: it looks at every process.
    func endStrays() {
        let mark = Array("\(Self.tagVariable)=\(tag)".utf8)
        for name in directoryEntries("/proc") ?? [] {
            guard let process = pid_t(name), process > 1, process != getpid() else { continue }
            guard let environment = readSmallFile("/proc/\(name)/environ") else { continue }
            if environment.split(separator: 0).contains(where: { $0.elementsEqual(mark) }) {
                Glibc.kill(process, SIGKILL)
            }
        }
    }

    func closeDescriptors() {
        guard !isClosed else { return }
        isClosed = true
        for descriptor in [life, control, output] { close(descriptor) }
        if workerDescriptor >= 0 { close(workerDescriptor) }
    }

    // MARK: What it uses

    /// Processor time and memory, or nil when it is gone.
    static func usage(of process: pid_t) -> (cpuMs: Int, residentBytes: Int)? {
        guard process > 0, let bytes = readSmallFile("/proc/\(process)/stat") else { return nil }
        // "PID (NAME) STATE ...": NAME may hold anything, so it is counted from its end. Fields as in proc(5).
        let text = String(decoding: bytes, as: UTF8.self)
        guard let end = text.lastIndex(of: ")") else { return nil }
        let fields = text[text.index(after: end)...].split(separator: " ")
        guard fields.count > 21, let user = Int(fields[11]), let system = Int(fields[12]), let pages = Int(fields[21])
        else { return nil }
        let ticks = sysconf(Int32(_SC_CLK_TCK))
        return ((user + system) * 1_000 / max(1, ticks), pages * sysconf(Int32(_SC_PAGESIZE)))
    }
}

/// Why a worker does not do what it should; for the log and for whoever asked.
struct WorkerFault: Error {
    let message: String
    init(_ message: String) { self.message = message }
}
