// What an `ask` line says: words, (one|or the other), [perhaps], <a slot>, * for anything, and wor~ for a beginning.
//
// A pattern is written out into all the sentences that it stands for, because a flat sentence can be compared with
// another one, mistakes and all, while a tree of alternatives cannot. Their number is bounded: a line that stands for
// thousands is better split.

enum PatternItem: Sendable, Hashable {
    /// `isStem`: the word goes on as it likes, which is how Turkish words do.
    case word(String, isStem: Bool)
    case slot(String)
    /// One to six words, whatever they are.
    case anything
}

struct PatternError: Error {
    let message: String
}

struct Pattern: Sendable {
    static let sentencesMax = 500
    static let itemsMax = 24

    let sentences: [[PatternItem]]

    init(_ text: String, words: Words) throws(PatternError) {
        var reader = Reader(text: Array(text), words: words)
        var sentences = try reader.alternatives(until: nil)
        // An optional part at two places makes the same sentence twice.
        var seen = Set<[PatternItem]>()
        sentences.removeAll { !seen.insert($0).inserted }
        guard !sentences.contains(where: { $0.isEmpty || $0.allSatisfy { $0 == .anything } }) else {
            throw PatternError(
                message: "the pattern matches everything, also silence; leave at least one word outside of [ ] and *")
        }
        if sentences.contains(where: { $0.count > Self.itemsMax }) {
            throw PatternError(message: "the pattern has more than \(Self.itemsMax) words; ask for less at once")
        }
        self.sentences = sentences
    }

    private init(sentences: [[PatternItem]]) { self.sentences = sentences }

    /// The same in the file's own words.
    func replacingSynonyms(of knowledge: Knowledge) -> Pattern {
        Pattern(
            sentences: sentences.map { sentence in
                var result: [PatternItem] = []
                var run: [String] = []
                func end() {
                    result += knowledge.replaceSynonyms(run).map { .word($0, isStem: false) }
                    run = []
                }
                for item in sentence {
                    if case .word(let word, false) = item {
                        run.append(word)
                    } else {
                        end()
                        result.append(item)
                    }
                }
                end()
                return result
            })
    }

    /// Slots that stand in every sentence, and those that stand in any.
    var slots: (always: Set<String>, ever: Set<String>) {
        let sets = sentences.map { Set($0.compactMap { if case .slot(let name) = $0 { name } else { nil } }) }
        return (sets.dropFirst().reduce(sets.first ?? []) { $0.intersection($1) }, sets.reduce([]) { $0.union($1) })
    }

    private struct Reader {
        let text: [Character]
        let words: Words
        var index = 0
        var depth = 0

        mutating func alternatives(until end: Character?) throws(PatternError) -> [[PatternItem]] {
            depth += 1
            defer { depth -= 1 }
            guard depth <= 8 else { throw PatternError(message: "brackets stand more than eight deep; split the line") }
            var all: [[PatternItem]] = []
            var current: [[PatternItem]] = [[]]
            while index < text.count {
                let character = text[index]
                index += 1
                switch character {
                case "(": current = try product(current, try alternatives(until: ")"))
                case "[": current = try product(current, [[]] + (try alternatives(until: "]")))
                case "|":
                    all += current
                    current = [[]]
                case ")", "]":
                    guard character == end else {
                        throw PatternError(message: "there is a \(character) too many; take it away")
                    }
                    return try bounded(all + current)
                case "<":
                    guard let close = text[index...].firstIndex(of: ">") else {
                        throw PatternError(message: "a slot begins with < and does not end; write <day>, say")
                    }
                    let name = String(text[index..<close])
                    guard KnowledgeFile.isName(name) else {
                        throw PatternError(message: "<\(name)> is no name of a slot; use letters, digits, - and _")
                    }
                    index = close + 1
                    current = try product(current, [[.slot(name)]])
                case "*": current = try product(current, [[.anything]])
                case ">", "{", "}", "~":
                    throw PatternError(
                        message: "\(character) stands alone; slots are written <day>, and ~ follows a word")
                default:
                    guard !character.isWhitespace else { continue }
                    var word = String(character)
                    while index < text.count, !"()[]|<>*~{}".contains(text[index]), !text[index].isWhitespace {
                        word.append(text[index])
                        index += 1
                    }
                    let isStem = index < text.count && text[index] == "~"
                    if isStem { index += 1 }
                    let tokens = words.tokens(of: word)
                    current = try product(
                        current,
                        [tokens.enumerated().map { .word($1, isStem: isStem && $0 == tokens.count - 1) }])
                }
            }
            guard end == nil else { throw PatternError(message: "a \(end!) is missing; close the bracket") }
            return try bounded(all + current)
        }

        private func product(
            _ beginnings: [[PatternItem]], _ endings: [[PatternItem]]
        ) throws(PatternError) -> [[PatternItem]] {
            guard beginnings.count * endings.count <= Pattern.sentencesMax else { throw Self.tooMany }
            return beginnings.flatMap { beginning in endings.map { beginning + $0 } }
        }

        private func bounded(_ sentences: [[PatternItem]]) throws(PatternError) -> [[PatternItem]] {
            guard sentences.count <= Pattern.sentencesMax else { throw Self.tooMany }
            return sentences
        }

        private static let tooMany = PatternError(
            message:
                "the pattern stands for more than \(Pattern.sentencesMax) sentences; split it over several `ask` lines")
    }
}
