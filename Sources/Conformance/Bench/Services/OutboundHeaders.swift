// Header fields on their way to the vendor, with the bounds and the checks of the host's own
// (`Sources/HostServices/HTTP/HTTPHeaders.swift`): a plugin that passes here is not refused there.

import PluginABI

struct OutboundHeaders {
    static let countMax = 64
    static let valueBytesMax = 16 << 10

    var fields: [(name: String, value: String)] = []

    /// Copies and checks; what is wrong is a breach.
    static func copy(
        _ pointer: UnsafePointer<vc_field>?, _ count: UInt32, _ what: String, _ services: VendorServices
    ) -> Result<OutboundHeaders, StatusAnswer> {
        func refuse(_ reason: String, _ status: Int = VC_E_ARGUMENT) -> Result<OutboundHeaders, StatusAnswer> {
            services.breach("\(what): \(reason)")
            return .failure(StatusAnswer(status))
        }
        guard count > 0 else { return .success(OutboundHeaders()) }
        guard let pointer else { return refuse("\(count) headers at NULL") }
        guard count <= UInt32(countMax) else { return refuse("\(count) headers; \(countMax) are the most") }
        var headers = OutboundHeaders()
        for index in 0..<Int(count) {
            guard isWhole(pointer[index].name), isWhole(pointer[index].value) else {
                return refuse("header \(index) has a length without text")
            }
            let name = benchString(pointer[index].name)
            guard isToken(name) else { return refuse("the header name \"\(name)\" is no token of RFC 9110") }
            var value = benchString(pointer[index].value)
            do throws(SecretRefusal) {
                value = try services.withSecrets(value)
            } catch {
                switch error {
                case .unlisted(let secret): return refuse("the secret \(secret) is not in the manifest")
                case .unset: return .failure(StatusAnswer(VC_E_NOT_FOUND))
                }
            }
            guard value.utf8.count <= valueBytesMax else {
                return refuse("the header \(name) has \(value.utf8.count) bytes; \(valueBytesMax) are the most")
            }
            guard value.utf8.allSatisfy({ $0 >= 0x20 && $0 != 0x7f || $0 == 0x09 }) else {
                return refuse("the header \(name) has a control character, a line break say")
            }
            // The transport counts and frames the body itself.
            if ["content-length", "transfer-encoding"].contains(name.lowercased()) { continue }
            headers.fields.append((name, value))
        }
        return .success(headers)
    }

    /// RFC 9110, 5.6.2.
    static func isToken(_ text: String) -> Bool {
        !text.isEmpty
            && text.utf8.allSatisfy { byte in
                (0x30...0x39).contains(byte) || (0x41...0x5a).contains(byte) || (0x61...0x7a).contains(byte)
                    || "!#$%&'*+-.^_`|~".utf8.contains(byte)
            }
    }

    /// False for a length without a pointer, and for lengths that no honest caller has.
    static func isWhole(_ text: vc_str) -> Bool { text.length == 0 || (text.data != nil && text.length < 1 << 32) }
}

enum SecretRefusal: Error {
    case unlisted(String)
    case unset(String)
}

extension VendorServices {
    /// Replaces each `${secret:NAME}`; the plugin never sees what comes of it.
    func withSecrets(_ text: String) throws(SecretRefusal) -> String {
        var out = ""
        var rest = text[...]
        while let opening = rest.firstRange(of: "${secret:"),
            let closing = rest[opening.upperBound...].firstIndex(of: "}")
        {
            let name = String(rest[opening.upperBound..<closing])
            guard owners.listedSecrets.contains(name) else { throw .unlisted(name) }
            guard let value = owners.secrets[name] else { throw .unset(name) }
            out += rest[..<opening.lowerBound] + value
            rest = rest[rest.index(after: closing)...]
        }
        return out + rest
    }

    /// Whether a URL is absolute, of one of `schemes`, with a host, and without anything that ends a request line.
    static func isAddress(_ url: String, schemes: [String]) -> Bool {
        guard url.utf8.count <= 8 << 10, url.utf8.allSatisfy({ $0 > 0x20 && $0 != 0x7f }),
            let scheme = schemes.first(where: { url.lowercased().hasPrefix("\($0)://") })
        else { return false }
        let authority = url.dropFirst(scheme.count + 3).prefix { $0 != "/" && $0 != "?" && $0 != "#" }
        let host = authority.split(separator: "@", omittingEmptySubsequences: false).last ?? ""
        guard let colon = host.lastIndex(of: ":"), !host.hasSuffix("]") else { return !host.isEmpty }
        return colon > host.startIndex && UInt16(host[host.index(after: colon)...]).map { $0 > 0 } ?? false
    }
}

/// Lends names and values as an array of `vc_field` for the time of `body`.
func lendFields(
    _ fields: [(name: String, value: String)], _ body: (UnsafePointer<vc_field>?, UInt32) -> Void
) {
    guard !fields.isEmpty else { return body(nil, 0) }
    var text: [UInt8] = []
    for field in fields { text += Array(field.name.utf8) + Array(field.value.utf8) }
    lendBytes(text) { all in
        var table: [vc_field] = []
        var next = all.data
        func take(_ part: String) -> vc_str {
            let length = part.utf8.count
            defer { next = next.map { $0 + length } }
            return vc_str(data: next, length: UInt64(length))
        }
        for field in fields { table.append(vc_field(name: take(field.name), value: take(field.value))) }
        table.withUnsafeBufferPointer { body($0.baseAddress, UInt32($0.count)) }
    }
}

/// Lends bytes for the time of `body`.
func lendBytes(_ bytes: [UInt8], _ body: (vc_str) -> Void) {
    bytes.withUnsafeBytes { body(vc_str(data: $0.bindMemory(to: CChar.self).baseAddress, length: UInt64($0.count))) }
}

extension VendorFailure {
    /// As a plugin is told.
    func lend(_ body: (UnsafePointer<vc_error>) -> Void) {
        lendBytes(Array(message.utf8)) { message in
            var error = vc_error(
                size: UInt32(MemoryLayout<vc_error>.size), code: vc_status(code), retryable: isRetryable ? 1 : 0,
                retry_after_ms: 0, protocol_status: UInt32(clamping: protocolStatus), reserved: 0, message: message,
                vendor: vc_str(), vendor_code: vc_str())
            body(&error)
        }
    }
}

/// A struct of the contract that a plugin hands in: a smaller one has zeroes behind it, of a larger one the end is
/// ignored (`vchost/abi.h`, rule 3).
protocol GrowableStruct { init() }
extension vc_http_request: GrowableStruct {}
extension vc_http_events: GrowableStruct {}
extension vc_ws_connect: GrowableStruct {}
extension vc_ws_events: GrowableStruct {}

/// Nil for NULL, and for a `size` that cannot be right.
func copyGrowable<Value: GrowableStruct>(_ pointer: UnsafePointer<Value>) -> Value? {
    guard !isNullPointer(pointer) else { return nil }
    let size = UnsafeRawPointer(pointer).load(as: UInt32.self)
    guard size >= 8, size < 1 << 20 else { return nil }
    var value = Value()
    withUnsafeMutableBytes(of: &value) { bytes in
        bytes.copyMemory(from: UnsafeRawBufferPointer(start: pointer, count: min(bytes.count, Int(size))))
    }
    return value
}

/// The headers say which pointers are never NULL and Swift believes it; a plugin in C may pass one all the same.
@inline(never)
func isNullPointer(_ pointer: UnsafeRawPointer) -> Bool { UInt(bitPattern: pointer) == 0 }
