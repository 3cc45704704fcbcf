// From what a recogniser wrote to words that can be compared.
//
// Case, punctuation and contractions are the recogniser's whim and are taken away, in the knowledge file's language: in
// Turkish "I" is the capital of "ı" and "İ" that of "i", which no general lower-casing gets right.

/// A language that the engine knows the habits of.
public enum KnowledgeLanguage: String, Sendable, CaseIterable {
    case english = "en"
    case turkish = "tr"
}

struct Words: Sendable {
    let language: KnowledgeLanguage

    /// The words of a text, in lower case, without punctuation, contractions written out.
    func tokens(of text: String) -> [String] {
        var tokens: [String] = []
        var word = ""
        func end() {
            if !word.isEmpty { tokens += expanded(word) }
            word = ""
        }
        for scalar in lowercased(text).unicodeScalars {
            if scalar.properties.isAlphabetic || scalar.properties.numericType != nil {
                word.unicodeScalars.append(scalar)
            } else if scalar == "'" || scalar == "’" || scalar == "ʼ" {
                // Inside a word it is a contraction in English, and before a suffix in Turkish: "Ankara'ya".
                if language == .english && !word.isEmpty { word += "'" }
            } else if scalar.properties.generalCategory == .nonspacingMark {
                continue  // left over from "i̇"
            } else {
                end()
            }
        }
        end()
        return tokens
    }

    /// Lower case by the rules of the language, composed.
    private func lowercased(_ text: String) -> String {
        guard language == .turkish else { return text.lowercased() }
        var result = ""
        for character in text {
            switch character {
            case "I": result += "ı"
            case "İ": result += "i"
            default: result += character.lowercased()
            }
        }
        return result
    }

    private func expanded(_ word: String) -> [String] {
        guard word.contains("'") else { return [word] }
        if let whole = Self.contractions[word] { return whole }
        for (ending, expansion) in Self.endings where word.hasSuffix(ending) && word.count > ending.count {
            return [String(word.dropLast(ending.count)), expansion]
        }
        return [word.filter { $0 != "'" }].filter { !$0.isEmpty }
    }

    private static let contractions = [
        "can't": ["can", "not"], "won't": ["will", "not"], "let's": ["let", "us"], "o'clock": ["oclock"],
    ]
    private static let endings = [
        ("n't", "not"), ("'s", "is"), ("'re", "are"), ("'m", "am"), ("'ll", "will"), ("'ve", "have"), ("'d", "would"),
    ]

    /// What people say while they think. Costs nothing, wherever it stands.
    var fillers: Set<String> { language == .english ? Self.englishFillers : Self.turkishFillers }
    private static let englishFillers: Set<String> = [
        "um", "uh", "erm", "er", "hm", "hmm", "mm", "ah", "oh", "eh", "well", "so", "okay", "ok", "please", "hello",
        "hi",
        "hey", "just", "actually", "like", "right", "now", "then", "and", "thanks",
    ]
    private static let turkishFillers: Set<String> = [
        "ee", "eee", "ıı", "ııı", "şey", "yani", "hani", "işte", "peki", "tamam", "lütfen", "acaba", "merhaba", "alo",
        "ya",
        "ha", "hı", "efendim", "ve", "bir",
    ]

    /// Words that carry little: one more or less matters less than one that names something.
    func weight(_ word: String) -> Double {
        (language == .english ? Self.englishSmall : Self.turkishSmall).contains(word) ? 0.4 : 1
    }
    private static let englishSmall: Set<String> = [
        "a", "an", "the", "of", "to", "for", "in", "on", "at", "is", "are", "am", "be", "do", "does", "did", "i", "me",
        "my",
        "you", "your", "we", "us", "it", "that", "this", "there", "would", "will", "could", "can", "have", "want",
        "know",
        "tell", "what", "with", "some", "any",
    ]
    private static let turkishSmall: Set<String> = [
        "mi", "mı", "mu", "mü", "misiniz", "mısınız", "da", "de", "ki", "bu", "şu", "o", "ben", "bana", "siz", "sizin",
        "size",
        "ile", "için", "ne", "var", "çok", "istiyorum", "olarak",
    ]

    static let yes: [KnowledgeLanguage: [String]] = [
        .english: [
            "yes", "yeah", "yep", "yup", "sure", "of course", "certainly", "absolutely", "that is right", "correct",
            "go ahead", "i do", "i would",
        ],
        .turkish: ["evet", "tabii", "tabi", "tabii ki", "elbette", "olur", "aynen", "doğru", "isterim", "he"],
    ]
    static let no: [KnowledgeLanguage: [String]] = [
        .english: [
            "no", "nope", "nah", "not really", "no thank you", "i do not", "not now", "that is all", "nothing else",
        ],
        .turkish: ["hayır", "yok", "istemiyorum", "istemem", "gerek yok", "hayır teşekkürler", "bu kadar"],
    ]
}

/// How far a heard word is from a written one.
enum WordDistance {
    /// The same for a word of the file, which may be only the beginning of one.
    static func cost(_ heard: String, _ word: FileWord) -> Double? {
        if word.isStem {
            if heard.hasPrefix(word.text) { return 0 }
            if fold(heard).starts(with: fold(word.text)) { return 0.1 }
        }
        return cost(heard, word.text)
    }

    /// What it costs to take `heard` for `written`, 0 … 0.5; nil: another word.
    static func cost(_ heard: String, _ written: String) -> Double? {
        if heard == written { return 0 }
        let (one, other) = (fold(heard), fold(written))
        if one == other { return 0.1 }
        // One letter may be wrong in five, two in nine: "ours" may be "hours", but "car" is not "cat".
        let limit = other.count < 5 ? 0 : other.count < 9 ? 1 : 2
        guard limit > 0, abs(one.count - other.count) <= limit, let distance = edits(one, other, atMost: limit)
        else { return nil }
        return 0.2 * Double(distance)
    }

    /// Letters that a recogniser without Turkish, or a hasty writer of the file, leaves the dots and tails off.
    static func fold(_ word: String) -> [UInt32] {
        word.unicodeScalars.map { scalar in
            switch scalar {
            case "ı", "î": 0x69
            case "ş": 0x73
            case "ç": 0x63
            case "ğ": 0x67
            case "ö": 0x6F
            case "ü", "û": 0x75
            case "â": 0x61
            default: scalar.value
            }
        }
    }

    /// Insertions, deletions, substitutions and swaps of neighbours (Damerau's distance, restricted); nil above the
    /// limit.
    static func edits(_ one: [UInt32], _ other: [UInt32], atMost limit: Int) -> Int? {
        var beforePrevious: [Int] = []
        var previous = Array(0...other.count)
        for row in 0..<one.count {
            var current = [row + 1]
            for column in 0..<other.count {
                var best = min(
                    previous[column + 1] + 1, current[column] + 1,
                    previous[column] + (one[row] == other[column] ? 0 : 1))
                if row > 0, column > 0, one[row] == other[column - 1], one[row - 1] == other[column] {
                    best = min(best, beforePrevious[column - 1] + 1)
                }
                current.append(best)
            }
            if current.min()! > limit { return nil }
            beforePrevious = previous
            previous = current
        }
        return previous[other.count] <= limit ? previous[other.count] : nil
    }
}
