// Writes a manifest into a finished library, of whatever language and linker.
//
// Nothing that is loaded moves: the text, a new table of section names and a new table of section headers go to the end
// of the file, and the header points to them. The section has no SHF_ALLOC, so it belongs to no segment and costs no
// memory. `objcopy --add-section` does the same, but a provider author may have no binutils, and its failures
// ("file in wrong format") are no sentence to act on.
//
// Packing again replaces what was packed before instead of growing the file: equal inputs give equal bytes, so the hash
// by which a copy is known does not depend on how often somebody packed.

extension ELFFile {
    /// The file with `manifest` as its section `.vchost.manifest`, verified by reading it again.
    public func packed(manifest: [UInt8]) throws(ELFError) -> [UInt8] {
        guard manifest.count <= Self.manifestBytesMax else {
            throw .damaged("the manifest has \(manifest.count) bytes, and at most \(Self.manifestBytesMax) are read")
        }
        guard !sections.isEmpty else {
            throw .damaged("it has no section headers: it was stripped of them after linking")
        }
        var kept = sections.filter { $0.index != sectionNamesIndex }
        let old = kept.firstIndex { $0.name == Self.manifestSection }

        // Names: one table, written anew.
        var names: [UInt8] = [0]
        func place(_ name: String) -> UInt32 {
            guard !name.isEmpty else { return 0 }
            defer { names += Array(name.utf8) + [0] }
            return UInt32(names.count)
        }
        var rows = sections.map {
            Array(bytes[Int(sectionHeadersOffset) + $0.index * 64..<Int(sectionHeadersOffset) + ($0.index + 1) * 64])
        }
        for section in sections { rows[section.index].store(place(section.name), at: 0) }
        let manifestRow: Int
        if let old {
            manifestRow = kept[old].index
            kept.remove(at: old)
        } else {
            manifestRow = rows.count
            rows.append([UInt8](repeating: 0, count: 64))
            rows[manifestRow].store(place(Self.manifestSection), at: 0)
        }
        guard rows.count < 0xff00 else { throw .damaged("it has \(rows.count) sections already") }

        var out = Array(bytes[..<endOfWhatIsKept(kept)])
        out.align(to: 16)
        rows[manifestRow].store(UInt32(1), at: 4)  // SHT_PROGBITS
        rows[manifestRow].store(UInt64(0), at: 8)  // no flags: not loaded
        rows[manifestRow].store(UInt64(0), at: 16)
        rows[manifestRow].store(UInt64(out.count), at: 24)
        rows[manifestRow].store(UInt64(manifest.count), at: 32)
        rows[manifestRow].store(UInt64(0), at: 40)  // link, info
        rows[manifestRow].store(UInt64(1), at: 48)
        rows[manifestRow].store(UInt64(0), at: 56)
        out += manifest
        rows[sectionNamesIndex].store(UInt64(out.count), at: 24)
        rows[sectionNamesIndex].store(UInt64(names.count), at: 32)
        out += names
        out.align(to: 16)
        let table = out.count
        for row in rows { out += row }
        out.store(UInt64(table), at: 40)
        out.store(UInt16(rows.count), at: 60)
        out.store(UInt16(sectionNamesIndex), at: 62)

        guard try ELFFile(out).contents(ofSection: Self.manifestSection).map(Array.init) == manifest else {
            throw .damaged("the manifest could not be read back")
        }
        return out
    }

    static var manifestSection: String { ".vchost.manifest" }

    /// Where the file can be cut: after everything but the tables that are written anew, if nothing else lies behind.
    private func endOfWhatIsKept(_ kept: [Section]) -> Int {
        var end = UInt64(64)
        for segment in segments { end = max(end, segment.offset &+ segment.fileSize) }
        for section in kept where section.type != 8 && section.type != 0 {
            end = max(end, section.offset &+ section.size)
        }
        let programHeaders = (try? ByteReader(bytes).u64(32)) ?? 0
        end = max(end, programHeaders &+ UInt64(segments.count) * 56)
        guard end <= UInt64(bytes.count) else { return bytes.count }

        // What would be cut must be ours: the old tables, or zeros between them.
        var isOurs = [Bool](repeating: false, count: bytes.count - Int(end))
        func mark(_ offset: UInt64, _ size: UInt64) {
            guard let range = try? ByteReader(bytes).range(offset, size, "") else { return }
            for index in range.clamped(to: Int(end)..<bytes.count) { isOurs[index - Int(end)] = true }
        }
        mark(sectionHeadersOffset, UInt64(sections.count) * 64)
        mark(sections[sectionNamesIndex].offset, sections[sectionNamesIndex].size)
        for section in sections where section.name == Self.manifestSection { mark(section.offset, section.size) }
        for index in isOurs.indices where !isOurs[index] && bytes[Int(end) + index] != 0 { return bytes.count }
        return Int(end)
    }
}

extension [UInt8] {
    fileprivate mutating func store(_ value: some FixedWidthInteger, at offset: Int) {
        for index in 0..<value.bitWidth / 8 { self[offset + index] = UInt8(truncatingIfNeeded: value >> (8 * index)) }
    }

    fileprivate mutating func align(to alignment: Int) {
        while count % alignment != 0 { append(0) }
    }
}
