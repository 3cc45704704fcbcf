// From the text of an INI file to the typed values that a plugin is given.
//
// All problems are found and not only the first: an operator mends a file once. Each names the key, the value and what
// would be right.

import JSON

/// One setting that is wrong.
public struct ConfigurationProblem: Sendable, Equatable {
    public let key: String
    public let message: String

    public init(key: String, message: String) {
        self.key = key
        self.message = message
    }
}

/// Settings that a schema does not accept. At least one problem, in the order of the keys.
public struct ConfigurationError: Error, Sendable, Equatable, CustomStringConvertible {
    public let problems: [ConfigurationProblem]
    public var description: String { problems.map { "\($0.key): \($0.message)" }.joined(separator: "; ") }
}

extension ConfigurationSchema {
    /// Converts settings to the schema's types and fills in the defaults.
    ///
    /// "voice.speed" reaches into an object. A list is written as JSON, or as words with commas between them; a flag as
    /// true, yes, on or 1, and false, no, off or 0.
    public func apply(to settings: [String: String]) throws(ConfigurationError) -> JSONValue {
        try apply(to: settings, over: [:])
    }

    /// The same, over values that are typed already: those of a plugin's sidecar file. `settings` win.
    public func apply(to settings: [String: String], over base: JSONValue) throws(ConfigurationError) -> JSONValue {
        var problems: [ConfigurationProblem] = []
        var value = base
        for (key, text) in settings.sorted(by: { $0.key < $1.key }) {
            guard let (path, schema) = find(key) else {
                if allowsOthers {
                    value.set(.string(text), at: [key][...])
                } else {
                    problems.append(ConfigurationProblem(key: key, message: unknown(key)))
                }
                continue
            }
            if let converted = schema.convert(text) {
                value.set(converted, at: path[...])
            } else {
                problems.append(
                    ConfigurationProblem(key: key, message: "expected \(schema.expectation), found \"\(text)\""))
            }
        }
        let failed = Set(problems.map(\.key))
        value = filled(value)
        check(value, key: "", &problems, except: failed)
        guard problems.isEmpty else { throw ConfigurationError(problems: problems.sorted { $0.key < $1.key }) }
        return value
    }

    /// Checks values that are typed already, and fills in the defaults.
    public func validate(_ value: JSONValue) throws(ConfigurationError) -> JSONValue {
        var problems: [ConfigurationProblem] = []
        let value = filled(value)
        check(value, key: "", &problems)
        guard problems.isEmpty else { throw ConfigurationError(problems: problems) }
        return value
    }

    /// What would be right, in words.
    public var expectation: String {
        if let choices {
            return "one of " + choices.map { $0.string ?? $0.text }.joined(separator: ", ")
        }
        let kind =
            switch type {
            case .string: "text"
            case .integer: "an integer"
            case .number: "a number"
            case .boolean: "true or false"
            case .array: items.map { "a list, each element \($0.expectation)" } ?? "a list"
            case .object: "an object"
            }
        func text(_ bound: Double) -> String { Int64(exactly: bound).map(String.init) ?? "\(bound)" }
        return switch (minimum, maximum) {
        case (nil, nil): kind
        case (let low?, nil): "\(kind) of at least \(text(low))"
        case (nil, let high?): "\(kind) of at most \(text(high))"
        case (let low?, let high?): "\(kind) from \(text(low)) to \(text(high))"
        }
    }

    // MARK: Steps

    private func find(_ key: String) -> (path: [String], schema: ConfigurationSchema)? {
        if let schema = properties[key] { return ([key], schema) }
        guard let dot = key.firstIndex(of: "."), let outer = properties[String(key[..<dot])], outer.type == .object,
            let (path, schema) = outer.find(String(key[key.index(after: dot)...]))
        else { return nil }
        return ([String(key[..<dot])] + path, schema)
    }

    private func unknown(_ key: String) -> String {
        guard !properties.isEmpty else { return "is not known: there are no settings here" }
        let names = properties.keys.sorted()
        if let near = names.first(where: { isNear($0, key) }) { return "is not known; is \(near) meant?" }
        return "is not known; known are \(names.joined(separator: ", "))"
    }

    private func convert(_ text: String) -> JSONValue? {
        switch type {
        case .string: return .string(text)
        case .integer: return Int64(text).map { .integer($0) }
        case .number:
            guard let number = Double(text), number.isFinite else { return nil }
            return Int64(text).map { .integer($0) } ?? .number(number)
        case .boolean:
            switch text.lowercased() {
            case "true", "yes", "on", "1": return true
            case "false", "no", "off", "0": return false
            default: return nil
            }
        case .object:
            guard let value = try? JSONValue(parsing: text), value.object != nil else { return nil }
            return value
        case .array:
            if text.first == "[" {
                guard let value = try? JSONValue(parsing: text), value.array != nil else { return nil }
                return value
            }
            let words = text.split(separator: ",").map { trimmed($0) }.filter { !$0.isEmpty }
            var elements: [JSONValue] = []
            for word in words {
                guard let items else {
                    elements.append(.string(word))
                    continue
                }
                guard let element = items.convert(word) else { return nil }
                elements.append(element)
            }
            return .array(elements)
        }
    }

    /// With the defaults of all that is missing, down through objects.
    private func filled(_ value: JSONValue) -> JSONValue {
        guard type == .object, case .object(var members) = value else { return value }
        for (name, schema) in properties {
            if let member = members[name] {
                members[name] = schema.filled(member)
            } else if let missing = schema.defaultValue {
                members[name] = schema.filled(missing)
            } else if schema.type == .object, !required.contains(name) {
                let inner = schema.filled([:])
                if inner != [:] { members[name] = inner }
            }
        }
        return .object(members)
    }

    func check(_ value: JSONValue, key: String, _ problems: inout [ConfigurationProblem], except: Set<String> = []) {
        func problem(_ message: String) {
            problems.append(ConfigurationProblem(key: key.isEmpty ? "(all)" : key, message: message))
        }
        guard accepts(value) else { return problem("expected \(expectation), found \(value.text.prefix(80))") }
        if let choices, !choices.contains(value) {
            return problem("expected \(expectation), found \(value.string ?? value.text)")
        }
        if let number = value.number, minimum.map({ number < $0 }) ?? false || maximum.map({ number > $0 }) ?? false {
            return problem("expected \(expectation), found \(value.text)")
        }
        if let items, let elements = value.array {
            for (index, element) in elements.enumerated() { items.check(element, key: "\(key)[\(index)]", &problems) }
        }
        guard let members = value.object else { return }
        func path(_ name: String) -> String { key.isEmpty ? name : "\(key).\(name)" }
        for (name, member) in members.sorted(by: { $0.key < $1.key }) {
            if let schema = properties[name] {
                schema.check(member, key: path(name), &problems, except: except)
            } else if !allowsOthers {
                problems.append(ConfigurationProblem(key: path(name), message: unknown(name)))
            }
        }
        for name in required where members[name] == nil && !except.contains(path(name)) {
            let expectation = properties[name]?.expectation ?? "a value"
            problems.append(ConfigurationProblem(key: path(name), message: "is missing; expected \(expectation)"))
        }
    }

    private func accepts(_ value: JSONValue) -> Bool {
        switch type {
        case .string: value.string != nil
        case .integer: value.integer != nil
        case .number: value.number != nil
        case .boolean: value.bool != nil
        case .array: value.array != nil
        case .object: value.object != nil
        }
    }
}

extension JSONValue {
    fileprivate mutating func set(_ value: JSONValue, at path: ArraySlice<String>) {
        guard let first = path.first else {
            self = value
            return
        }
        var members = object ?? [:]
        var inner = members[first] ?? [:]
        inner.set(value, at: path.dropFirst())
        members[first] = inner
        self = .object(members)
    }
}

private func trimmed(_ text: Substring) -> String {
    var text = text
    while text.first?.isWhitespace == true { text.removeFirst() }
    while text.last?.isWhitespace == true { text.removeLast() }
    return String(text)
}

/// One letter too many, too few, or wrong; a hyphen for an underscore is the commonest.
private func isNear(_ one: String, _ other: String) -> Bool {
    let a = Array(one.utf8)
    let b = Array(other.utf8)
    guard abs(a.count - b.count) <= 1 else { return false }
    let prefix = zip(a, b).prefix { $0 == $1 }.count
    let suffix = zip(a.reversed(), b.reversed()).prefix { $0 == $1 }.count
    return prefix + suffix >= max(a.count, b.count) - 1
}
