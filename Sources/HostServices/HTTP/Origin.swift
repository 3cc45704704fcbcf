// Scheme, host and port of a URL: what connections are pooled by, and the only part of a URL that is ever written into
// an error or a log. Paths name customers, queries carry keys.

import Ccurl

struct Origin: Sendable, Hashable, CustomStringConvertible {
    let scheme: String
    let host: String
    let port: UInt16

    /// Nil for what is no absolute URL, or of a scheme that is not among `schemes`.
    init?(of url: String, schemes: Set<String>) {
        guard url.utf8.count <= 8 << 10, url.utf8.allSatisfy({ $0 > 0x20 && $0 != 0x7f }) else { return nil }
        guard let parser = curl_url() else { return nil }
        defer { curl_url_cleanup(parser) }
        // curl knows http and https; the WebSocket schemes have the same form.
        let flags = UInt32(CURLU_NON_SUPPORT_SCHEME)
        guard curl_url_set(parser, CURLUPART_URL, url, flags) == CURLUE_OK else { return nil }
        func part(_ part: CURLUPart) -> String? {
            var text: UnsafeMutablePointer<CChar>?
            guard curl_url_get(parser, part, &text, 0) == CURLUE_OK, let text else { return nil }
            defer { curl_free(text) }
            return String(cString: text)
        }
        guard let scheme = part(CURLUPART_SCHEME)?.lowercased(), schemes.contains(scheme),
            let host = part(CURLUPART_HOST), !host.isEmpty
        else { return nil }
        let isSecure = scheme == "https" || scheme == "wss"
        guard let port = part(CURLUPART_PORT).map({ UInt16($0) }) ?? (isSecure ? 443 : 80), port > 0 else { return nil }
        self.scheme = scheme
        self.host = host.lowercased()
        self.port = port
    }

    var isSecure: Bool { scheme == "https" || scheme == "wss" }

    /// This machine: no proxy stands between us.
    var isLoopback: Bool {
        if host == "localhost" || host.hasSuffix(".localhost") || host == "[::1]" { return true }
        let parts = host.split(separator: ".", omittingEmptySubsequences: false)
        return parts.count == 4 && parts[0] == "127" && parts.allSatisfy { UInt8($0) != nil }
    }

    /// `https://api.example.com`, with the port where it is not the scheme's own.
    var description: String { "\(scheme)://\(authority)" }

    /// As in the Host header (RFC 9110, 7.2).
    var authority: String { port == (isSecure ? 443 : 80) ? host : "\(host):\(port)" }
}
