// The entry of a plugin that is written in Swift.
//
// The contract wants constant tables of C functions, and a C function knows nothing of Swift's types: it has no room
// for "make one of *these*". So the kit holds eight `create` functions that differ in nothing but a number, and the
// number says which of the exported types is meant. A macro could have written one for each type instead; it would
// bring swift-syntax into the build of every plugin, to save a line.
//
// One export does no work but to fill these tables: the host calls the entry of every file in its directory, used or
// not.

public import PluginABI

/// Exports the providers of a plugin to the host.
///
/// A plugin is its types, and this:
///
/// ```swift
/// @c(vc_plugin_entry_v1)
/// public func entry(_ host: Plugin.Host, _ module: Plugin.Module) -> Plugin.Status {
///     Plugin.export(InstantLLM.self, host, module)
/// }
/// ```
///
/// `Plugins/InstantLLM`, `InstantSTT` and `InstantTTS` are whole plugins of one short file each.
public enum Plugin {
    /// The host's table, as the entry function gets it.
    public typealias Host = UnsafePointer<vc_host>
    /// Where the entry function leaves the plugin's table.
    public typealias Module = UnsafeMutablePointer<UnsafePointer<vc_module>?>
    /// What the entry function answers.
    public typealias Status = vc_status

    /// As many providers as one plugin can hold: the number of `create` functions below.
    public static let providersMax = 8

    /// Hands out `providers`, in the order of the manifest. Called from the entry function, and from nowhere else; a
    /// second call gives the same tables.
    ///
    /// Answers VC_E_UNSUPPORTED when the host's table is older than version 1.0 of the contract.
    public static func export(_ providers: any Provider.Type..., host: Host, module: Module) -> Status {
        export(providers, host, module)
    }

    /// The same for a single provider.
    public static func export(_ provider: any Provider.Type, _ host: Host, _ module: Module) -> Status {
        export([provider], host, module)
    }

    private static func export(_ providers: [any Provider.Type], _ host: Host, _ module: Module) -> Status {
        precondition(
            (1...providersMax).contains(providers.count),
            "a plugin exports 1 to \(providersMax) providers, and this one \(providers.count); make it two plugins")
        guard let line = HostLine(adopting: host) else { return vc_status(VC_E_UNSUPPORTED) }
        HostLine.shared = line
        if let exported = ExportedProviders.module {
            module.pointee = exported
            return vc_status(VC_OK)
        }
        ExportedProviders.types = providers

        let tables = UnsafeMutablePointer<UnsafePointer<vc_provider>?>.allocate(capacity: providers.count)
        for (index, provider) in providers.enumerated() {
            let isTelephony = provider._kind == .telephony
            let table = vc_provider(
                size: UInt32(MemoryLayout<vc_provider>.size), reserved: 0, kind: .permanent(provider._kind.rawValue),
                id: .permanent(provider.id), create: createFunctions[index], start: providerStart,
                drain: isTelephony ? telephonyDrain : nil, destroy: providerDestroy, open: providerOpen,
                kind_ops: isTelephony ? UnsafeRawPointer(telephonyProviderOps.pointer) : nil)
            (tables + index).initialize(to: permanentPointer(table))
        }
        ExportedProviders.module = permanentPointer(
            vc_module(
                size: UInt32(MemoryLayout<vc_module>.size), minor: UInt32(VC_ABI_MINOR), host_minor_min: 0,
                provider_count: UInt32(providers.count), providers: UnsafePointer(tables)))
        module.pointee = ExportedProviders.module
        return vc_status(VC_OK)
    }
}

/// Written once by the entry function, before any other function of the plugin is called; read from everywhere.
enum ExportedProviders {
    nonisolated(unsafe) static var types: [any Provider.Type] = []
    nonisolated(unsafe) static var module: UnsafePointer<vc_module>?
}

private typealias CreateFunction = @convention(c) (
    UnsafePointer<vc_create>, UnsafeMutablePointer<UnsafeMutableRawPointer?>, UnsafeMutablePointer<vc_error>
) -> vc_status

private let createFunctions: [CreateFunction] = [
    { createProvider(0, $0, $1, $2) }, { createProvider(1, $0, $1, $2) }, { createProvider(2, $0, $1, $2) },
    { createProvider(3, $0, $1, $2) }, { createProvider(4, $0, $1, $2) }, { createProvider(5, $0, $1, $2) },
    { createProvider(6, $0, $1, $2) }, { createProvider(7, $0, $1, $2) },
]

/// Memory that lives as long as the process, which is what the contract asks of every table.
func permanentPointer<Table>(_ table: Table) -> UnsafePointer<Table> {
    let memory = UnsafeMutablePointer<Table>.allocate(capacity: 1)
    memory.initialize(to: table)
    return UnsafePointer(memory)
}
