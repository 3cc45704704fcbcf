// What a reload needs from the host around it: which sections a plugin is to serve, and the doors by which calls find
// its providers. Everything here is called on the loading thread, never on one that carries a call.

import Calls

/// The host, as far as providers that come and go concern it.
public protocol ProviderHouse: AnyObject, Sendable {
    /// The sections that `plugin` is to serve, were the directory `registry`. Throws what its settings lack.
    func sections(of plugin: LoadedPlugin, in registry: PluginRegistry) throws(PluginRefusal) -> [ProviderSection]
    /// A provider was created and is about to start: the last moment to listen to it.
    func created(_ instance: ProviderInstance) throws(ProviderFailure)
    /// New calls get these.
    func publish(_ instances: [ProviderInstance])
    /// New calls do not get these any more.
    func withdraw(_ instances: [ProviderInstance])
    /// Nothing of the host may use it from when this returns.
    func willDestroy(_ instance: ProviderInstance)
    /// Profiles that have nobody else, for a line in the log: "[profile.desk] has no other tts".
    func bereaved(by names: [String]) -> [String]
}

/// What the host around decides of a plugin. The defaults are those of a host without conformance rules and without
/// workers.
public struct PluginSteps: Sendable {
    /// Tries a new file out, before anything of it is used. Runs on the loading thread and may take seconds. Nil when
    /// the plugin passes. That a foreign file can be opened at all is tried by the loader itself, in a child
    /// (`PluginProbe`).
    public var prove: @Sendable (PluginToProve) -> PluginRefusal?
    /// Where the plugin's code is to run; in process if any of its providers is.
    public var isolation: @Sendable (_ file: String, _ manifest: Manifest, _ isShipped: Bool) -> Manifest.Isolation

    public init(
        prove: @escaping @Sendable (PluginToProve) -> PluginRefusal? = { _ in nil },
        isolation: @escaping @Sendable (String, Manifest, Bool) -> Manifest.Isolation = { _, _, _ in .inprocess }
    ) {
        self.prove = prove
        self.isolation = isolation
    }
}

/// A file that is about to be used.
public struct PluginToProve: Sendable {
    /// What would be loaded.
    public let copy: String
    /// Its name in the plugin directory.
    public let file: String
    public let sha256: String
    public let manifest: Manifest

    init(copy: String, file: String, sha256: String, manifest: Manifest) {
        self.copy = copy
        self.file = file
        self.sha256 = sha256
        self.manifest = manifest
    }

    public init(_ plugin: LoadedPlugin) {
        self.init(
            copy: plugin.loadedPath, file: PathName.last(of: plugin.path), sha256: plugin.sha256,
            manifest: plugin.manifest)
    }
}

enum PathName {
    static func last(of path: String) -> String { path.split(separator: "/").last.map(String.init) ?? path }

    static func directory(of path: String) -> String {
        String(path[..<(path.lastIndex(of: "/") ?? path.startIndex)])
    }
}
