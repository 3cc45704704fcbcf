// TAP 14 (https://testanything.org/tap-version-14-specification.html), for harnesses of other projects.
//
// One point for each rule and provider. What must not fail a harness, advice and waivers, carries the directive that
// means "known to fail"; its name is written small, as the specification allows.

import JSON

enum TAPReport {
    static func text(_ run: RunReport) -> String {
        let points = run.reports.flatMap { report in report.results.map { (report, $0) } }
        let problems = run.reports.filter { !$0.problem.isEmpty }
        var out = "TAP version 14\n1..\(points.count + problems.count)\n"
        var number = 0
        for report in problems {
            number += 1
            out += "not ok \(number) - \(escaped("\(report.plugin) can be run"))\n"
            out += diagnostics([("message", report.problem)])
        }
        for (report, result) in points {
            number += 1
            let name = escaped(
                [result.provider.isEmpty ? report.plugin : result.provider, result.rule, result.sentence]
                    .joined(separator: " "))
            switch result.status {
            case .pass: out += "ok \(number) - \(name)\n"
            case .skip: out += "ok \(number) - \(name) # SKIP \(escaped(result.why))\n"
            // `todo` is the directive of TAP 14 for a failure that does not fail the run; nothing here is unfinished.
            case .waived:
                out += "not ok \(number) - \(name) # todo waived: \(escaped(result.why))\n" + evidence(report, result)
            case .warn where !report.failsOnWarnings:
                out += "not ok \(number) - \(name) # todo advice\n" + evidence(report, result)
            default: out += "not ok \(number) - \(name)\n" + evidence(report, result)
            }
        }
        return out
    }

    private static func evidence(_ report: Report, _ result: RuleResult) -> String {
        var members = [("rule", result.rule), ("status", result.status.rawValue), ("message", result.finding)]
        if let violation = result.violation {
            members += [("what", violation.what), ("expected", violation.expected), ("got", violation.got)]
        }
        if !result.place.isEmpty { members.append(("where", result.place)) }
        if !result.details.isEmpty { members.append(("details", result.details)) }
        if !result.output.isEmpty { members.append(("output", result.output)) }
        members.append(("seed", report.seedText))
        return diagnostics(members)
    }

    /// A YAML block; a JSON string is a YAML scalar too, whatever is in it.
    private static func diagnostics(_ members: [(String, String)]) -> String {
        "  ---\n" + members.map { "  \($0.0): \(JSONValue.string($0.1).text)\n" }.joined() + "  ...\n"
    }

    /// '#' would begin a directive, and a line break another line.
    private static func escaped(_ text: String) -> String {
        var out = ""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\\": out += "\\\\"
            case "#": out += "\\#"
            case _ where scalar.value < 0x20: out += " "
            default: out.unicodeScalars.append(scalar)
            }
        }
        return out
    }
}
