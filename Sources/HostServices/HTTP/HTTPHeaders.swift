// Header fields on their way out, for HTTP and for the WebSocket's upgrade. A plugin builds values out of settings and
// of what callers said, so a line break in one must not become another header (RFC 9110, 5.5).

import PluginABI
import Providers

enum HTTPHeaders {
    /// No vendor needs more; the answer's bounds are those of the peer's nonsense, see `HTTPLimits`.
    static let outboundMax = 64
    static let valueBytesMax = 16 << 10

    /// What the transport writes itself. A second opinion of a plugin is how requests are smuggled.
    private static let ofTransport: Set<String> = ["content-length", "transfer-encoding"]
    /// What the listener writes itself, in its answers.
    static let ofListener: Set<String> = ofTransport.union([
        "connection", "keep-alive", "upgrade", "trailer", "te", "date", "sec-websocket-accept",
    ])

    /// Copies and checks the fields. What is refused is logged as the plugin's fault.
    ///
    /// `fillsSecrets` puts secrets in: on the way to a vendor, never in an answer to whoever calls us.
    static func copy(
        _ fields: UnsafePointer<vc_field>?, _ count: UInt32, owner: PluginObject, services: HostServices,
        fillsSecrets: Bool = true, leftOut: Set<String> = ofTransport
    ) -> Result<[(name: String, value: String)], StatusFailure> {
        guard count > 0 else { return .success([]) }
        guard let fields, count <= UInt32(outboundMax) else {
            return .failure(refuse("a request may have at most \(outboundMax) headers", owner, services))
        }
        var headers: [(name: String, value: String)] = []
        for index in 0..<Int(count) {
            guard fields[index].name.isValid, fields[index].value.isValid else {
                return .failure(refuse("a header has a length without text", owner, services))
            }
            let name = fields[index].name.text(limit: 256)
            guard isToken(name) else {
                return .failure(refuse("a header's name must be a token of RFC 9110", owner, services))
            }
            var value = fields[index].value.text(limit: valueBytesMax + 1)
            if fillsSecrets {
                do throws(SecretFailure) {
                    value = try services.secrets.substitute(value, section: owner.name, listed: owner.secrets)
                } catch {
                    return .failure(StatusFailure(status: services.refuse(error, for: owner)))
                }
            }
            guard value.utf8.count <= valueBytesMax, value.utf8.allSatisfy({ $0 >= 0x20 && $0 != 0x7f || $0 == 0x09 })
            else {
                return .failure(
                    refuse("the header \(name) has a control character or is larger than 16 KiB", owner, services))
            }
            if leftOut.contains(name.lowercased()) { continue }
            headers.append((name, value))
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

    static func refuse(_ reason: String, _ owner: PluginObject, _ services: HostServices) -> StatusFailure {
        services.logger.pluginFault(reason, of: LogSubject(owner))
        return StatusFailure(status: .badArgument)
    }
}

/// A refusal that the plugin learns as a status alone; the log has said why.
struct StatusFailure: Error {
    let status: vc_status
}
