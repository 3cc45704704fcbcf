// The plugin directory, file by file: what was loaded, what was refused and why, what is no plugin at all.
//
// Nothing in a directory can stop the host: every file gets a state, and the host runs with those that loaded. Files
// are taken in the order of their names, so that of two plugins with one id it is always the same one that wins.

import JSON
import Synchronization

public struct PluginRegistry: Sendable {
    public enum State: Sendable {
        case loaded(LoadedPlugin)
        case refused(PluginRefusal)
        /// Not a plugin, or none for this host; no fault of anybody. Says why.
        case ignored(String)
    }

    public struct Entry: Sendable {
        /// The file's name.
        public let name: String
        public let path: String
        /// As far as it could be read.
        public let manifest: Manifest?
        public let sha256: String?
        public let isShipped: Bool
        public let state: State
    }

    public let directory: String
    /// In the order of the names.
    public let entries: [Entry]
    /// Why nothing of the directory was read, if so.
    public let refusal: PluginRefusal?

    /// Where the build lists the files that it made: {"name.so": "sha256", ...}. They run in this process.
    public static let shippedList = ".shipped.json"

    /// Loads what can be loaded of `directory`.
    public init(directory: String, loader: PluginLoader, log: any ProviderLog) {
        self.directory = directory
        do throws(PluginRefusal) {
            try PluginFile.checkDirectory(directory)
        } catch {
            // The names are listed all the same: the operator asked what is there.
            refusal = error
            entries = (directoryEntries(directory) ?? []).filter { $0.hasSuffix(".so") }.map { name in
                Entry(
                    name: name, path: directory + "/" + name, manifest: nil, sha256: nil, isShipped: false,
                    state: .refused(error))
            }
            log.write(ProviderLogLine(.error, "no plugin was loaded: \(error)", plugin: ""))
            return
        }
        refusal = nil
        let shipped = Self.readShippedList(directory)
        var entries: [Entry] = []
        var owners: [String: String] = [:]
        let names = directoryEntries(directory) ?? []
        for name in names {
            let entry = Self.entry(name, in: directory, names: names, shipped: shipped, owners: owners, loader: loader)
            entries.append(entry)
            switch entry.state {
            case .loaded(let plugin):
                owners[plugin.id] = name
                log.write(
                    ProviderLogLine(.info, "loaded \(name), version \(plugin.manifest.version)", plugin: plugin.id))
            case .refused(let refusal):
                log.write(ProviderLogLine(.warning, "\(refusal)", plugin: entry.manifest?.id ?? name))
            case .ignored: break
            }
        }
        self.entries = entries
    }

    /// The plugins whose code is in this process.
    public var plugins: [LoadedPlugin] {
        entries.compactMap { if case .loaded(let plugin) = $0.state { plugin } else { nil } }
    }

    /// The plugin that a configuration names: by its id, or by its file's name with or without "lib" and ".so".
    public func plugin(named name: String) -> LoadedPlugin? {
        if let plugin = plugins.first(where: { $0.id == name }) { return plugin }
        return entry(named: name).flatMap { if case .loaded(let plugin) = $0.state { plugin } else { nil } }
    }

    /// The same among all files, so that a configuration which names a refused one can be told why.
    public func entry(named name: String) -> Entry? {
        let stem = Self.stem(name)
        return entries.first { $0.manifest?.id == name && Self.isLoaded($0) }
            ?? entries.first { $0.name == name || Self.stem($0.name) == stem }
            ?? entries.first { $0.manifest?.id == name }
    }

    private static func isLoaded(_ entry: Entry) -> Bool { if case .loaded = entry.state { true } else { false } }

    private static func stem(_ name: String) -> String {
        var stem = name[...]
        if stem.hasSuffix(".so") { stem = stem.dropLast(3) }
        if stem.hasPrefix("lib") { stem = stem.dropFirst(3) }
        return String(stem)
    }

    // MARK: A directory that changes

    private init(directory: String, entries: [Entry]) {
        self.directory = directory
        self.entries = entries.sorted { $0.name < $1.name }
        refusal = nil
    }

    /// The same directory with another state of one file.
    func replacing(_ entry: Entry) -> PluginRegistry {
        PluginRegistry(directory: directory, entries: entries.filter { $0.name != entry.name } + [entry])
    }

    /// The same directory with a loaded plugin that is not to be used.
    public func refusing(_ plugin: LoadedPlugin, _ refusal: PluginRefusal) -> PluginRegistry {
        replacing(
            Entry(
                name: PathName.last(of: plugin.path), path: plugin.path, manifest: plugin.manifest,
                sha256: plugin.sha256, isShipped: plugin.isShipped, state: .refused(refusal)))
    }

    func removing(file name: String) -> PluginRegistry {
        PluginRegistry(directory: directory, entries: entries.filter { $0.name != name })
    }

    // MARK: One file

    /// What a file turned out to be, before any of its code ran.
    enum Finding {
        case ignored(String, PluginFile?, Manifest?)
        case refused(PluginRefusal, PluginFile?, Manifest?)
        case candidate(PluginLoader.Candidate)
    }

    static func look(
        at name: String, in directory: String, names: [String], shipped: [String: String]
    ) -> Finding {
        guard name.hasSuffix(".so") else {
            if name.hasSuffix(".json"), names.contains(name.dropLast(5) + ".so") {
                return .ignored("the settings of \(name.dropLast(5)).so", nil, nil)
            }
            return .ignored("does not end in .so", nil, nil)
        }
        var read: PluginFile?
        var manifest: Manifest?
        do throws(PluginRefusal) {
            let file = try PluginFile(directory: directory, name: name)
            read = file
            let known = try PluginLoader.inspect(file)
            manifest = known
            guard known.providers.contains(where: { $0.knownKind != nil }) else {
                let kinds = known.providers.map(\.kind).joined(separator: ", ")
                return .ignored(
                    "provides only what this host does not know (\(kinds)); a newer vchost may", file, known)
            }
            return .candidate(
                PluginLoader.Candidate(
                    file: file, manifest: known, sidecar: try sidecar(of: name, in: directory, manifest: known),
                    isShipped: shipped[name] == file.sha256))
        } catch {
            return .refused(error, read, manifest)
        }
    }

    private static func entry(
        _ name: String, in directory: String, names: [String], shipped: [String: String], owners: [String: String],
        loader: PluginLoader
    ) -> Entry {
        func entry(_ state: State, _ file: PluginFile? = nil, _ manifest: Manifest? = nil) -> Entry {
            Entry(
                name: name, path: directory + "/" + name, manifest: manifest, sha256: file?.sha256,
                isShipped: file.map { shipped[name] == $0.sha256 } ?? false, state: state)
        }
        switch look(at: name, in: directory, names: names, shipped: shipped) {
        case .ignored(let why, let file, let manifest): return entry(.ignored(why), file, manifest)
        case .refused(let refusal, let file, let manifest): return entry(.refused(refusal), file, manifest)
        case .candidate(let candidate):
            let (file, manifest) = (candidate.file, candidate.manifest)
            if let owner = owners[manifest.id] {
                let refusal = PluginRefusal(
                    .duplicateID, "\(name) has the id \(manifest.id), which \(owner) has already",
                    mend: "Remove one of the two; the first by name is used")
                return entry(.refused(refusal), file, manifest)
            }
            do throws(PluginRefusal) {
                return entry(.loaded(try loader.load(candidate)), file, manifest)
            } catch {
                return entry(.refused(error), file, manifest)
            }
        }
    }

    private static func sidecar(
        of name: String, in directory: String, manifest: Manifest
    ) throws(PluginRefusal) -> Sidecar {
        let beside = name.dropLast(3) + ".json"
        guard let bytes = readSmallFile(directory + "/" + beside) else { return .empty }
        do throws(ManifestError) {
            return try Sidecar(parsing: bytes[...], for: manifest)
        } catch {
            throw PluginRefusal(
                .sidecarBroken, "\(beside), the settings beside \(name), cannot be used: \(error)",
                mend: "Correct or remove it")
        }
    }

    static func readShippedList(_ directory: String) -> [String: String] {
        guard let bytes = readSmallFile(directory + "/" + shippedList),
            let list = try? parseDocument(bytes[...]), let members = list.object
        else { return [:] }
        return members.compactMapValues(\.string)
    }
}
