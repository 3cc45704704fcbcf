// What comes to the event port. Three generations of connectors gave three formats to one port, so the first byte tells
// them apart: `{` is JSON, and JSON with `method` is a notification of OpenSIPS, with `result` or `error` the answer to
// a command of ours, which leaves from the same port. Everything else is text.
//
// OpenSIPS escapes control bytes and passes what is above 0x7f as it came, so an event may be no UTF-8 (a caller's name
// in Latin-1 will do). It is repaired, never refused: the name loses a letter, and the call is answered.

import JSON

/// One datagram that came to the event port.
public enum Datagram: Sendable, Equatable {
    /// OpenSIPS' event E_UA_SESSION.
    case session(SessionEvent)
    /// The answer to a command.
    case reply(ManagementReply)
    /// An event of another name, or of another generation; it means nothing to a call here.
    case foreign(name: String)
    /// Neither of these.
    case nonsense(String)

    /// A name is a token; what is longer is a payload that lost its colon.
    private static let nameBytesMax = 64

    public init(parsing bytes: some Collection<UInt8>) {
        guard bytes.first == UInt8(ascii: "{") else {
            self = Self.text(String(decoding: bytes, as: UTF8.self))
            return
        }
        let document: JSONValue
        do {
            // A first value, and nothing behind it: OpenSIPS writes one event into a datagram.
            document = try JSONValue(parsing: String(decoding: bytes, as: UTF8.self))
        } catch {
            self = .nonsense("no JSON: \(error)")
            return
        }
        if let method = document["method"]?.string {
            guard method == SessionEvent.name else {
                self = .foreign(name: Self.printable(method))
                return
            }
            guard let params = document["params"], let event = SessionEvent(params) else {
                self = .nonsense("an \(SessionEvent.name) without key, event_type and method")
                return
            }
            self = .session(event)
        } else if let reply = ManagementReply(document) {
            self = .reply(reply)
        } else {
            // `{"event":"call_start", ...}` and `{"event_type":"E_CALL_SETUP", ...}` of the connectors before.
            let name = document["event"]?.string ?? document["event_type"]?.string ?? document["Event"]?.string
            self = name.map { .foreign(name: Self.printable($0)) } ?? .nonsense("JSON that is no event")
        }
    }

    /// `NAME:payload`, lines of `key=value`, or a failure of the management interface, "400 Parse_error".
    private static func text(_ text: String) -> Datagram {
        let line = text.prefix { $0 != "\n" && $0 != "\r\n" && $0 != "\r" }
        if line.utf8.count > 4, line.utf8[line.utf8.index(line.startIndex, offsetBy: 3)] == UInt8(ascii: " "),
            let code = Int(line.prefix(3)), (400...699).contains(code)
        {
            return .reply(ManagementReply(id: nil, outcome: .error(code: code, String(line.dropFirst(4)))))
        }
        // `Event=E_CALL_SETUP`, and literal `\n` between the lines in one generation.
        for part in text.replacing("\\n", with: "\n").split(whereSeparator: \.isNewline) {
            let pair = part.split(separator: "=", maxSplits: 1)
            if pair.count == 2, ["Event", "event", "event_type"].contains(String(pair[0])) {
                return .foreign(name: printable(String(pair[1])))
            }
        }
        let name = line.prefix { $0 != ":" }
        guard !name.isEmpty, name.utf8.count < line.utf8.count, name.utf8.count <= nameBytesMax,
            name.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7f })
        else { return .nonsense("neither JSON nor NAME:payload") }
        return .foreign(name: String(name))
    }

    private static func printable(_ text: String) -> String { String(text.withoutControls.prefix(nameBytesMax)) }
}

extension String {
    /// Without what a log, a header or a screen would act on.
    var withoutControls: String {
        var scalars = String.UnicodeScalarView()
        for scalar in unicodeScalars where scalar.value >= 0x20 && scalar.value != 0x7f { scalars.append(scalar) }
        return String(scalars)
    }
}
