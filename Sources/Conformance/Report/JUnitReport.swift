// JUnit's XML, for the pages of build servers: a suite for each provider, a case for each rule, the rule's group as its
// class. A breach is a failure; a probe that was lost is an error, which such pages show apart.

enum JUnitReport {
    static func text(_ run: RunReport) -> String {
        let suites = run.reports.flatMap(suites)
        var out = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
        out += "<testsuites name=\"vchost conform\"\(counts(suites.flatMap(\.cases)))>\n"
        for suite in suites {
            out += "  <testsuite name=\(quoted(suite.name))\(counts(suite.cases))>\n"
            out += "    <properties>\n"
            for (name, value) in suite.properties {
                out += "      <property name=\(quoted(name)) value=\(quoted(value))/>\n"
            }
            out += "    </properties>\n"
            out += suite.cases.map(\.text).joined()
            out += "  </testsuite>\n"
        }
        return out + "</testsuites>\n"
    }

    private struct Suite {
        var name: String
        var properties: [(String, String)]
        var cases: [Case]
    }

    private struct Case {
        enum Outcome { case pass, failure, error, skipped }

        var outcome: Outcome
        var ms: Double
        var text: String
    }

    private static func suites(_ report: Report) -> [Suite] {
        let properties = [
            ("plugin", report.plugin), ("version", report.version), ("sha256", report.sha256), ("seed", report.seedText),
            ("level", report.level.name),
        ]
        if !report.problem.isEmpty, report.results.isEmpty {
            let text = "    <testcase classname=\"PLUGIN\" name=\"can be run\" time=\"0.000\">\n"
                + "      <error type=\"not loadable\" message=\(quoted(report.problem))/>\n    </testcase>\n"
            return [
                Suite(name: report.plugin, properties: properties, cases: [Case(outcome: .error, ms: 0, text: text)])
            ]
        }
        var names: [String] = []
        for result in report.results where !names.contains(result.provider) { names.append(result.provider) }
        return names.map { name in
            Suite(
                name: name.isEmpty ? report.plugin : name, properties: properties,
                cases: report.results.filter { $0.provider == name }.map { self.case($0, report) })
        }
    }

    private static func `case`(_ result: RuleResult, _ report: Report) -> Case {
        let outcome: Case.Outcome =
            switch result.status {
            case .pass: .pass
            case .warn: report.failsOnWarnings ? .failure : .pass
            case .fail: .failure
            case .crash, .hang, .noVerdict: .error
            case .skip, .waived: .skipped
            }
        var inner = ""
        switch outcome {
        case .pass: break
        case .failure, .error:
            let tag = outcome == .failure ? "failure" : "error"
            let body = [result.details, result.output].filter { !$0.isEmpty }.joined(separator: "\n")
            inner += "      <\(tag) type=\(quoted(result.rule)) message=\(quoted(result.finding))>\(escaped(body))</\(tag)>\n"
        case .skipped: inner += "      <skipped message=\(quoted(result.finding))/>\n"
        }
        if result.status == .warn, outcome == .pass {
            inner += "      <system-out>\(escaped("advice: \(result.finding)"))</system-out>\n"
        }
        let head = "    <testcase classname=\(quoted(result.group)) name=\(quoted("\(result.rule) \(result.sentence)"))"
            + " time=\"\(time(result.wallMs))\""
        return Case(
            outcome: outcome, ms: result.wallMs,
            text: inner.isEmpty ? head + "/>\n" : head + ">\n" + inner + "    </testcase>\n")
    }

    private static func counts(_ cases: [Case]) -> String {
        func count(_ outcome: Case.Outcome) -> Int { cases.count { $0.outcome == outcome } }
        return " tests=\"\(cases.count)\" failures=\"\(count(.failure))\" errors=\"\(count(.error))\""
            + " skipped=\"\(count(.skipped))\" time=\"\(time(cases.reduce(0) { $0 + $1.ms }))\""
    }

    /// Seconds with three digits.
    private static func time(_ ms: Double) -> String {
        let whole = Int(ms.rounded())
        let rest = String(whole % 1_000)
        return "\(whole / 1_000)." + String(repeating: "0", count: 3 - rest.count) + rest
    }

    private static func quoted(_ text: String) -> String { "\"\(escaped(text))\"" }

    /// XML 1.0 has no way to write most control characters.
    private static func escaped(_ text: String) -> String {
        var out = ""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "&": out += "&amp;"
            case "<": out += "&lt;"
            case ">": out += "&gt;"
            case "\"": out += "&quot;"
            case "\n": out += "&#10;"
            case "\t": out += "&#9;"
            case _ where scalar.value < 0x20 || scalar.value == 0x7f || scalar.value == 0xfffe || scalar.value == 0xffff:
                out += "\u{fffd}"
            default: out.unicodeScalars.append(scalar)
            }
        }
        return out
    }
}
