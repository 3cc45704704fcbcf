// Processes that a probe left behind.
//
// The parent is a subreaper: whoever loses its parents among the descendants becomes its child, so nobody can leave the
// tree. Which probe a stray belongs to is told by a mark that it inherited (`vcc_child_mark`) or, if it changed that,
// by a variable of the environment. /proc is read whole: its list of a process's children leaves some out while others
// end.

import CConformance
import Glibc

/// Finds and ends what one probe left.
struct Strays {
    /// Rounds of find and kill; a child that forks faster than it is found is found in the next.
    static let roundsMax = 50

    let mark: UInt32
    /// "VCHOST_CONFORM=…", as it stands in the environment.
    let tag: String
    let probe: pid_t

    /// Kills and reaps all of them, and returns what they were, "sleep 60".
    func clear() -> [String] {
        var names: [String] = []
        var known: Set<pid_t> = []
        for _ in 0..<Self.roundsMax {
            let found = find()
            if found.isEmpty { break }
            for process in found {
                if !process.isZombie, known.insert(process.id).inserted { names.append(process.name) }
                kill(process.id, SIGKILL)
            }
            // Those whose parent is another stray become ours in the next round.
            for process in found where process.parent == getpid() {
                while waitpid(process.id, nil, 0) < 0, errno == EINTR {}
            }
        }
        return names.sorted()
    }

    private struct Process {
        var id: pid_t
        var parent: pid_t
        var isZombie: Bool
        var name = ""
    }

    private func find() -> [Process] {
        let all = processes()
        var children: [pid_t: [Process]] = [:]
        for process in all { children[process.parent, default: []].append(process) }
        var found: [Process] = []
        // Another probe's tree is entered too: it costs one look at each process.
        var rest = children[getpid()] ?? []
        while var process = rest.popLast() {
            rest += children[process.id] ?? []
            guard process.id != probe else { continue }
            // The environment of a zombie is gone; its limits are not.
            guard vcc_is_marked(process.id, mark) || isTagged(process.id) else { continue }
            process.name = Self.commandLine(process.id)
            found.append(process)
        }
        return found
    }

    private func isTagged(_ process: pid_t) -> Bool {
        guard let bytes = Self.read("/proc/\(process)/environ", bytesMax: 64 << 10) else { return false }
        return bytes.split(separator: 0).contains { $0.elementsEqual(tag.utf8) }
    }

    // MARK: /proc

    /// The number of the newest process, the last of /proc/loadavg's fields.
    private static var newest: pid_t {
        guard let bytes = read("/proc/loadavg", bytesMax: 128) else { return 0 }
        let fields = String(decoding: bytes, as: UTF8.self).split(whereSeparator: \.isWhitespace)
        return fields.last.flatMap { pid_t($0) } ?? 0
    }

    /// All that are younger than the probe: to look at each process of a busy machine would cost more than most rules.
    /// Numbers grow until they begin anew, and then all are looked at.
    private func processes() -> [Process] {
        let oldest = Self.newest >= probe ? probe : 0
        guard let directory = opendir("/proc") else { return [] }
        defer { closedir(directory) }
        var found: [Process] = []
        while let entry = readdir(directory) {
            let id = withUnsafePointer(to: &entry.pointee.d_name) { name in
                atol(UnsafeRawPointer(name).assumingMemoryBound(to: CChar.self))
            }
            guard id > oldest, let process = Self.process(pid_t(id)) else { continue }
            found.append(process)
        }
        return found
    }

    /// "4711 (a (strange) name) S 4242 …": the name may hold anything, so it is skipped from behind.
    private static func process(_ id: pid_t) -> Process? {
        guard let bytes = read("/proc/\(id)/stat", bytesMax: 1_024),
            let name = bytes.lastIndex(of: UInt8(ascii: ")"))
        else { return nil }
        let fields = bytes[(name + 1)...].split(separator: UInt8(ascii: " "), maxSplits: 3)
        guard fields.count >= 2, let parent = pid_t(String(decoding: fields[1], as: UTF8.self)) else { return nil }
        return Process(id: id, parent: parent, isZombie: fields[0].first == UInt8(ascii: "Z"))
    }

    private static func commandLine(_ id: pid_t) -> String {
        guard let bytes = read("/proc/\(id)/cmdline", bytesMax: 256), !bytes.isEmpty else { return "a process" }
        return bytes.split(separator: 0).map { String(decoding: $0, as: UTF8.self) }.joined(separator: " ")
    }

    private static func read(_ path: String, bytesMax: Int) -> [UInt8]? {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        return [UInt8](unsafeUninitializedCapacity: bytesMax) { buffer, filled in
            filled = max(0, Glibc.read(descriptor, buffer.baseAddress, bytesMax))
        }
    }
}
