// The headers of a SIP message, as raw text with folded lines and short names, as they came from the caller.
//
// A parser of our own and not sofia's: OpenSIPS has parsed the message, and what is left to read is four headers. A
// SIP library in this plugin would be thirty times its size, for one function.

/// The headers of one message (RFC 3261, 7.3).
public struct MessageHeaders: Sendable, Equatable {
    public struct Header: Sendable, Equatable {
        public var name: String
        /// Unfolded, without control characters.
        public var value: String
    }

    /// Far more than any message has; the rest of a hostile one is not looked at.
    private static let linesMax = 256

    public private(set) var all: [Header] = []

    public init(parsing text: String) {
        for line in text.split(maxSplits: Self.linesMax, whereSeparator: \.isNewline).prefix(Self.linesMax) {
            if line.first == " " || line.first == "\t" {
                // A folded line (7.3.1).
                guard !all.isEmpty else { continue }
                all[all.count - 1].value += " " + Self.trimmed(line)
            } else if let colon = line.firstIndex(of: ":") {
                let name = Self.trimmed(line[..<colon])
                guard !name.isEmpty else { continue }
                all.append(Header(name: name, value: Self.trimmed(line[line.index(after: colon)...])))
            }
        }
    }

    /// The first header of this name, whatever its case, also by its short name (7.3.3).
    public subscript(name: String) -> String? {
        let name = name.lowercased()
        return all.first { Self.long($0.name.lowercased()) == name }?.value
    }

    /// What tells a host something that it does not have yet: everything but how the message was routed and framed.
    var informative: [Header] {
        all.lazy.filter { !Self.framing.contains(Self.long($0.name.lowercased())) && $0.value.utf8.count <= 1024 }
            .prefix(30).map { $0 }
    }

    private static func long(_ name: String) -> String {
        switch name {
        case "i": "call-id"
        case "m": "contact"
        case "f": "from"
        case "t": "to"
        case "v": "via"
        case "c": "content-type"
        case "l": "content-length"
        case "s": "subject"
        case "k": "supported"
        default: name
        }
    }

    private static let framing: Set<String> = [
        "via", "from", "to", "call-id", "cseq", "contact", "max-forwards", "content-type", "content-length", "route",
        "record-route", "allow", "supported", "authorization", "proxy-authorization",
    ]

    private static func trimmed(_ text: Substring) -> String {
        var text = text.drop { $0 == " " || $0 == "\t" }
        while text.last == " " || text.last == "\t" { text.removeLast() }
        return String(text).withoutControls
    }
}

/// The value of From, To or Contact (RFC 3261, 20.10): `"Name" <sip:user@host>;tag=x`.
public struct MessageAddress: Sendable, Equatable {
    public var display: String
    /// Without parameters and headers, which only mean something to a proxy.
    public var uri: String

    public init(parsing value: String) {
        let value = value.prefix(2048)
        if let open = value.firstIndex(of: "<") {
            let name = value[..<open].filter { $0 != "\"" && $0 != "\\" }
            display = String(name.drop { $0 == " " })
            while display.last == " " { display.removeLast() }
            uri = String(value[value.index(after: open)...].prefix { $0 != ">" && $0 != ";" && $0 != "?" })
        } else {
            display = ""
            uri = String(value.prefix { $0 != ";" && $0 != "?" && $0 != " " })
        }
    }

    /// "sip:alice@example.com:5060" has "example.com:5060".
    public var host: String {
        let rest = uri.drop { $0 != ":" }.dropFirst()
        return String(rest.lastIndex(of: "@").map { rest[rest.index(after: $0)...] } ?? rest)
    }
}
