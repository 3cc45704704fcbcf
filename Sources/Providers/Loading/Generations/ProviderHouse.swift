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

/// How a plugin is tried out and brought to life. The defaults are those of a host without conformance rules and
/// without workers.
public struct PluginSteps: Sendable {
    /// Tries a new file out, before anything of it is used. `copy` is the path that would be loaded. Runs on the loading
    /// thread and may take seconds. Nil when the plugin passes.
    public var prove: @Sendable (_ copy: String, _ manifest: Manifest) -> PluginRefusal?
    /// Where the plugin's code shall run.
    public var isolation: @Sendable (_ manifest: Manifest, _ isShipped: Bool) -> PluginIsolation
    /// Brings the code to life, where `isolation` said. The default loads it into this process.
    public var load: @Sendable (PluginLoader.Candidate, PluginIsolation) -> Result<LoadedPlugin, PluginRefusal>
    /// A generation is over: its process may end.
    public var retired: @Sendable (LoadedPlugin) -> Void
    /// What a worker has used up, for the list; nil in process.
    public var workerCPUMs: @Sendable (LoadedPlugin) -> UInt64?

    public init(
        loader: PluginLoader, prove: (@Sendable (String, Manifest) -> PluginRefusal?)? = nil,
        isolation: @escaping @Sendable (Manifest, Bool) -> PluginIsolation = { _, _ in .inProcess },
        load: (@Sendable (PluginLoader.Candidate, PluginIsolation) -> Result<LoadedPlugin, PluginRefusal>)? = nil,
        retired: @escaping @Sendable (LoadedPlugin) -> Void = { _ in },
        workerCPUMs: @escaping @Sendable (LoadedPlugin) -> UInt64? = { _ in nil }
    ) {
        self.prove =
            prove ?? { copy, _ in
                do throws(PluginRefusal) {
                    try loader.probe.check(path: copy, file: PathName.last(of: copy))
                    return nil
                } catch {
                    return error
                }
            }
        self.isolation = isolation
        self.load =
            load ?? { candidate, _ in
                do throws(PluginRefusal) {
                    return .success(try loader.load(candidate, isProven: true))
                } catch {
                    return .failure(error)
                }
            }
        self.retired = retired
        self.workerCPUMs = workerCPUMs
    }
}

enum PathName {
    static func last(of path: String) -> String { path.split(separator: "/").last.map(String.init) ?? path }

    static func directory(of path: String) -> String {
        String(path[..<(path.lastIndex(of: "/") ?? path.startIndex)])
    }
}
