// What a knowledge file says, once it is read.

/// An answer to one intent, with the conditions under which it is given.
struct Reply: Sendable {
    enum Piece: Sendable {
        case text(String)
        case slot(String)
    }
    let pieces: [Piece]
    /// Slot and value that must have been said.
    let conditions: [String: String]

    var slots: [String] { pieces.compactMap { if case .slot(let name) = $0 { name } else { nil } } }

    /// nil: a slot that it names was not said.
    func text(with slots: [String: String]) -> String? {
        var text = ""
        for piece in pieces {
            switch piece {
            case .text(let words): text += words
            case .slot(let name):
                guard let value = slots[name] else { return nil }
                text += value
            }
        }
        return text
    }
}

/// What is done besides answering.
public enum KnowledgeAction: Sendable, Equatable {
    case transfer(to: String)
    case goodbye
}

struct Intent: Sendable {
    let name: String
    var patterns: [Pattern] = []
    var replies: [Reply] = []
    var action: KnowledgeAction?
    /// Understood only right after one of these was answered.
    var after: Set<String> = []
    /// Overrides the file's.
    var confidence: Double?
    /// Its patterns, as the matcher reads them.
    var sentences: [Sentence] = []
}

/// A sentence that the file asks for. Its words are numbers: each is compared with an utterance once, however many
/// sentences it stands in.
struct Sentence: Sendable {
    enum Item: Sendable {
        case word(Int, weight: Double)
        case slot(String)
        case anything
    }
    let items: [Item]
    /// Of all its items.
    let weight: Double
}

/// A word of the file; `isStem`: it goes on as it likes.
struct FileWord: Sendable, Hashable {
    let text: String
    let isStem: Bool
}

/// The values of a slot: what is said for it, and what that means.
struct Slot: Sendable {
    /// Words as tokens, and the value as the file writes it. The longest first.
    var phrases: [(words: [String], value: String)] = []
}

/// Everything that a knowledge file says. `KnowledgeFile.parse` makes it; `answer` uses it.
public struct Knowledge: Sendable {
    public internal(set) var language = KnowledgeLanguage.english
    /// From here on an utterance is understood.
    var confidence = 0.75
    var ignored: Set<String> = []
    var synonyms: [(words: [FileWord], replacement: [String])] = []
    var slots: [String: Slot] = [:]
    var intents: [Intent] = []
    /// Every word that stands in a pattern.
    var vocabulary: [FileWord] = []

    /// Numbers the words of all patterns.
    mutating func compile() {
        let words = Words(language: language)
        var numbers: [FileWord: Int] = [:]
        for index in intents.indices {
            intents[index].sentences = intents[index].patterns.flatMap(\.sentences).map { sentence in
                var weight = 0.0
                let items = sentence.map { item -> Sentence.Item in
                    switch item {
                    case .word(let text, let isStem):
                        let word = FileWord(text: text, isStem: isStem)
                        let number = numbers[word] ?? vocabulary.count
                        if number == vocabulary.count {
                            numbers[word] = number
                            vocabulary.append(word)
                        }
                        weight += words.weight(text)
                        return .word(number, weight: words.weight(text))
                    case .slot(let name):
                        weight += 1
                        return .slot(name)
                    case .anything:
                        weight += 1
                        return .anything
                    }
                }
                return Sentence(items: items, weight: weight)
            }
        }
    }

    public var intentNames: [String] { intents.map(\.name) }

    /// What an utterance was understood as.
    public struct Answer: Sendable, Equatable {
        public let intent: String
        public let text: String
        public let action: KnowledgeAction?
        /// 0 … 1.
        public let confidence: Double
        public let slots: [String: String]
    }
}
