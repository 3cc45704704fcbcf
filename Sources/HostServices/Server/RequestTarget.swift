// What a client asks for (RFC 9112, 3.2), taken apart without being changed.
//
// The path is compared with the routes and handed to the plugin exactly as it came, percent-encoded: signatures of
// vendors are computed over the URL as it was written. So that no path can be written in two ways and pass one check as
// the one and another check as the other, the writings with a second meaning are refused here: dot segments, encoded or
// not, encoded slashes, backslashes and control characters. No vendor needs them, since the path is the one that the
// plugin told it.

struct RequestTarget: Equatable {
    /// Begins with "/", percent-encoded as it came.
    var path: String
    /// Without the question mark.
    var query: String

    /// Why the target cannot be served.
    enum Refusal: String, Error {
        case form = "the target of the request must be a path"
        case character = "the path has a character that must be percent-encoded"
        case encoding = "the path has a percent sign without two hexadecimal digits"
        case ambiguous = "the path has dot segments or encoded slashes: write it in its plain form"
    }

    init(_ text: some StringProtocol) throws(Refusal) {
        var rest = text[...]
        // The absolute form, which every server must understand (RFC 9112, 3.2.2).
        for scheme in ["http://", "https://"] where rest.lowercased().hasPrefix(scheme) {
            rest = rest.dropFirst(scheme.count)
            rest = rest.firstIndex { $0 == "/" || $0 == "?" }.map { rest[$0...] } ?? "/"
            if rest.hasPrefix("?") { throw .form }
            break
        }
        guard rest.hasPrefix("/") else { throw .form }
        // Printable ASCII without the space; a fragment is never sent.
        guard rest.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7f && $0 != 0x23 }) else { throw .character }
        let parts = rest.split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
        path = String(parts[0])
        query = parts.count > 1 ? String(parts[1]) : ""
        try Self.check(path)
    }

    /// The rules for paths, of requests and of routes.
    static func check(_ path: String) throws(Refusal) {
        guard path.hasPrefix("/") else { throw .form }
        guard path.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7f && $0 != 0x23 && $0 != 0x3f }) else { throw .character }
        guard let decoded = decode(path) else { throw .encoding }
        // A control character that was encoded reaches the plugin encoded; one that decodes is the plugin's loss.
        guard !decoded.contains(0x5c), decoded.allSatisfy({ $0 >= 0x20 && $0 != 0x7f }) else { throw .ambiguous }
        guard decoded.count(where: { $0 == 0x2f }) == path.utf8.count(where: { $0 == 0x2f }) else { throw .ambiguous }
        let dots: [[UInt8]] = [[0x2e], [0x2e, 0x2e]]
        guard !decoded.split(separator: 0x2f).contains(where: { dots.contains(Array($0)) }) else { throw .ambiguous }
    }

    /// Nil when a percent sign stands for nothing.
    private static func decode(_ path: String) -> [UInt8]? {
        var decoded: [UInt8] = []
        var rest = Array(path.utf8)[...]
        while let byte = rest.popFirst() {
            guard byte == 0x25 else {
                decoded.append(byte)
                continue
            }
            guard rest.count >= 2, let value = UInt8(String(decoding: rest.prefix(2), as: UTF8.self), radix: 16),
                rest.prefix(2).allSatisfy({ $0 != 0x2b && $0 != 0x2d })
            else { return nil }
            decoded.append(value)
            rest = rest.dropFirst(2)
        }
        return decoded
    }
}
