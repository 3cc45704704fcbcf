// Why a file of the plugin directory was not loaded: one sentence with the reason, one with the mend.
//
// A closed list, so that every refusal has a code by which a script can tell them apart, and so that a new one cannot
// be written without its mend. The sentences are the product here: a person reads them who has just copied a file.

/// A plugin that this host does not load.
public struct PluginRefusal: Error, Sendable, Equatable, CustomStringConvertible {
    public enum Code: String, Sendable, CaseIterable {
        case unreadable, directoryWritable, fileWritable, notRegularFile
        case notELF, truncated, damaged, wrongArchitecture, notLibrary
        case noManifest, manifestBroken, sidecarBroken, newerABI, otherABI, toolchainDiffers
        case entryMissing, undefinedSymbol, missingLibrary, cannotLoad, crashed, hung
        case entryRefused, entryBroken, duplicateID, cacheUnusable
        case quarantined, tooManyGenerations, notProven, didNotStart
    }

    public let code: Code
    /// What is wrong, with what.
    public let reason: String
    /// What to do about it.
    public let mend: String

    public init(_ code: Code, _ reason: String, mend: String) {
        self.code = code
        self.reason = reason
        self.mend = mend
    }

    /// "libx.so was built for arm64, and this host runs on x86-64. Get the build for x86-64."
    public var description: String { "\(reason). \(mend)." }
}

extension PluginRefusal {
    init(_ error: ELFError, file: String) {
        let here = ELFFile.name(ofMachine: ELFFile.hostMachine)
        switch error {
        case .notELF:
            self.init(
                .notELF, "\(file) is not a shared library (no ELF header)",
                mend: "Remove it, or rename it so that it does not end in .so")
        case .truncated(let what, let needs, let has):
            self.init(
                .truncated, "\(file) is truncated: \(what) would end at byte \(needs), and the file has \(has)",
                mend: "Copy it again, under another name first and then renamed")
        case .damaged(let how):
            self.init(.damaged, "\(file) is damaged: \(how)", mend: "Copy or build it again")
        case .wrongArchitecture(let machine):
            self.init(
                .wrongArchitecture, "\(file) was built for \(machine), and this host runs on \(here)",
                mend: "Get the build for \(here)")
        case .notLibrary(let what):
            self.init(.notLibrary, "\(file) is \(what) and not a shared library", mend: "Link it with -shared")
        }
    }

    /// The dynamic linker's own words, sorted into those that have a mend of their own.
    init(linkerMessage message: String, file: String) {
        // glibc: "/path/x.so: undefined symbol: NAME" and "libfoo.so.1: cannot open shared object file: No such
        // file..."
        if let symbol = message.text(after: "undefined symbol: ") {
            let name = String(symbol.prefix { $0 != " " && $0 != "," && $0 != "(" })
            self.init(
                .undefinedSymbol, "\(file) needs the symbol \(name), which nothing provides",
                mend:
                    "Link the library that defines it (check with -Wl,-z,defs), or build against the installed version")
        } else if message.contains("cannot open shared object file") {
            let library = String(message.prefix { $0 != ":" })
            self.init(
                .missingLibrary, "\(file) needs the library \(library), which is not installed",
                mend: "Install the package that contains \(library)")
        } else if message.contains("' not found"), let version = message.text(after: "version `") {
            let name = String(version.prefix { $0 != "'" })
            self.init(
                .missingLibrary, "\(file) needs \(name), which the installed libraries do not have",
                mend: "Build it on this distribution, or on an older one")
        } else {
            self.init(
                .cannotLoad, "\(file) cannot be loaded: \(message)",
                mend: "Build it again on this machine's distribution")
        }
    }
}

extension String {
    /// What follows the first `mark`.
    func text(after mark: String) -> Substring? {
        var rest = self[...]
        while !rest.isEmpty {
            if rest.hasPrefix(mark) { return rest.dropFirst(mark.count) }
            rest = rest.dropFirst()
        }
        return nil
    }

    func contains(_ part: String) -> Bool { text(after: part) != nil }
}
