// What a recogniser that listens all the time says, made into what the contract wants to hear.
//
// Such a recogniser has its own idea of where a piece of speech ends, and says its hypothesis of the open piece again
// and again. The host has its own idea too: it asks for the text so far, and takes it for the whole. Then the
// recogniser goes on in the same piece, and its next hypothesis begins with words that were answered already. So the
// words of a piece that went out as final are counted, and left out from then on. Times would do it too, but not every
// vendor gives them, and counts survive that a word is moved by a few milliseconds.
//
// When the connection breaks, what the recogniser had understood is gone there, and not here: words that had settled
// are kept, and audio is sent again from their end. So a long sentence costs no long wait at the pace of a telephone.

/// A piece of a recogniser's text, as long as it is open or when it is done.
public struct HeardPiece: Sendable, Equatable {
    /// The same for all hypotheses of one piece.
    public var id: Int64
    public var text: String
    /// With their times, as far as the vendor gives them.
    public var words: [Transcript.Word]
    public var start: UInt64
    /// Up to where audio was used.
    public var end: UInt64
    public var confidence: Float?
    public var language: String
    /// It will not change any more.
    public var isFrozen: Bool

    public init(
        id: Int64, text: String, words: [Transcript.Word] = [], start: UInt64, end: UInt64, confidence: Float? = nil,
        language: String = "", isFrozen: Bool = false
    ) {
        self.id = id
        self.text = text
        self.words = words
        self.start = start
        self.end = end
        self.confidence = confidence
        self.language = language
        self.isFrozen = isFrozen
    }

    /// The words of the text, with or without times.
    var tokens: [String] {
        words.isEmpty ? text.split(whereSeparator: \.isWhitespace).map(String.init) : words.map(\.text)
    }

    /// Without its first `count` words.
    func dropping(_ count: Int) -> HeardPiece {
        guard count > 0 else { return self }
        var rest = self
        rest.text = tokens.dropFirst(count).joined(separator: " ")
        rest.words = Array(words.dropFirst(count))
        rest.start = rest.words.first?.start ?? start
        return rest
    }
}

/// The utterances of a session, and the questions about them.
public struct StreamedUtterances: Sendable {
    public enum Output: Sendable, Equatable {
        case partial(Transcript)
        case final(Transcript)
        /// The answer to a `finalize`: the text, if there is one, and that it was all.
        case answer(request: UInt64, Transcript?)
    }

    struct Question: Sendable {
        var request: UInt64
        var position: UInt64
        var isTentative: Bool
    }

    /// Words that ended this long before the newest audio are not taken back by what comes after them.
    static let settledMs = 400
    /// Kept for the next connection when nothing was said: a word may just be beginning.
    static let onsetMs = 600

    private let rateHz: Int
    /// The number of the utterance that is open, or comes next.
    public private(set) var utterance: UInt64 = 1
    private var frozen: [HeardPiece] = []
    private var open: HeardPiece?
    /// So many words of the open piece went out as final.
    private var answered: (id: Int64, words: Int)?
    /// Up to where the open piece was counted when they did.
    private var openWords = 0
    private var lastPartial = ""
    /// Where the latest final ended.
    private var closedEnd: UInt64 = 0
    private var questions: [Question] = []

    public init(rateHz: Int) { self.rateHz = rateHz }

    /// What was said since the last final.
    public var text: String { pieces.map(\.text).joined(separator: " ") }
    public var hasQuestions: Bool { !questions.isEmpty }
    public var hasFinalQuestion: Bool { questions.contains { !$0.isTentative } }
    private var pieces: [HeardPiece] { (frozen + (open.map { [$0] } ?? [])).filter { !$0.text.isEmpty } }

    /// Audio before this position is of no use to another connection.
    public var neededFrom: UInt64 {
        if let last = frozen.last { return max(last.end, closedEnd) }
        guard let open else { return closedEnd }
        if !open.text.isEmpty { return max(closedEnd, open.start) }
        let onset = UInt64(rateHz * Self.onsetMs / 1000)
        return max(closedEnd, open.end > onset ? open.end - onset : 0)
    }

    /// The host has found where an utterance begins, and numbers it.
    public mutating func begin(_ number: UInt64) {
        utterance = number
        consume()
    }

    /// The recogniser has said something of a piece.
    public mutating func heard(_ piece: HeardPiece) -> [Output] {
        let skipped = answered?.id == piece.id ? answered!.words : 0
        let rest = piece.dropping(skipped)
        if piece.isFrozen {
            answered = nil
            open = nil
            openWords = 0
            if !rest.text.isEmpty {
                frozen.append(rest)
            } else if frozen.isEmpty {
                // Silence: nothing of it is needed again.
                open = HeardPiece(id: piece.id, text: "", start: piece.start, end: piece.end)
            }
        } else {
            open = rest
            openWords = piece.tokens.count
        }
        let text = self.text
        guard text != lastPartial, let transcript = self.transcript() else { return [] }
        lastPartial = text
        return [.partial(transcript)]
    }

    /// The utterance is over, in the recogniser's opinion. Questions about it are answered.
    public mutating func close() -> [Output] {
        guard let transcript = self.transcript() else { return answer { _ in true } }
        if hasFinalQuestion { return answer { _ in true } }
        let outputs = answer { _ in true }
        end(transcript)
        return outputs + [.final(transcript)]
    }

    public mutating func ask(_ request: UInt64, at position: UInt64, isTentative: Bool) {
        questions.append(Question(request: request, position: position, isTentative: isTentative))
    }

    /// Answers the questions about audio up to `position`, tentative or final or both.
    public mutating func answer(upTo position: UInt64, tentative: Bool = true, final: Bool = true) -> [Output] {
        answer { $0.position <= position && ($0.isTentative ? tentative : final) }
    }

    /// Answers a question with what there is: no more is awaited.
    public mutating func answer(request: UInt64) -> [Output] { answer { $0.request == request } }

    /// Nobody waits for an answer any more.
    public mutating func forgetQuestions() { questions = [] }

    /// The recogniser is gone with what it had heard. Gives where the next one should begin to listen.
    public mutating func disconnected() -> UInt64 {
        if let open, !open.words.isEmpty {
            let settled = open.end - min(open.end, UInt64(rateHz * Self.settledMs / 1000))
            let count = open.words.prefix { $0.end <= settled }.count
            if count > 0 {
                var kept = open
                kept.words = Array(open.words.prefix(count))
                kept.text = kept.words.map(\.text).joined(separator: " ")
                kept.end = kept.words.last!.end
                frozen.append(kept)
            }
        }
        let from = neededFrom
        open = nil
        openWords = 0
        answered = nil
        return from
    }

    private mutating func answer(where isDue: (Question) -> Bool) -> [Output] {
        let due = questions.filter(isDue)
        questions.removeAll(where: isDue)
        var outputs: [Output] = []
        for question in due {
            let transcript = self.transcript()
            outputs.append(.answer(request: question.request, transcript))
            guard !question.isTentative else { continue }
            if let transcript {
                end(transcript)
            } else if !lastPartial.isEmpty {
                // What was said of it was taken back, yet the host has counted it, and it is over.
                lastPartial = ""
                utterance += 1
            }
        }
        return outputs
    }

    private mutating func end(_ transcript: Transcript) {
        closedEnd = max(closedEnd, transcript.end)
        consume()
        utterance += 1
    }

    /// What is there went out, or is of no interest.
    private mutating func consume() {
        if let open { answered = (open.id, openWords) }
        if let end = pieces.last?.end { open = open.map { HeardPiece(id: $0.id, text: "", start: end, end: end) } }
        frozen = []
        lastPartial = ""
    }

    /// The text so far. Its times never reach back into what went out as final.
    private func transcript() -> Transcript? {
        let pieces = self.pieces
        guard let first = pieces.first, let last = pieces.last else { return nil }
        var words: [Transcript.Word] = []
        // Where one piece has no times, those of the others would be taken for all.
        if pieces.allSatisfy({ !$0.words.isEmpty }) {
            var floor = closedEnd
            for var word in pieces.flatMap(\.words) {
                word.start = max(word.start, floor)
                word.end = max(word.end, word.start)
                floor = word.start
                words.append(word)
            }
        }
        let start = max(closedEnd, words.first?.start ?? first.start)
        let end = max(start, last.end, words.map(\.end).max() ?? 0)
        let known = pieces.compactMap(\.confidence)
        return Transcript(
            text, utterance: utterance, start: start, end: end,
            language: pieces.last { !$0.language.isEmpty }?.language ?? "",
            confidence: known.isEmpty ? nil : known.reduce(0, +) / Float(known.count), words: words)
    }
}
