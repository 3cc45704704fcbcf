// What `vchost conform` found out about files: a small store by SHA-256, so that a badge belongs to the very bytes that
// were tested. The runner writes it, possibly while a host runs, and lists read it each time; both replace the whole
// file, and the last writer of two at a time wins, which costs a badge that another run brings back.

import JSON

public struct ConformanceRecord: Sendable, Equatable {
    /// "basic", "real-time", "resilient", or what a later runner calls its levels.
    public var level: String
    /// "2026-01-31T12:00:00Z".
    public var date: String
    public var hostVersion: String
    /// With which the run can be repeated.
    public var seed: String

    /// - Parameter date: nil is now.
    public init(level: String, date: String? = nil, hostVersion: String, seed: String) {
        self.level = level
        self.date = date ?? isoTime(wallClockMs())
        self.hostVersion = hostVersion
        self.seed = seed
    }
}

public struct ConformanceRecords: Sendable {
    /// Some hundred files, which is years of one author's builds; the oldest go first.
    public static let recordsMax = 256
    static let formatVersion: Int64 = 1

    private let file: StateFile?

    /// - Parameter directory: of the state (`StateDirectory.path()`); without one there are no records.
    public init(directory: String?) { file = directory.map { StateFile(directory: $0, name: "conformance.json") } }

    /// All of them, by hash. A file that cannot be read is set aside, and then there are none.
    public func all() -> [String: ConformanceRecord] {
        guard case .document(let document) = file?.read(version: Self.formatVersion) else { return [:] }
        return (document["plugins"]?.object ?? [:]).compactMapValues { value in
            guard let level = value["level"]?.string else { return nil }
            return ConformanceRecord(
                level: level, date: value["date"]?.string ?? "", hostVersion: value["hostVersion"]?.string ?? "",
                seed: value["seed"]?.string ?? "")
        }
    }

    public subscript(sha256: String) -> ConformanceRecord? { all()[sha256] }

    /// Keeps a result. Nil, or why that did not work.
    public func write(_ record: ConformanceRecord, for sha256: String) -> String? {
        guard let file else { return "there is no state directory: neither XDG_STATE_HOME nor HOME is set" }
        var records = all()
        records[sha256] = record
        while records.count > Self.recordsMax, let oldest = records.min(by: { $0.value.date < $1.value.date })?.key {
            records[oldest] = nil
        }
        return file.write([
            "version": .integer(Self.formatVersion),
            "plugins": .object(
                records.mapValues { record in
                    [
                        "level": .string(record.level), "date": .string(record.date),
                        "hostVersion": .string(record.hostVersion), "seed": .string(record.seed),
                    ]
                }),
        ])
    }
}
