// Private copies of a plugin's tables.
//
// A table begins with the size that its author compiled. Copying what is there and leaving the rest zero makes a plugin
// of any minor version look the same to us: what it does not have is nil. It also closes the door to a plugin that
// changes its table after it was checked.

import PluginABI

/// Why a table cannot be used.
struct TableFault: Error, Equatable {
    let problem: String
}

/// Larger than any table of any later version; what claims more is not a table.
private let tableBytesMax: UInt32 = 65_536

/// Copies the table or struct at `theirs`.
///
/// - Parameters:
///   - what: its name for the error, "vc_provider".
///   - reserved: the offset of its `reserved` member, which must be zero, if it has one.
func adopt<Table>(
    _ theirs: UnsafeRawPointer?, as _: Table.Type, _ what: String, reserved: Int? = 4
) throws(TableFault) -> Table {
    guard let theirs else { throw TableFault(problem: "\(what) is NULL") }
    guard UInt(bitPattern: theirs) % UInt(MemoryLayout<Table>.alignment) == 0 else {
        throw TableFault(problem: "\(what) is not aligned")
    }
    let size = theirs.load(as: UInt32.self)
    guard size >= 8, size <= tableBytesMax else {
        throw TableFault(problem: "\(what).size is \(size); set it to sizeof(\(what))")
    }
    if let reserved, Int(size) >= reserved + 4, theirs.load(fromByteOffset: reserved, as: UInt32.self) != 0 {
        throw TableFault(problem: "\(what).reserved is not 0")
    }
    let copy = UnsafeMutablePointer<Table>.allocate(capacity: 1)
    defer { copy.deallocate() }
    let raw = UnsafeMutableRawPointer(copy)
    raw.initializeMemory(as: UInt8.self, repeating: 0, count: MemoryLayout<Table>.size)
    raw.copyMemory(from: theirs, byteCount: min(Int(size), MemoryLayout<Table>.size))
    return copy.move()
}

extension String {
    /// A copy of the text, or nil when it is not UTF-8 or its pointer is missing.
    init?(_ text: vc_str) {
        guard text.length > 0 else {
            self = ""
            return
        }
        guard let data = text.data, text.length <= UInt64(Int32.max) else { return nil }
        let bytes = UnsafeRawBufferPointer(start: data, count: Int(text.length))
        guard let string = String(validating: bytes, as: UTF8.self) else { return nil }
        self = string
    }
}

/// Lends `text` to a call of the plugin.
func withStr<Result, Failure: Error>(
    _ text: String, _ body: (vc_str) throws(Failure) -> Result
) throws(Failure) -> Result {
    let count = text.utf8.count
    return try withExtendedLifetime(text) { () throws(Failure) in
        var copy = Array(text.utf8CString)
        return try lend(&copy, count, body)
    }
}

private func lend<Result, Failure: Error>(
    _ characters: inout [CChar], _ count: Int, _ body: (vc_str) throws(Failure) -> Result
) throws(Failure) -> Result {
    try characters.withUnsafeBufferPointer { (buffer) throws(Failure) in
        try body(vc_str(data: buffer.baseAddress, length: UInt64(count)))
    }
}
