// Opens a foreign library in a process that may die.
//
// The linker trusts what it maps, and a constructor is code: a damaged or hostile file can end the process that opens
// it, and no check of the headers can promise otherwise. So a file that the build did not list as its own is opened
// first in a child, which does exactly what the loader will do and says how far it came. No last word, no load. What
// the child found (the providers, or the reason why not) is all that this process ever knows of a library that runs in
// a worker.
//
// The child is the host's own executable, `vchost __probe PATH`, spawned and not forked: a fork of a Swift process with
// threads may do nothing but exec.

import Glibc
import PluginABI

public struct PluginProbe: Sendable {
    /// What to run; the path of the library is appended.
    public let command: [String]
    /// Added to the child's environment; PATH and the like are inherited.
    public let environment: [String: String]
    /// Opening a library takes milliseconds; one that is busy for so long will not do for a host.
    public let deadlineMs: Int

    /// The process's own executable, which must answer `__probe` with `PluginProbe.child`.
    public static let host = PluginProbe(command: ["/proc/self/exe", "__probe"])

    public init(command: [String], environment: [String: String] = [:], deadlineMs: Int = 5_000) {
        self.command = command
        self.environment = environment
        self.deadlineMs = deadlineMs
    }

    static let mark = "vchost-probe|1|"
    private enum Phase: String { case opening, entering, survived }

    // MARK: The child

    /// What `vchost __probe PATH` does. Ends the process.
    public static func child(path: String) -> Never {
        let file = String(path.split(separator: "/").last ?? "")
        say(.opening)
        do throws(PluginRefusal) {
            let entry = try PluginLoader.open(path, file)
            say(.entering)
            let begin = hostClockNs()
            let module = try PluginModule.enter(entry, file: file)
            let tookMs = Int((hostClockNs() - begin) / 1_000_000)
            for line in module.description(entryMs: tookMs).lines { say(line) }
        } catch {
            say(["refused", error.code.rawValue, error.reason, error.mend].joined(separator: "\t"))
        }
        say(.survived)
        _exit(0)
    }

    private static func say(_ phase: Phase) { say(phase.rawValue) }

    private static func say(_ text: String) {
        let line = Array((mark + text.split(separator: "\n").joined(separator: " ") + "\n").utf8)
        _ = write(STDOUT_FILENO, line, line.count)
    }

    // MARK: The parent

    /// What a child found in the library. Throws what the loader would have thrown, and that the child did not survive.
    func check(path: String, file: String) throws(PluginRefusal) -> ModuleDescription {
        let mend = "Do not use it; tell its author. `vchost plugins info \(file)` shows who that is"
        guard let outcome = run(path) else {
            throw PluginRefusal(
                .cannotLoad, "\(file) could not be tried out: \(command[0]) does not start",
                mend: "Check the installation of vchost")
        }
        let place = outcome.phase == .entering ? "in \(VC_PLUGIN_ENTRY)" : "while it was opened"
        if outcome.phase == .survived { return try Self.finding(outcome.lines, file) }
        if outcome.timedOut {
            throw PluginRefusal(.hung, "\(file) did not return within \(deadlineMs) ms \(place)", mend: mend)
        }
        let how = outcome.signal > 0 ? "crashed (\(Self.name(ofSignal: outcome.signal)))" : "ended its process"
        throw PluginRefusal(.crashed, "\(file) \(how) \(place)", mend: mend)
    }

    private func run(_ path: String) -> (phase: Phase, lines: [String], signal: Int32, timedOut: Bool)? {
        var ends: [Int32] = [-1, -1]
        guard pipe(&ends) == 0 else { return nil }
        for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        defer { close(ends[0]) }
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO)
        posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0)
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        // A group of its own, so that what the library may have started ends with it.
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETPGROUP))

        var arguments: [UnsafeMutablePointer<CChar>?] = (command + [path]).map { strdup($0) } + [nil]
        var variables: [UnsafeMutablePointer<CChar>?] = Self.inherited(adding: environment).map { strdup($0) } + [nil]
        defer { (arguments + variables).forEach { free($0) } }
        var child: pid_t = 0
        let spawned = posix_spawn(&child, command[0], &actions, &attributes, &arguments, &variables)
        close(ends[1])
        guard spawned == 0 else { return nil }

        let (text, timedOut) = listen(ends[0])
        if timedOut { kill(-child, SIGKILL) }
        var status: Int32 = 0
        while waitpid(child, &status, 0) < 0, errno == EINTR {}
        kill(-child, SIGKILL)
        let lines = text.split(separator: "\n").compactMap { line in
            line.hasPrefix(Self.mark) ? String(line.dropFirst(Self.mark.count)) : nil
        }
        // A child that said nothing at all is not ours: the command is wrong.
        guard let phase = lines.last(where: { Phase(rawValue: $0) != nil }).flatMap(Phase.init) else { return nil }
        return (phase, lines, status & 0x7f, timedOut)
    }

    private static func finding(_ lines: [String], _ file: String) throws(PluginRefusal) -> ModuleDescription {
        for line in lines {
            let parts = line.split(separator: "\t", omittingEmptySubsequences: false).map(String.init)
            guard parts.count == 4, parts[0] == "refused", let code = PluginRefusal.Code(rawValue: parts[1]) else {
                continue
            }
            throw PluginRefusal(code, parts[2], mend: parts[3])
        }
        guard let description = ModuleDescription(lines: lines) else {
            throw PluginRefusal(
                .cannotLoad, "\(file) could not be tried out: the child did not say what it found",
                mend: "Check the installation of vchost")
        }
        return description
    }

    /// Reads until the child closed its end, said that it survived, or the deadline passed.
    private func listen(_ descriptor: Int32) -> (text: String, timedOut: Bool) {
        var bytes: [UInt8] = []
        let end = hostClockNs() + UInt64(deadlineMs) * 1_000_000
        while bytes.count < 1 << 16 {
            let now = hostClockNs()
            guard now < end else { return (String(decoding: bytes, as: UTF8.self), true) }
            var poll = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
            guard Glibc.poll(&poll, 1, Int32((end - now) / 1_000_000) + 1) > 0 else { continue }
            var buffer = [UInt8](repeating: 0, count: 1_024)
            let got = read(descriptor, &buffer, buffer.count)
            guard got > 0 else { break }
            bytes += buffer[..<got]
            let text = String(decoding: bytes, as: UTF8.self)
            if text.contains(Self.mark + Phase.survived.rawValue + "\n") { return (text, false) }
        }
        return (String(decoding: bytes, as: UTF8.self), false)
    }

    /// Our environment, without what would change how the library is loaded or how a crash looks.
    private static func inherited(adding extra: [String: String]) -> [String] {
        var variables: [String] = []
        var next = environ
        while let entry = next.pointee {
            let text = String(cString: entry)
            if !text.hasPrefix("LD_PRELOAD="), !text.hasPrefix("SWIFT_BACKTRACE=") { variables.append(text) }
            next += 1
        }
        return variables + ["SWIFT_BACKTRACE=enable=no"] + extra.map { "\($0.key)=\($0.value)" }
    }

    private static func name(ofSignal number: Int32) -> String {
        switch number {
        case SIGSEGV: "SIGSEGV"
        case SIGBUS: "SIGBUS"
        case SIGILL: "SIGILL"
        case SIGABRT: "SIGABRT"
        case SIGFPE: "SIGFPE"
        case SIGTRAP: "SIGTRAP"
        default: "signal \(number)"
        }
    }
}

/// Nanoseconds of the clock that never goes back.
func hostClockNs() -> UInt64 {
    var now = timespec()
    clock_gettime(CLOCK_MONOTONIC, &now)
    return UInt64(now.tv_sec) &* 1_000_000_000 &+ UInt64(now.tv_nsec)
}
