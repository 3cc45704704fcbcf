// The messages of vosk-server's WebSocket: what is said to it, and what it answers.
//
// The server compares the end of a stream byte by byte: `{"eof" : 1}` with a space on both sides of the colon. Anything
// else would be taken for audio. So the two orders are texts here, and are never made by a JSON writer.

import JSON

/// What is said to the server.
public struct VoskSettings: Sendable, Equatable {
    public var words = true
    public var alternatives = 0
    public var phrases: [String] = []
    public var model = ""

    public init() {}

    /// The stream is over. Nothing may follow on this connection.
    public static let end = #"{"eof" : 1}"#
    /// The utterance is over, and the stream goes on. Only the server in Python knows it.
    public static let reset = #"{"reset" : 1}"#

    /// The first message of a connection.
    public func configuration(rateHz: Int) -> String {
        var fields: [String: JSONValue] = [
            "sample_rate": .integer(Int64(rateHz)), "words": .integer(words ? 1 : 0),
            "max_alternatives": .integer(Int64(alternatives)),
        ]
        if !phrases.isEmpty { fields["phrase_list"] = .array(phrases.map { .string($0) }) }
        if !model.isEmpty { fields["model"] = .string(model) }
        return JSONValue.object(["config": .object(fields)]).text
    }
}

/// What the server answers: once to each message of audio, to a reset and to the end.
public enum VoskReply: Sendable, Equatable {
    public struct Word: Sendable, Equatable {
        public var text: String
        /// Seconds since the connection began.
        public var start: Double
        public var end: Double
        /// nil in a list of alternatives, whose scores are no shares.
        public var confidence: Double?

        public init(text: String, start: Double, end: Double, confidence: Double?) {
            self.text = text
            self.start = start
            self.end = end
            self.confidence = confidence
        }
    }

    /// The words of the utterance so far.
    case partial(String)
    /// An utterance is over; its text may be empty.
    case result(String, [Word])
    /// JSON, but no answer to audio: servers differ in what they say to the configuration.
    case other

    /// nil: no JSON object.
    public init?(_ text: String) {
        guard let json = try? JSONValue(parsing: text), json.object != nil else { return nil }
        if let partial = json["partial"]?.string {
            self = .partial(Self.trimmed(partial))
        } else if let best = json["alternatives"]?.array?.first, let text = best["text"]?.string {
            self = .result(Self.trimmed(text), Self.words(best))
        } else if let text = json["text"]?.string {
            self = .result(Self.trimmed(text), Self.words(json))
        } else {
            self = .other
        }
    }

    private static func words(_ json: JSONValue) -> [Word] {
        (json["result"]?.array ?? []).prefix(2000).compactMap { word in
            guard let text = word["word"]?.string, !text.isEmpty, let start = word["start"]?.number,
                let end = word["end"]?.number
            else { return nil }
            return Word(text: text, start: start, end: end, confidence: word["conf"]?.number)
        }
    }

    private static func trimmed(_ text: String) -> String {
        String(text.drop(while: \.isWhitespace).reversed().drop(while: \.isWhitespace).reversed())
    }
}
