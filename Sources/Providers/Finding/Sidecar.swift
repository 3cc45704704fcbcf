// The settings that an operator puts beside a plugin: NAME.json next to NAME.so.
//
// They are values of the plugin's own schemas, by provider id, and stand below the configuration file, which wins. A
// sidecar can never change what a plugin is: id, kind and ABI belong to the signed-off file, not to a text beside it.
//
//     {"org.acme.stt": {"model": "phone"}}

import JSON

/// Settings of a plugin's providers, checked against their schemas as far as they go.
public struct Sidecar: Sendable, Equatable {
    /// By provider id.
    public let settings: [String: JSONValue]

    public static let empty = Sidecar(settings: [:])

    private init(settings: [String: JSONValue]) { self.settings = settings }

    public init(parsing text: ArraySlice<UInt8>, for manifest: Manifest) throws(ManifestError) {
        let document = try parseDocument(text)
        guard let members = document.object else {
            throw ManifestError(path: "", problem: "expected an object, found \(document.typeName)")
        }
        for (id, value) in members.sorted(by: { $0.key < $1.key }) where !id.hasPrefix("x-") {
            if ["id", "kind", "abi", "manifest", "providers"].contains(id) {
                throw ManifestError(
                    path: id, problem: "cannot be changed beside a plugin; only settings can, by provider id")
            }
            guard let provider = manifest.providers.first(where: { $0.id == id }) else {
                let ids = manifest.providers.map(\.id).joined(separator: ", ")
                throw ManifestError(path: id, problem: "is no provider of this plugin; it has \(ids)")
            }
            guard value.object != nil else { throw ManifestError(path: id, problem: "expected an object of settings") }
            // What is required may still come from the configuration file.
            var schema = provider.configuration
            schema.required = []
            var problems: [ConfigurationProblem] = []
            schema.check(value, key: id, &problems)
            if let problem = problems.first { throw ManifestError(path: problem.key, problem: problem.message) }
        }
        settings = members.filter { !$0.key.hasPrefix("x-") }
    }
}
