// What a configuration wants of a file that is not loaded yet: asked before its code runs anywhere, when there is
// nothing to go by but its name and its manifest. `ConfigurationReview` says the same of plugins that are loaded, with
// all that is wrong; here what is wrong is left out, because the review will tell it.

import JSON
import Providers

extension Configuration {
    /// The sections that a file of this name with this manifest would serve, each with the provider that it wants.
    public func wanting(_ file: String, _ manifest: Manifest) -> [(section: Section, provider: ProviderDeclaration)] {
        sections.compactMap { section in
            guard SettingKey.providerKinds.contains(section.kind), section.name != section.kind,
                let named = section.settings["plugin"]
            else { return nil }
            let name = named.withoutTrailingComment ?? named.text
            let offered = manifest.providers.filter { $0.kind == "vc.\(section.kind)/1" }
            let isNamed = name == manifest.id || Self.stem(name) == Self.stem(file)
            return (isNamed ? offered.first : offered.first { $0.id == name }).map { (section, $0) }
        }
    }

    /// Where the plugin's code is to run: in the host's process if any section says so, else as the section or the
    /// plugin's origin has it.
    public func isolation(of file: String, _ manifest: Manifest, isShipped: Bool) -> Manifest.Isolation {
        let usual = LoadedPlugin.defaultIsolation(isShipped: isShipped)
        let wanted = wanting(file, manifest).map { section, _ in
            let setting = section.settings["isolation"]
            return (setting?.withoutTrailingComment ?? setting?.text).flatMap(Manifest.Isolation.init) ?? usual
        }
        return wanted.isEmpty ? usual : wanted.contains(.inprocess) ? .inprocess : .worker
    }

    /// The settings that its sections give to each provider, by the provider's id; without those that its schema
    /// refuses.
    public func settings(for file: String, _ manifest: Manifest) -> [String: JSONValue] {
        var settings: [String: JSONValue] = [:]
        for (section, provider) in wanting(file, manifest) where settings[provider.id] == nil {
            let ours = Set(SettingKey.provider.map(\.name))
            var given: [String: String] = [:]
            for (key, setting) in section.settings where !ours.contains(key) { given[key] = setting.text }
            settings[provider.id] = try? provider.configuration.apply(to: given)
        }
        return settings
    }

    private static func stem(_ name: String) -> String {
        var stem = name[...]
        if stem.hasSuffix(".so") { stem = stem.dropLast(3) }
        if stem.hasPrefix("lib") { stem = stem.dropFirst(3) }
        return String(stem)
    }
}
