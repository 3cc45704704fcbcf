// `vchost conform list` and `explain`: the rules, as they are told.

import JSON
import Providers

struct RuleCatalogue {
    private let rules: [Rule]

    init(_ rules: [Rule]) { self.rules = rules }

    func list(_ words: [String], _ output: (String) -> Void) throws(CommandUsage) -> Int32 {
        let words = try CommandWords(
            words,
            options: [
                CommandOption("-k", "--kind", "KIND", "only what concerns this kind"),
                CommandOption("--json", "for programs"),
            ])
        if let word = words.positional.first { throw CommandUsage("\(word) is one word too many") }
        let kind = try words["--kind"].map(Self.kind)
        let chosen = rules.filter { rule in kind.map { rule.kinds.isEmpty || rule.kinds.contains($0) } ?? true }
        if words.has("--json") {
            output(JSONValue.array(chosen.map(Self.json)).text + "\n")
            return chosen.isEmpty ? 6 : 0
        }
        let width = chosen.map(\.id.count).max() ?? 0
        for rule in chosen {
            let marks = [rule.weight == .must ? "MUST  " : "SHOULD", Self.padded(rule.level.name, 9)]
            output("\(Self.padded(rule.id, width))  \(marks.joined(separator: "  "))  \(rule.sentence)\n")
        }
        let musts = chosen.count { $0.weight == .must }
        let smoke = chosen.count { $0.isSmoke }
        output("\(chosen.count) rules: \(musts) MUST, \(chosen.count - musts) SHOULD, \(smoke) smoke\n")
        return chosen.isEmpty ? 6 : 0
    }

    func explain(_ words: [String], _ output: (String) -> Void) throws(CommandUsage) -> Int32 {
        let words = try CommandWords(words, options: [])
        guard let id = words.positional.first, words.positional.count == 1 else { throw CommandUsage("name one rule") }
        guard let rule = rules.first(where: { $0.id == id.uppercased() || $0.id == "VC-" + id.uppercased() }) else {
            if RuleBook.retired.contains(id) { throw CommandUsage("\(id) was a rule and is none any more") }
            throw CommandUsage("there is no rule \(id); `vchost conform list` has them all")
        }
        var text = "\(rule.id)  \(rule.sentence)\n\n\(rule.reason)\n\n"
        let weight = rule.weight == .must ? "MUST: a breach fails the plugin" : "SHOULD: a breach is a warning"
        text += "weight    \(weight)\n"
        text += "level     \(rule.level.name)\n"
        text += "kinds     \(rule.kinds.isEmpty ? "all" : rule.kinds.map(\.rawValue).joined(separator: ", "))\n"
        text += "checked   \(Self.method(rule))\n"
        if rule.isSmoke { text += "smoke     a running host checks it before it uses a new plugin\n" }
        if !rule.needs.isEmpty { text += "needs     \(rule.needs.joined(separator: ", "))\n" }
        for (title, code) in [("Keeps it", rule.passing), ("Breaks it", rule.failing)] where !code.isEmpty {
            let lines = code.split(separator: "\n", omittingEmptySubsequences: false)
            text += "\n\(title):\n" + lines.map { $0.isEmpty ? "\n" : "    \($0)\n" }.joined()
        }
        output(text)
        return 0
    }

    /// "tts" or "vc.tts/1".
    static func kind(_ word: String) throws(CommandUsage) -> PluginKind {
        if let kind = PluginKind.allCases.first(where: { $0.rawValue == word || $0.rawValue == "vc.\(word)/1" }) {
            return kind
        }
        let known = PluginKind.allCases.map { $0.rawValue.dropFirst(3).dropLast(2) }.joined(separator: ", ")
        throw CommandUsage("--kind: there is no kind \(word); there are \(known)")
    }

    // MARK: Parts

    private static func method(_ rule: Rule) -> String {
        let clock =
            rule.clock == .virtual
            ? "time passes only when the rule says so" : "time is measured, nothing runs beside it"
        return switch rule.check {
        case .file: "on the bytes of the file; no code of the plugin runs"
        case .probe: "in a process of its own; \(clock)"
        case .watched: "in a process of its own, and from outside; \(clock)"
        case .observed: "in a process of its own that uses the plugin once, from outside; \(clock)"
        }
    }

    private static func json(_ rule: Rule) -> JSONValue {
        [
            "id": .string(rule.id), "group": .string(rule.group), "level": .string(rule.level.name),
            "weight": .string(rule.weight.rawValue), "smoke": .bool(rule.isSmoke),
            "kinds": .array(rule.kinds.map { .string($0.rawValue) }), "clock": .string(rule.clock.rawValue),
            "sentence": .string(rule.sentence), "reason": .string(rule.reason),
            "needs": .array(rule.needs.map { .string($0) }),
        ]
    }

    private static func padded(_ text: String, _ width: Int) -> String {
        text + String(repeating: " ", count: max(0, width - text.count))
    }
}
