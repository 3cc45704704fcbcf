// What the entry function handed out, checked against the manifest and copied.

import Glibc
import PluginABI

/// A plugin's providers, as private copies.
struct PluginModule: @unchecked Sendable {
    struct Provider {
        let kind: String
        let id: String
        let table: vc_provider
    }

    let minor: UInt32
    let hostMinorMin: UInt32
    let providers: [Provider]

    /// More providers than a manifest may list.
    private static let providersMax = 64
    /// What the contract allows for the entry function.
    static let entryMsMax = 50

    /// Calls the entry function and copies what it gives.
    static func enter(_ entry: vc_plugin_entry_fn, file: String) throws(PluginRefusal) -> PluginModule {
        var theirs: UnsafePointer<vc_module>?
        let status = entry(HostTable.pointer, &theirs)
        if status == vc_status(VC_E_UNSUPPORTED) {
            throw PluginRefusal(
                .entryRefused, "\(file) refuses this host, which speaks ABI \(VC_ABI_MAJOR).\(HostTable.minor)",
                mend: "Ask its author for which host it was made")
        }
        guard status == VC_OK else {
            throw PluginRefusal(
                .entryRefused, "\(file) failed in \(VC_PLUGIN_ENTRY) with status \(status)",
                mend: "Ask its author for the cause")
        }
        do throws(TableFault) {
            // The word after `size` is a member here, and not reserved.
            let module = try adopt(theirs, as: vc_module.self, "vc_module", reserved: nil)
            guard module.provider_count > 0, module.provider_count <= providersMax, let list = module.providers else {
                throw TableFault(
                    problem: "vc_module has \(module.provider_count) providers; 1 to \(providersMax) are expected")
            }
            var providers: [Provider] = []
            for index in 0..<Int(module.provider_count) {
                let table = try adopt(list[index], as: vc_provider.self, "vc_provider")
                guard let kind = String(table.kind), let id = String(table.id) else {
                    throw TableFault(problem: "vc_provider \(index) has a kind or an id that is not UTF-8")
                }
                for (slot, isThere) in [
                    ("create", table.create != nil), ("destroy", table.destroy != nil), ("open", table.open != nil),
                ] where !isThere {
                    throw TableFault(problem: "vc_provider.\(slot) of \(id) is NULL")
                }
                providers.append(Provider(kind: kind, id: id, table: table))
            }
            return PluginModule(minor: module.minor, hostMinorMin: module.host_minor_min, providers: providers)
        } catch {
            throw PluginRefusal(
                .entryBroken, "\(file) breaks the contract in its entry: \(error.problem)", mend: "Tell its author")
        }
    }
}

extension PluginRefusal {
    static func newerABI(file: String, id: String, minor: Int) -> PluginRefusal {
        PluginRefusal(
            .newerABI,
            "\(file) needs vchost ABI \(VC_ABI_MAJOR).\(minor) or newer, "
                + "and this host speaks \(VC_ABI_MAJOR).\(HostTable.minor)",
            mend: "Update vchost, or install an older \(id)")
    }
}
