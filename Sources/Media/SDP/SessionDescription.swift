// A reader for session descriptions (RFC 8866) that keeps what a telephone call needs and steps over the rest.
//
// Descriptions come from strangers, through gateways that rewrite them. So lines may end in LF alone, the last line may
// not end at all, unknown lines and attributes are ignored, and the whole is bounded. What cannot be guessed is refused
// with the line and the reason: no `v=0`, a malformed `m=`, no address.

/// Why a description cannot be used.
public enum SDPError: Error, Equatable, Sendable, CustomStringConvertible {
    /// It is not SDP: answer 400. The text names the line and what is wrong with it.
    case malformed(String)
    /// It is SDP, but no codec, profile or media type is common: answer 488.
    case noCommonCodec(String)
    /// It does not fit what was offered, or there was no offer: our own state is unchanged.
    case unexpected(String)

    public var description: String {
        switch self {
        case .malformed(let reason): "malformed SDP: \(reason)"
        case .noCommonCodec(let reason): "no common codec: \(reason)"
        case .unexpected(let reason): "unexpected SDP: \(reason)"
        }
    }

    /// The SIP status with which an offer of this fault is refused.
    public var sipStatus: Int {
        switch self {
        case .malformed: 400
        case .noCommonCodec: 488
        case .unexpected: 400
        }
    }
}

/// A session description, parsed.
struct SessionDescription: Equatable {
    /// Larger than any description seen (Linphone with ICE and video: 4 kB) and small enough to parse at once.
    static let byteLimit = 65_536
    static let mediaLimit = 16

    struct Attribute: Equatable {
        var name: String
        var value: String
    }

    struct Media: Equatable {
        var kind: String
        var port: UInt16
        var profile: String
        var formats: [String]
        var connectionHost: String?
        var attributes: [Attribute] = []

        func values(of name: String) -> [String] { attributes.filter { $0.name == name }.map(\.value) }
        func has(_ name: String) -> Bool { attributes.contains { $0.name == name } }
        var direction: MediaDirection? { attributes.lazy.compactMap { MediaDirection(attribute: $0.name) }.last }
    }

    var originLine = ""
    var connectionHost: String?
    var direction: MediaDirection?
    var media: [Media] = []

    init(parsing text: String) throws(SDPError) {
        guard text.utf8.count <= Self.byteLimit else {
            throw .malformed("\(text.utf8.count) bytes are more than the limit of \(Self.byteLimit)")
        }
        var lineNumber = 0
        for line in text.split(omittingEmptySubsequences: false, whereSeparator: { $0 == "\n" || $0 == "\r\n" }) {
            lineNumber += 1
            let line = String(line.last == "\r" ? line.dropLast() : line)
            if line.isEmpty { continue }
            guard line.utf8.dropFirst().first == UInt8(ascii: "=") else {
                throw .malformed("line \(lineNumber) is not of the form x=value")
            }
            if lineNumber == 1, line != "v=0" { throw .malformed("line 1 must be v=0") }
            try read(line.utf8.first!, String(line.dropFirst(2)), lineNumber)
        }
        guard lineNumber > 0, !text.isEmpty else { throw .malformed("it is empty") }
        guard !originLine.isEmpty else { throw .malformed("there is no o= line") }
    }

    private mutating func read(_ type: UInt8, _ value: String, _ lineNumber: Int) throws(SDPError) {
        switch type {
        case UInt8(ascii: "o"):
            originLine = value
        case UInt8(ascii: "c"):
            let host = try Self.connectionHost(value, lineNumber)
            if media.isEmpty { connectionHost = host } else { media[media.count - 1].connectionHost = host }
        case UInt8(ascii: "m"):
            guard media.count < Self.mediaLimit else {
                throw .malformed("line \(lineNumber): more than \(Self.mediaLimit) m= lines")
            }
            media.append(try Self.mediaLine(value, lineNumber))
        case UInt8(ascii: "a"):
            let parts = value.split(separator: ":", maxSplits: 1)
            guard let name = parts.first else { return }
            // A stray space before the end of the line is common enough in direction lines.
            let attribute = Attribute(
                name: name.trimmed.lowercased(), value: parts.count > 1 ? String(parts[1].trimmed) : "")
            if media.isEmpty {
                direction = MediaDirection(attribute: attribute.name) ?? direction
            } else {
                media[media.count - 1].attributes.append(attribute)
            }
        default:
            return
        }
    }

    /// `IN IP4 host[/ttl]`; the host may also be a name.
    private static func connectionHost(_ value: String, _ lineNumber: Int) throws(SDPError) -> String {
        let words = value.split(separator: " ")
        guard words.count == 3, words[0] == "IN", words[1] == "IP4" || words[1] == "IP6" else {
            throw .malformed("line \(lineNumber): c= must be IN IP4 or IN IP6 and an address")
        }
        return String(words[2].split(separator: "/").first ?? "")
    }

    /// `audio 49170[/2] RTP/AVP 0 8 101`
    private static func mediaLine(_ value: String, _ lineNumber: Int) throws(SDPError) -> Media {
        let words = value.split(separator: " ")
        guard words.count >= 4, let port = UInt16(words[1].split(separator: "/").first ?? "") else {
            throw .malformed("line \(lineNumber): m= must be a kind, a port, a profile and formats")
        }
        return Media(
            kind: words[0].lowercased(), port: port, profile: String(words[2]), formats: words[3...].map(String.init))
    }
}

extension Substring {
    fileprivate var trimmed: Substring {
        var text = self
        while text.first == " " || text.first == "\t" { text.removeFirst() }
        while text.last == " " || text.last == "\t" { text.removeLast() }
        return text
    }
}
