// What the WebSocket service of Piper says and is told.
//
// Its source was never public and three generations of its clients expect three things of it, so everything that any of
// them took is understood here: where an answer begins and ends is written in `type` or in `status`, and an error in
// `message` or in `error`. What is sent is what the chosen generation sent, and nothing else.

import JSON
import PluginKit

/// Which client the service knows.
public enum PiperGeneration: Int, Sendable {
    /// `text` and `voice`, a connection for each clause.
    case first = 2
    /// The same, on a connection that is kept.
    case second = 3
    /// Also the rate and the format that are wished for, on a connection that is kept.
    case third = 5

    var keepsConnection: Bool { self != .first }
}

/// What a session asks the service for.
public struct PiperSocketRequest: Sendable, Equatable {
    public let generation: PiperGeneration
    /// The rate of the samples, unless the service says another.
    public let rateHz: Int
    private let fixed: [String: JSONValue]

    public init(_ generation: PiperGeneration, voice: String, wishedRateHz: Int, rateHz: Int) {
        self.generation = generation
        self.rateHz = rateHz
        var fixed: [String: JSONValue] = [:]
        if !voice.isEmpty { fixed["voice"] = .string(voice) }
        if generation == .third {
            fixed["sample_rate"] = .integer(Int64(wishedRateHz))
            fixed["format"] = "pcm16"
        }
        self.fixed = fixed
    }

    func message(_ text: String) -> String {
        var fields = fixed
        fields["text"] = .string(text)
        return JSONValue.object(fields).text
    }
}

/// A text of the service's. Samples come as binary messages.
public enum PiperSocketMessage: Sendable, Equatable {
    /// An answer begins, at this rate if it says one.
    case begins(rateHz: Int?)
    case ends
    case refused(String)
    /// A greeting, or what else means nothing here.
    case other

    /// nil: it is no JSON object.
    public init?(parsing text: String) {
        guard let json = try? JSONValue(parsing: text), json.object != nil else { return nil }
        let (type, status) = (json["type"]?.string ?? "", json["status"]?.string ?? "")
        if type == "error" || json["error"] != nil {
            let words = json["error"]?.string ?? json["message"]?.string ?? "an error without a word"
            self = .refused(String(words.map { $0.isNewline ? " " : $0 }.prefix(300)))
        } else if type == "end" || type == "audio_end" || status == "completed" {
            self = .ends
        } else if type == "start" || type == "audio_start" || status == "started" {
            self = .begins(rateHz: json["sample_rate"]?.integer.flatMap { (8000...48000).contains($0) ? Int($0) : nil })
        } else {
            self = .other
        }
    }
}
