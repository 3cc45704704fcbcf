// The part of JSON Schema in which a plugin describes its settings.
//
// A part, because a setting is a flat thing that an operator writes into an INI file, and because every keyword that is
// accepted must also be explained when a value breaks it. `$ref`, `oneOf`, `pattern` and their kin are refused when the
// manifest is read, so nothing is promised that is not checked. Keywords: type, description, default, enum, minimum,
// maximum, items, properties, required, additionalProperties (JSON Schema 2020-12, with the meaning they have there).

import JSON

/// What a value must be, and what it is when nothing is said.
public struct ConfigurationSchema: Sendable, Equatable {
    public enum ValueType: String, Sendable, CaseIterable {
        case string, integer, number, boolean, array, object
    }

    public var type: ValueType
    public var description: String?
    public var defaultValue: JSONValue?
    public var choices: [JSONValue]?
    public var minimum: Double?
    public var maximum: Double?
    /// What the elements of an array must be: none or one.
    var element: [ConfigurationSchema]
    public var properties: [String: ConfigurationSchema]
    public var required: [String]
    /// Whether an object may have members that `properties` does not name.
    public var allowsOthers: Bool

    public var items: ConfigurationSchema? { element.first }

    /// Deeper than any settings; INI has no way to write more.
    static let depthMax = 8

    public init(_ value: JSONValue, path: String = "") throws(ManifestError) {
        try self.init(value, path: path, depth: 0)
    }

    private init(_ value: JSONValue, path: String, depth: Int) throws(ManifestError) {
        guard depth < Self.depthMax else {
            throw ManifestError(path: path, problem: "more than \(Self.depthMax) levels")
        }
        var object = try StrictObject(value, path: path)
        // Only `enum` says the type as well as `type` does.
        choices = nil
        if let list = object.value("enum") {
            guard let elements = list.array, let first = elements.first else {
                throw object.error("enum", "expected an array of at least one value")
            }
            guard elements.allSatisfy({ $0.typeName == first.typeName }), ValueType(rawValue: first.typeName) != nil
            else {
                throw object.error("enum", "expected values of one type")
            }
            choices = elements
        }
        if let written = try object.choice("type", ValueType.self) {
            type = written
        } else if let first = choices?.first {
            type = ValueType(rawValue: first.typeName)!
        } else if object.value("properties") != nil {
            type = .object
        } else {
            throw object.error(
                "type", "is missing; expected one of \(ValueType.allCases.map(\.rawValue).joined(separator: ", "))")
        }
        description = try object.optionalText("description")
        minimum = try Self.bound("minimum", type, &object)
        maximum = try Self.bound("maximum", type, &object)
        if let minimum, let maximum, minimum > maximum { throw object.error("minimum", "is larger than the maximum") }

        element = []
        if let items = object.value("items") {
            guard type == .array else {
                throw object.error("items", "is for arrays, and this is of type \(type.rawValue)")
            }
            element = [try ConfigurationSchema(items, path: object.path(of: "items"), depth: depth + 1)]
        }
        properties = [:]
        if let members = object.value("properties") {
            guard type == .object, let members = members.object else {
                throw object.error("properties", "expected an object, in a schema of type \"object\"")
            }
            for (name, schema) in members {
                properties[name] = try ConfigurationSchema(
                    schema, path: object.path(of: "properties.\(name)"), depth: depth + 1)
            }
        }
        required = try object.texts("required")
        for name in required where properties[name] == nil {
            throw object.error("required", "names \"\(name)\", which is not among the properties")
        }
        allowsOthers = true
        if let others = object.value("additionalProperties") {
            guard let flag = others.bool else { throw object.error("additionalProperties", "expected true or false") }
            allowsOthers = flag
        }
        defaultValue = object.value("default")
        try object.finish()
        if let defaultValue {
            var problems: [ConfigurationProblem] = []
            check(defaultValue, key: "default", &problems)
            if let problem = problems.first {
                throw ManifestError(path: object.path(of: problem.key), problem: problem.message)
            }
        }
    }

    private static func bound(
        _ key: String, _ type: ValueType, _ object: inout StrictObject
    ) throws(ManifestError) -> Double? {
        guard let value = object.value(key) else { return nil }
        guard type == .integer || type == .number else {
            throw object.error(key, "is for numbers, and this is of type \(type.rawValue)")
        }
        guard let number = value.number else { throw object.error(key, "expected a number, found \(value.typeName)") }
        return number
    }
}
