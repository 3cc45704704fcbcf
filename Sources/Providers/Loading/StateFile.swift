// What a host remembers of plugins beyond its own life: small JSON files in its state directory, by SHA-256.
//
// None of it is worth a call. A file that cannot be read is set aside under another name, so that somebody can look at
// it, and the host goes on as if there had been none; one that cannot be written costs the memory of this run only.
// Files are replaced and never written in place, so that a power cut leaves the old or the new one.

import Glibc
import JSON

public enum StateDirectory {
    /// `directory`, else what systemd gives a service, else `${XDG_STATE_HOME:-~/.local/state}/vchost`. Nil when the
    /// environment names none.
    public static func path(_ directory: String = "") -> String? {
        func variable(_ name: String) -> String? {
            guard let value = getenv(name), value.pointee == UInt8(ascii: "/") else { return nil }
            // systemd separates several with a colon; ours is the first.
            return String(String(cString: value).prefix { $0 != ":" })
        }
        if !directory.isEmpty { return directory }
        if let given = variable("STATE_DIRECTORY") { return given }
        if let state = variable("XDG_STATE_HOME") { return state + "/vchost" }
        return variable("HOME").map { $0 + "/.local/state/vchost" }
    }
}

struct StateFile: Sendable {
    /// A record has a few kilobytes, and there are at most some hundred.
    static let bytesMax = 1 << 20

    let directory: String
    let name: String

    var path: String { directory + "/" + name }

    enum Content {
        case none
        case document(JSONValue)
        /// Unreadable; where it lies now.
        case setAside(String, reason: String)
    }

    /// Reads it. What is no JSON object of `version`, or too large, is set aside.
    func read(version: Int64) -> Content {
        var status = stat()
        guard stat(path, &status) == 0 else { return .none }
        let isSmall = status.st_mode & S_IFMT == S_IFREG && status.st_size <= Self.bytesMax
        guard isSmall, let bytes = readSmallFile(path) else {
            return setAside("it is no small regular file that can be read")
        }
        do throws(ManifestError) {
            let document = try parseDocument(bytes[...])
            guard document["version"]?.integer == version else {
                return setAside("it has no \"version\": \(version)")
            }
            return .document(document)
        } catch {
            return setAside(error.problem)
        }
    }

    func setAside(_ reason: String) -> Content {
        let aside = "\(path).broken-\(time(nil))"
        _ = rename(path, aside)
        return .setAside(aside, reason: reason)
    }

    /// Replaces it. Nil, or why that did not work.
    func write(_ document: JSONValue) -> String? {
        var made = ""
        for part in directory.split(separator: "/") {
            made += "/" + part
            // Where one exists, or may not be made, the next step says what is wrong.
            _ = mkdir(made, 0o700)
        }
        let temporary = "\(path).\(getpid()).\(UInt32.random(in: 0...UInt32.max))"
        guard writeWhole(Array((document.text + "\n").utf8), to: temporary, mode: 0o600) == 0,
            rename(temporary, path) == 0
        else {
            let reason = String(cString: strerror(errno))
            unlink(temporary)
            return "\(path) cannot be written: \(reason)"
        }
        return nil
    }
}

/// Milliseconds since 1970, for what is read in another run.
func wallClockMs() -> Int64 {
    var now = timespec()
    clock_gettime(CLOCK_REALTIME, &now)
    return Int64(now.tv_sec) * 1_000 + Int64(now.tv_nsec) / 1_000_000
}

/// "2026-01-31T12:00:00Z".
func isoTime(_ ms: Int64) -> String {
    var seconds = time_t(ms / 1_000)
    var parts = tm()
    gmtime_r(&seconds, &parts)
    func two(_ value: Int32) -> String { value < 10 ? "0\(value)" : "\(value)" }
    return "\(parts.tm_year + 1900)-\(two(parts.tm_mon + 1))-\(two(parts.tm_mday))"
        + "T\(two(parts.tm_hour)):\(two(parts.tm_min)):\(two(parts.tm_sec))Z"
}
