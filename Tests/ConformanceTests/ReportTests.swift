import Glibc
import JSON
import Testing

@testable import Conformance

@Suite("A report is written in four formats from one value")
struct ReportTests {
    static let golden = FakeProbe.repository + "/Tests/ConformanceTests/Golden"

    @Test("Each format is what its golden file says", arguments: ReportFormat.allCases)
    func golden(_ format: ReportFormat) throws {
        let path = "\(Self.golden)/report.\(format.rawValue)"
        let text = format.text(.sample)
        // Written anew on demand; what changed is then seen in the difference.
        if getenv("VCHOST_WRITE_GOLDEN") != nil {
            let file = try #require(fopen(path, "w"))
            fputs(text, file)
            fclose(file)
        }
        #expect(try CommandFile.text(path) == text)
    }

    @Test("The XML is well-formed, whatever a plugin printed")
    func xml() {
        let script = "import sys, xml.etree.ElementTree as tree; root = tree.parse(sys.argv[1]).getroot(); "
            + "assert [s.get('name') for s in root] == ['org.acme.tts (file)', 'org.acme.tts', 'org.acme.vad', 'text.so']; "
            + "assert root.get('errors') == '4' and root.get('failures') == '1', root.attrib"
        #expect(execute(["/usr/bin/python3", "-c", script, "\(Self.golden)/report.junit"]) == 0)
    }

    @Test("The document keeps its published schema")
    func schema() throws {
        let schema = try CommandFile.json(FakeProbe.repository + "/docs/conform-report.schema.json")
        let document = JSONReport.document(.sample)
        #expect(SchemaCheck(schema).problems(document) == [])
        // The checker itself can say no.
        var broken = try #require(document.object)
        broken["exitCode"] = 9
        #expect(SchemaCheck(schema).problems(.object(broken)) == ["$.exitCode: 9 is none of the allowed values"])
        broken["exitCode"] = nil
        #expect(SchemaCheck(schema).problems(.object(broken)) == ["$: exitCode is missing"])
    }

    @Test("TAP counts its points, and none of them is a line that a plugin wrote")
    func tap() {
        let lines = ReportFormat.tap.text(.sample).split(separator: "\n")
        let points = lines.filter { $0.hasPrefix("ok ") || $0.hasPrefix("not ok ") }
        #expect(lines[1] == "1..\(points.count)")
        #expect(lines.allSatisfy { $0.hasPrefix("  ") || $0.hasPrefix("ok ") || $0.hasPrefix("not ok ") || $0.hasPrefix("1..") || $0 == "TAP version 14" })
    }

    @Test("A level is a badge when every MUST up to it was kept and nothing was left out")
    func badge() {
        var report = RunReport.sample.reports[1]
        #expect(report.badge == .basic)
        report.isSelection = true
        #expect(report.badge == nil)
        #expect(RunReport.sample.reports[0].badge == nil)
    }

    @Test("Advice that is broken costs no badge; a waiver does")
    func badgeAndAdvice() {
        var report = RunReport.sample.reports[1]
        var advice = RunReport.sample.reports[0].results.first { $0.status == .warn }!
        report.results.append(advice)
        #expect(report.badge == .basic)
        advice.weight = .must
        advice.status = .waived
        report.results.append(advice)
        #expect(report.badge == nil)
    }
}

/// As much of JSON Schema as the published schema uses.
struct SchemaCheck {
    private let root: JSONValue

    init(_ root: JSONValue) { self.root = root }

    func problems(_ value: JSONValue) -> [String] { problems(value, root, "$") }

    private func problems(_ value: JSONValue, _ schema: JSONValue, _ place: String) -> [String] {
        var found: [String] = []
        for (keyword, rule) in schema.object ?? [:] {
            switch keyword {
            case "$schema", "title", "description", "$defs": break
            case "$ref":
                let name = String(rule.string!.split(separator: "/").last!)
                found += problems(value, root["$defs"]![name]!, place)
            case "const": if value != rule { found.append("\(place): \(value.text) is not \(rule.text)") }
            case "enum":
                if !rule.array!.contains(value) { found.append("\(place): \(value.text) is none of the allowed values") }
            case "type":
                let types = rule.array?.compactMap(\.string) ?? [rule.string!]
                let isFitting = types.contains(value.typeName) || types.contains("number") && value.typeName == "integer"
                if !isFitting { found.append("\(place): a \(value.typeName)") }
            case "anyOf":
                if rule.array!.allSatisfy({ !problems(value, $0, place).isEmpty }) { found.append("\(place): fits nothing") }
            case "required":
                for name in rule.array!.compactMap(\.string) where value[name] == nil { found.append("\(place): \(name) is missing") }
            case "properties":
                for (name, schema) in rule.object! { if let member = value[name] { found += problems(member, schema, "\(place).\(name)") } }
            case "additionalProperties":
                let known = Set((schema["properties"]?.object ?? [:]).keys)
                for (name, member) in value.object ?? [:] where !known.contains(name) {
                    if rule.bool == false { found.append("\(place): \(name) is unknown") }
                    if rule.object != nil { found += problems(member, rule, "\(place).\(name)") }
                }
            case "items": for (index, item) in (value.array ?? []).enumerated() { found += problems(item, rule, "\(place)[\(index)]") }
            case "minimum": if value.number! < rule.number! { found.append("\(place): below \(rule.text)") }
            case "pattern":
                if try! Regex(rule.string!).firstMatch(in: value.string!) == nil { found.append("\(place): \(value.text) does not match") }
            default: found.append("the checker does not know \(keyword)")
            }
        }
        return found
    }
}
