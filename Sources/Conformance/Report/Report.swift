// What all rules said about one plugin: the one value from which every format is written.

import Providers

/// The result of a run for one plugin.
public struct Report: Sendable, Equatable {
    /// The plugin's id, or its file's name when it has none that can be read.
    public var plugin: String
    public var version: String
    public var path: String
    public var sha256: String
    /// The level up to which rules were selected.
    public var level: Rule.Level
    public var seed: UInt64
    public var hostMinor: Int
    /// In the order of the rule book, provider by provider.
    public var results: [RuleResult]
    /// Why the plugin could not be run at all, if so.
    public var problem = ""
    /// Waivers and known failures that nothing needed: the rules passed.
    public var needless: [String] = []
    /// Rules that ended differently when the run was repeated.
    public var unsteady: [String] = []
    /// Whether the selection left rules out; then there is no badge.
    public var isSelection = false
    /// Why answers of its providers could not be judged, if so; then there is no badge either.
    public var unreached: [String] = []
    /// `--fail-on warn`.
    public var failsOnWarnings = false
    public var wallMs = 0.0

    public init(_ subject: Subject, settings: RunSettings, results: [RuleResult]) {
        plugin = subject.manifest?.id ?? subject.name
        version = subject.manifest?.version ?? ""
        path = subject.path
        sha256 = subject.sha256
        level = settings.level
        seed = settings.seed
        hostMinor = settings.hostMinor
        isSelection = settings.isSelection
        self.results = results
        problem = subject.manifest == nil ? subject.manifestProblem : ""
    }

    public func count(_ status: Status) -> Int { results.count { $0.status == status } }

    /// The highest level of which every MUST was kept, with nothing left out and nothing waived.
    public var badge: Rule.Level? {
        guard !isSelection, problem.isEmpty, unreached.isEmpty else { return nil }
        var reached: Rule.Level?
        for step in Rule.Level.allCases where step <= level {
            let rules = results.filter { $0.level == step && $0.weight == .must }
            if rules.contains(where: { $0.status.isBreach }) { break }
            guard rules.contains(where: { $0.status == .pass }) else { continue }
            reached = step
        }
        return reached
    }

    /// 0 all kept, 1 a breach, 3 nothing could be inspected, 4 the plugin crashed, hung or left no verdict, 6 nothing
    /// was selected, 77 everything was skipped. 2 and 5 are not the plugin's.
    public var exitCode: Int32 {
        if !problem.isEmpty { return 3 }
        if results.isEmpty { return 6 }
        if results.contains(where: { $0.status.isLoss }) { return 4 }
        if count(.fail) > 0 || failsOnWarnings && count(.warn) > 0 { return 1 }
        return count(.skip) == results.count ? 77 : 0
    }

    /// One line: "FAIL org.acme.stt 2.4.0  rules 318  pass 309  fail 2  crash 1  skip 6  seed 7f3a…  12.4 s".
    public var summary: String {
        var parts = [
            [exitCode == 0 ? "PASS" : exitCode == 77 ? "SKIP" : "FAIL", plugin, version].filter { !$0.isEmpty }
                .joined(separator: " "),
            "rules \(results.count)", "pass \(count(.pass))",
        ]
        for status in Status.allCases where status != .pass && count(status) > 0 {
            parts.append("\(status.rawValue) \(count(status))")
        }
        if let badge { parts.append("badge \(badge.name)") }
        parts.append("seed \(seedText)")
        parts.append("\(seconds(wallMs)) s")
        return parts.joined(separator: "  ")
    }

    /// What two runs of the same plugin with the same seed must share, however busy the machine was: the rules of the
    /// virtual clock, byte by byte.
    public var fingerprint: String {
        var lines = [plugin, version, sha256, "\(level.rawValue)", seedText, "\(hostMinor)", problem]
        lines += results.filter { $0.clock == .virtual }.map(\.comparable)
        return SHA256.hex(Array(lines.joined(separator: "\u{1e}").utf8))
    }

    public var seedText: String { hexadecimal(seed) }
}

/// All plugins of one command.
public struct RunReport: Sendable, Equatable {
    public var reports: [Report]

    public init(_ reports: [Report]) { self.reports = reports }

    /// The worst of all: what says least about the plugin comes first.
    public var exitCode: Int32 {
        let codes = Set(reports.map(\.exitCode))
        for code: Int32 in [3, 4, 1] where codes.contains(code) { return code }
        if codes.contains(0) { return 0 }
        return codes.contains(77) ? 77 : 6
    }
}

func hexadecimal(_ number: UInt64) -> String {
    let digits = String(number, radix: 16)
    return String(repeating: "0", count: 16 - digits.count) + digits
}

/// "12.4", without the locale's ideas about it.
func seconds(_ ms: Double) -> String {
    let tenths = Int((ms / 100).rounded())
    return "\(tenths / 10).\(tenths % 10)"
}
