// For people: what is wrong, one line each, and at the end one line that says it all.

/// The report as text in a terminal.
enum PrettyReport {
    static func text(_ run: RunReport) -> String {
        if run.reports.isEmpty { return "nothing was selected\n" }
        var out = run.reports.map(section).joined(separator: "\n")
        if run.reports.count > 1 {
            let kept = run.reports.count { $0.exitCode == 0 }
            let word = run.exitCode == 0 ? "PASS" : run.exitCode == 77 ? "SKIP" : "FAIL"
            let ms = run.reports.reduce(0) { $0 + $1.wallMs }
            out += "\n\(word) plugins \(run.reports.count)  pass \(kept)"
            if kept < run.reports.count { out += "  other \(run.reports.count - kept)" }
            out += "  rules \(run.reports.reduce(0) { $0 + $1.results.count })  \(seconds(ms)) s\n"
        }
        return out
    }

    private static func section(_ report: Report) -> String {
        var lines: [String] = []
        if !report.problem.isEmpty { lines.append("\(report.plugin) cannot be run: \(report.problem)") }
        let several = Set(report.results.map(\.provider)).subtracting([""]).count > 1
        for result in report.results where result.status.isBreach {
            let owner = several && !result.provider.isEmpty ? "\(result.provider) " : ""
            lines.append("\(mark(result.status)) \(owner)\(result.message)")
            if result.status.isLoss || result.status == .fail { lines += evidence(result) }
        }
        for reason in report.unreached { lines.append("note: rules about answers were skipped: \(reason)") }
        for rule in report.needless { lines.append("note: \(rule) passed, and needs no waiver any more") }
        for rule in report.unsteady { lines.append("note: \(rule) did not end the same way each time") }
        if !lines.isEmpty { lines.append("") }
        return (lines + [report.summary]).joined(separator: "\n") + "\n"
    }

    /// What helps to find the cause, indented: the end of the output is where a runtime says why it gave up.
    private static func evidence(_ result: RuleResult) -> [String] {
        var lines: [String] = []
        if !result.details.isEmpty { lines.append("     \(result.details)") }
        lines += result.output.split(separator: "\n").suffix(5).map { "     | \(printable($0))" }
        return lines
    }

    private static func mark(_ status: Status) -> String {
        switch status {
        case .warn: "warn"
        case .waived: "known"
        default: "FAIL"
        }
    }

    /// Nothing that a plugin printed may move the cursor.
    private static func printable(_ text: Substring) -> String {
        String(String.UnicodeScalarView(text.unicodeScalars.map { $0.value < 0x20 || $0.value == 0x7f ? "?" : $0 }))
    }
}
