// What a transcription server says of an utterance, in each of the shapes that there are: a bare text, or with segments
// that carry the model's own doubts, or with words and their times.
//
// Whisper writes sentences into noise: thanks for watching, subtitles by somebody. It doubts them itself, in two
// numbers of each segment. Where both are bad, the segment is left out (the two thresholds are the model's own, from
// its reference implementation); one alone is no reason, because telephone speech is doubted often.

import Glibc
import JSON

/// A server's answer, as JSON.
public struct WhisperAnswer: Sendable, Equatable {
    public struct Word: Sendable, Equatable {
        public var text: String
        /// From the beginning of the utterance.
        public var startSeconds: Double
        public var endSeconds: Double
        public var confidence: Float?
    }

    /// What was said, without spaces around it; empty when nothing was.
    public private(set) var text: String
    public let language: String?
    /// 0 ... 1: how sure the model was of what is left, or what the server says.
    public private(set) var confidence: Float?
    public private(set) var words: [Word]
    /// Segments that were left out.
    public private(set) var invented = 0

    static let noSpeechMax = 0.6
    static let logProbabilityMin = -1.0

    /// Nil for what is no answer of a transcription server.
    public init?(_ answer: JSONValue) {
        guard let whole = answer["text"]?.string else { return nil }
        language = answer["language"]?.string
        confidence = answer["confidence"]?.number.map { Float(min(max($0, 0), 1)) }
        let segments = answer["segments"]?.array ?? []
        let spoken = segments.filter { segment in
            (segment["no_speech_prob"]?.number ?? 0) <= Self.noSpeechMax
                || (segment["avg_logprob"]?.number ?? 0) >= Self.logProbabilityMin
        }
        invented = segments.count - spoken.count
        text = Self.trimmed(invented == 0 ? whole : spoken.map { $0["text"]?.string ?? "" }.joined())
        if confidence == nil { confidence = Self.confidence(of: spoken) }
        let listed = answer["words"]?.array ?? spoken.flatMap { $0["words"]?.array ?? [] }
        let gone = segments.filter { !spoken.contains($0) }
        words = listed.compactMap { word in
            guard let text = word["word"]?.string.map(Self.trimmed), !text.isEmpty,
                let start = word["start"]?.number, let end = word["end"]?.number, end >= start
            else { return nil }
            let isGone = gone.contains { start >= $0["start"]?.number ?? 0 && end <= $0["end"]?.number ?? 0 }
            return isGone ? nil : Word(
                text: text, startSeconds: start, endSeconds: end,
                confidence: word["probability"]?.number.map { Float(min(max($0, 0), 1)) })
        }
    }

    /// The mean of the segments' log probabilities, weighted by how long each is.
    private static func confidence(of segments: [JSONValue]) -> Float? {
        var sum = 0.0
        var seconds = 0.0
        for segment in segments {
            guard let probability = segment["avg_logprob"]?.number else { return nil }
            let length = max(0.01, (segment["end"]?.number ?? 0) - (segment["start"]?.number ?? 0))
            sum += probability * length
            seconds += length
        }
        guard seconds > 0 else { return nil }
        return Float(exp(min(0, sum / seconds)))
    }

    private static func trimmed(_ text: String) -> String {
        String(text.drop(while: \.isWhitespace).reversed().drop(while: \.isWhitespace).reversed())
    }
}
