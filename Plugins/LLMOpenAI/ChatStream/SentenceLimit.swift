// An answer of so many sentences, and no more.
//
// Small models do not know when to stop, and a caller cannot skip. The usual stop strings, a full stop among them, take
// the mark away with the rest, and a voice then does not lower itself at the end; they also cut "14.30" in two. So the
// sentences are counted here: an end is a mark with white space behind it, and a full stop is none behind a digit (in
// Turkish and German "2. kat", "2. Stock" goes on), behind a single letter, or in "Dr.". Nothing is held back: words go
// on as they come, and what the limit cuts off is what follows the white space.

/// Counts sentences in a stream of words.
public struct SentenceLimit: Sendable {
    /// What has a full stop in the middle of a sentence, and is likely at a telephone.
    private static let abbreviations: Set<String> = [
        "dr", "mr", "mrs", "ms", "st", "no", "vs", "etc", "sn", "bk", "vb", "vs", "prof", "av", "doç",
    ]
    /// The longest of them, with one more letter to see that a word is longer.
    private static let wordMax = 8

    private let sentencesMax: Int
    private var sentences = 0
    private var isOver = false
    /// A mark was the last thing but closing quotes and brackets.
    private var isMarked = false
    /// The letters before the point where we are.
    private var word = ""

    /// - Parameter sentencesMax: 0: no limit.
    public init(sentencesMax: Int) { self.sentencesMax = sentencesMax }

    /// What of `text` is to be said, and whether that was the last of it.
    public mutating func pass(_ text: String) -> (words: String, isOver: Bool) {
        guard sentencesMax > 0 else { return (text, false) }
        guard !isOver else { return ("", true) }
        var words = ""
        for character in text {
            if character.isWhitespace, isMarked {
                sentences += 1
                isOver = sentences >= sentencesMax
                if isOver { return (words, true) }
            }
            note(character)
            words.append(character)
        }
        return (words, false)
    }

    private mutating func note(_ character: Character) {
        switch character {
        case "!", "?", "…", "。", "！", "？":
            isMarked = true
            word = ""
        case ".":
            isMarked = isMarked || endsSentence(word)
            word = ""
        case "\"", "'", "”", "’", "»", ")", "]": break
        default:
            isMarked = false
            if character.isLetter || character.isNumber {
                if word.count < Self.wordMax { word.append(character) }
            } else {
                word = ""
            }
        }
    }

    private func endsSentence(_ word: String) -> Bool {
        guard let last = word.last else { return false }
        return !last.isNumber && word.count > 1 && !Self.abbreviations.contains(word.lowercased())
    }
}
