// For programs: everything that a report holds, as `docs/conform-report.schema.json` describes it.
//
// The document is also what `--baseline` reads: a failure that stands there is known.

import JSON

/// The report as one JSON document.
public enum JSONReport {
    /// The number of this form; a change that a reader must know of raises it.
    public static let format = 1

    public static func document(_ run: RunReport) -> JSONValue {
        [
            "format": .integer(Int64(format)), "exitCode": .integer(Int64(run.exitCode)),
            "plugins": .array(run.reports.map(plugin)),
        ]
    }

    private static func plugin(_ report: Report) -> JSONValue {
        var counts: [String: JSONValue] = [:]
        for status in Status.allCases { counts[status.rawValue] = .integer(Int64(report.count(status))) }
        return [
            "plugin": .string(report.plugin), "version": .string(report.version), "path": .string(report.path),
            "sha256": .string(report.sha256), "level": .string(report.level.name), "seed": .string(report.seedText),
            "hostMinor": .integer(Int64(report.hostMinor)), "exitCode": .integer(Int64(report.exitCode)),
            "badge": report.badge.map { .string($0.name) } ?? .null, "fingerprint": .string(report.fingerprint),
            "problem": report.problem.isEmpty ? .null : .string(report.problem),
            "counts": .object(counts), "wallMs": .number(rounded(report.wallMs)),
            "needless": .array(report.needless.map { .string($0) }),
            "unsteady": .array(report.unsteady.map { .string($0) }),
            "results": .array(report.results.map(result)),
        ]
    }

    private static func result(_ result: RuleResult) -> JSONValue {
        var members: [String: JSONValue] = [
            "rule": .string(result.rule), "group": .string(result.group), "level": .string(result.level.name),
            "weight": .string(result.weight.rawValue), "clock": .string(result.clock.rawValue),
            "sentence": .string(result.sentence),
            "provider": result.provider.isEmpty ? .null : .string(result.provider),
            "status": .string(result.status.rawValue), "cpuMs": .number(rounded(result.cpuMs)),
            "wallMs": .number(rounded(result.wallMs)),
        ]
        if !result.finding.isEmpty { members["message"] = .string(result.finding) }
        if let violation = result.violation {
            members["what"] = .string(violation.what)
            members["expected"] = .string(violation.expected)
            members["got"] = .string(violation.got)
        }
        for (name, text) in [
            ("why", result.why), ("where", result.place), ("details", result.details), ("output", result.output),
        ] where !text.isEmpty {
            members[name] = .string(text)
        }
        if !result.strays.isEmpty { members["strays"] = .array(result.strays.map { .string($0) }) }
        if !result.notes.isEmpty {
            members["notes"] = .array(
                result.notes.map { ["name": .string($0.name), "value": .string($0.value)] })
        }
        return .object(members)
    }

    /// A tenth of a millisecond is more than anybody believes.
    private static func rounded(_ ms: Double) -> Double { (ms * 10).rounded() / 10 }
}
