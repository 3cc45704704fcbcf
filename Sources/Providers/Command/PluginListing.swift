// How a registry is shown: rows as values, as aligned text, and as JSON. The three never say different things, because
// the second and third are made of the first.

import JSON
import PluginABI

public struct PluginListing: Sendable {
    public struct Row: Sendable, Equatable {
        public enum State: String, Sendable { case loaded, refused, ignored }

        public var name: String
        public var path: String
        public var state: State
        public var kinds: [String]
        /// Of those, what this host does not know.
        public var unknownKinds: [String]
        public var id: String?
        public var version: String?
        /// "1.0".
        public var abi: String?
        public var sha256: String?
        /// nil when the file could not be read.
        public var isShipped: Bool?
        /// A refusal's code.
        public var code: String?
        /// What `vchost conform` gave these very bytes, if it has seen them.
        public var level: String?
        /// Why it is not loaded, and what to do.
        public var reason: String?
        public var mend: String?

        init(_ entry: PluginRegistry.Entry) {
            name = entry.name
            path = entry.path
            kinds = entry.manifest?.providers.map(\.kind) ?? []
            unknownKinds = entry.manifest?.providers.filter { $0.knownKind == nil }.map(\.kind) ?? []
            id = entry.manifest?.id
            version = entry.manifest?.version
            abi = entry.manifest.map { "\($0.abi.major).\($0.abi.minor)" }
            sha256 = entry.sha256
            isShipped = entry.sha256 == nil ? nil : entry.isShipped
            switch entry.state {
            case .loaded: state = .loaded
            case .refused(let refusal):
                state = .refused
                code = refusal.code.rawValue
                reason = refusal.reason
                mend = refusal.mend
            case .ignored(let why):
                state = .ignored
                reason = why
            }
        }

        /// "shipped", "foreign", or "-".
        public var origin: String { isShipped.map { $0 ? "shipped" : "foreign" } ?? "-" }

        /// With the manifest's own content when it is given.
        func json(inFull manifest: Manifest? = nil) -> JSONValue {
            func text(_ value: String?) -> JSONValue { value.map { .string($0) } ?? .null }
            var members: [String: JSONValue] = [
                "name": .string(name), "path": .string(path), "state": .string(state.rawValue),
                "kinds": .array(kinds.map { .string($0) }), "unknownKinds": .array(unknownKinds.map { .string($0) }),
                "id": text(id), "version": text(version), "abi": text(abi), "sha256": text(sha256),
                "origin": .string(origin), "level": text(level), "code": text(code),
                "reason": text(reason), "mend": text(mend),
            ]
            if let manifest {
                members["title"] = .string(manifest.title)
                members["license"] = .string(manifest.license)
                members["language"] = .string(manifest.runtime.language)
                members["secrets"] = .array(manifest.secrets.map { .string($0) })
                members["network"] = .array(manifest.network.map { .string($0) })
                members["files"] = .array(manifest.files.map { .string($0) })
                members["providers"] = .array(
                    manifest.providers.map { provider in
                        [
                            "kind": .string(provider.kind), "id": .string(provider.id),
                            "capabilities": provider.capabilities.all,
                            "config": PluginListing.settings(provider.configuration),
                            "session": PluginListing.settings(provider.session),
                            "readyTimeoutMs": .integer(Int64(provider.readyTimeoutMs)),
                        ]
                    })
            }
            return .object(members)
        }
    }

    public let directory: String
    public let rows: [Row]
    public let problem: String?

    public init(_ registry: PluginRegistry, levels: [String: ConformanceRecord] = [:]) {
        directory = registry.directory
        rows = registry.entries.map { entry in
            var row = Row(entry)
            row.level = entry.sha256.flatMap { levels[$0]?.level }
            return row
        }
        problem = registry.refusal.map { "\($0)" }
    }

    public var hasRefused: Bool { problem != nil || rows.contains { $0.state == .refused } }

    public var json: JSONValue {
        [
            "directory": .string(directory), "problem": problem.map { .string($0) } ?? .null,
            "abi": .string("\(VC_ABI_MAJOR).\(VC_ABI_MINOR)"), "plugins": .array(rows.map { $0.json() }),
        ]
    }

    /// A table, and below it a sentence for each file that is not loaded.
    public var text: String {
        var lines: [[String]] = [["FILE", "STATE", "KIND", "ID", "VERSION", "ABI", "ORIGIN", "LEVEL", "SHA256"]]
        for row in rows {
            lines.append([
                row.name, row.state.rawValue, row.kinds.isEmpty ? "-" : row.kinds.joined(separator: ","), row.id ?? "-",
                row.version ?? "-", row.abi ?? "-", row.origin, row.level ?? "-",
                row.sha256.map { String($0.prefix(12)) } ?? "-",
            ])
        }
        var out = rows.isEmpty ? "" : Self.aligned(lines)
        if let problem { return out + (out.isEmpty ? "" : "\n") + problem + "\n" }
        if rows.isEmpty { return "\(directory) is empty. Put a plugin's .so file there.\n" }
        let sentences = rows.filter { $0.state != .loaded }.map { row in
            row.state == .refused ? "\(row.reason!). \(row.mend!).\n" : "\(row.name) is ignored: \(row.reason!).\n"
        }
        if !sentences.isEmpty { out += "\n" + sentences.joined() }
        return out
    }

    /// One plugin in full.
    static func describe(_ row: Row, _ manifest: Manifest?) -> String {
        var lines = [["file", row.path], ["state", row.state.rawValue]]
        if let reason = row.reason { lines.append(["reason", reason]) }
        if let mend = row.mend { lines.append(["mend", mend]) }
        lines.append(["origin", row.origin])
        if let sha256 = row.sha256 { lines.append(["sha256", sha256]) }
        guard let manifest else { return aligned(lines) }
        lines += [
            ["id", manifest.id], ["title", manifest.title], ["version", manifest.version],
            ["license", manifest.license],
            [
                "abi",
                "\(manifest.abi.major).\(manifest.abi.minor), "
                    + "hosts from \(manifest.abi.major).\(manifest.abi.hostMinorMin) on",
            ],
            [
                "language",
                ([manifest.runtime.language] + [manifest.runtime.toolchain].compactMap(\.self)).joined(separator: " "),
            ],
        ]
        for (name, values) in [("secrets", manifest.secrets), ("network", manifest.network), ("files", manifest.files)]
        where !values.isEmpty {
            lines.append([name, values.joined(separator: ", ")])
        }
        var out = aligned(lines)
        for provider in manifest.providers {
            out +=
                "\nprovider \(provider.id), \(provider.kind)\(provider.knownKind == nil ? " (unknown, ignored)" : "")\n"
            for (title, schema) in [("setting", provider.configuration), ("session setting", provider.session)] {
                out += aligned(
                    schema.properties.sorted { $0.key < $1.key }.map { name, setting in
                        [
                            "  \(title)", name, setting.expectation,
                            setting.defaultValue.map { "default \($0.string ?? $0.text)" }
                                ?? (schema.required.contains(name) ? "required" : "optional"),
                            setting.description ?? "",
                        ]
                    })
            }
        }
        return out
    }

    private static func settings(_ schema: ConfigurationSchema) -> JSONValue {
        .array(
            schema.properties.sorted { $0.key < $1.key }.map { name, setting in
                [
                    "name": .string(name), "expects": .string(setting.expectation),
                    "default": setting.defaultValue ?? .null,
                    "required": .bool(schema.required.contains(name)),
                    "description": setting.description.map { .string($0) } ?? .null,
                ]
            })
    }

    /// Columns as wide as their widest cell, two spaces apart, no space at the end.
    static func aligned(_ lines: [[String]]) -> String {
        let columns = lines.map(\.count).max() ?? 0
        let widths = (0..<columns).map { column in lines.map { column < $0.count ? $0[column].count : 0 }.max() ?? 0 }
        var out = ""
        for cells in lines {
            var line = ""
            for (column, cell) in cells.enumerated() {
                line += cell + String(repeating: " ", count: widths[column] - cell.count + 2)
            }
            while line.last == " " { line.removeLast() }
            out += line + "\n"
        }
        return out
    }
}
