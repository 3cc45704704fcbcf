// What a library tells the dynamic linker, for the rules of the group ELF.
//
// Read from the dynamic section and not from the section headers: the linker uses the one and never looks at the other,
// and a file can say different things in the two. `readelf` was refused: its output is for people, changes between
// versions, and is one more package on the machine of an author. `ELFFile` has checked the headers; here every address
// of the dynamic section is translated through the segments, and every table is read within the bounds of the file, so
// that a damaged file is an error and never the end of this process.
//
// Names and numbers: System V ABI, "Object Files" and "Dynamic Linking"; the GNU extensions as in glibc's <elf.h>.

import Providers

/// The dynamic section of a shared library and the tables that it names.
public struct ELFDetails: Sendable {
    /// A row of the dynamic symbol table.
    public struct Symbol: Sendable, Equatable {
        public enum Binding: Sendable, Equatable {
            case local, global, weak
            /// STB_GNU_UNIQUE: one for the whole process, and the library can never be unmapped.
            case unique
            case other(UInt8)
        }
        public enum Sort: Sendable, Equatable {
            case unknown, object, function, threadLocal
            /// STT_GNU_IFUNC: a resolver runs when it is bound.
            case indirectFunction
            case other(UInt8)
        }

        public let name: String
        public let binding: Binding
        public let sort: Sort
        public let size: UInt64
        /// The version that it has or needs, "GLIBC_2.34"; nil without one.
        public let version: String?
    }

    /// A version that another library must have.
    public struct VersionNeed: Sendable, Equatable {
        public let library: String
        public let version: String
        /// VER_FLG_WEAK: it may be missing.
        public let isWeak: Bool
    }

    public enum Relro: Sendable, Equatable {
        case none
        /// Tables of functions that are bound on first call stay writable.
        case partial
        case full
    }

    /// Its own name (DT_SONAME).
    public let soname: String?
    /// DT_NEEDED, in order.
    public let needed: [String]
    /// DT_RPATH and DT_RUNPATH, taken apart at the colons.
    public let rpath: [String]
    public let runpath: [String]
    /// DT_AUDIT, DT_DEPAUDIT, DT_FILTER, DT_AUXILIARY: libraries that are put in the way of others.
    public let interposers: [String]
    /// PT_INTERP: a library has no use for a program interpreter.
    public let interpreter: String?
    /// DT_FLAGS and DT_FLAGS_1.
    public let flags: UInt64
    public let flags1: UInt64
    /// Global, weak and unique symbols that it defines and shows to others.
    public let exports: [Symbol]
    /// Symbols that others must define. Weak ones may be missing.
    public let imports: [Symbol]
    public let versionNeeds: [VersionNeed]
    /// PT_GNU_STACK with PF_X, or no PT_GNU_STACK at all, which asks for the same.
    public let wantsExecutableStack: Bool
    public let relro: Relro
    /// Entries of DT_INIT_ARRAY and DT_FINI_ARRAY.
    public let initializers: Int
    public let finalizers: Int
    /// DT_INIT and DT_FINI: `crti` brings them, so they say nothing alone.
    public let hasInitFunction: Bool
    /// Relocations that call a resolver (R_…_IRELATIVE): indirect functions of its own, hidden ones too.
    public let resolvers: Int
    /// DT_TEXTREL or DF_TEXTREL: the linker must write into its code.
    public let hasTextRelocations: Bool
    /// The note of the linker that tells one build from another, in hexadecimal.
    public let buildID: String?
    /// `.debug_info` in the file, or a link to a file that has it.
    public let hasDebugInformation: Bool

    /// DF_STATIC_TLS: it takes of the little room that is kept for libraries loaded at the start.
    public var needsStaticTLS: Bool { flags & 0x10 != 0 }
    /// DF_BIND_NOW or DF_1_NOW.
    public var bindsNow: Bool { flags & 0x8 != 0 || flags1 & 0x1 != 0 }
    /// DF_1_NODELETE.
    public var isNeverUnmapped: Bool { flags1 & 0x8 != 0 }

    /// The highest version of a series that it needs: `highestVersion(of: "GLIBC_")` is "2.34". Compared number by
    /// number; names that are not numbers, as GLIBC_PRIVATE, do not count.
    public func highestVersion(of series: String) -> String? {
        versionNeeds
            .filter { $0.version.hasPrefix(series) }
            .map { $0.version.dropFirst(series.count) }
            .filter { !Self.numbers($0).isEmpty }
            .max { Self.numbers($0).lexicographicallyPrecedes(Self.numbers($1)) }
            .map(String.init)
    }

    /// "2.34" as [2, 34]; empty when a part is no number.
    public static func numbers(_ version: some StringProtocol) -> [Int] {
        let parts = version.split(separator: ".", omittingEmptySubsequences: false).map { Int($0) }
        return parts.contains(nil) ? [] : parts.compactMap { $0 }
    }

    /// Reads a library. Throws `ELFError`, whose text says what is wrong with the file.
    public init(_ bytes: [UInt8]) throws(ELFError) { try self.init(ELFFile(bytes)) }

    public init(_ file: ELFFile) throws(ELFError) {
        let table = try DynamicTable(file)
        soname = try table.name(of: 14)
        needed = try table.names(of: 1)
        rpath = try table.names(of: 15).flatMap(Self.directories)
        runpath = try table.names(of: 29).flatMap(Self.directories)
        interposers =
            try table.names(of: 0x6fff_fefc) + table.names(of: 0x6fff_fefb) + table.names(of: 0x7fff_ffff)
            + table.names(of: 0x7fff_fffd)
        flags = table[30] ?? 0
        flags1 = table[0x6fff_fffb] ?? 0
        hasTextRelocations = table[22] != nil || flags & 0x4 != 0
        hasInitFunction = table[12] != nil || table[13] != nil
        initializers = try table.words(at: 25, bytes: 27, "the initializers")
        finalizers = try table.words(at: 26, bytes: 28, "the finalizers")

        let versions = try table.versions()
        versionNeeds = versions.needs
        (exports, imports) = try table.symbols(versions.names)
        resolvers = try table.resolvers()

        let stack = file.segments.first { $0.type == 0x6474_e551 }
        wantsExecutableStack = stack.map { $0.flags & 1 != 0 } ?? true
        let hasRelro = file.segments.contains { $0.type == 0x6474_e552 }
        relro = !hasRelro ? .none : flags & 0x8 != 0 || flags1 & 0x1 != 0 ? .full : .partial
        interpreter = try table.interpreter()
        buildID = try table.buildID()
        hasDebugInformation = file.sections.contains {
            $0.name == ".debug_info" || $0.name == ".zdebug_info" || $0.name == ".gnu_debuglink"
        }
    }

    private static func directories(_ path: String) -> [String] {
        path.split(separator: ":", omittingEmptySubsequences: false).map(String.init)
    }
}
