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
    /// Tries a new file out, before anything of it is used. `copy` is the path that would be loaded, `file` its name in
    /// the plugin directory. Runs on the loading thread and may take seconds. Nil when the plugin passes. That a
    /// foreign file can be opened at all is tried by the loader itself, in a child (`PluginProbe`).
    public var prove: @Sendable (_ copy: String, _ file: String, _ manifest: Manifest) -> PluginRefusal?
    /// Where the plugin's code is to run; in process if any of its providers is.
    public var isolation: @Sendable (_ file: String, _ manifest: Manifest, _ isShipped: Bool) -> Manifest.Isolation

    public init(
        prove: @escaping @Sendable (String, String, Manifest) -> PluginRefusal? = { _, _, _ in nil },
        isolation: @escaping @Sendable (String, Manifest, Bool) -> Manifest.Isolation = { _, _, _ in .inprocess }
    ) {
        self.prove = prove
        self.isolation = isolation
    }
}

enum PathName {
    static func last(of path: String) -> String { path.split(separator: "/").last.map(String.init) ?? path }

    static func directory(of path: String) -> String {
        String(path[..<(path.lastIndex(of: "/") ?? path.startIndex)])
    }
}
