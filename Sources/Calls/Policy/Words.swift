/// Words as the conversation compares them.
///
/// Two recognitions of the same speech differ in case and punctuation; a comparison must not. Turkish has two letters
/// i: `I` is the capital of `ı` and `İ` that of `i`, so the standard library's lower-casing would turn "IŞIK" into
/// "işik". That is why the language is a parameter here.
enum Words {
    /// Lower case after the rules of the language.
    static func lowercased(_ text: some StringProtocol, _ language: Language) -> String {
        guard language.isTurkish else { return text.lowercased() }
        var lowered = ""
        lowered.reserveCapacity(text.utf8.count)
        for character in text {
            switch character {
            case "I": lowered.append("ı")
            case "İ": lowered.append("i")
            default: lowered.append(contentsOf: character.lowercased())
            }
        }
        return lowered
    }

    /// Lower case, with punctuation as spaces (an apostrophe is dropped, so that "Ali'nin" stays one word) and single
    /// spaces between words.
    static func normalised(_ text: String, _ language: Language) -> String {
        list(text, language).joined(separator: " ")
    }

    static func list(_ text: String, _ language: Language) -> [String] {
        var words: [String] = []
        var word = ""
        for character in lowercased(text, language) {
            if character.isLetter || character.isNumber {
                word.append(character)
            } else if character == "'" || character == "’" {
                continue
            } else if !word.isEmpty {
                words.append(word)
                word = ""
            }
        }
        if !word.isEmpty { words.append(word) }
        return words
    }

    /// True if the words are acknowledgements and nothing else. No words at all are none.
    static func isBackchannel(_ text: String, _ language: Language) -> Bool {
        let words = list(text, language)
        guard !words.isEmpty, words.count <= 4 else { return false }
        var at = 0
        while at < words.count {
            if at + 1 < words.count, language.backchannels.contains(words[at] + " " + words[at + 1]) {
                at += 2
            } else if language.backchannels.contains(words[at]) {
                at += 1
            } else {
                return false
            }
        }
        return true
    }

    static func isQuestion(_ text: String) -> Bool {
        for character in text.reversed() {
            if character == "?" || character == "？" { return true }
            if character.isWhitespace || character == "\"" || character == ")" || character == "”" || character == "»" {
                continue
            }
            return false
        }
        return false
    }
}
