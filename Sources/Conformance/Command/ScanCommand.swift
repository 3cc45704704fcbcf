// `vchost conform scan`: a plugin directory as the registry sees it, without running any of it.

import JSON
import Providers

enum ScanCommand {
    /// 0 when everything there would be loaded, 1 when something would be refused, 3 when there is no plugin at all.
    static func run(_ words: [String], _ output: (String) -> Void) throws(CommandUsage) -> Int32 {
        let words = try CommandWords(words, options: [CommandOption("--json", "for programs")])
        guard let directory = words.positional.first, words.positional.count == 1 else {
            throw CommandUsage("name one directory")
        }
        let scan = PluginScan(directory: directory)
        output(words.has("--json") ? json(scan).text + "\n" : text(scan))
        let plugins = scan.entries.filter { entry in if case .ignored = entry.state { false } else { true } }
        if scan.refusal != nil || plugins.isEmpty { return 3 }
        return plugins.contains { entry in if case .refused = entry.state { true } else { false } } ? 1 : 0
    }

    private static func text(_ scan: PluginScan) -> String {
        if let refusal = scan.refusal { return "\(refusal)\n" }
        if scan.entries.isEmpty { return "\(scan.directory) is empty\n" }
        let width = scan.entries.map(\.name.count).max() ?? 0
        return scan.entries.map { entry in
            let name = entry.name + String(repeating: " ", count: width - entry.name.count)
            switch entry.state {
            case .loadable:
                let manifest = entry.manifest!
                let kinds = manifest.providers.map(\.kind).joined(separator: ", ")
                return "\(name)  loadable  \(manifest.id) \(manifest.version)  \(kinds)\n"
            case .refused(let refusal): return "\(name)  refused   \(refusal)\n"
            case .ignored(let why): return "\(name)  ignored   \(why)\n"
            }
        }.joined()
    }

    private static func json(_ scan: PluginScan) -> JSONValue {
        [
            "directory": .string(scan.directory), "problem": scan.refusal.map { .string("\($0)") } ?? .null,
            "plugins": .array(
                scan.entries.map { entry in
                    var members: [String: JSONValue] = [
                        "name": .string(entry.name), "id": entry.manifest.map { .string($0.id) } ?? .null,
                        "version": entry.manifest.map { .string($0.version) } ?? .null,
                        "kinds": .array((entry.manifest?.providers ?? []).map { .string($0.kind) }),
                        "sha256": entry.sha256.map { .string($0) } ?? .null,
                    ]
                    switch entry.state {
                    case .loadable: members["state"] = "loadable"
                    case .refused(let refusal):
                        members["state"] = "refused"
                        members["code"] = .string(refusal.code.rawValue)
                        members["reason"] = .string(refusal.reason)
                        members["mend"] = .string(refusal.mend)
                    case .ignored(let why):
                        members["state"] = "ignored"
                        members["reason"] = .string(why)
                    }
                    return .object(members)
                }),
        ]
    }
}
