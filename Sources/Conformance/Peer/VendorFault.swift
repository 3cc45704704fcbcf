// What goes wrong at a vendor: two dozen ways for HTTP, four for WebSockets, some for both.
//
// Authors write how their vendor behaves; how it fails is made here out of the same script, the same way for everybody.
// A fault is a wrapper around one answer and knows nothing of the rule that asked for it. Failures of the transport
// carry the sentences of the host's own client (`Sources/HostServices/HTTP/HTTPFailure.swift`), so that a plugin is
// judged by what it will be told in a call.

import JSON
import PluginABI

/// A way in which a vendor fails.
public enum VendorFault: Sendable, Equatable {
    public enum LineEnd: String, Sendable { case lf, crlf, cr }

    /// Nothing listens at the address.
    case refused
    case dnsFailure
    /// A certificate that is not trusted: nothing that another attempt would mend.
    case tlsFailure
    /// The connection is made, the request taken, and the connection reset.
    case resetBeforeFirstByte
    /// Half of the body, then a reset.
    case resetInTheMiddle
    /// Half of the body, then the vendor closes its side, though its head promised more.
    case halfClose
    /// Half of the body, and then a proper end: only the body itself says that something is missing.
    case cutShort
    /// The request is taken, and nothing comes. On a WebSocket the upgrade is never answered.
    case stall
    /// The answer, as much later.
    case slowFirstByte(ms: Int)
    /// A byte each 100 ms.
    case slowLoris
    /// An error of the vendor's, with its body. On a WebSocket the upgrade is refused with it.
    case status(Int, retryAfterS: Int?)
    /// 200 and a page of HTML.
    case notJSON
    /// 200 and the first half of the JSON, with a proper end.
    case truncatedJSON
    /// The right body under a type that is none of the vendor's.
    case wrongContentType
    /// 200 and bytes that are no UTF-8.
    case invalidUTF8
    case oneByteChunks
    /// The body in two pieces, cut after so many bytes.
    case splitAt(Int)
    case lineEnd(LineEnd)
    /// A stream of events without its last "[DONE]".
    case missingDone
    /// A stream of events with a comment before each of them.
    case comments
    /// A stream of events whose lines have no space behind the colon.
    case noSpaces
    case emptyBody
    /// The right answer, a mebibyte of it.
    case hugeBody
    /// WebSocket: the vendor closes with `code` after so many of its messages.
    case closeCode(Int, afterMessages: Int)
    /// WebSocket: the connection breaks without a close frame after so many of the vendor's messages.
    case abruptEnd(afterMessages: Int)
    /// WebSocket: messages arrive in fragments. The host joins them, so the plugin sees them later and whole.
    case fragmented
    /// WebSocket: the vendor reads no more than this; 0: nothing.
    case slowReader(bytesPerS: Int)
    /// WebSocket: the peer is gone and nobody was told; only pings find out.
    case silentPeer
    /// WebSocket: a message that is larger than the host takes.
    case hugeMessage

    static let hugeBytes = 1 << 20
    /// A slow body of more bytes than this never ends: three minutes are longer than any deadline.
    static let slowBytesMax = 1_800

    /// As the runner and the rules write it: `{"name":"status","status":429,"retryAfterS":2}`.
    public var json: JSONValue {
        func plain(_ name: JSONValue) -> JSONValue { ["name": name] }
        func integer(_ value: Int) -> JSONValue { .integer(Int64(value)) }
        return switch self {
        case .refused: plain("refused")
        case .dnsFailure: plain("dnsFailure")
        case .tlsFailure: plain("tlsFailure")
        case .resetBeforeFirstByte: plain("resetBeforeFirstByte")
        case .resetInTheMiddle: plain("resetInTheMiddle")
        case .halfClose: plain("halfClose")
        case .cutShort: plain("cutShort")
        case .stall: plain("stall")
        case .slowFirstByte(let ms): ["name": "slowFirstByte", "ms": integer(ms)]
        case .slowLoris: plain("slowLoris")
        case .status(let status, let seconds):
            ["name": "status", "status": integer(status), "retryAfterS": seconds.map(integer) ?? .null]
        case .notJSON: plain("notJSON")
        case .truncatedJSON: plain("truncatedJSON")
        case .wrongContentType: plain("wrongContentType")
        case .invalidUTF8: plain("invalidUTF8")
        case .oneByteChunks: plain("oneByteChunks")
        case .splitAt(let offset): ["name": "splitAt", "offset": integer(offset)]
        case .lineEnd(let end): ["name": "lineEnd", "end": .string(end.rawValue)]
        case .missingDone: plain("missingDone")
        case .comments: plain("comments")
        case .noSpaces: plain("noSpaces")
        case .emptyBody: plain("emptyBody")
        case .hugeBody: plain("hugeBody")
        case .closeCode(let code, let count):
            ["name": "closeCode", "code": integer(code), "afterMessages": integer(count)]
        case .abruptEnd(let count): ["name": "abruptEnd", "afterMessages": integer(count)]
        case .fragmented: plain("fragmented")
        case .slowReader(let rate): ["name": "slowReader", "bytesPerS": integer(rate)]
        case .silentPeer: plain("silentPeer")
        case .hugeMessage: plain("hugeMessage")
        }
    }

    /// Nil: there is no such fault.
    public init?(_ json: JSONValue) {
        func integer(_ key: String) -> Int? { json[key]?.integer.flatMap { Int(exactly: $0) } }
        let plain: [VendorFault] = [
            .refused, .dnsFailure, .tlsFailure, .resetBeforeFirstByte, .resetInTheMiddle, .halfClose, .cutShort, .stall,
            .slowLoris, .notJSON, .truncatedJSON, .wrongContentType, .invalidUTF8, .oneByteChunks, .missingDone,
            .comments, .noSpaces, .emptyBody, .hugeBody, .fragmented, .silentPeer, .hugeMessage,
        ]
        switch json["name"]?.string {
        case "slowFirstByte": self = .slowFirstByte(ms: integer("ms") ?? 1000)
        case "status":
            guard let status = integer("status") else { return nil }
            self = .status(status, retryAfterS: integer("retryAfterS"))
        case "splitAt": self = .splitAt(integer("offset") ?? 1)
        case "lineEnd":
            guard let end = json["end"]?.string.flatMap(LineEnd.init) else { return nil }
            self = .lineEnd(end)
        case "closeCode": self = .closeCode(integer("code") ?? 1011, afterMessages: integer("afterMessages") ?? 0)
        case "abruptEnd": self = .abruptEnd(afterMessages: integer("afterMessages") ?? 0)
        case "slowReader": self = .slowReader(bytesPerS: integer("bytesPerS") ?? 0)
        case let name:
            guard let found = plain.first(where: { $0.json["name"]?.string == name }) else { return nil }
            self = found
        }
    }
}

extension VendorFailure {
    /// The scheme, host and port of a URL: all of it that an error may name.
    static func origin(of url: String) -> String {
        guard let scheme = url.firstRange(of: "://") else { return url }
        return String(url[..<scheme.upperBound] + url[scheme.upperBound...].prefix { $0 != "/" && $0 != "?" })
    }

    static func refused(_ url: String) -> VendorFailure {
        VendorFailure(
            code: Int32(VC_E_NETWORK),
            message: "nothing answers at \(origin(of: url)): start the server, or correct the address or the firewall")
    }

    static func unresolved(_ url: String) -> VendorFailure {
        VendorFailure(
            code: Int32(VC_E_NETWORK),
            message: "the host name of \(origin(of: url)) has no address: check the spelling and the DNS server")
    }

    static func untrusted(_ url: String) -> VendorFailure {
        VendorFailure(
            code: Int32(VC_E_NETWORK),
            message: "the certificate of \(origin(of: url)) is not trusted: correct the host name, the certificate, "
                + "or the machine's list of authorities", isRetryable: false)
    }

    static func broken(_ url: String, hasAnswer: Bool) -> VendorFailure {
        VendorFailure(
            code: Int32(VC_E_NETWORK),
            message: hasAnswer
                ? "\(origin(of: url)) broke off in the middle of its answer: try again"
                : "\(origin(of: url)) closed the connection without an answer: try again, or look at its log")
    }

    static func brokenSocket(_ url: String) -> VendorFailure {
        VendorFailure(
            code: Int32(VC_E_NETWORK),
            message: "\(origin(of: url)) broke the connection off without a close frame: connect again")
    }

    /// The upgrade of a WebSocket was answered with a status.
    static func notUpgraded(_ url: String, status: Int) -> VendorFailure {
        let origin = origin(of: url)
        let isTransient = status == 429 || status >= 500
        return switch status {
        case 401, 403:
            VendorFailure(
                code: Int32(VC_E_AUTH),
                message: "\(origin) refused the credential with status \(status): check the secret and its rights",
                isRetryable: false, protocolStatus: status)
        case 429:
            VendorFailure(
                code: Int32(VC_E_QUOTA),
                message: "\(origin) has no room for another connection (status 429): "
                    + "ask the vendor for a higher limit", protocolStatus: status)
        default:
            VendorFailure(
                code: Int32(VC_E_VENDOR),
                message: "\(origin) did not upgrade to WebSocket and answered with status \(status): check the path",
                isRetryable: isTransient, protocolStatus: status)
        }
    }
}
