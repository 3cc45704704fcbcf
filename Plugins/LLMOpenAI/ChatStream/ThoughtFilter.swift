// What a model thinks before it answers, kept away from the caller.
//
// Most servers have a field of its own for thoughts. Where the server does not know the model's template they come as
// words, between two tags at the beginning; a tag can be cut in two by the stream, so what may still become one waits.

/// Takes `<think>…</think>` away from the beginning of an answer.
public struct ThoughtFilter: Sendable {
    private static let opening = "<think>"
    private static let closing = "</think>"
    private enum Place { case beginning, thinking, words, leading }
    private var place = Place.beginning
    private var held = ""

    public init() {}

    /// What of `text` is to be said now; nil: nothing.
    public mutating func pass(_ text: String) -> String? {
        if place == .words { return text.isEmpty ? nil : text }
        held += text
        if place == .beginning {
            let start = held.drop(while: \.isWhitespace)
            if start.hasPrefix(Self.opening) {
                place = .thinking
                held = String(start.dropFirst(Self.opening.count))
            } else if Self.opening.hasPrefix(start) {
                return nil  // it may still become one
            } else {
                place = .words
                return release(held)
            }
        }
        if place == .thinking {
            guard let end = held.firstRange(ofText: Self.closing) else {
                // Thoughts can be long; only what may be the beginning of the end is kept.
                held = String(held.suffix(Self.closing.count))
                return nil
            }
            place = .leading
            held = String(held[end.upperBound...])
        }
        let words = held.drop(while: \.isWhitespace)
        held = ""
        guard !words.isEmpty else { return nil }
        place = .words
        return String(words)
    }

    /// What was held back, at the end of the answer.
    public mutating func end() -> String? { place == .beginning ? release(held) : nil }

    private mutating func release(_ text: String) -> String? {
        held = ""
        return text.isEmpty ? nil : text
    }
}

extension String {
    fileprivate func firstRange(ofText text: String) -> Range<Index>? {
        var start = startIndex
        while start < endIndex {
            if self[start...].hasPrefix(text) { return start..<index(start, offsetBy: text.count) }
            start = index(after: start)
        }
        return nil
    }
}
