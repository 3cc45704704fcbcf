// Deepgram's messages, of both interfaces, in one type.
//
// Read leniently: a new kind of message or event is no failure, for vendors add them without notice. Only what is no
// JSON object at all is nonsense. Times are seconds of the connection, and positions are made of them elsewhere.

import JSON

public enum ListenMessage: Sendable, Equatable {
    public struct Word: Sendable, Equatable {
        public var text: String
        /// nil: the vendor did not say.
        public var start: Double?
        public var end: Double?
        public var confidence: Double?
    }

    /// `TurnInfo` of Flux.
    public struct Turn: Sendable, Equatable {
        public enum Event: String, Sendable {
            case update = "Update", start = "StartOfTurn", eager = "EagerEndOfTurn", resumed = "TurnResumed"
            case end = "EndOfTurn"
        }
        /// An event of tomorrow is an update: it has the same text.
        public var event: Event
        public var index: Int64
        public var start: Double
        public var end: Double
        public var text: String
        public var words: [Word]
        public var endConfidence: Double?
        public var language: String
    }

    /// `Results` of Nova.
    public struct Results: Sendable, Equatable {
        public var start: Double
        public var duration: Double
        public var text: String
        public var words: [Word]
        public var confidence: Double?
        public var language: String
        /// The segment's text is frozen.
        public var isFinal: Bool
        /// A pause was found.
        public var endsSpeech: Bool
        /// It answers a Finalize.
        public var fromFinalize: Bool
    }

    case connected(requestID: String)
    case turn(Turn)
    case results(Results)
    case utteranceEnd
    case error(code: String, message: String)
    case warning(code: String, message: String)
    /// Metadata, SpeechStarted, ConfigureSuccess, and what is not known yet.
    case other(String)

    /// nil: this is no message.
    public init?(_ text: String) {
        guard let json = try? JSONValue(parsing: text), let type = json["type"]?.string else { return nil }
        switch type {
        case "Connected": self = .connected(requestID: json["request_id"]?.string ?? "")
        case "TurnInfo": self = .turn(Turn(json))
        case "Results":
            guard let results = Results(json) else { return nil }
            self = .results(results)
        case "UtteranceEnd": self = .utteranceEnd
        case "Error", "FatalError":
            self = .error(
                code: json["code"]?.string ?? json["variant"]?.string ?? "",
                message: json["description"]?.string ?? json["message"]?.string ?? "")
        case "Warning", "ConfigureFailure":
            self = .warning(
                code: json["code"]?.string ?? json["error_code"]?.string ?? type,
                message: json["description"]?.string ?? "")
        default: self = .other(type)
        }
    }
}

extension ListenMessage.Word {
    init?(_ json: JSONValue) {
        guard let word = json["punctuated_word"]?.string ?? json["word"]?.string, !word.isEmpty else { return nil }
        text = word
        start = json["start"]?.number
        end = json["end"]?.number
        confidence = json["confidence"]?.number
    }

    static func list(_ json: JSONValue?) -> [Self] { (json?.array ?? []).prefix(2000).compactMap(Self.init) }
}

extension ListenMessage.Turn {
    init(_ json: JSONValue) {
        event = Event(rawValue: json["event"]?.string ?? "") ?? .update
        index = json["turn_index"]?.integer ?? 0
        start = json["audio_window_start"]?.number ?? 0
        end = json["audio_window_end"]?.number ?? 0
        text = json["transcript"]?.string ?? ""
        words = ListenMessage.Word.list(json["words"])
        endConfidence = json["end_of_turn_confidence"]?.number
        language = json["languages"]?.array?.first?.string ?? ""
    }
}

extension ListenMessage.Results {
    init?(_ json: JSONValue) {
        guard let best = json["channel"]?["alternatives"]?.array?.first else { return nil }
        start = json["start"]?.number ?? 0
        duration = json["duration"]?.number ?? 0
        text = best["transcript"]?.string ?? ""
        words = ListenMessage.Word.list(best["words"])
        confidence = best["confidence"]?.number
        language = best["languages"]?.array?.first?.string ?? ""
        isFinal = json["is_final"]?.bool ?? false
        endsSpeech = json["speech_final"]?.bool ?? false
        fromFinalize = json["from_finalize"]?.bool ?? false
    }
}
