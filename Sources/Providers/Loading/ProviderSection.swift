// What a configuration wants of a plugin: one provider of it, under a name, with settings.

import JSON

/// A section of the configuration that can become a provider.
public struct ProviderSection: Sendable {
    /// "stt.local".
    public let name: String
    public let kind: PluginKind
    public let plugin: LoadedPlugin
    public let declaration: ProviderDeclaration
    /// Typed by the manifest's schema, defaults filled in.
    public let configuration: JSONValue
    /// Where it runs: as the section says, else by where the plugin comes from. The manifest's wish is not asked.
    public let isolation: Manifest.Isolation

    public init(
        name: String, kind: PluginKind, plugin: LoadedPlugin, declaration: ProviderDeclaration,
        configuration: JSONValue, isolation: Manifest.Isolation
    ) {
        self.name = name
        self.kind = kind
        self.plugin = plugin
        self.declaration = declaration
        self.configuration = configuration
        self.isolation = isolation
    }
}

extension ProviderInstance {
    public convenience init(_ section: ProviderSection, log: any ProviderLog) {
        self.init(
            plugin: section.plugin, declaration: section.declaration, name: section.name,
            configuration: section.configuration, isolation: section.isolation, log: log)
    }
}
