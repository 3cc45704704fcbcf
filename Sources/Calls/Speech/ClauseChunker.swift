/// Cuts a stream of tokens into pieces that a voice can speak.
///
/// The first piece decides how soon the caller hears anything, so it may end at a comma; later pieces are sentences,
/// because a voice needs one to get the melody right. A boundary is decided at the first letter of the following word
/// and never later: waiting for that word's end cost up to 300 ms in a peer, and deciding earlier breaks "3.5", "Dr.
/// Ay" and "14.30". The decision looks only at text, not at how it was cut into deltas, so the same answer is always
/// spoken in the same pieces.
///
/// Nothing is lost, added or moved: the pieces, joined, are the input byte for byte.
public struct ClauseChunker: Sendable, Equatable {
    public struct Policy: Sendable, Equatable {
        /// The first piece may end at a comma once it has so many characters and words.
        public var firstClauseCharacters = 16
        public var firstClauseWords = 3
        /// A later piece may end at a comma once it has so many characters.
        public var longClauseCharacters = 160

        public init() {}
    }

    private let policy: Policy
    private let language: Language
    private var pending: [Unicode.Scalar] = []
    /// Scalars of `pending` already looked at.
    private var scanned = 0
    private var hasEmitted = false

    public init(policy: Policy = Policy(), language: Language) {
        self.policy = policy
        self.language = language
    }

    /// Takes the next delta and returns the pieces that it completes.
    public mutating func append(_ delta: String) -> [String] {
        var pieces: [String] = []
        for scalar in delta.unicodeScalars {
            pending.append(scalar)
            // One new scalar decides at most one boundary: that before itself, or before an oversized tail.
            if let cut = boundary() { pieces.append(take(cut)) }
        }
        return pieces
    }

    /// The rest, when the stream has ended. Nil if there is none.
    public mutating func finish() -> String? {
        pending.isEmpty ? nil : take(pending.count)
    }

    private mutating func take(_ count: Int) -> String {
        var piece = String.UnicodeScalarView()
        piece.append(contentsOf: pending[..<count])
        pending.removeFirst(count)
        hasEmitted = true
        return String(piece)
    }

    /// Where to cut now that the last scalar has arrived, as a count of scalars.
    private func boundary() -> Int? {
        let last = pending.count - 1
        guard last > 0 else { return nil }
        let next = pending[last]
        if next.properties.isWhitespace { return tooLong() }
        let before = pending[last - 1]
        if Self.wideEnds.contains(before), !Self.closers.contains(next) { return last }
        guard before.properties.isWhitespace else { return tooLong() }

        var end = last
        var hasNewline = false
        while end > 0, pending[end - 1].properties.isWhitespace {
            if pending[end - 1] == "\n" { hasNewline = true }
            end -= 1
        }
        guard pending[..<end].contains(where: { $0.properties.isAlphabetic || $0.properties.numericType != nil })
        else { return tooLong() }
        if hasNewline || endsSentence(end, next: next) || endsClause(end) { return last }
        return tooLong()
    }

    /// A voice is never given more than `CallLimits.clauseBytesMax`: the cut is then at the last space, or, in a text
    /// without spaces, anywhere.
    private func tooLong() -> Int? {
        guard pending.count >= CallLimits.clauseBytesMax / 4 else { return nil }
        let bytes = pending.reduce(0) { $0 + UTF8.width($1) }
        guard bytes >= CallLimits.clauseBytesMax else { return nil }
        let space = pending.dropLast().lastIndex(where: { $0.properties.isWhitespace })
        return space.map { $0 + 1 } ?? pending.count - 1
    }

    private func endsSentence(_ end: Int, next: Unicode.Scalar) -> Bool {
        var at = end - 1
        while at > 0, Self.closers.contains(pending[at]) { at -= 1 }
        switch pending[at] {
        case "!", "?", "…": return true
        case ".": return dotEndsSentence(at, next: next)
        default: return false
        }
    }

    private func dotEndsSentence(_ dot: Int, next: Unicode.Scalar) -> Bool {
        var start = dot
        while start > 0, !pending[start - 1].properties.isWhitespace { start -= 1 }
        while start < dot, Self.openers.contains(pending[start]) { start += 1 }
        var view = String.UnicodeScalarView()
        view.append(contentsOf: pending[start..<dot])
        let token = Words.lowercased(String(view), language)
        let isLower = next.properties.isLowercase
        let isDigit = next.properties.numericType != nil

        if token.hasSuffix(".") { return !isLower }
        if !token.isEmpty, token.unicodeScalars.allSatisfy({ $0.properties.numericType != nil }) {
            // "1. Open the door" is a list, "3. kat" an ordinal, "It was 1999. Then" the end of a sentence.
            let isShort = token.count <= 3
            return !(isLower || pending[..<start].allSatisfy { $0.properties.isWhitespace }
                || (isShort && language.dotMakesOrdinal))
        }
        if token.count == 1, token.first?.isLetter == true, token != "o" || !language.isTurkish { return false }
        if token == "no" { return !isDigit }
        if language.abbreviations.contains(token) { return false }
        if language.closingAbbreviations.contains(token) { return !isLower && !isDigit }
        // An unknown abbreviation is short and goes on in lower case.
        return !(isLower && token.count <= 4)
    }

    private func endsClause(_ end: Int) -> Bool {
        guard Self.clauseEnds.contains(pending[end - 1]) else { return false }
        if hasEmitted { return end >= policy.longClauseCharacters }
        guard end >= policy.firstClauseCharacters else { return false }
        var words = 0
        var inWord = false
        for scalar in pending[..<end] {
            let isSpace = scalar.properties.isWhitespace
            if !isSpace, !inWord { words += 1 }
            inWord = !isSpace
        }
        return words >= policy.firstClauseWords
    }

    private static let closers: Set<Unicode.Scalar> = ["\"", "'", ")", "]", "»", "”", "’", "*", "_"]
    private static let openers: Set<Unicode.Scalar> = ["\"", "'", "(", "[", "«", "“", "‘", "*", "_"]
    private static let clauseEnds: Set<Unicode.Scalar> = [",", ";", ":", "—", "–"]
    private static let wideEnds: Set<Unicode.Scalar> = ["。", "！", "？"]
}

/// What a voice is given of a piece: models write emphasis and headings for the eye.
enum Speakable {
    static func text(_ piece: String) -> String {
        piece.filter { !"*#`_~".contains($0) }
    }

    static func isWorthSpeaking(_ text: String) -> Bool {
        text.contains { $0.isLetter || $0.isNumber }
    }
}
