// A script is written by the author of a plugin, by hand, and read before anything runs. So a key that nobody knows is
// an error and not a comment: a misspelt "aftermS" that is passed over would make a test that tests something else.
// Whatever is wrong is told with the file, the place in it, and what was expected there.

import JSON

/// A script that does not say what it must.
public struct ScriptError: Error, Sendable, Equatable, CustomStringConvertible {
    /// The file's name, "vendor.json".
    public let file: String
    /// "http[0].when.url"; empty: the document.
    public let path: String
    /// What is wrong there, and what is expected.
    public let problem: String

    public var description: String { path.isEmpty ? "\(file): \(problem)" : "\(file): \(path): \(problem)" }
}

/// An object of a script, read key by key. Keys that begin with `x-` are the author's own.
struct ScriptObject {
    let file: String
    let path: String
    private let members: [String: JSONValue]
    private var asked: Set<String> = []

    init(_ value: JSONValue, file: String, path: String) throws(ScriptError) {
        guard case .object(let members) = value else {
            throw ScriptError(file: file, path: path, problem: "expected an object, found \(Self.brief(value))")
        }
        self.members = members
        self.file = file
        self.path = path
    }

    func path(of key: String) -> String { path.isEmpty ? key : "\(path).\(key)" }

    func error(_ key: String, _ problem: String) -> ScriptError {
        ScriptError(file: file, path: key.isEmpty ? path : path(of: key), problem: problem)
    }

    func has(_ key: String) -> Bool { members[key] != nil }

    var keys: [String] { Array(members.keys) }

    mutating func value(_ key: String) -> JSONValue? {
        asked.insert(key)
        return members[key]
    }

    mutating func required(_ key: String, _ expected: String) throws(ScriptError) -> JSONValue {
        guard let value = value(key) else { throw error(key, "is missing; expected \(expected)") }
        return value
    }

    mutating func text(_ key: String) throws(ScriptError) -> String? {
        guard let value = value(key) else { return nil }
        guard let text = value.string else { throw error(key, "expected a string, found \(Self.brief(value))") }
        return text
    }

    mutating func flag(_ key: String) throws(ScriptError) -> Bool? {
        guard let value = value(key) else { return nil }
        guard let flag = value.bool else { throw error(key, "expected true or false, found \(Self.brief(value))") }
        return flag
    }

    mutating func integer(_ key: String, in range: ClosedRange<Int>) throws(ScriptError) -> Int? {
        guard let value = value(key) else { return nil }
        guard let number = value.integer.flatMap({ Int(exactly: $0) }), range.contains(number) else {
            throw error(
                key, "expected an integer in \(range.lowerBound)...\(range.upperBound), found \(Self.brief(value))")
        }
        return number
    }

    mutating func array(_ key: String) throws(ScriptError) -> [JSONValue] {
        guard let value = value(key) else { return [] }
        guard let elements = value.array else { throw error(key, "expected an array, found \(Self.brief(value))") }
        return elements
    }

    mutating func object(_ key: String) throws(ScriptError) -> ScriptObject? {
        guard let value = value(key) else { return nil }
        return try ScriptObject(value, file: file, path: path(of: key))
    }

    mutating func objects(_ key: String) throws(ScriptError) -> [ScriptObject] {
        var objects: [ScriptObject] = []
        for (index, element) in try array(key).enumerated() {
            objects.append(try ScriptObject(element, file: file, path: "\(path(of: key))[\(index)]"))
        }
        return objects
    }

    /// The members of an object of strings, in the order of their names.
    mutating func texts(_ key: String) throws(ScriptError) -> [(name: String, value: String)] {
        guard let value = value(key) else { return [] }
        guard let members = value.object else {
            throw error(key, "expected an object of strings, found \(Self.brief(value))")
        }
        var texts: [(name: String, value: String)] = []
        for (name, member) in members.sorted(by: { $0.key < $1.key }) {
            guard let text = member.string else {
                throw error("\(key).\(name)", "expected a string, found \(Self.brief(member))")
            }
            texts.append((name, text))
        }
        return texts
    }

    /// The one of `keys` that is there; nil: none. Two are an error.
    mutating func choice(_ keys: [String]) throws(ScriptError) -> String? {
        let present = keys.filter { value($0) != nil }
        guard present.count < 2 else {
            throw error(present[1], "stands beside `\(present[0])`; one of them can be meant")
        }
        return present.first
    }

    /// Refuses the keys that were not asked for.
    func finish() throws(ScriptError) {
        let unknown = members.keys.filter { !asked.contains($0) && !$0.hasPrefix("x-") }.sorted()
        guard let key = unknown.first else { return }
        throw error(key, "is not known here; known are \(asked.sorted().joined(separator: ", ")), and x-...")
    }

    private static func brief(_ value: JSONValue) -> String {
        switch value {
        case .object, .array: value.typeName
        default: "\(value.typeName) \(value.text.prefix(40))"
        }
    }
}
