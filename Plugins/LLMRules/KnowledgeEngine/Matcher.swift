// Which intent an utterance is, if it is any.
//
// The words of the utterance are laid beside the words of each sentence that the file asks for, at the least cost: a
// word that is heard a little wrong costs little, one that is missing or too many costs what it weighs, one before the
// question less than one in the middle of it. What is left of 1 is the confidence. Below the file's threshold, or where
// two intents are as good, the answer is none: a wrong opening hour is worse than none, and the next model of the chain
// can be asked.

extension Knowledge {
    /// Nobody asks for opening hours in more words than this.
    static let tokensMax = 40
    /// Two intents this close together are one too many.
    static let margin = 0.04

    /// Answers an utterance, or nil: not mine.
    ///
    /// - Parameters:
    ///   - previous: the intent that was answered last, for those that come only `after` it.
    ///   - turn: how often the intent was answered before, by its name: its replies take turns.
    public func answer(_ utterance: String, after previous: String?, turn: (String) -> Int) -> Answer? {
        let words = Words(language: language)
        let tokens = replaceSynonyms(words.tokens(of: utterance))
        guard !tokens.isEmpty, tokens.count <= Self.tokensMax else { return nil }
        let matcher = Matcher(knowledge: self, words: words, tokens: tokens)

        var best: (intent: Intent, match: Matcher.Match)?
        var second = 0.0
        for intent in intents {
            guard intent.after.isEmpty || (previous.map { intent.after.contains($0) } ?? false) else { continue }
            guard var match = matcher.match(intent, atLeast: intent.confidence ?? confidence) else { continue }
            // What was expected is more likely than the same words out of nowhere.
            if !intent.after.isEmpty { match.confidence += 0.1 }
            if let known = best, match.confidence <= known.match.confidence {
                second = max(second, match.confidence)
            } else {
                second = max(second, best?.match.confidence ?? 0)
                best = (intent, match)
            }
        }
        guard let best, best.match.confidence - second >= Self.margin else { return nil }
        guard let text = reply(of: best.intent, best.match.slots, turn(best.intent.name)) else { return nil }
        return Answer(
            intent: best.intent.name, text: text, action: best.intent.action, confidence: min(1, best.match.confidence),
            slots: best.match.slots)
    }

    /// Of the replies that apply those with the most conditions, one after the other.
    private func reply(of intent: Intent, _ slots: [String: String], _ turn: Int) -> String? {
        let possible = intent.replies.compactMap { reply -> (text: String, conditions: Int)? in
            guard reply.conditions.allSatisfy({ slots[$0.key] == $0.value }), let text = reply.text(with: slots) else {
                return nil
            }
            return (text, reply.conditions.count)
        }
        let most = possible.map(\.conditions).max() ?? 0
        let texts = possible.filter { $0.conditions == most }.map(\.text)
        return texts.isEmpty ? nil : texts[turn % texts.count]
    }

    /// Writes the file's own words for others that mean the same. Once, from left to right, the longest first.
    func replaceSynonyms(_ tokens: [String]) -> [String] {
        guard !synonyms.isEmpty else { return tokens }
        var result: [String] = []
        var index = 0
        while index < tokens.count {
            let rest = tokens[index...]
            let synonym = synonyms.first { synonym in
                rest.starts(with: synonym.words) { heard, word in
                    word.isStem ? heard.hasPrefix(word.text) : heard == word.text
                }
            }
            if let synonym {
                result += synonym.replacement
                index += synonym.words.count
            } else {
                result.append(tokens[index])
                index += 1
            }
        }
        return result
    }
}

struct Matcher {
    struct Match {
        var confidence: Double
        var slots: [String: String]
    }

    let knowledge: Knowledge
    let tokens: [String]
    /// What each token weighs; people's hesitations weigh nothing.
    private let weights: [Double]
    private let weight: Double
    /// For each word of the file what it costs to take each token for it; empty where none comes close.
    private let costs: [[Double]]

    init(knowledge: Knowledge, words: Words, tokens: [String]) {
        self.knowledge = knowledge
        self.tokens = tokens
        let fillers = words.fillers
        weights = tokens.map { fillers.contains($0) || knowledge.ignored.contains($0) ? 0 : words.weight($0) }
        weight = weights.reduce(0, +)
        costs = knowledge.vocabulary.map { word in
            let costs = tokens.map { WordDistance.cost($0, word) ?? .infinity }
            return costs.contains { $0 < .infinity } ? costs : []
        }
    }

    func match(_ intent: Intent, atLeast confidence: Double) -> Match? {
        var best: Match?
        for sentence in intent.sentences {
            let floor = max(confidence, best?.confidence ?? 0)
            guard isPossible(sentence, atLeast: floor), let match = match(sentence), match.confidence >= floor else {
                continue
            }
            best = match
        }
        return best
    }

    /// Whether enough of the sentence's words were heard at all: spares most sentences the work below.
    private func isPossible(_ sentence: Sentence, atLeast confidence: Double) -> Bool {
        var missing = 0.0
        for item in sentence.items {
            if case .word(let number, let weight) = item, costs[number].isEmpty { missing += 1.3 * weight }
        }
        return 1 - missing / max(sentence.weight, weight, 0.4) >= confidence
    }

    private struct Cell {
        var cost = Double.infinity
        var item = 0
        var token = 0
        var slot: (name: String, value: String)?
    }

    /// Lays the sentence beside the tokens at the least cost. nil: a slot has no value, or nothing is alike.
    private func match(_ sentence: Sentence) -> Match? {
        let items = sentence.items
        let columns = tokens.count + 1
        var cells = [Cell](repeating: Cell(), count: (items.count + 1) * columns)
        cells[0].cost = 0
        for item in 0...items.count {
            for token in 0...tokens.count {
                let here = cells[item * columns + token].cost
                guard here < .infinity else { continue }
                func reach(_ toItem: Int, _ toToken: Int, _ cost: Double, _ slot: (String, String)? = nil) {
                    let place = toItem * columns + toToken
                    if here + cost < cells[place].cost {
                        cells[place] = Cell(
                            cost: here + cost, item: item, token: token, slot: slot.map { (name: $0.0, value: $0.1) })
                    }
                }
                if token < tokens.count {
                    // What comes before the question is how people begin; in its middle a word changes what is asked.
                    let place = item == 0 ? 0.25 : item == items.count ? 0.5 : 1
                    reach(item, token + 1, weights[token] * place)
                }
                guard item < items.count else { continue }
                switch items[item] {
                case .word(let number, let weight):
                    if token < tokens.count, !costs[number].isEmpty { reach(item + 1, token + 1, costs[number][token]) }
                    reach(item + 1, token, 1.3 * weight)
                case .slot(let name):
                    for (phrase, value) in knowledge.slots[name]?.phrases ?? [] {
                        guard token + phrase.count <= tokens.count else { continue }
                        var sum = 0.0
                        for (offset, word) in phrase.enumerated() {
                            sum += WordDistance.cost(tokens[token + offset], word) ?? .infinity
                        }
                        if sum < .infinity { reach(item + 1, token + phrase.count, sum, (name, value)) }
                    }
                case .anything:
                    for count in 1...6 where token + count <= tokens.count {
                        reach(item + 1, token + count, 0.05 * Double(count))
                    }
                }
            }
        }
        let end = cells[cells.count - 1]
        guard end.cost < .infinity else { return nil }
        let confidence = 1 - end.cost / max(sentence.weight, weight, 0.4)
        guard confidence > 0 else { return nil }
        var slots: [String: String] = [:]
        var (item, token) = (items.count, tokens.count)
        while item > 0 || token > 0 {
            let cell = cells[item * columns + token]
            if let slot = cell.slot { slots[slot.name] = slot.value }
            (item, token) = (cell.item, cell.token)
        }
        return Match(confidence: confidence, slots: slots)
    }
}
