// Numbers and strings out of bytes that somebody else wrote: every access is checked, and a wrong one is an error with
// a name and never a trap. Little-endian, as both machines are that vchost runs on.

package struct ByteReader {
    package let bytes: [UInt8]

    package init(_ bytes: [UInt8]) { self.bytes = bytes }

    package func u16(_ offset: Int) throws(ELFError) -> UInt16 {
        UInt16(truncatingIfNeeded: try number(offset, width: 2))
    }

    package func u32(_ offset: Int) throws(ELFError) -> UInt32 {
        UInt32(truncatingIfNeeded: try number(offset, width: 4))
    }

    package func u64(_ offset: Int) throws(ELFError) -> UInt64 { try number(offset, width: 8) }

    private func number(_ offset: Int, width: Int) throws(ELFError) -> UInt64 {
        guard offset >= 0, offset <= bytes.count - width else {
            throw .truncated("a number", needs: offset + width, has: bytes.count)
        }
        var value: UInt64 = 0
        for index in (0..<width).reversed() { value = value << 8 | UInt64(bytes[offset + index]) }
        return value
    }

    /// The range of `size` bytes from `offset` on; `what` it is goes into the error.
    package func range(_ offset: UInt64, _ size: UInt64, _ what: String) throws(ELFError) -> Range<Int> {
        let (end, overflow) = offset.addingReportingOverflow(size)
        guard !overflow, end <= UInt64(Int.max) else { throw .damaged("\(what) lies outside of all memory") }
        guard end <= UInt64(bytes.count) else { throw .truncated(what, needs: Int(end), has: bytes.count) }
        return Int(offset)..<Int(end)
    }

    /// The NUL-terminated string at `offset` of the table that fills `range`.
    package func string(at offset: UInt64, in range: Range<Int>) throws(ELFError) -> String {
        guard offset < UInt64(range.count) else { throw .damaged("a name lies outside of its table") }
        let start = range.lowerBound + Int(offset)
        guard let end = bytes[start..<range.upperBound].firstIndex(of: 0) else {
            throw .damaged("a name has no end")
        }
        return String(decoding: bytes[start..<end], as: UTF8.self)
    }
}

/// Why a file is no library that this host can load.
public enum ELFError: Error, Sendable, Equatable {
    case notELF
    case truncated(_ what: String, needs: Int, has: Int)
    case damaged(_ how: String)
    case wrongArchitecture(is: String)
    case notLibrary(_ what: String)
}
