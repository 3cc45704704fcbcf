// What a host would load of a directory, found out without running anything of it.
//
// The same checks as `PluginRegistry`'s in the same order, up to the point where code would come into the process: that
// a library binds and its entry returns is for a probe to find out. So a plugin that is `loadable` here may still be
// refused there, and one that is refused here is refused there with the same words.

/// A directory, file by file, with nothing loaded.
public struct PluginScan: Sendable {
    public enum State: Sendable {
        case loadable
        case refused(PluginRefusal)
        /// Not a plugin, or none for this host. Says why.
        case ignored(String)
    }

    public struct Entry: Sendable {
        public let name: String
        public let manifest: Manifest?
        public let sha256: String?
        public let state: State
    }

    public let directory: String
    /// In the order of the names.
    public let entries: [Entry]
    /// Why nothing of the directory would be read, if so.
    public let refusal: PluginRefusal?

    public init(directory: String) {
        self.directory = directory
        do throws(PluginRefusal) {
            try PluginFile.checkDirectory(directory)
            refusal = nil
        } catch {
            refusal = error
            entries = []
            return
        }
        var owners: [String: String] = [:]
        let names = directoryEntries(directory) ?? []
        entries = names.map { name in
            let entry = Self.entry(name, in: directory, names: names, owners: owners)
            if case .loadable = entry.state, let id = entry.manifest?.id { owners[id] = name }
            return entry
        }
    }

    private static func entry(
        _ name: String, in directory: String, names: [String], owners: [String: String]
    ) -> Entry {
        func entry(_ state: State, _ file: PluginFile? = nil, _ manifest: Manifest? = nil) -> Entry {
            Entry(name: name, manifest: manifest, sha256: file?.sha256, state: state)
        }
        guard name.hasSuffix(".so") else {
            if name.hasSuffix(".json"), names.contains(name.dropLast(5) + ".so") {
                return entry(.ignored("the settings of \(name.dropLast(5)).so"))
            }
            return entry(.ignored("does not end in .so"))
        }
        var read: PluginFile?
        do throws(PluginRefusal) {
            let file = try PluginFile(directory: directory, name: name)
            read = file
            let manifest = try PluginLoader.inspect(file)
            guard manifest.providers.contains(where: { $0.knownKind != nil }) else {
                let kinds = manifest.providers.map(\.kind).joined(separator: ", ")
                return entry(
                    .ignored("provides only what this host does not know (\(kinds)); a newer vchost may"), file, manifest)
            }
            if let owner = owners[manifest.id] {
                throw PluginRefusal(
                    .duplicateID, "\(name) has the id \(manifest.id), which \(owner) has already",
                    mend: "Remove one of the two; the first by name is used")
            }
            return entry(.loadable, file, manifest)
        } catch {
            return entry(.refused(error), read)
        }
    }
}
