// The settings of a provider or a session.

public import JSON

/// Settings that the host has checked against the manifest's schema, with the defaults filled in.
///
/// A key is nil only where the schema gives no default and the operator set nothing.
public struct Configuration: Sendable {
    /// The whole of it, for what the typed readers do not cover.
    public let json: JSONValue

    public init(_ json: JSONValue) { self.json = json }

    /// Parses what came over the line. Throws when it is no JSON object, which is the host's fault.
    init(parsing text: String) throws(PluginError) {
        do {
            json = try JSONValue(parsing: text.isEmpty ? "{}" : text)
        } catch {
            throw PluginError(.argument, "the configuration that the host passed is no JSON: \(error)")
        }
        guard json.object != nil else {
            throw PluginError(
                .argument, "the configuration that the host passed is a JSON \(json.typeName), not an object")
        }
    }

    public func text(_ key: String) -> String? { json[key]?.string }
    public func integer(_ key: String) -> Int? { json[key]?.integer.flatMap { Int(exactly: $0) } }
    public func number(_ key: String) -> Double? { json[key]?.number }
    public func flag(_ key: String) -> Bool? { json[key]?.bool }
    /// The texts of a list; entries of another type are left out.
    public func texts(_ key: String) -> [String]? { json[key]?.array?.compactMap(\.string) }
}
