// Breaches that are excused: one by one with a reason (`--waive`), or because an earlier report has them (`--baseline`).
//
// An excuse that nothing needs any more is told: a list of known failures that never shrinks is worth nothing.

import JSON

struct Waivers {
    private struct Known: Hashable {
        let plugin: String
        let provider: String
        let rule: String
    }

    private var reasons: [String: String] = [:]
    private var known: Set<Known> = []

    init(_ words: [String], baseline path: String?, rules: [Rule]) throws(CommandUsage) {
        for word in words {
            let parts = word.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
            guard parts.count == 2, !parts[1].isEmpty else {
                throw CommandUsage("--waive wants RULE=REASON; \(word) has no reason")
            }
            guard rules.contains(where: { $0.id == parts[0] }) else {
                throw CommandUsage("--waive: there is no rule \(parts[0]); `vchost conform list` has them all")
            }
            reasons[parts[0]] = parts[1]
        }
        guard let path else { return }
        let document = try CommandFile.json(path)
        guard document["format"]?.integer == Int64(JSONReport.format), let plugins = document["plugins"]?.array else {
            throw CommandUsage("--baseline: \(path) is no report of `vchost conform run -f json`")
        }
        for plugin in plugins {
            for result in plugin["results"]?.array ?? [] {
                guard let status = (result["status"]?.string).flatMap(Status.init(rawValue:)), status.isBreach else {
                    continue
                }
                known.insert(
                    Known(
                        plugin: plugin["plugin"]?.string ?? "", provider: result["provider"]?.string ?? "",
                        rule: result["rule"]?.string ?? ""))
            }
        }
    }

    /// The reports with every excused breach as `waived`.
    func applied(to reports: [Report]) -> [Report] {
        var reports = reports
        var used: Set<String> = []
        for index in reports.indices {
            let plugin = reports[index].plugin
            for place in reports[index].results.indices {
                let result = reports[index].results[place]
                let isKnown = known.contains(Known(plugin: plugin, provider: result.provider, rule: result.rule))
                guard let reason = reasons[result.rule] ?? (isKnown ? "known from the baseline" : nil) else { continue }
                if result.status.isBreach {
                    used.insert(result.rule)
                    reports[index].results[place].waive(reason)
                } else if result.status == .pass, isKnown {
                    reports[index].needless.append(result.rule)
                }
            }
        }
        // A waiver on the command line is for all plugins of the run: it is needless when none of them needs it.
        for rule in reasons.keys.sorted() where !used.contains(rule) {
            guard let index = reports.firstIndex(where: { $0.results.contains { $0.rule == rule && $0.status == .pass } })
            else { continue }
            if !reports[index].needless.contains(rule) { reports[index].needless.append(rule) }
        }
        return reports
    }
}

extension RuleResult {
    fileprivate mutating func waive(_ reason: String) {
        // What happened stays readable behind the excuse.
        why = status.isLoss ? "\(reason); \(finding)" : reason
        status = .waived
    }
}

extension Report {
    /// Two runs as one: of each rule the worse ending.
    func merged(with other: Report) -> Report {
        var merged = self
        merged.wallMs += other.wallMs
        for (index, (mine, theirs)) in zip(results, other.results).enumerated() {
            let differs = mine.clock == .virtual ? mine.comparable != theirs.comparable : mine.status != theirs.status
            if differs, !merged.unsteady.contains(mine.rule) { merged.unsteady.append(mine.rule) }
            if theirs.status.severity > mine.status.severity { merged.results[index] = theirs }
        }
        return merged
    }
}

extension Status {
    fileprivate var severity: Int {
        [.pass, .skip, .waived, .warn, .fail, .noVerdict, .hang, .crash].firstIndex(of: self) ?? 0
    }
}
