// The effective configuration as `vchost config show` prints it: every value and where it came from.

import JSON
import Providers

public struct ConfigurationListing: Sendable {
    public struct Row: Sendable {
        public let section: String
        public let key: String
        public let value: String
        public let source: SettingSource
    }

    public let rows: [Row]
    private let dialect: HistoricDialect?

    /// The host's own sections with all their keys, and providers' with those of their schema and those that were
    /// given.
    public init(_ configuration: Configuration, _ review: ConfigurationReview) {
        var rows: [Row] = []
        func add(_ section: String, keys: [SettingKey]) {
            for key in keys {
                let setting = configuration.setting(section, key.name)
                rows.append(Row(section: section, key: key.name, value: setting.text, source: setting.source))
            }
        }
        add("vchost", keys: SettingKey.host)
        add("media", keys: SettingKey.media)
        add("server", keys: SettingKey.server)
        for profile in configuration.sections(of: "profile") { add(profile.name, keys: SettingKey.profile) }
        for tool in configuration.sections(of: "tool") { add(tool.name, keys: SettingKey.tool) }
        for section in configuration.sections where SettingKey.providerKinds.contains(section.kind) {
            let provider = review.provider(named: section.name)
            var keys = Set(section.settings.keys)
            keys.formUnion(provider?.declaration.configuration.properties.keys.map { $0 } ?? [])
            for key in ["plugin", "isolation"] + keys.subtracting(["plugin", "isolation"]).sorted() {
                let given = section.settings[key]
                let fallback =
                    key == "isolation"
                    ? provider?.isolation.rawValue : provider?.configuration[key].map { $0.string ?? $0.text }
                let effective = given?.text ?? fallback ?? ""
                rows.append(
                    Row(
                        section: section.name, key: key, value: Self.masked(effective, key),
                        source: given?.source ?? .builtIn))
            }
        }
        self.rows = rows
        dialect = configuration.dialect
    }

    /// Secrets are named and not written into the file; where a plugin takes one in plain text all the same (a
    /// softphone's password in a test configuration), it is not shown.
    private static func masked(_ value: String, _ key: String) -> String {
        let isSecret = ["password", "users", "api_key"].contains { key == $0 || key.hasSuffix("_" + $0) }
            && SettingKey.flag(value) == nil
        return isSecret && !value.isEmpty ? "(hidden)" : value
    }

    public var text: String {
        var out = dialect.map { "; read as a configuration of \($0.title)\n\n" } ?? ""
        var section = ""
        let width = rows.map { $0.key.count + $0.value.firstLine.count }.filter { $0 < 60 }.max() ?? 0
        for row in rows {
            if row.section != section {
                out += (section.isEmpty ? "" : "\n") + "[\(row.section)]\n"
                section = row.section
            }
            let line = "\(row.key) = \(row.value.firstLine)"
            out += line + String(repeating: " ", count: max(1, width + 5 - line.count)) + "; \(row.source)\n"
        }
        return out
    }

    public var json: JSONValue {
        .array(
            rows.map {
                [
                    "section": .string($0.section), "key": .string($0.key), "value": .string($0.value),
                    "source": .string("\($0.source)"),
                ]
            })
    }
}

extension String {
    /// For a table: a prompt of forty lines is not one.
    fileprivate var firstLine: String {
        guard let end = firstIndex(of: "\n") else { return self }
        return self[..<end] + " …"
    }
}
