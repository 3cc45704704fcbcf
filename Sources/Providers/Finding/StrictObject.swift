// A JSON object that is read key by key, and that objects to what nobody asked for.

import JSON

/// A document that does not say what it must: where, what is wrong, and what is expected.
public struct ManifestError: Error, Sendable, Equatable, CustomStringConvertible {
    /// "providers[0].kind".
    public let path: String
    public let problem: String
    public var description: String { path.isEmpty ? problem : "\(path): \(problem)" }
}

struct StrictObject {
    let path: String
    private let members: [String: JSONValue]
    private var asked: Set<String> = []

    init(_ value: JSONValue, path: String) throws(ManifestError) {
        guard case .object(let members) = value else {
            throw ManifestError(path: path, problem: "expected an object, found \(value.typeName)")
        }
        self.members = members
        self.path = path
    }

    func path(of key: String) -> String { path.isEmpty ? key : "\(path).\(key)" }

    func error(_ key: String, _ problem: String) -> ManifestError {
        ManifestError(path: path(of: key), problem: problem)
    }

    mutating func value(_ key: String) -> JSONValue? {
        asked.insert(key)
        return members[key]
    }

    mutating func required(_ key: String, _ expected: String) throws(ManifestError) -> JSONValue {
        guard let value = value(key) else { throw error(key, "is missing; expected \(expected)") }
        return value
    }

    mutating func text(_ key: String) throws(ManifestError) -> String {
        let value = try required(key, "a string")
        guard let text = value.string, !text.isEmpty else {
            throw error(key, "expected a string that is not empty, found \(value.text.prefix(40))")
        }
        guard text.utf8.count <= 1_024 else { throw error(key, "has more than 1,024 bytes") }
        return text
    }

    mutating func optionalText(_ key: String) throws(ManifestError) -> String? {
        value(key) == nil ? nil : try text(key)
    }

    mutating func integer(_ key: String, in range: ClosedRange<Int>) throws(ManifestError) -> Int {
        let value = try required(key, "an integer")
        guard let integer = value.integer, let number = Int(exactly: integer), range.contains(number) else {
            throw error(
                key, "expected an integer in \(range.lowerBound)...\(range.upperBound), found \(value.text.prefix(40))")
        }
        return number
    }

    mutating func texts(_ key: String) throws(ManifestError) -> [String] {
        guard let value = value(key) else { return [] }
        guard let elements = value.array else {
            throw error(key, "expected an array of strings, found \(value.typeName)")
        }
        guard elements.count <= 256 else { throw error(key, "has more than 256 elements") }
        var texts: [String] = []
        for (index, element) in elements.enumerated() {
            guard let text = element.string else {
                throw error("\(key)[\(index)]", "expected a string, found \(element.typeName)")
            }
            texts.append(text)
        }
        return texts
    }

    mutating func choice<Choice: RawRepresentable<String> & CaseIterable>(
        _ key: String, _: Choice.Type
    ) throws(ManifestError) -> Choice? {
        guard let text = try optionalText(key) else { return nil }
        guard let choice = Choice(rawValue: text) else {
            let names = Choice.allCases.map { "\"\($0.rawValue)\"" }.joined(separator: " or ")
            throw error(key, "expected \(names), found \"\(text)\"")
        }
        return choice
    }

    /// Refuses the keys that were not asked for.
    func finish() throws(ManifestError) {
        let unknown = members.keys.filter { !asked.contains($0) && !$0.hasPrefix("x-") }.sorted()
        guard let key = unknown.first else { return }
        throw error(
            key, "is not known here; known are \(asked.sorted().joined(separator: ", ")), and keys that begin with x-")
    }
}

/// Parses a document; what is no JSON at all is told with line and column.
func parseDocument(_ text: ArraySlice<UInt8>) throws(ManifestError) -> JSONValue {
    let parsed: Result<JSONValue, JSONSyntaxError> = text.withUnsafeBufferPointer { bytes in
        Result { () throws(JSONSyntaxError) in try JSONValue(parsing: bytes) }
    }
    switch parsed {
    case .success(let value): return value
    case .failure(let error): throw ManifestError(path: "", problem: "is not JSON: \(error)")
    }
}
