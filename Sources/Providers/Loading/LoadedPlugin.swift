// A plugin whose code is in this process. It stays there: nothing here can unload it.

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
    let module: PluginModule

    init(
        manifest: Manifest, sidecar: Sidecar, path: String, loadedPath: String, sha256: String, isShipped: Bool,
        module: PluginModule
    ) {
        self.manifest = manifest
        self.sidecar = sidecar
        self.path = path
        self.loadedPath = loadedPath
        self.sha256 = sha256
        self.isShipped = isShipped
        self.module = module
    }

    public var id: String { manifest.id }

    /// The provider of a kind, by its id, or the only one of that kind when `id` is nil.
    public func provider(_ kind: PluginKind, id: String? = nil) -> ProviderDeclaration? {
        manifest.providers.first { $0.knownKind == kind && (id == nil || $0.id == id) }
    }

    func table(of declaration: ProviderDeclaration) -> vc_provider {
        guard let provider = module.providers.first(where: { $0.kind == declaration.kind && $0.id == declaration.id })
        else {
            preconditionFailure("\(declaration.id) is not a provider of \(id)")
        }
        return provider.table
    }
}
