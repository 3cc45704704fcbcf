// Files that crashed too often are not opened any more.
//
// By SHA-256 and not by name or date: a new build is a new file and gets its chance, and the same file under another
// name does not. Three crashes in ten minutes are the limit of a plugin that is restarted with backoff; one that
// crashes once a day is reported and goes on. What is known of each crash is kept, because the author needs it and
// the process that knew it is dead.
//
// A quarantine ends with another file, with another version of the host (the fault may have been ours), or with
// `vchost plugins pardon`. It survives a restart of the host, or the supervisor that restarts us would undo it.

import Dispatch
import Glibc
import JSON
import Synchronization

/// One death of a process that ran a plugin.
public struct CrashReport: Sendable, Equatable {
    public var sha256: String
    /// The plugin's id and version.
    public var plugin: String
    public var version: String
    /// The section of the configuration, "tts.acme", or empty.
    public var provider: String
    /// "SIGSEGV", "exit(0)", "hung".
    public var signal: String
    /// Where the plugin was: the slot that ran, or empty.
    public var breadcrumb: String
    /// As text, if there is one.
    public var backtrace: String
    /// What is known beyond the signal: "it hung: speak did not return within 900 ms". Or empty.
    public var reason: String
    /// Sessions that failed over because of it.
    public var sessions: Int
    /// Whoever restarts it has given it up: it is quarantined whatever the rule says.
    public var isTooMany: Bool
    /// Milliseconds since 1970.
    public var atMs: Int64

    public init(
        sha256: String, plugin: String, version: String, provider: String = "", signal: String, breadcrumb: String = "",
        backtrace: String = "", reason: String = "", sessions: Int = 0, isTooMany: Bool = false,
        atMs: Int64? = nil
    ) {
        self.sha256 = sha256
        self.plugin = plugin
        self.version = version
        self.provider = provider
        self.signal = signal
        self.breadcrumb = breadcrumb
        self.backtrace = backtrace
        self.reason = reason
        self.sessions = sessions
        self.isTooMany = isTooMany
        self.atMs = atMs ?? wallClockMs()
    }

    /// "crashed (SIGSEGV in speak)", "hung (speak did not return within 900 ms, session of call x)".
    public var summary: String {
        let place = breadcrumb.isEmpty ? "" : breadcrumb == "between calls" ? " between calls" : " in \(breadcrumb)"
        switch signal {
        case "hung": return "hung (\(reason.text(after: "it hung: ").map(String.init) ?? reason);\(place))"
        case "killed": return "was killed (\(reason);\(place))"
        case "SIGKILL", "SIGTERM": return "was killed (\(signal)\(place)\(reason.isEmpty ? "" : "; " + reason))"
        case _ where signal.hasPrefix("exit"): return "ended itself (\(signal)\(place))"
        default: return "crashed (\(signal)\(place)\(reason.isEmpty ? "" : "; " + reason))"
        }
    }
}

/// When crashes are too many.
public struct CrashRule: Sendable, Equatable {
    public static let crashesMax = 3
    public static let windowMs: Int64 = 600_000

    /// Of the crashes that count, the oldest first.
    public private(set) var timesMs: [Int64] = []
    public private(set) var isQuarantined = false

    public init() {}

    init(timesMs: [Int64], isQuarantined: Bool) {
        self.timesMs = timesMs.suffix(Self.crashesMax)
        self.isQuarantined = isQuarantined
    }

    mutating func quarantine() { isQuarantined = true }

    /// True when this crash is the one too many. A clock that went back makes old crashes count longer, never less.
    public mutating func crashed(at now: Int64) -> Bool {
        timesMs = (timesMs.filter { now - $0 < Self.windowMs } + [now]).suffix(Self.crashesMax)
        guard !isQuarantined, timesMs.count >= Self.crashesMax else { return false }
        isQuarantined = true
        return true
    }
}

public final class Quarantine: Sendable {
    /// More plugins than a host has; the one whose last crash is oldest is forgotten.
    static let recordsMax = 64
    /// A stack of a hundred frames.
    static let backtraceBytesMax = 8 << 10
    static let formatVersion: Int64 = 1

    struct Record: Sendable {
        var rule = CrashRule()
        var hostVersion: String
        /// The last ones, as many as the rule counts.
        var crashes: [CrashReport] = []
        /// All that ever were.
        var total = 0
    }

    public enum Verdict: Sendable, Equatable {
        /// It may be started again.
        case restart(crashes: Int)
        case quarantined(PluginRefusal)
    }

    private let records: Mutex<[String: Record]>
    private let file: StateFile?
    private let hostVersion: String
    private let log: any ProviderLog
    /// A crash is reported by threads that have restarting to do, and a disk may be slow.
    private let queue = DispatchQueue(label: "quarantine")

    /// - Parameters:
    ///   - directory: of the state; nil keeps it for this run only.
    public init(directory: String?, hostVersion: String, log: any ProviderLog) {
        self.hostVersion = hostVersion
        self.log = log
        file = directory.map { StateFile(directory: $0, name: "quarantine.json") }
        var known: [String: Record] = [:]
        switch file?.read(version: Self.formatVersion) {
        case .document(let document):
            for (sha256, value) in document["plugins"]?.object ?? [:] {
                guard let record = Record(value), record.hostVersion == hostVersion else { continue }
                known[sha256] = record
            }
        case .setAside(let path, let reason):
            log.write(
                ProviderLogLine(
                    .warning, "what was known of crashes is broken and was set aside as \(path): \(reason)",
                    plugin: ""))
        case .some(.none), nil: break
        }
        records = Mutex(known)
    }

    /// Notes a crash. Any thread; returns at once.
    public func record(_ report: CrashReport) -> Verdict {
        var report = report
        report.backtrace = String(decoding: report.backtrace.utf8.prefix(Self.backtraceBytesMax), as: UTF8.self)
        let (rule, total) = records.withLock { [hostVersion] records in
            var record = records[report.sha256] ?? Record(hostVersion: hostVersion)
            _ = record.rule.crashed(at: report.atMs)
            if report.isTooMany { record.rule.quarantine() }
            record.crashes = (record.crashes + [report]).suffix(CrashRule.crashesMax)
            record.total += 1
            records[report.sha256] = record
            if records.count > Self.recordsMax,
                let oldest = records.min(by: { $0.value.lastMs < $1.value.lastMs })?.key
            {
                records[oldest] = nil
            }
            return (record.rule, record.total)
        }
        save()
        return rule.isQuarantined
            ? .quarantined(Self.refusal(report, file: report.plugin)) : .restart(crashes: total)
    }

    /// Why a file is not opened; nil when it may be.
    public func refusal(of sha256: String, file: String) -> PluginRefusal? {
        records.withLock { records in
            guard let record = records[sha256], record.rule.isQuarantined, let last = record.crashes.last else {
                return nil
            }
            return Self.refusal(last, file: file)
        }
    }

    private static func refusal(_ last: CrashReport, file: String) -> PluginRefusal {
        PluginRefusal(
            .quarantined,
            "\(file) is in quarantine after \(CrashRule.crashesMax) crashes within "
                + "\(CrashRule.windowMs / 60_000) minutes; at \(isoTime(last.atMs)) it \(last.summary)",
            mend: "Install another version, or run: vchost plugins pardon \(last.plugin)")
    }

    /// Crashes of a file in all, as far as they are remembered.
    public func crashes(of sha256: String) -> Int { records.withLock { $0[sha256]?.total ?? 0 } }

    public func lastCrash(of sha256: String) -> CrashReport? { records.withLock { $0[sha256]?.crashes.last } }

    /// Forgets the crashes of a plugin, named by its id or by the first eight or more digits of its hash. Returns the
    /// hashes that were pardoned.
    public func pardon(_ name: String) -> [String] {
        let pardoned = records.withLock { records in
            let found = records.filter { sha256, record in
                record.crashes.last?.plugin == name || name.utf8.count >= 8 && sha256.hasPrefix(name.lowercased())
            }
            for sha256 in found.keys { records[sha256] = nil }
            return found.keys.sorted()
        }
        if !pardoned.isEmpty { save() }
        return pardoned
    }

    /// Waits until all is on the disk.
    public func flush() { queue.sync {} }

    private func save() {
        queue.async { [self] in
            guard let file else { return }
            let document: JSONValue = [
                "version": .integer(Self.formatVersion),
                "plugins": .object(records.withLock { $0.mapValues(\.json) }),
            ]
            if let problem = file.write(document) {
                log.write(ProviderLogLine(.warning, "crashes are remembered for this run only: \(problem)", plugin: ""))
            }
        }
    }
}

extension Quarantine.Record {
    var lastMs: Int64 { crashes.last?.atMs ?? 0 }

    var json: JSONValue {
        [
            "hostVersion": .string(hostVersion), "quarantined": .bool(rule.isQuarantined),
            "total": .integer(Int64(total)),
            "crashes": .array(
                crashes.map { crash in
                    [
                        "atMs": .integer(crash.atMs), "at": .string(isoTime(crash.atMs)),
                        "plugin": .string(crash.plugin), "version": .string(crash.version),
                        "provider": .string(crash.provider),
                        "signal": .string(crash.signal), "breadcrumb": .string(crash.breadcrumb),
                        "backtrace": .string(crash.backtrace), "reason": .string(crash.reason),
                        "sessions": .integer(Int64(crash.sessions)),
                    ]
                }),
        ]
    }

    init?(_ json: JSONValue) {
        guard let hostVersion = json["hostVersion"]?.string, let list = json["crashes"]?.array else { return nil }
        let crashes = list.compactMap { crash -> CrashReport? in
            guard let atMs = crash["atMs"]?.integer, let plugin = crash["plugin"]?.string else { return nil }
            return CrashReport(
                sha256: "", plugin: plugin, version: crash["version"]?.string ?? "",
                provider: crash["provider"]?.string ?? "", signal: crash["signal"]?.string ?? "",
                breadcrumb: crash["breadcrumb"]?.string ?? "",
                backtrace: crash["backtrace"]?.string ?? "", reason: crash["reason"]?.string ?? "",
                sessions: Int(crash["sessions"]?.integer ?? 0),
                atMs: atMs)
        }
        guard !crashes.isEmpty else { return nil }
        self.init(
            rule: CrashRule(timesMs: crashes.map(\.atMs), isQuarantined: json["quarantined"]?.bool ?? false),
            hostVersion: hostVersion, crashes: crashes.suffix(CrashRule.crashesMax),
            total: Int(json["total"]?.integer ?? Int64(crashes.count)))
    }
}
