// What a script's entry answers, and how it becomes bytes with times.
//
// The body is kept as what it is (events, audio, JSON) until the last moment, because two sorts of faults need it so: a
// stream of events whose line ends are CRLF, or that lacks its "[DONE]", cannot be made out of bytes.

import JSON

/// One of the events of a stream.
public struct VendorEvent: Sendable, Equatable {
    /// Nil: a comment, `comment` its text.
    var data: String?
    var comment = ""
    var name: String?
    var id: String?
    /// After the one before it.
    var afterMs = 0
}

/// The body of an answer, or a message.
public enum VendorBody: Sendable, Equatable {
    case none
    case text(String)
    case json(JSONValue)
    case bytes([UInt8])
    case events([VendorEvent])
    case audio(ScriptAudio)

    /// What the header says where the script says nothing.
    var contentType: String? {
        switch self {
        case .none: nil
        case .text: "text/plain; charset=utf-8"
        case .json: "application/json"
        case .bytes: "application/octet-stream"
        case .events: "text/event-stream"
        case .audio(let audio): audio.contentType
        }
    }

    /// The whole body at once.
    func bytes(_ variables: [String: String]) -> [UInt8] {
        pieces(variables, lineEnd: "\n").flatMap(\.bytes)
    }

    /// The body in the pieces in which the vendor writes it, each after the one before.
    func pieces(_ variables: [String: String], lineEnd: String) -> [(afterMs: Int, bytes: [UInt8])] {
        switch self {
        case .none: return []
        case .text(let text): return [(0, Array(ScriptVariables.fill(text, variables).utf8))]
        case .json(let value): return [(0, Array(value.filled(variables).text.utf8))]
        case .bytes(let bytes): return [(0, bytes)]
        case .audio(let audio): return [(0, audio.bytes(variables))]
        case .events(let events):
            return events.map { event in
                var lines: [String] = []
                if let data = event.data {
                    if let name = event.name { lines.append("event: \(name)") }
                    if let id = event.id { lines.append("id: \(id)") }
                    let text = ScriptVariables.fill(data, variables)
                    for line in text.split(separator: "\n", omittingEmptySubsequences: false) {
                        lines.append("data: \(line)")
                    }
                } else {
                    lines.append(": \(event.comment)")
                }
                return (event.afterMs, Array((lines + [""]).map { $0 + lineEnd }.joined().utf8))
            }
        }
    }

    var variableNames: [String] {
        switch self {
        case .text(let text): ScriptVariables.names(in: text)
        case .json(let value): value.variableNames
        case .events(let events): events.flatMap { ScriptVariables.names(in: $0.data ?? "") }
        case .audio(let audio):
            if case .msPerCharacter(_, let text) = audio.length { ScriptVariables.names(in: text) } else { [] }
        case .none, .bytes: []
        }
    }

    static let keys = ["text", "json", "base64", "sse", "audio"]

    /// Reads the one of `text`, `json`, `base64`, `sse` and `audio` that is there.
    init(_ object: inout ScriptObject) throws(ScriptError) {
        switch try object.choice(Self.keys) {
        case "text": self = .text(try object.text("text") ?? "")
        case "json": self = .json(object.value("json") ?? .null)
        case "base64":
            guard let bytes = Base64.bytes(of: try object.text("base64") ?? "") else {
                throw object.error("base64", "is not Base64 (RFC 4648)")
            }
            self = .bytes(bytes)
        case "sse": self = .events(try Self.events(&object))
        case "audio":
            guard var audio = try object.object("audio") else { throw object.error("audio", "is missing") }
            self = .audio(try ScriptAudio(&audio))
            try audio.finish()
        default: self = .none
        }
    }

    private static func events(_ object: inout ScriptObject) throws(ScriptError) -> [VendorEvent] {
        var events: [VendorEvent] = []
        for (index, value) in try object.array("sse").enumerated() {
            // "[DONE]" is so common that it may stand alone.
            if let text = value.string {
                events.append(VendorEvent(data: text))
                continue
            }
            var event = try ScriptObject(value, file: object.file, path: "\(object.path(of: "sse"))[\(index)]")
            switch try event.choice(["data", "comment"]) {
            case "data":
                let data = event.value("data") ?? .null
                events.append(
                    VendorEvent(
                        data: data.string ?? data.text, name: try event.text("event"), id: try event.text("id"),
                        afterMs: try event.integer("afterMs", in: 0...600_000) ?? 0))
            case "comment":
                events.append(
                    VendorEvent(
                        data: nil, comment: try event.text("comment") ?? "",
                        afterMs: try event.integer("afterMs", in: 0...600_000) ?? 0))
            default: throw event.error("data", "is missing; expected the event's data, text or JSON, or a `comment`")
            }
            try event.finish()
        }
        return events
    }
}

/// The `answer` of an entry.
public struct VendorAnswer: Sendable, Equatable {
    var status = 200
    var headers: [Header] = []
    var body = VendorBody.none
    /// Until the first byte. Not 0, where a script says nothing: an answer in the very moment of the question would
    /// make it impossible to cancel a request that is under way.
    var afterMs = 20
    /// Bytes in one piece; nil: as the body comes.
    var chunkBytes: Int?
    /// Between two pieces.
    var everyMs = 0

    struct Header: Sendable, Equatable {
        var name: String
        var value: String
    }

    init() {}

    init(_ object: inout ScriptObject) throws(ScriptError) {
        status = try object.integer("status", in: 200...599) ?? 200
        headers = try object.texts("headers").map { Header(name: $0.name, value: $0.value) }
        body = try VendorBody(&object)
        afterMs = try object.integer("afterMs", in: 0...600_000) ?? 20
        chunkBytes = try object.integer("chunkBytes", in: 1...(1 << 20))
        everyMs = try object.integer("everyMs", in: 0...60_000) ?? 0
    }

    var variableNames: [String] { body.variableNames + headers.flatMap { ScriptVariables.names(in: $0.value) } }

    /// The answer as bytes with times.
    func exchange(_ variables: [String: String], lineEnd: String = "\n") -> VendorExchange {
        var headers = headers.map { (name: $0.name, value: ScriptVariables.fill($0.value, variables)) }
        if let type = body.contentType, !headers.contains(where: { $0.name.lowercased() == "content-type" }) {
            headers.append(("Content-Type", type))
        }
        var exchange = VendorExchange(status: status, headers: headers, afterMs: afterMs)
        var atMs = afterMs
        for piece in body.pieces(variables, lineEnd: lineEnd) where !piece.bytes.isEmpty {
            atMs += piece.afterMs
            let size = chunkBytes ?? piece.bytes.count
            for start in stride(from: 0, to: piece.bytes.count, by: size) {
                if start > 0 { atMs += everyMs }
                let end = min(start + size, piece.bytes.count)
                exchange.chunks.append(.init(atMs: atMs, bytes: Array(piece.bytes[start..<end])))
            }
        }
        exchange.end = .complete(atMs: atMs)
        return exchange
    }
}

/// Why an exchange broke, in the words of the contract.
public struct VendorFailure: Sendable, Equatable {
    /// VC_E_NETWORK, VC_E_TIMEOUT, VC_E_VENDOR, VC_E_AUTH, VC_E_QUOTA.
    public var code: Int32
    public var message: String
    public var isRetryable = true
    /// The status of a refused upgrade.
    public var protocolStatus = 0
}

/// An answer on the wire: what arrives when, counted from the request.
public struct VendorExchange: Sendable, Equatable {
    public struct Chunk: Sendable, Equatable {
        public var atMs: Int
        public var bytes: [UInt8]
    }

    public enum End: Sendable, Equatable {
        case complete(atMs: Int)
        case failed(atMs: Int, VendorFailure)
        /// Nothing more comes; the plugin's deadline decides.
        case never
    }

    public var status: Int
    public var headers: [(name: String, value: String)]
    /// When the head arrives; nil: never.
    public var afterMs: Int?
    public var chunks: [Chunk] = []
    public var end = End.never

    init(status: Int, headers: [(name: String, value: String)], afterMs: Int?) {
        self.status = status
        self.headers = headers
        self.afterMs = afterMs
    }

    public static func == (one: Self, other: Self) -> Bool {
        one.status == other.status && one.headers.elementsEqual(other.headers) { $0 == $1 }
            && one.afterMs == other.afterMs && one.chunks == other.chunks && one.end == other.end
    }

    public var body: [UInt8] { chunks.flatMap(\.bytes) }

    /// When the last thing happens; nil: it never ends.
    public var endMs: Int? {
        switch end {
        case .complete(let atMs), .failed(let atMs, _): atMs
        case .never: nil
        }
    }
}
