// A plugin that may be used. Its code is in this process, for ever, if the build made it, or if an operator's setting
// asks for that; what was dropped in by somebody runs in a worker and was only ever opened by a child.

import PluginABI

public final class LoadedPlugin: Sendable {
    public let manifest: Manifest
    public let sidecar: Sidecar
    /// Where the operator put it.
    public let path: String
    /// Where its code really is.
    public let loadedPath: String
    public let sha256: String
    /// Whether the build listed this very file as its own.
    public let isShipped: Bool
    let description: ModuleDescription

    init(
        manifest: Manifest, sidecar: Sidecar, path: String, loadedPath: String, sha256: String, isShipped: Bool,
        description: ModuleDescription
    ) {
        self.manifest = manifest
        self.sidecar = sidecar
        self.path = path
        self.loadedPath = loadedPath
        self.sha256 = sha256
        self.isShipped = isShipped
        self.description = description
    }

    public var id: String { manifest.id }

    /// The provider of a kind, by its id, or the only one of that kind when `id` is nil.
    public func provider(_ kind: PluginKind, id: String? = nil) -> ProviderDeclaration? {
        manifest.providers.first { $0.knownKind == kind && (id == nil || $0.id == id) }
    }

    /// Where its providers run unless the configuration says otherwise.
    public var defaultIsolation: Manifest.Isolation { Self.defaultIsolation(isShipped: isShipped) }

    public static func defaultIsolation(isShipped: Bool) -> Manifest.Isolation { isShipped ? .inprocess : .worker }

    /// The table of a provider: the plugin's own, for which its code comes into this process, or one of a proxy.
    func table(
        of declaration: ProviderDeclaration, _ isolation: Manifest.Isolation
    ) throws(PluginRefusal) -> vc_provider {
        switch isolation {
        case .worker:
            guard let provider = description.provider(declaration) else { missing(declaration) }
            return ProxyTables.provider(provider)
        case .inprocess:
            let file = String(path.split(separator: "/").last ?? "")
            let module = try PluginLoader.enter(loadedPath, file: file).module
            let found = module.providers.first { $0.kind == declaration.kind && $0.id == declaration.id }
            guard let found else { missing(declaration) }
            return found.table
        }
    }

    private func missing(_ declaration: ProviderDeclaration) -> Never {
        preconditionFailure("\(declaration.id) is not a provider of \(id)")
    }
}
