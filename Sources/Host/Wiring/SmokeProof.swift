// Has a new file proven before a call gets it: the smoke rules of `vchost conform`, run by a process of their own.
//
// Not in this process, though the runner would be at hand: it makes itself the foster parent of what a plugin leaves
// behind and kills what it finds, and this process has workers among its children. As a command it is also what the
// operator can repeat word for word, and what he sees then is what the host saw.
//
// A plugin with the vendor's scripts beside it (`NAME.conform/`) is tried with their settings, because they know what
// the vendor answers; any other with those of its section.

import CPlatform
import Conformance
import Control
import Dispatch
import Glibc
import JSON
import Providers

struct SmokeProof: Sendable {
    /// The rules take less than a second on an idle machine; a plugin that hangs in each of them takes this long.
    static let deadlineMs = 30_000
    /// For one rule.
    private static let ruleSeconds = "5"
    /// A report of some twenty rules has 10 KiB; one with the output of each has more.
    private static let reportBytesMax = 4 << 20

    let configuration: Configuration
    let directory: String
    let proven: ProvenFiles
    /// This very program.
    var program = "/proc/self/exe"

    /// Why a plugin is not used; nil when it passes, or has passed before.
    func refusal(of plugin: PluginToProve) -> PluginRefusal? {
        let (file, manifest) = (plugin.file, plugin.manifest)
        let path = directory + "/" + file
        var words = [program, "conform", "run", plugin.copy, "--smoke"]
        words += ["--timeout", Self.ruleSeconds, "--format", "json"]
        var settings = ""
        if let scripts = VendorScript.find(besidePlugin: path) {
            words += ["--scripts", scripts]
        } else {
            settings = JSONValue.object(configuration.settings(for: file, manifest)).text
            words += ["--config", "/dev/stdin"]
            if proven.contains(plugin.sha256, settings: settings) { return nil }
        }
        guard let (output, status) = Self.run(words, input: settings) else {
            return PluginRefusal(
                .notProven, "\(file) could not be proven: \(program) conform did not end within "
                    + "\(Self.deadlineMs / 1_000) s", mend: "Run: vchost conform run \(path) --smoke")
        }
        let refusal = Self.refusal(output, status: status, file: file, path: path, version: manifest.version)
        // Scripts are files, which may change without a word; what was tried with them is tried again.
        if refusal == nil, !settings.isEmpty { proven.add(plugin.sha256, settings: settings) }
        return refusal
    }

    /// What the report says of the plugin.
    static func refusal(
        _ output: [UInt8], status: Int32, file: String, path: String, version: String
    ) -> PluginRefusal? {
        // 77: all rules were skipped; 6: there is none for what it provides.
        if [0, 6, 77].contains(status) { return nil }
        let mend = "Tell its author; this repeats it: vchost conform run \(path) --smoke"
        let report = try? JSONValue(parsing: String(decoding: output, as: UTF8.self))
        let results = report?["plugins"]?.array?.first?["results"]?.array ?? []
        let losses = ["fail", "crash", "hang", "no-verdict"]
        let broken = results.filter {
            $0["weight"]?.string == "must" && losses.contains($0["status"]?.string ?? "")
        }
        guard let first = broken.first, let rule = first["rule"]?.string, let sentence = first["sentence"]?.string
        else {
            return PluginRefusal(
                .notProven, "\(file) \(version) could not be proven: vchost conform ended with \(status)", mend: mend)
        }
        let more = broken.count > 1 ? ", and \(broken.count - 1) more" : ""
        let finding = first["message"]?.string ?? ""
        return PluginRefusal(
            .notProven, "\(file) \(version) breaks \(rule) (\"\(sentence)\"): \(finding)\(more)", mend: mend)
    }

    /// Runs a command. Nil when it took too long; it then goes on by itself, because its own deadlines end it and
    /// what it started.
    private static func run(_ words: [String], input: String) -> (output: [UInt8], status: Int32)? {
        var answers: [Int32] = [-1, -1]
        guard pipe(&answers) == 0 else { return nil }
        for end in answers { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        defer { close(answers[0]) }
        let bytes = Array(input.utf8)
        let questions = vch_memory_file("settings", UInt64(bytes.count))
        defer { if questions >= 0 { close(questions) } }
        _ = write(questions, bytes, bytes.count)
        lseek(questions, 0, SEEK_SET)

        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_adddup2(&actions, questions, STDIN_FILENO)
        posix_spawn_file_actions_adddup2(&actions, answers[1], STDOUT_FILENO)
        posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0)
        vch_spawn_close_from(&actions, 3)
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        // The host blocks the signals that it waits for, and a child would inherit that.
        var none = sigset_t()
        sigemptyset(&none)
        posix_spawnattr_setsigmask(&attributes, &none)
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK))
        var arguments: [UnsafeMutablePointer<CChar>?] = words.map { strdup($0) } + [nil]
        defer { arguments.forEach { free($0) } }
        var child: pid_t = 0
        let spawned = posix_spawn(&child, words[0], &actions, &attributes, &arguments, environ)
        close(answers[1])
        guard spawned == 0 else { return nil }

        guard let output = read(answers[0]) else {
            let late = child
            DispatchQueue.global().async { waitpid(late, nil, 0) }
            return nil
        }
        var status: Int32 = 0
        while waitpid(child, &status, 0) < 0, errno == EINTR {}
        return (output, status & 0x7f == 0 ? (status >> 8) & 0xff : 128 + status & 0x7f)
    }

    /// Until the child closes its end; nil when it does not in time.
    private static func read(_ descriptor: Int32) -> [UInt8]? {
        var bytes: [UInt8] = []
        let end = now() + UInt64(deadlineMs)
        var buffer = [UInt8](repeating: 0, count: 64 << 10)
        while bytes.count < reportBytesMax {
            let now = now()
            guard now < end else { return nil }
            var wait = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
            guard poll(&wait, 1, Int32(end - now)) > 0 else { continue }
            let got = Glibc.read(descriptor, &buffer, buffer.count)
            if got < 0, errno == EINTR { continue }
            guard got > 0 else { break }
            bytes += buffer[..<got]
        }
        return bytes
    }

    private static func now() -> UInt64 {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return UInt64(time.tv_sec) * 1_000 + UInt64(time.tv_nsec) / 1_000_000
    }
}
