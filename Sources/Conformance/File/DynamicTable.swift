// The tables behind a dynamic section. Every place is an address of memory, as the dynamic linker will see it, and is
// translated through the segments to a place in the file.
//
// All loops are bounded by the size of the file or by a limit of their own, since a chain of offsets in a damaged file
// may well be a circle.

import Providers

struct DynamicTable {
    /// libLLVM has 40,000; a plugin has one.
    static let symbolsMax = 1 << 20
    /// libc defines 50 versions; a library that needs more than this of all others together is damaged.
    static let versionsMax = 4_096
    static let rowsMax = 4_096

    private let file: ELFFile
    private let reader: ByteReader
    private let rows: [(tag: UInt64, value: UInt64)]
    private let strings: Range<Int>

    init(_ file: ELFFile) throws(ELFError) {
        self.file = file
        reader = ByteReader(file.bytes)
        guard let segment = file.segments.first(where: { $0.type == 2 }) else {
            throw .damaged("it has no dynamic section")
        }
        let range = try reader.range(segment.offset, segment.fileSize, "the dynamic section")
        guard range.count / 16 <= Self.rowsMax else { throw .damaged("its dynamic section has \(range.count) bytes") }
        var rows: [(tag: UInt64, value: UInt64)] = []
        for row in stride(from: range.lowerBound, to: range.upperBound - 15, by: 16) {
            let tag = try reader.u64(row)
            if tag == 0 { break }
            rows.append((tag, try reader.u64(row + 8)))
        }
        self.rows = rows
        guard let address = rows.first(where: { $0.tag == 5 })?.value,
            let size = rows.first(where: { $0.tag == 10 })?.value
        else { throw .damaged("its dynamic section names no strings") }
        strings = try Self.place(address, size, "the dynamic strings", file, reader)
    }

    /// The value of the first row with this tag.
    subscript(tag: UInt64) -> UInt64? { rows.first { $0.tag == tag }?.value }

    func names(of tag: UInt64) throws(ELFError) -> [String] {
        var names: [String] = []
        for row in rows where row.tag == tag { names.append(try reader.string(at: row.value, in: strings)) }
        return names
    }

    func name(of tag: UInt64) throws(ELFError) -> String? { try names(of: tag).first }

    /// How many words a table has whose address and size stand in two rows.
    func words(at place: UInt64, bytes: UInt64, _ what: String) throws(ELFError) -> Int {
        guard let address = self[place] else { return 0 }
        return try range(address, self[bytes] ?? 0, what).count / 8
    }

    // MARK: Places

    private func range(_ address: UInt64, _ size: UInt64, _ what: String) throws(ELFError) -> Range<Int> {
        try Self.place(address, size, what, file, reader)
    }

    /// Where an address lies in the file, with all the bytes that the file has from there on in its segment.
    private func rest(_ address: UInt64, _ what: String) throws(ELFError) -> Range<Int> {
        guard let segment = Self.segment(of: address, file) else { throw .damaged("\(what) lies outside the file") }
        return try range(address, segment.fileSize - (address - segment.address), what)
    }

    private static func segment(of address: UInt64, _ file: ELFFile) -> ELFFile.Segment? {
        file.segments.first { $0.type == 1 && address >= $0.address && address - $0.address < $0.fileSize }
    }

    private static func place(
        _ address: UInt64, _ size: UInt64, _ what: String, _ file: ELFFile, _ reader: ByteReader
    ) throws(ELFError) -> Range<Int> {
        guard let segment = segment(of: address, file) else { throw .damaged("\(what) lies outside the file") }
        let inside = address - segment.address
        guard size <= segment.fileSize - inside else { throw .damaged("\(what) reaches beyond its segment") }
        // The segment itself was checked to lie in the file.
        return try reader.range(segment.offset + inside, size, what)
    }

    // MARK: Symbols

    /// How many symbols there are. The dynamic section does not say; the hash tables do, as they do to the linker, and
    /// the relocations name some that nobody looks up.
    private func symbolCount() throws(ELFError) -> Int {
        var count = 1
        if let address = self[4] {  // DT_HASH: its second word is the number of chains, one for each symbol
            count = Int(try reader.u32(try range(address, 8, "the hash table").lowerBound + 4))
        }
        if let address = self[0x6fff_fef5] { count = max(count, try gnuHashCount(address)) }
        for section in file.sections where section.type == 11 && section.address == self[6] {  // SHT_DYNSYM
            count = max(count, Int(clamping: section.size / 24))
        }
        for table in try relocations() {
            for row in stride(from: table.lowerBound, to: table.upperBound - 23, by: 24) {
                count = max(count, Int(try reader.u64(row + 8) >> 32) + 1)
            }
        }
        guard count <= Self.symbolsMax else { throw .damaged("it has \(count) dynamic symbols") }
        return count
    }

    /// DT_GNU_HASH: the last chain ends with the last symbol. Layout: four words of header, the filter, the buckets,
    /// the chains.
    private func gnuHashCount(_ address: UInt64) throws(ELFError) -> Int {
        let table = try rest(address, "the hash table")
        let bucketCount = Int(try reader.u32(table.lowerBound))
        let first = Int(try reader.u32(table.lowerBound + 4))
        let filterWords = Int(try reader.u32(table.lowerBound + 8))
        let buckets = table.lowerBound + 16 + filterWords * 8
        let chains = buckets + bucketCount * 4
        guard chains <= table.upperBound else { throw .damaged("the hash table reaches beyond its segment") }
        var last = 0
        for bucket in stride(from: buckets, to: chains, by: 4) { last = max(last, Int(try reader.u32(bucket))) }
        guard last >= first, last > 0 else { return first }
        while true {
            let word = chains + (last - first) * 4
            guard word + 4 <= table.upperBound else { throw .damaged("a chain of the hash table has no end") }
            if try reader.u32(word) & 1 == 1 { return last + 1 }
            last += 1
        }
    }

    func symbols(_ versions: [UInt16: String]) throws(ELFError) -> (
        exports: [ELFDetails.Symbol], imports: [ELFDetails.Symbol]
    ) {
        var exports: [ELFDetails.Symbol] = []
        var imports: [ELFDetails.Symbol] = []
        guard let address = self[6] else { return (exports, imports) }
        if let size = self[11], size != 24 { throw .damaged("its symbols have an unknown size") }
        let count = try symbolCount()
        let table = try range(address, UInt64(count) * 24, "the symbol table")
        var versionTable: Range<Int>?
        if let place = self[0x6fff_fff0] { versionTable = try range(place, UInt64(count) * 2, "the versions") }
        for index in 1..<max(count, 1) {
            let row = table.lowerBound + index * 24
            let info = file.bytes[row + 4]
            let visibility = file.bytes[row + 5] & 3
            let isDefined = try reader.u16(row + 6) != 0
            let binding = Self.binding(info >> 4)
            // STV_INTERNAL and STV_HIDDEN are not shown to others; section and file symbols are local.
            if isDefined && (binding == .local || visibility == 1 || visibility == 2) { continue }
            var version: String?
            if let versionTable {
                let number = try reader.u16(versionTable.lowerBound + index * 2)
                version = versions[number & 0x7fff]
            }
            let symbol = ELFDetails.Symbol(
                name: try reader.string(at: UInt64(try reader.u32(row)), in: strings), binding: binding,
                sort: Self.sort(info & 15), size: try reader.u64(row + 16), version: version)
            if isDefined { exports.append(symbol) } else if !symbol.name.isEmpty { imports.append(symbol) }
        }
        return (exports, imports)
    }

    private static func binding(_ number: UInt8) -> ELFDetails.Symbol.Binding {
        switch number {
        case 0: .local
        case 1: .global
        case 2: .weak
        case 10: .unique
        default: .other(number)
        }
    }

    private static func sort(_ number: UInt8) -> ELFDetails.Symbol.Sort {
        switch number {
        case 0: .unknown
        case 1: .object
        case 2: .function
        case 6: .threadLocal
        case 10: .indirectFunction
        default: .other(number)
        }
    }

    // MARK: Versions

    /// The versions that it needs, and the names of all versions by their number in the version table.
    func versions() throws(ELFError) -> (needs: [ELFDetails.VersionNeed], names: [UInt16: String]) {
        var needs: [ELFDetails.VersionNeed] = []
        var names: [UInt16: String] = [:]
        if let address = self[0x6fff_fffe] {  // DT_VERNEED
            let table = try rest(address, "the needed versions")
            var library = table.lowerBound
            for _ in 0..<min(self[0x6fff_ffff] ?? 0, UInt64(Self.versionsMax)) {
                let libraryName = try reader.string(at: UInt64(try reader.u32(library + 4)), in: strings)
                var entry = library + Int(try reader.u32(library + 8))
                for _ in 0..<(try reader.u16(library + 2)) {
                    guard needs.count < Self.versionsMax else { throw .damaged("it needs too many versions") }
                    let name = try reader.string(at: UInt64(try reader.u32(entry + 8)), in: strings)
                    let isWeak = try reader.u16(entry + 4) & 2 != 0
                    needs.append(ELFDetails.VersionNeed(library: libraryName, version: name, isWeak: isWeak))
                    names[try reader.u16(entry + 6) & 0x7fff] = name
                    let next = Int(try reader.u32(entry + 12))
                    if next == 0 { break }
                    entry += next
                }
                let next = Int(try reader.u32(library + 12))
                if next == 0 { break }
                library += next
            }
        }
        if let address = self[0x6fff_fffc] {  // DT_VERDEF
            var entry = try rest(address, "the defined versions").lowerBound
            for _ in 0..<min(self[0x6fff_fffd] ?? 0, UInt64(Self.versionsMax)) {
                let name = entry + Int(try reader.u32(entry + 12))
                // Number 1 is the file itself.
                if try reader.u16(entry + 2) & 1 == 0 {
                    names[try reader.u16(entry + 4) & 0x7fff] =
                        try reader.string(at: UInt64(try reader.u32(name)), in: strings)
                }
                let next = Int(try reader.u32(entry + 16))
                if next == 0 { break }
                entry += next
            }
        }
        return (needs, names)
    }

    // MARK: The rest

    /// DT_RELA and DT_JMPREL.
    private func relocations() throws(ELFError) -> [Range<Int>] {
        var tables: [Range<Int>] = []
        for (place, bytes) in [(7, 8), (23, 2)] as [(UInt64, UInt64)] {
            guard let address = self[place], let size = self[bytes], size > 0 else { continue }
            tables.append(try range(address, size, "the relocations"))
        }
        return tables
    }

    /// R_X86_64_IRELATIVE or R_AARCH64_IRELATIVE.
    func resolvers() throws(ELFError) -> Int {
        let indirect: UInt32 = file.machine == 62 ? 37 : 1_032
        var count = 0
        for table in try relocations() {
            for row in stride(from: table.lowerBound, to: table.upperBound - 23, by: 24)
            where try reader.u32(row + 8) == indirect {
                count += 1
            }
        }
        return count
    }

    func interpreter() throws(ELFError) -> String? {
        guard let segment = file.segments.first(where: { $0.type == 3 }) else { return nil }
        return try reader.string(at: 0, in: reader.range(segment.offset, segment.fileSize, "the interpreter"))
    }

    /// The note of type 3 (NT_GNU_BUILD_ID) by "GNU".
    func buildID() throws(ELFError) -> String? {
        for segment in file.segments where segment.type == 4 {
            let notes = try reader.range(segment.offset, segment.fileSize, "a note")
            let alignment = segment.alignment == 8 ? 8 : 4
            var at = notes.lowerBound
            while at + 12 <= notes.upperBound {
                let nameBytes = Int(try reader.u32(at))
                let valueBytes = Int(try reader.u32(at + 4))
                let type = try reader.u32(at + 8)
                let value = at + 12 + (nameBytes + 3) & ~3
                guard value + valueBytes <= notes.upperBound else { throw .damaged("a note leaves its segment") }
                if type == 3, nameBytes == 4, file.bytes[at + 12..<at + 16].elementsEqual([0x47, 0x4e, 0x55, 0]) {
                    return file.bytes[value..<value + valueBytes].reduce(into: "") { text, byte in
                        text += byte < 16 ? "0" : ""
                        text += String(byte, radix: 16)
                    }
                }
                at += (value - at + valueBytes + alignment - 1) / alignment * alignment
            }
        }
        return nil
    }
}
