// Server-sent events, as a value: bytes in, in any pieces, events out.
//
// The framing is the HTML standard's (section 9.2, "Server-sent events"), kept to the letter, because every server that
// streams tokens breaks another part of the lenient parsers: lines end with LF, CRLF or CR, and a CRLF may be cut in
// two; an event may have several `data` lines; a line that begins with a colon is a comment that keeps the connection
// open; an event that the end of the stream cuts off is no event. It works on bytes, so a character that is cut in two
// is whole again before it is read.

public struct ServerSentEvents: Sendable {
    public struct Event: Sendable, Equatable {
        /// "message" where the server gave no name.
        public var name: String
        public var data: String

        public init(name: String = "message", data: String) {
            self.name = name
            self.data = data
        }
    }

    /// A line or an event that is longer than this is no language model's: the stream is given up.
    public static let bytesMax = 1 << 20

    /// The bound was passed; nothing more is parsed.
    public private(set) var isOverflown = false

    private var line: [UInt8] = []
    private var name = ""
    private var data: [UInt8] = []
    private var hasData = false
    private var endedWithCarriageReturn = false
    private var isFirstLine = true

    public init() {}

    /// Parses more of the stream and returns the events that are complete now.
    public mutating func feed(_ bytes: some Sequence<UInt8>) -> [Event] {
        var events: [Event] = []
        for byte in bytes where !isOverflown {
            if byte == UInt8(ascii: "\n") && endedWithCarriageReturn {
                endedWithCarriageReturn = false
                continue
            }
            endedWithCarriageReturn = byte == UInt8(ascii: "\r")
            if byte == UInt8(ascii: "\n") || endedWithCarriageReturn {
                if let event = endLine() { events.append(event) }
                line.removeAll(keepingCapacity: true)
            } else {
                line.append(byte)
                isOverflown = line.count + data.count > Self.bytesMax
            }
        }
        return events
    }

    private mutating func endLine() -> Event? {
        if isFirstLine {
            isFirstLine = false
            if line.starts(with: [0xEF, 0xBB, 0xBF]) { line.removeFirst(3) }  // a byte order mark
        }
        if line.isEmpty { return dispatch() }
        let colon = line.firstIndex(of: UInt8(ascii: ":"))
        if colon == 0 { return nil }
        let field = line[..<(colon ?? line.endIndex)]
        var value = colon.map { line[($0 + 1)...] } ?? []
        if value.first == UInt8(ascii: " ") { value.removeFirst() }
        if field.elementsEqual("data".utf8) {
            if hasData { data.append(UInt8(ascii: "\n")) }
            data.append(contentsOf: value)
            hasData = true
        } else if field.elementsEqual("event".utf8) {
            name = String(decoding: value, as: UTF8.self)
        }
        // `id` and `retry` serve a reconnection, which an answer under way has none of.
        return nil
    }

    private mutating func dispatch() -> Event? {
        defer {
            name = ""
            data.removeAll(keepingCapacity: true)
            hasData = false
        }
        guard hasData else { return nil }
        return Event(name: name.isEmpty ? "message" : name, data: String(decoding: data, as: UTF8.self))
    }
}
