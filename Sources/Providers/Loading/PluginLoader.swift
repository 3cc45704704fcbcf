// From a file to code in this process, in the order in which each step may trust the one before:
//
//     directory, file → ELF → manifest → ABI → toolchain → copy → probe (foreign) → dlopen → libltdl → entry
//
// libltdl is the loader. It has two habits that are worked around: it always binds lazily, so that a missing symbol
// ends the process in the middle of a call; and its error is "file not found" whatever happened. So the copy is opened
// with `dlopen(RTLD_NOW)` first: that binds everything, and its error text names the symbol or the library.
// `lt_dlopenext` is never used (a `.la` file may name any other file), nor is `lt_dlforeachfile` (it would try every
// file).
//
// Nothing is ever closed: threads, thread-local destructors and Swift's metadata make unmapping a library unsafe
// (`docs/decisions/0002-plugins-are-never-unmapped.md`). libltdl has a global list of handles and no lock of its own,
// so there is one here.

import Cltdl
import Glibc
import PluginABI
import Synchronization

public final class PluginLoader: Sendable {
    public let store: PluginStore
    private let probe: PluginProbe
    private let quarantine: Quarantine?
    private let log: any ProviderLog

    /// - Parameters:
    ///   - cacheDirectory: of the copies; nil for `PluginStore.defaultDirectory`.
    ///   - probe: how to try out a foreign library.
    ///   - quarantine: files that crashed too often; they are not opened.
    public init(
        cacheDirectory: String? = nil, probe: PluginProbe = .host, quarantine: Quarantine? = nil, log: any ProviderLog
    ) throws(PluginRefusal) {
        store = try PluginStore(directory: cacheDirectory)
        self.probe = probe
        self.quarantine = quarantine
        self.log = log
    }

    /// What is known of a file without running it.
    public struct Candidate: Sendable {
        let file: PluginFile
        public let manifest: Manifest
        let sidecar: Sidecar
        /// Whether the build listed this very file as its own.
        public let isShipped: Bool

        public var sha256: String { file.sha256 }
    }

    /// Reads a file and everything that it says about itself.
    static func inspect(_ file: PluginFile) throws(PluginRefusal) -> Manifest {
        let manifest: Manifest
        do {
            let elf = try ELFFile(file.bytes)
            guard let text = try elf.manifestText() else {
                throw PluginRefusal(
                    .noManifest, "\(file.name) has no manifest, so it was not opened",
                    mend: "If it is a plugin, run: vchost plugins pack \(file.path) manifest.json")
            }
            do throws(ManifestError) {
                manifest = try Manifest(parsing: text)
            } catch {
                throw PluginRefusal(
                    .manifestBroken, "the manifest of \(file.name) is broken: \(error)",
                    mend: "Correct it and pack it again (docs/manifest.md)")
            }
            try checkABI(manifest, file: file.name)
            try SwiftRuntime.check(manifest.runtime, file: file.name)
            guard try elf.exports(VC_PLUGIN_ENTRY) else {
                throw PluginRefusal(
                    .entryMissing, "\(file.name) does not export \(VC_PLUGIN_ENTRY)",
                    mend: "Define it with VC_EXPORT, and check the linker's version script")
            }
        } catch let error as ELFError {
            throw PluginRefusal(error, file: file.name)
        } catch let refusal as PluginRefusal {
            throw refusal
        } catch {
            preconditionFailure("\(error) is neither of the two that are thrown above")
        }
        return manifest
    }

    private static func checkABI(_ manifest: Manifest, file: String) throws(PluginRefusal) {
        guard manifest.abi.major == VC_ABI_MAJOR else {
            throw PluginRefusal(
                .otherABI, "\(file) was made for ABI \(manifest.abi.major), and this host speaks \(VC_ABI_MAJOR)",
                mend: manifest.abi.major > Int(VC_ABI_MAJOR) ? "Update vchost" : "Get a newer version of \(manifest.id)"
            )
        }
        guard manifest.abi.hostMinorMin <= HostTable.minor else {
            throw .newerABI(file: file, id: manifest.id, minor: manifest.abi.hostMinorMin)
        }
    }

    /// Makes a plugin of a file: of one that the build made by opening it, of any other by letting a child open it.
    func load(_ candidate: Candidate) throws(PluginRefusal) -> LoadedPlugin {
        let file = candidate.file
        if let refusal = quarantine?.refusal(of: file.sha256, file: file.name) { throw refusal }
        let copy = try store.copy(of: file)
        let description: ModuleDescription
        if candidate.isShipped {
            let (module, tookMs) = try Self.enter(copy, file: file.name)
            description = module.description
            if tookMs > PluginModule.entryMsMax { slow(tookMs, candidate.manifest.id) }
        } else {
            description = try Self.tried.withLock { tried throws(PluginRefusal) in
                if let known = tried[copy] { return known }
                let found = try probe.check(path: copy, file: file.name)
                tried[copy] = found
                return found
            }
            if description.entryMs > PluginModule.entryMsMax { slow(description.entryMs, candidate.manifest.id) }
        }
        try description.check(against: candidate.manifest, file: file.name)
        return LoadedPlugin(
            manifest: candidate.manifest, sidecar: candidate.sidecar, path: file.path, loadedPath: copy,
            sha256: file.sha256, isShipped: candidate.isShipped, description: description)
    }

    private func slow(_ tookMs: Int, _ id: String) {
        log.write(
            ProviderLogLine(
                .pluginFault, "\(VC_PLUGIN_ENTRY) took \(tookMs) ms; \(PluginModule.entryMsMax) ms are allowed",
                plugin: id))
    }

    /// Brings the code at `path`, a copy of ours, into this process. The same path twice gives the same module, and
    /// then it took no time.
    static func enter(_ path: String, file: String) throws(PluginRefusal) -> (module: PluginModule, tookMs: Int) {
        try loaded.withLock { loaded throws(PluginRefusal) in
            if let known = loaded[path] { return (known, 0) }
            let entry = try open(path, file)
            let begin = hostClockNs()
            let module = try PluginModule.enter(entry, file: file)
            let tookMs = Int((hostClockNs() - begin) / 1_000_000)
            loaded[path] = module
            return (module, tookMs)
        }
    }

    /// Modules by the path of their copy: the entry function is called once. Its lock is the one around libltdl.
    private static let loaded = Mutex<[String: PluginModule]>([:])
    /// What children found in foreign files.
    private static let tried = Mutex<[String: ModuleDescription]>([:])

    /// Runs under the lock, or in a process with nothing else to open.
    static func open(_ path: String, _ file: String) throws(PluginRefusal) -> vc_plugin_entry_fn {
        guard dlopen(path, RTLD_NOW | RTLD_LOCAL) != nil else {
            throw PluginRefusal(linkerMessage: dlerror().map { String(cString: $0) } ?? "no reason given", file: file)
        }
        var advise: lt_dladvise?
        guard lt_dlinit() == 0, lt_dladvise_init(&advise) == 0 else { throw ltdlRefusal(file) }
        defer { lt_dladvise_destroy(&advise) }
        guard lt_dladvise_local(&advise) == 0, lt_dladvise_resident(&advise) == 0,
            let handle = lt_dlopenadvise(path, advise)
        else { throw ltdlRefusal(file) }
        guard let entry = lt_dlsym(handle, VC_PLUGIN_ENTRY) else {
            throw PluginRefusal(
                .entryMissing, "\(file) does not export \(VC_PLUGIN_ENTRY)", mend: "Define it with VC_EXPORT")
        }
        return unsafeBitCast(entry, to: vc_plugin_entry_fn.self)
    }

    private static func ltdlRefusal(_ file: String) -> PluginRefusal {
        PluginRefusal(
            .cannotLoad,
            "\(file) cannot be loaded: libltdl says \(lt_dlerror().map { String(cString: $0) } ?? "nothing")",
            mend: "Reinstall the package libltdl7")
    }
}
