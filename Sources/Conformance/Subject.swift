// A plugin under test, as far as it can be known without running it.

import JSON
import Providers

/// The bytes of a plugin and what they say.
public struct Subject: Sendable {
    public let path: String
    /// The file's name, "acme-stt.so".
    public let name: String
    public let sha256: String
    public let bytes: [UInt8]
    /// Nil: it has none that can be read; `manifestProblem` says why.
    public let manifest: Manifest?
    public let manifestText: String
    public let manifestProblem: String
    /// The provider that this run is about.
    public let provider: ProviderDeclaration?

    public init(
        path: String, name: String, sha256: String, bytes: [UInt8], manifest: Manifest?, manifestText: String,
        manifestProblem: String = "", provider: ProviderDeclaration? = nil
    ) {
        self.path = path
        self.name = name
        self.sha256 = sha256
        self.bytes = bytes
        self.manifest = manifest
        self.manifestText = manifestText
        self.manifestProblem = manifestProblem
        self.provider = provider
    }

    public var kind: PluginKind? { provider?.knownKind }
}

extension Subject {
    /// What the probe knows of it: the manifest of the library that it was told to load.
    init(reading job: Job) {
        let bytes = readWholeFile(job.plugin) ?? []
        var manifest: Manifest?
        var text = ""
        if let found = try? ELFFile(bytes).manifestText() {
            text = String(decoding: found, as: UTF8.self)
            manifest = try? Manifest(parsing: found)
        }
        let name = job.plugin.split(separator: "/").last.map(String.init) ?? job.plugin
        self.init(
            path: job.plugin, name: name, sha256: "", bytes: bytes, manifest: manifest, manifestText: text,
            provider: manifest?.providers.first { $0.id == job.provider && $0.kind == job.kind })
    }
}
