// The words of the contract, as Swift values and back. What a plugin lends is copied here once, at the border.

import Glibc
import PluginABI

extension vc_str {
    /// A copy as text; what is not UTF-8 is repaired. At most `limit` bytes of it.
    func text(limit: Int = .max) -> String {
        guard let data, length > 0 else { return "" }
        let bytes = UnsafeRawBufferPointer(start: data, count: Int(min(length, UInt64(limit))))
        return String(decoding: bytes, as: UTF8.self)
    }

    /// A copy of the bytes.
    var bytes: [UInt8] {
        guard let data, length > 0 else { return [] }
        return [UInt8](UnsafeRawBufferPointer(start: data, count: Int(length)))
    }

    /// False for a length without a pointer, and for lengths that no honest caller has.
    var isValid: Bool { length == 0 || (data != nil && length < 1 << 32) }
}

/// Lends `text` as a `vc_str` for the time of `body`.
func lend<Result>(_ text: String, _ body: (vc_str) -> Result) -> Result {
    var text = text
    return text.withUTF8 { utf8 in
        utf8.withMemoryRebound(to: CChar.self) { body(vc_str(data: $0.baseAddress, length: UInt64($0.count))) }
    }
}

/// Lends `bytes` as a `vc_str` for the time of `body`.
func lend<Result>(_ bytes: [UInt8], _ body: (vc_str) -> Result) -> Result {
    bytes.withUnsafeBytes { body(vc_str(data: $0.bindMemory(to: CChar.self).baseAddress, length: UInt64($0.count))) }
}

/// Lends names and values as an array of `vc_field`: one block of memory holds all the text.
func lend<Result>(
    _ fields: [(name: String, value: String)], _ body: (UnsafePointer<vc_field>?, UInt32) -> Result
) -> Result {
    guard !fields.isEmpty else { return body(nil, 0) }
    var text = ""
    for field in fields { text += field.name + field.value }
    return lend(text) { all in
        var table: [vc_field] = []
        table.reserveCapacity(fields.count)
        var next = all.data
        func take(_ part: String) -> vc_str {
            let length = part.utf8.count
            defer { next = next.map { $0 + length } }
            return vc_str(data: next, length: UInt64(length))
        }
        for field in fields { table.append(vc_field(name: take(field.name), value: take(field.value))) }
        return table.withUnsafeBufferPointer { body($0.baseAddress, UInt32($0.count)) }
    }
}

/// A failure, ready to be told to a plugin as a `vc_error`.
struct ServiceFailure: Error, Equatable, CustomStringConvertible {
    var code: vc_status
    /// What happened, to what, and what to do about it. One sentence without secrets.
    var message: String
    var isRetryable = false
    var retryAfterMs: UInt32 = 0
    var protocolStatus: UInt32 = 0

    var description: String { message }

    func withError<Result>(_ body: (UnsafePointer<vc_error>) -> Result) -> Result {
        lend(message) { message in
            var error = vc_error(
                size: UInt32(MemoryLayout<vc_error>.size), code: code, retryable: isRetryable ? 1 : 0,
                retry_after_ms: retryAfterMs, protocol_status: protocolStatus, reserved: 0, message: message,
                vendor: vc_str(), vendor_code: vc_str())
            return body(&error)
        }
    }
}

/// The status codes as Swift sees them: a C enum's cases are not of the type `vc_status`.
extension vc_status {
    static let ok = vc_status(VC_OK)
    static let again = vc_status(VC_E_AGAIN)
    static let stale = vc_status(VC_E_STALE)
    static let closed = vc_status(VC_E_CLOSED)
    static let badArgument = vc_status(VC_E_ARGUMENT)
    static let notFound = vc_status(VC_E_NOT_FOUND)
    static let auth = vc_status(VC_E_AUTH)
    static let config = vc_status(VC_E_CONFIG)
    static let quota = vc_status(VC_E_QUOTA)
    static let network = vc_status(VC_E_NETWORK)
    static let timeout = vc_status(VC_E_TIMEOUT)
    static let vendor = vc_status(VC_E_VENDOR)
    static let memory = vc_status(VC_E_MEMORY)
    static let unsupported = vc_status(VC_E_UNSUPPORTED)
}
