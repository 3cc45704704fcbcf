// What a shared library says about itself, read without running any of it.
//
// Loading a library runs its constructors, and loading a damaged one can end the process, so everything that can be
// known is read from the bytes first: for which machine it is, whether it is whole, its manifest, whether it exports
// the entry. The reader works on a copy in memory and not on a mapping: a file that is truncated while it is mapped
// ends the process with SIGBUS. libelf was refused because it is one more library in the host for two tables and six
// constants, and because it trusts more of its input than a scanner of foreign files may.
//
// Every number from the file is checked before it is used as a place. The names are those of the System V ABI,
// "Object Files", chapters 4 and 5.

/// An ELF shared library of 64 bits and this machine's byte order, checked as far as it was read.
public struct ELFFile: Sendable {
    /// A row of the section header table.
    public struct Section: Sendable {
        public let name: String
        public let type: UInt32
        public let flags: UInt64
        public let address: UInt64
        public let offset: UInt64
        public let size: UInt64
        public let link: UInt32
        /// Its row, for whoever rewrites the table.
        public let index: Int
    }

    /// A row of the program header table.
    public struct Segment: Sendable {
        public let type: UInt32
        /// PF_X 1, PF_W 2, PF_R 4.
        public let flags: UInt32
        public let offset: UInt64
        public let address: UInt64
        public let fileSize: UInt64
        public let memorySize: UInt64
        public let alignment: UInt64
    }

    /// More sections than any linker writes without being asked to; a hostile table shall not cost memory.
    static let sectionsMax = 65_536
    /// Libraries that one library can name; real ones have fewer than a hundred.
    static let neededMax = 1_024
    /// A manifest is some kilobytes.
    public static let manifestBytesMax = 1 << 20

    public let bytes: [UInt8]
    public let machine: UInt16
    public let segments: [Segment]
    public let sections: [Section]
    /// Names of the libraries that it needs (DT_NEEDED).
    public let needed: [String]
    /// DT_FLAGS_1.
    public let dynamicFlags: UInt64

    let sectionNamesIndex: Int
    let sectionHeadersOffset: UInt64

    /// DF_1_NOW or DF_BIND_NOW: missing symbols show when it is loaded, and not in the middle of a call.
    public let bindsNow: Bool
    /// DF_1_NODELETE.
    public var isNeverUnmapped: Bool { dynamicFlags & 0x8 != 0 }

    /// Reads the headers. Throws `ELFError`, whose text says what is wrong with the file.
    public init(_ bytes: [UInt8]) throws(ELFError) {
        let reader = ByteReader(bytes)
        guard bytes.count >= 4, bytes[0] == 0x7f, bytes[1] == 0x45, bytes[2] == 0x4c, bytes[3] == 0x46 else {
            throw .notELF
        }
        guard bytes.count >= 64 else { throw .truncated("its header", needs: 64, has: bytes.count) }
        guard bytes[4] == 2 else { throw .wrongArchitecture(is: "a machine of 32 bits") }
        guard bytes[5] == 1 else { throw .wrongArchitecture(is: "a big-endian machine") }
        machine = try reader.u16(18)
        guard machine == Self.hostMachine else { throw .wrongArchitecture(is: Self.name(ofMachine: machine)) }
        let type = try reader.u16(16)
        guard type == 3 else {
            throw .notLibrary(type == 1 ? "an object file" : type == 2 ? "a program" : "type \(type)")
        }

        self.bytes = bytes
        segments = try Self.readSegments(reader)
        (sections, sectionNamesIndex, sectionHeadersOffset) = try Self.readSections(reader)
        let dynamic = try Self.readDynamic(reader, segments)
        needed = dynamic.needed
        dynamicFlags = dynamic.flags1
        bindsNow = dynamic.flags1 & 0x1 != 0 || dynamic.flags & 0x8 != 0
        // A position-independent program has the type of a library too, and cannot be loaded as one.
        guard dynamic.flags1 & 0x0800_0000 == 0 else { throw .notLibrary("a program") }
    }

    /// The bytes of the first section of this name; nil when there is none, or it takes no room in the file.
    public func contents(ofSection name: String) throws(ELFError) -> ArraySlice<UInt8>? {
        guard let section = sections.first(where: { $0.name == name && $0.type != 8 }) else { return nil }
        return bytes[try ByteReader(bytes).range(section.offset, section.size, "section \(name)")]
    }

    /// The text of the manifest; nil when the file has none. The NUL that ends a C string is not part of it.
    public func manifestText() throws(ELFError) -> ArraySlice<UInt8>? {
        guard var text = try contents(ofSection: ".vchost.manifest") else { return nil }
        guard text.count <= Self.manifestBytesMax else {
            throw .damaged("its manifest has \(text.count) bytes, and at most \(Self.manifestBytesMax) are read")
        }
        while text.last == 0 { text.removeLast() }
        return text
    }

    /// Whether `name` is a function that the dynamic linker would find in this library.
    public func exports(_ name: String) throws(ELFError) -> Bool {
        guard let table = sections.first(where: { $0.type == 11 }) else { return false }  // SHT_DYNSYM
        let reader = ByteReader(bytes)
        guard Int(table.link) < sections.count else { throw .damaged("its symbol table names no string table") }
        let strings = try reader.range(sections[Int(table.link)].offset, sections[Int(table.link)].size, "symbol names")
        let symbols = try reader.range(table.offset, table.size, "the symbol table")
        let wanted = Array(name.utf8)
        for start in stride(from: symbols.lowerBound, to: symbols.upperBound - 23, by: 24) {
            let info = bytes[start + 4]
            let visibility = bytes[start + 5] & 3
            // Global or weak, default or protected visibility, a function (or an indirect one), and defined here.
            guard info >> 4 == 1 || info >> 4 == 2, visibility == 0 || visibility == 3 else { continue }
            guard info & 15 == 2 || info & 15 == 10, try reader.u16(start + 6) != 0 else { continue }
            let at = strings.lowerBound + Int(try reader.u32(start))
            guard at + wanted.count < strings.upperBound, bytes[at + wanted.count] == 0 else { continue }
            if bytes[at..<at + wanted.count].elementsEqual(wanted) { return true }
        }
        return false
    }

    // MARK: Tables

    private static func readSegments(_ reader: ByteReader) throws(ELFError) -> [Segment] {
        let offset = try reader.u64(32)
        let count = Int(try reader.u16(56))
        guard count > 0 else { throw .damaged("it has no program headers") }
        guard try reader.u16(54) == 56 else { throw .damaged("its program headers have an unknown size") }
        let table = try reader.range(offset, UInt64(count) * 56, "the program headers")
        var segments: [Segment] = []
        for row in stride(from: table.lowerBound, to: table.upperBound, by: 56) {
            let segment = Segment(
                type: try reader.u32(row), flags: try reader.u32(row + 4), offset: try reader.u64(row + 8),
                address: try reader.u64(row + 16), fileSize: try reader.u64(row + 32),
                memorySize: try reader.u64(row + 40), alignment: try reader.u64(row + 48))
            if segment.type == 1 {  // PT_LOAD: what the loader maps must be there
                _ = try reader.range(segment.offset, segment.fileSize, "a segment")
                guard segment.memorySize >= segment.fileSize else {
                    throw .damaged("a segment is larger than its memory")
                }
                guard segment.alignment < 2 || segment.alignment & (segment.alignment - 1) == 0,
                    segment.alignment < 2
                        || segment.address & (segment.alignment - 1) == segment.offset & (segment.alignment - 1)
                else { throw .damaged("a segment is not aligned") }
            }
            segments.append(segment)
        }
        return segments
    }

    private static func readSections(_ reader: ByteReader) throws(ELFError) -> ([Section], Int, UInt64) {
        let offset = try reader.u64(40)
        guard offset > 0 else { return ([], 0, 0) }
        guard try reader.u16(58) == 64 else { throw .damaged("its section headers have an unknown size") }
        var count = UInt64(try reader.u16(60))
        var namesIndex = Int(try reader.u16(62))
        let first = try reader.range(offset, 64, "the section headers").lowerBound
        // More than 65,279 sections: the numbers stand in the first row instead (SHN_XINDEX).
        if count == 0 { count = try reader.u64(first + 32) }
        if namesIndex == 0xffff { namesIndex = Int(try reader.u32(first + 40)) }
        guard count <= UInt64(sectionsMax) else { throw .damaged("it has \(count) sections") }
        let table = try reader.range(offset, count * 64, "the section headers")
        guard namesIndex < Int(count) else { throw .damaged("the table of its section names is not there") }
        let namesRow = table.lowerBound + namesIndex * 64
        let names = try reader.range(
            try reader.u64(namesRow + 24), try reader.u64(namesRow + 32), "the names of its sections")
        var sections: [Section] = []
        sections.reserveCapacity(Int(count))
        for index in 0..<Int(count) {
            let row = table.lowerBound + index * 64
            sections.append(
                Section(
                    name: try reader.string(at: UInt64(try reader.u32(row)), in: names), type: try reader.u32(row + 4),
                    flags: try reader.u64(row + 8), address: try reader.u64(row + 16), offset: try reader.u64(row + 24),
                    size: try reader.u64(row + 32), link: try reader.u32(row + 40), index: index))
        }
        return (sections, namesIndex, offset)
    }

    private static func readDynamic(
        _ reader: ByteReader, _ segments: [Segment]
    ) throws(ELFError) -> (needed: [String], flags: UInt64, flags1: UInt64) {
        guard let dynamic = segments.first(where: { $0.type == 2 }) else { throw .damaged("it has no dynamic section") }
        let table = try reader.range(dynamic.offset, dynamic.fileSize, "the dynamic section")
        var neededOffsets: [UInt64] = []
        var flags: UInt64 = 0
        var flags1: UInt64 = 0
        var strings: (address: UInt64, size: UInt64) = (0, 0)
        var row = table.lowerBound
        while row + 16 <= table.upperBound {
            let tag = try reader.u64(row)
            let value = try reader.u64(row + 8)
            row += 16
            switch tag {
            case 0: row = table.upperBound
            case 1:
                guard neededOffsets.count < neededMax else {
                    throw .damaged("it names more than \(neededMax) libraries")
                }
                neededOffsets.append(value)
            case 5: strings.address = value
            case 10: strings.size = value
            case 30: flags = value
            case 0x6fff_fffb: flags1 = value
            default: break
            }
        }
        guard !neededOffsets.isEmpty else { return ([], flags, flags1) }
        let holder = segments.first {
            $0.type == 1 && strings.address >= $0.address && strings.address - $0.address < $0.fileSize
        }
        guard let holder else { throw .damaged("its dynamic strings lie outside the file") }
        let (start, overflow) = holder.offset.addingReportingOverflow(strings.address - holder.address)
        guard !overflow else { throw .damaged("its dynamic strings lie outside the file") }
        let range = try reader.range(start, strings.size, "the dynamic strings")
        var needed: [String] = []
        for offset in neededOffsets { needed.append(try reader.string(at: offset, in: range)) }
        return (needed, flags, flags1)
    }

    // MARK: Machines

    #if arch(x86_64)
        static let hostMachine: UInt16 = 62
    #elseif arch(arm64)
        static let hostMachine: UInt16 = 183
    #else
        #error("name this machine's ELF number here; the plugin line has been checked on x86-64 and arm64 only")
    #endif

    static func name(ofMachine machine: UInt16) -> String {
        switch machine {
        case 3: "i386"
        case 21: "ppc64"
        case 22: "s390x"
        case 40: "arm"
        case 62: "x86-64"
        case 183: "arm64"
        case 243: "riscv64"
        case 258: "loongarch64"
        default: "machine number \(machine)"
        }
    }
}
