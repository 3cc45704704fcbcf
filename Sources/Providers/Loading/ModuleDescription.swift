// What a module turned out to hold, without its code: enough to check it against its manifest, and to stand for it with
// tables of proxies. A child that tried a file out says it in lines of text; a module in this process is asked.

import PluginABI

struct ModuleDescription: Sendable, Equatable {
    struct Provider: Sendable, Equatable {
        var kind: String
        var id: String
        var hasStart = false
        var hasDrain = false
        var hasKindOps = false
        /// Of a detector: samples in a window.
        var window8k: UInt32 = 0
        var window16k: UInt32 = 0
    }

    var hostMinorMin: UInt32
    var providers: [Provider]
    /// What its entry function took.
    var entryMs = 0

    func provider(_ declaration: ProviderDeclaration) -> Provider? {
        providers.first { $0.kind == declaration.kind && $0.id == declaration.id }
    }

    /// The code must provide what the manifest says, and nothing else.
    func check(against manifest: Manifest, file: String) throws(PluginRefusal) {
        guard Int(hostMinorMin) <= HostTable.minor else {
            throw .newerABI(file: file, id: manifest.id, minor: Int(hostMinorMin))
        }
        for declared in manifest.providers
        where !providers.contains(where: { $0.kind == declared.kind && $0.id == declared.id }) {
            throw PluginRefusal(
                .entryBroken,
                "\(file) lists the provider \(declared.id) (\(declared.kind)) in its manifest, and its code has none",
                mend: "Make vc_provider.kind and .id equal to the manifest's")
        }
        for provider in providers
        where !manifest.providers.contains(where: { $0.kind == provider.kind && $0.id == provider.id }) {
            throw PluginRefusal(
                .entryBroken,
                "\(file) has code for the provider \(provider.id) (\(provider.kind)), which its manifest does not list",
                mend: "Add it to the manifest")
        }
    }

    // MARK: As text

    /// One line for the module, one for each provider; parts are separated by tabs, which no id has.
    var lines: [String] {
        ["module\t\(hostMinorMin)\t\(entryMs)"]
            + providers.map { provider in
                let flags = [provider.hasStart, provider.hasDrain, provider.hasKindOps].map { $0 ? "1" : "0" }
                return (["provider", provider.kind, provider.id] + flags
                    + ["\(provider.window8k)", "\(provider.window16k)"]).joined(separator: "\t")
            }
    }

    /// Nil when the lines do not say it all.
    init?(lines: [String]) {
        var hostMinorMin: UInt32?
        entryMs = 0
        providers = []
        for line in lines {
            let parts = line.split(separator: "\t", omittingEmptySubsequences: false).map(String.init)
            switch (parts.first, parts.count) {
            case ("module", 3):
                hostMinorMin = UInt32(parts[1])
                entryMs = Int(parts[2]) ?? 0
            case ("provider", 8):
                guard let window8k = UInt32(parts[6]), let window16k = UInt32(parts[7]) else { return nil }
                providers.append(
                    Provider(
                        kind: parts[1], id: parts[2], hasStart: parts[3] == "1", hasDrain: parts[4] == "1",
                        hasKindOps: parts[5] == "1", window8k: window8k, window16k: window16k))
            default: continue
            }
        }
        guard let hostMinorMin else { return nil }
        self.hostMinorMin = hostMinorMin
    }
}

extension PluginModule {
    var description: ModuleDescription { description(entryMs: 0) }

    func description(entryMs: Int) -> ModuleDescription {
        ModuleDescription(self, entryMs: entryMs)
    }
}

extension ModuleDescription {
    init(_ module: PluginModule, entryMs: Int) {
        hostMinorMin = module.hostMinorMin
        self.entryMs = entryMs
        providers = module.providers.map { provider in
            var description = Provider(kind: provider.kind, id: provider.id)
            description.hasStart = provider.table.start != nil
            description.hasDrain = provider.table.drain != nil
            description.hasKindOps = provider.table.kind_ops != nil
            if PluginKind(rawValue: provider.kind) == .voiceActivity,
                let ops = try? adopt(
                    provider.table.kind_ops, as: vc_vad_provider_ops.self, "vc_vad_provider_ops", reserved: 12)
            {
                description.window8k = ops.window_8k
                description.window16k = ops.window_16k
            }
            return description
        }
    }
}
