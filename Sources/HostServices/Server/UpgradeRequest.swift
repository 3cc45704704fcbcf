// The server's half of the opening handshake (RFC 6455, 4.2): whether a request is one, and what proves to the client
// that it was understood. The plugin decides in between.

import Clws
import Glibc

struct UpgradeRequest: Equatable, Sendable {
    /// The proof, for Sec-WebSocket-Accept.
    let accept: String
    /// Subprotocols that the client offers, in its order.
    let protocols: [String]

    /// Nil when the request does not ask for a WebSocket; throws when it asks for one in a way that cannot be served.
    static func find(
        method: String, version: String, headers: [(name: String, value: String)]
    ) throws(HostAnswer) -> UpgradeRequest? {
        func tokens(_ name: String) -> [String] {
            headers.filter { $0.name.lowercased() == name }.flatMap { $0.value.split(separator: ",") }.map {
                String($0.drop { $0 == " " || $0 == "\t" }.reversed().drop { $0 == " " || $0 == "\t" }.reversed())
            }.filter { !$0.isEmpty }
        }
        guard tokens("upgrade").contains(where: { $0.lowercased() == "websocket" }) else { return nil }
        guard method == "GET", version == "HTTP/1.1",
            tokens("connection").contains(where: { $0.lowercased() == "upgrade" })
        else { throw .malformed }
        guard tokens("sec-websocket-version").contains("13") else { throw .version }
        let keys = tokens("sec-websocket-key")
        guard keys.count == 1, isKey(keys[0]) else { throw .malformed }
        return UpgradeRequest(accept: accept(for: keys[0]), protocols: tokens("sec-websocket-protocol"))
    }

    /// Sixteen bytes in base64: 22 characters and two signs of equality.
    private static func isKey(_ key: String) -> Bool {
        key.utf8.count == 24 && key.hasSuffix("==")
            && key.utf8.dropLast(2).allSatisfy {
                (0x30...0x39).contains($0) || (0x41...0x5a).contains($0) || (0x61...0x7a).contains($0) || $0 == 0x2b
                    || $0 == 0x2f
            }
    }

    /// RFC 6455, 4.2.2.
    static func accept(for key: String) -> String {
        let text = Array((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").utf8)
        var digest = [UInt8](repeating: 0, count: 20)
        lws_SHA1(text, text.count, &digest)
        var encoded = [CChar](repeating: 0, count: 32)
        let length = digest.withUnsafeBytes {
            lws_b64_encode_string($0.bindMemory(to: CChar.self).baseAddress, Int32($0.count), &encoded, 32)
        }
        return String(decoding: encoded.prefix(Int(max(0, length))).map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}
