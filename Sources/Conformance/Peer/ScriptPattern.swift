// What a script expects of a text: the text itself, its beginning, a part of it, or a regular expression between
// slashes. Two notations and not one, because nine patterns of ten are a URL or a model's name, full of dots and
// question marks, which would have to be escaped for nothing.
//
// A named group of an expression, `(?<id>[0-9]+)`, becomes a variable. Expressions are compiled where they are matched:
// the compiled form cannot be shared between threads, and a script is matched some dozen times.

/// A text to be compared with.
public struct ScriptPattern: Sendable, Equatable {
    /// How a pattern that is no expression is compared.
    public enum Form: Sendable { case whole, prefix, part }

    public let source: String
    let form: Form

    /// Throws when the text between the slashes is no regular expression.
    init(_ source: String, _ form: Form) throws {
        self.source = source
        self.form = form
        if let expression = Self.expression(in: source) {
            let names = ScriptVariables.names(in: expression)
            let filled = ScriptVariables.fill(expression, Dictionary(names.map { ($0, "0") }) { one, _ in one })
            _ = try Regex(filled)
        }
    }

    /// The expression between slashes; nil: a plain text.
    private static func expression(in source: String) -> String? {
        let isExpression = source.count >= 2 && source.hasPrefix("/") && source.hasSuffix("/")
        return isExpression ? String(source.dropFirst().dropLast()) : nil
    }

    /// The variables that a match sets.
    var names: [String] {
        guard let expression = Self.expression(in: source) else { return [] }
        return expression.split(separator: "(?<", omittingEmptySubsequences: false).dropFirst().compactMap { part in
            part.first == "=" || part.first == "!" ? nil : part.firstIndex(of: ">").map { String(part[..<$0]) }
        }
    }

    /// The values of named groups when `text` is what the pattern says; nil when it is not.
    ///
    /// - Parameter variables: What stands for `{{name}}` in the pattern.
    public func match(_ text: String, _ variables: [String: String] = [:]) -> [String: String]? {
        if let expression = Self.expression(in: source) {
            let filled = ScriptVariables.fill(expression, variables.mapValues(Self.escaped))
            guard let match = try? Regex(filled).firstMatch(in: text) else { return nil }
            var groups: [String: String] = [:]
            for group in match.output { if let name = group.name { groups[name] = group.substring.map(String.init) } }
            return groups
        }
        let wanted = ScriptVariables.fill(source, variables)
        let isMatch =
            switch form {
            case .whole: text == wanted
            case .prefix: text.hasPrefix(wanted)
            case .part: wanted.isEmpty || text.contains(wanted)
            }
        return isMatch ? [:] : nil
    }

    private static func escaped(_ text: String) -> String {
        var out = ""
        for character in text {
            if #"\^$.|?*+()[]{}/"#.contains(character) { out.append("\\") }
            out.append(character)
        }
        return out
    }
}

/// `{{name}}` in the texts of a script.
enum ScriptVariables {
    /// What the runner fills in.
    static let builtIn: Set<String> = ["plugin.port", "peer.port", "request.number", "run"]

    static func fill(_ text: String, _ variables: [String: String]) -> String {
        guard text.contains("{{") else { return text }
        var out = ""
        var rest = text[...]
        while let opening = rest.firstRange(of: "{{"), let closing = rest[opening.upperBound...].firstRange(of: "}}") {
            out += rest[..<opening.lowerBound]
            let name = String(rest[opening.upperBound..<closing.lowerBound])
            out += variables[name] ?? "{{\(name)}}"
            rest = rest[closing.upperBound...]
        }
        return out + rest
    }

    static func names(in text: String) -> [String] {
        var names: [String] = []
        var rest = text[...]
        while let opening = rest.firstRange(of: "{{"), let closing = rest[opening.upperBound...].firstRange(of: "}}") {
            names.append(String(rest[opening.upperBound..<closing.lowerBound]))
            rest = rest[closing.upperBound...]
        }
        return names
    }
}
