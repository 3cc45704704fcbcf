// When an entry of a script answers: whatever is named must be so, whatever is not named is not looked at. And what the
// entry remembers of the request that it answers.

import JSON

/// The `when` of an entry.
public struct VendorCondition: Sendable, Equatable {
    var method: String?
    var url: ScriptPattern?
    var query: [NamedPattern] = []
    var headers: [NamedPattern] = []
    var json: JSONValue?
    var body: ScriptPattern?
    var fields: [NamedPattern] = []
    var bytesMin: Int?
    var bytesMax: Int?

    struct NamedPattern: Sendable, Equatable {
        var name: String
        var pattern: ScriptPattern
    }

    /// The variables that the request sets when it is meant; nil: it is not.
    func match(_ request: VendorRequest, _ variables: [String: String]) -> [String: String]? {
        if let method, method != request.method { return nil }
        if let bytesMin, request.body.count < bytesMin { return nil }
        if let bytesMax, request.body.count > bytesMax { return nil }
        var found: [String: String] = [:]
        func holds(_ pattern: ScriptPattern, _ text: String?) -> Bool {
            guard let text, let groups = pattern.match(text, variables) else { return false }
            found.merge(groups) { _, last in last }
            return true
        }
        if let url, !holds(url, request.url) { return nil }
        if !query.isEmpty {
            let its = request.query
            guard query.allSatisfy({ holds($0.pattern, its[$0.name]) }) else { return nil }
        }
        guard headers.allSatisfy({ holds($0.pattern, request.header($0.name)) }) else { return nil }
        if let body, !holds(body, request.text) { return nil }
        if !fields.isEmpty {
            guard let its = request.fields else { return nil }
            for field in fields {
                guard holds(field.pattern, its[field.name].map({ String(decoding: $0, as: UTF8.self) })) else {
                    return nil
                }
            }
        }
        if let json {
            guard let groups = request.json?.match(subset: json, variables) else { return nil }
            found.merge(groups) { _, last in last }
        }
        return found
    }

    /// The variables that a match sets.
    var names: [String] {
        let patterns = [url, body].compactMap { $0 } + (query + headers + fields).map(\.pattern)
        return patterns.flatMap(\.names) + Self.names(in: json ?? .null)
    }

    static func names(in json: JSONValue) -> [String] {
        switch json {
        case .string(let text): (try? ScriptPattern(text, .whole))?.names ?? []
        case .array(let elements): elements.flatMap(names)
        case .object(let members): members.values.flatMap(names)
        default: []
        }
    }

    init() {}

    init(_ object: inout ScriptObject) throws(ScriptError) {
        method = try object.text("method")
        url = try object.pattern("url", .prefix)
        query = try object.patterns("query")
        headers = try object.patterns("headers")
        fields = try object.patterns("fields")
        body = try object.pattern("body", .part)
        json = object.value("json")
        bytesMin = try object.integer("bytesMin", in: 0...(64 << 20))
        bytesMax = try object.integer("bytesMax", in: 0...(64 << 20))
    }
}

/// What is remembered of a request, and under which name: `"id": "json:/session/id"`.
public struct VendorCapture: Sendable, Equatable {
    enum Source: Sendable, Equatable {
        case json(String), header(String), query(String), field(String)
    }

    let name: String
    let source: Source

    /// Nil: the request has no such thing, and the entry is not meant.
    func value(in request: VendorRequest) -> String? {
        switch source {
        case .json(let pointer): request.json?.at(pointer: pointer).map { $0.string ?? $0.text }
        case .header(let name): request.header(name)
        case .query(let name): request.query[name]
        case .field(let name): request.fields?[name].map { String(decoding: $0, as: UTF8.self) }
        }
    }

    static func read(_ object: inout ScriptObject) throws(ScriptError) -> [VendorCapture] {
        var captures: [VendorCapture] = []
        for (name, text) in try object.texts("capture") {
            let sides = text.split(separator: ":", maxSplits: 1).map(String.init)
            let source: Source
            switch (sides.first, sides.count) {
            case ("json", 2) where sides[1].hasPrefix("/"): source = .json(sides[1])
            case ("header", 2): source = .header(sides[1])
            case ("query", 2): source = .query(sides[1])
            case ("field", 2): source = .field(sides[1])
            default:
                throw object.error(
                    "capture.\(name)",
                    "expected json:/POINTER, header:NAME, query:NAME or field:NAME, found \"\(text)\"")
            }
            captures.append(VendorCapture(name: name, source: source))
        }
        return captures
    }
}

extension ScriptObject {
    mutating func pattern(_ key: String, _ form: ScriptPattern.Form) throws(ScriptError) -> ScriptPattern? {
        guard let text = try text(key) else { return nil }
        return try pattern(text, form, key)
    }

    mutating func patterns(_ key: String) throws(ScriptError) -> [VendorCondition.NamedPattern] {
        var patterns: [VendorCondition.NamedPattern] = []
        for (name, text) in try texts(key) {
            patterns.append(.init(name: name, pattern: try pattern(text, .whole, "\(key).\(name)")))
        }
        return patterns
    }

    func pattern(_ text: String, _ form: ScriptPattern.Form, _ key: String) throws(ScriptError) -> ScriptPattern {
        do {
            return try ScriptPattern(text, form)
        } catch {
            throw self.error(key, "expected a text, or a regular expression between slashes; \(text) is none: \(error)")
        }
    }

    /// Refuses variables that nothing sets.
    func check(variables used: [String], known: Set<String>, _ key: String) throws(ScriptError) {
        guard let name = used.first(where: { !known.contains($0) }) else { return }
        throw error(
            key, "uses {{\(name)}}, which nothing sets; known are \(known.sorted().joined(separator: ", "))")
    }
}
