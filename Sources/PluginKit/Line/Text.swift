// Text over the line: bytes with a length on one side, `String` on the other.
//
// What comes in is repaired where it is no UTF-8 and never refused: a vendor's nonsense in a header must not cost a
// call.

import PluginABI
import Synchronization

extension String {
    /// A copy of what the other side lent.
    init(_ text: vc_str) {
        self.init(decoding: UnsafeRawBufferPointer(start: text.data, count: Int(text.length)), as: UTF8.self)
    }
}

extension [UInt8] {
    init(_ bytes: vc_str) {
        self.init(UnsafeRawBufferPointer(start: bytes.data, count: Int(bytes.length)))
    }
}

extension vc_str {
    /// A text that lives as long as the process: for the constant tables.
    static func permanent(_ text: String) -> vc_str {
        let bytes = UnsafeMutableBufferPointer<CChar>.allocate(capacity: text.utf8.count)
        _ = bytes.initialize(from: text.utf8.lazy.map { CChar(bitPattern: $0) })
        return vc_str(data: UnsafePointer(bytes.baseAddress), length: UInt64(bytes.count))
    }
}

/// Lends `text` while `body` runs.
func withString<Result>(_ text: String, _ body: (vc_str) -> Result) -> Result {
    var text = text
    return text.withUTF8 { bytes in
        bytes.withMemoryRebound(to: CChar.self) {
            body(vc_str(data: $0.baseAddress, length: UInt64($0.count)))
        }
    }
}

/// Lends several texts at once, from one stretch of memory.
func withStrings<Result>(_ texts: [String], _ body: ([vc_str]) -> Result) -> Result {
    var bytes: [CChar] = []
    bytes.reserveCapacity(texts.reduce(0) { $0 + $1.utf8.count })
    for text in texts { bytes.append(contentsOf: text.utf8.lazy.map { CChar(bitPattern: $0) }) }
    return bytes.withUnsafeBufferPointer { memory in
        var offset = 0
        return body(
            texts.map { text in
                defer { offset += text.utf8.count }
                return vc_str(data: memory.baseAddress.map { $0 + offset }, length: UInt64(text.utf8.count))
            })
    }
}

/// Lends names and values as the fields of a log line or the headers of a request.
func withFields<Result>(
    _ fields: [(name: String, value: String)], _ body: (UnsafePointer<vc_field>?, UInt32) -> Result
) -> Result {
    if fields.isEmpty { return body(nil, 0) }
    return withStrings(fields.flatMap { [$0.name, $0.value] }) { texts in
        let cFields = fields.indices.map { vc_field(name: texts[2 * $0], value: texts[2 * $0 + 1]) }
        return cFields.withUnsafeBufferPointer { body($0.baseAddress, UInt32($0.count)) }
    }
}

/// The texts of the latest errors that `create`, `start` and `open` answered.
enum LentTexts {
    /// More than the host has threads that could be copying one at the same moment.
    private static let kept = 64
    private static let ring = Mutex<[Confined<[UnsafeMutableBufferPointer<CChar>]>]>([])

    static func keep(_ texts: [String]) -> [vc_str] {
        let copies = texts.map { text in
            let bytes = UnsafeMutableBufferPointer<CChar>.allocate(capacity: text.utf8.count)
            _ = bytes.initialize(from: text.utf8.lazy.map { CChar(bitPattern: $0) })
            return bytes
        }
        let entry = Confined(copies)
        ring.withLock { ring in
            ring.append(entry)
            if ring.count > kept { for old in ring.removeFirst().value { old.deallocate() } }
        }
        return copies.map { vc_str(data: UnsafePointer($0.baseAddress), length: UInt64($0.count)) }
    }
}

/// A value that is handed from one thread to another under a lock, or is used by one at a time by the contract's rules.
struct Confined<Value>: @unchecked Sendable {
    let value: Value
    init(_ value: Value) { self.value = value }
}
