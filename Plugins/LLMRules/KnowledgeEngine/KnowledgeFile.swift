// The knowledge file: sections and `key = value` lines, as in the host's own configuration.
//
// Read by people who run a front desk and not a parser, so every complaint names the line, what is wrong in it, and
// what to write instead; and all complaints come at once, since correcting a file one error at a time is nobody's
// afternoon.

public struct KnowledgeFile: Sendable {
    /// What is wrong with a line.
    public struct Complaint: Sendable, Equatable, CustomStringConvertible {
        /// Counted from 1.
        public let line: Int
        /// What is wrong, and the mend.
        public let message: String
        public var description: String { "line \(line): \(message)" }
    }

    public static let intentsMax = 500
    public static let complaintsMax = 20

    /// Reads a whole file. Either the knowledge, or what has to be corrected.
    public static func parse(_ text: String) -> Result<Knowledge, Complaints> {
        var file = KnowledgeFile()
        file.read(text)
        file.check()
        if file.complaints.isEmpty {
            file.knowledge.compile()
            return .success(file.knowledge)
        }
        let sorted = file.complaints.sorted { $0.line < $1.line }
        return .failure(Complaints(list: Array(sorted.prefix(complaintsMax)), count: sorted.count))
    }

    /// The complaints about a file, the first ones of them.
    public struct Complaints: Error, Sendable {
        public let list: [Complaint]
        public let count: Int
    }

    private enum Section { case none, knowledge, words, slot(String), intent(Int), unknown }

    private var knowledge = Knowledge()
    private var complaints: [Complaint] = []
    private var section = Section.none
    private var line = 0
    /// Where each intent and each `after` stands, for the complaints that need the whole file.
    private var intentLines: [Int] = []
    private var afterLines: [(line: Int, name: String)] = []
    private var replyLines: [(line: Int, intent: Int, reply: Reply)] = []
    private var patternLines: [(line: Int, intent: Int, pattern: Pattern)] = []

    private var words: Words { Words(language: knowledge.language) }

    static func isName(_ text: String) -> Bool {
        !text.isEmpty
            && text.unicodeScalars.allSatisfy {
                $0.properties.isAlphabetic || $0.properties.numericType != nil || $0 == "-" || $0 == "_"
            }
    }

    private mutating func complain(_ message: String, line: Int? = nil) {
        complaints.append(Complaint(line: line ?? self.line, message: message))
    }

    private mutating func read(_ text: String) {
        knowledge.slots = ["yes": Slot(), "no": Slot()]
        for raw in text.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline) {
            line += 1
            let content = Self.trimmed(raw.hasPrefix("\u{FEFF}") ? raw.dropFirst() : raw)
            if content.isEmpty || content.hasPrefix("#") || content.hasPrefix(";") { continue }
            if content.hasPrefix("[") && content.hasSuffix("]") && !content.contains("=") {
                begin(String(content.dropFirst().dropLast()))
                continue
            }
            // `say <day=sunday> = …`: the equals sign of the line is the first outside of < >.
            var depth = 0
            let equals = content.firstIndex { character in
                depth += character == "<" ? 1 : character == ">" ? -1 : 0
                return character == "=" && depth <= 0
            }
            guard let equals else {
                complain("there is no = in this line; write `say = …`, or # before a remark")
                continue
            }
            setting(Self.trimmed(content[..<equals]), Self.trimmed(content[content.index(after: equals)...]))
        }
        for (name, phrases) in [("yes", Words.yes), ("no", Words.no)] where knowledge.slots[name]!.phrases.isEmpty {
            knowledge.slots[name] = Slot(phrases: phrases[knowledge.language]!.map { (words.tokens(of: $0), name) })
        }
        knowledge.synonyms.sort { $0.words.count > $1.words.count }
        // What callers say is put into the file's own words, so the file has to be as well.
        for name in knowledge.slots.keys {
            knowledge.slots[name]!.phrases = knowledge.slots[name]!.phrases.map {
                (knowledge.replaceSynonyms($0.words), $0.value)
            }
            knowledge.slots[name]!.phrases.sort { $0.words.count > $1.words.count }
        }
        for index in knowledge.intents.indices {
            knowledge.intents[index].patterns = knowledge.intents[index].patterns.map {
                $0.replacingSynonyms(of: knowledge)
            }
        }
    }

    private mutating func begin(_ header: String) {
        let parts = header.split(whereSeparator: \.isWhitespace).map(String.init)
        switch (parts.first, parts.count) {
        case ("knowledge", 1): section = .knowledge
        case ("words", 1): section = .words
        case ("slot", 2) where Self.isName(parts[1]):
            section = .slot(parts[1])
            knowledge.slots[parts[1]] = knowledge.slots[parts[1]] ?? Slot()
        case ("intent", 2) where Self.isName(parts[1]):
            if knowledge.intents.contains(where: { $0.name == parts[1] }) {
                complain("there is an intent \(parts[1]) already; give this one another name, or join the two")
            }
            if knowledge.intents.count == Self.intentsMax {
                complain("there are more than \(Self.intentsMax) intents; split the file")
            }
            knowledge.intents.append(Intent(name: parts[1]))
            intentLines.append(line)
            section = .intent(knowledge.intents.count - 1)
        default:
            section = .unknown
            complain("[\(header)] is no section; write [knowledge], [words], [slot NAME] or [intent NAME]")
        }
    }

    private mutating func setting(_ key: String, _ value: String) {
        switch section {
        case .none: complain("this line stands before the first section; begin the file with [knowledge]")
        case .unknown: break
        case .knowledge: fileSetting(key, value)
        case .words:
            let replacement = words.tokens(of: key)
            if replacement.isEmpty {
                return complain("there is no word before the =; write `hours = opening times, business hours`")
            }
            for phrase in Self.list(value) {
                let isStem = phrase.hasSuffix("~")
                let tokens = words.tokens(of: phrase)
                if tokens.isEmpty || tokens == replacement && !isStem {
                    complain("\"\(phrase)\" means nothing here; name other words for \"\(key)\"")
                } else {
                    let fileWords = tokens.enumerated().map {
                        FileWord(text: $1, isStem: isStem && $0 == tokens.count - 1)
                    }
                    knowledge.synonyms.append((fileWords, replacement))
                }
            }
        case .slot(let name):
            for phrase in [key] + Self.list(value) {
                let tokens = words.tokens(of: phrase)
                if !tokens.isEmpty { knowledge.slots[name]!.phrases.append((tokens, key)) }
            }
        case .intent(let index): intentSetting(key, value, index)
        }
    }

    private mutating func fileSetting(_ key: String, _ value: String) {
        switch key {
        case "language":
            guard let language = KnowledgeLanguage(rawValue: String(value.lowercased().prefix { $0 != "-" })) else {
                return complain("language is \"\(value)\"; write en or tr")
            }
            if !knowledge.intents.isEmpty || !knowledge.synonyms.isEmpty {
                return complain("language comes after words that it would read differently; put [knowledge] first")
            }
            knowledge.language = language
        case "confidence":
            guard let number = Self.confidence(value) else {
                return complain("confidence is \"\(value)\"; write a number from 0.5 to 1")
            }
            knowledge.confidence = number
        case "ignore": knowledge.ignored.formUnion(words.tokens(of: value))
        default: complain("[knowledge] has no \(key); it has language, confidence and ignore")
        }
    }

    private mutating func intentSetting(_ key: String, _ value: String, _ index: Int) {
        if value.isEmpty { return complain("there is nothing after the =; fill it in, or take the line away") }
        switch key {
        case "ask":
            do throws(PatternError) {
                let pattern = try Pattern(value, words: words)
                knowledge.intents[index].patterns.append(pattern)
                patternLines.append((line, index, pattern))
            } catch {
                complain(error.message)
            }
        case "do":
            let parts = value.split(maxSplits: 1, whereSeparator: \.isWhitespace).map(String.init)
            if parts == ["goodbye"] {
                knowledge.intents[index].action = .goodbye
            } else if parts.first == "transfer", parts.count == 2 {
                knowledge.intents[index].action = .transfer(to: parts[1])
            } else {
                complain("do is \"\(value)\"; write `transfer sip:desk@example.com`, or `goodbye`")
            }
        case "after":
            for name in Self.list(value) {
                knowledge.intents[index].after.insert(name)
                afterLines.append((line, name))
            }
        case "confidence":
            guard let number = Self.confidence(value) else {
                return complain("confidence is \"\(value)\"; write a number from 0.5 to 1")
            }
            knowledge.intents[index].confidence = number
        default:
            guard key == "say" || key.hasPrefix("say ") || key.hasPrefix("say<") else {
                return complain("an intent has no \(key); it has ask, say, do, after and confidence")
            }
            guard let conditions = conditions(String(key.dropFirst(3))), let pieces = pieces(of: value) else { return }
            let reply = Reply(pieces: pieces, conditions: conditions)
            knowledge.intents[index].replies.append(reply)
            replyLines.append((line, index, reply))
        }
    }

    /// `<day=sunday> <place=north>`; nil after a complaint.
    private mutating func conditions(_ text: String) -> [String: String]? {
        var conditions: [String: String] = [:]
        var rest = Self.trimmed(text)[...]
        while !rest.isEmpty {
            guard rest.first == "<", let close = rest.firstIndex(of: ">") else {
                complain("\"\(rest)\" is no condition; write `say <day=sunday> = …`")
                return nil
            }
            let parts = rest[rest.index(after: rest.startIndex)..<close].split(separator: "=", maxSplits: 1)
                .map { Self.trimmed($0) }
            guard parts.count == 2, !parts[1].isEmpty else {
                complain("\(rest[...close]) has no value; write `say <day=sunday> = …`")
                return nil
            }
            conditions[parts[0]] = parts[1]
            rest = Self.trimmed(rest[rest.index(after: close)...])[...]
        }
        return conditions
    }

    private mutating func pieces(of text: String) -> [Reply.Piece]? {
        var pieces: [Reply.Piece] = []
        var rest = text[...]
        while let open = rest.firstIndex(of: "<") {
            guard let close = rest[open...].firstIndex(of: ">"),
                Self.isName(String(rest[rest.index(after: open)..<close]))
            else {
                complain("< begins a slot that does not end; write <day>, or another sign")
                return nil
            }
            if open > rest.startIndex { pieces.append(.text(String(rest[..<open]))) }
            pieces.append(.slot(String(rest[rest.index(after: open)..<close])))
            rest = rest[rest.index(after: close)...]
        }
        if !rest.isEmpty { pieces.append(.text(String(rest))) }
        return pieces
    }

    /// What can only be said when the whole file was read.
    private mutating func check() {
        if knowledge.intents.isEmpty && complaints.isEmpty {
            complain("there is no intent; write [intent hours] with ask and say", line: max(1, line))
        }
        let names = Set(knowledge.intents.map(\.name))
        for (line, name) in afterLines where !names.contains(name) {
            complain("there is no intent \(name); `after` names the intent that was answered before", line: line)
        }
        for (line, _, pattern) in patternLines {
            for slot in pattern.slots.ever.sorted() where knowledge.slots[slot] == nil {
                complain("there is no slot \(slot); add a section [slot \(slot)] with its values", line: line)
            }
        }
        for slot in knowledge.slots.keys.sorted() where knowledge.slots[slot]!.phrases.isEmpty {
            complain("the slot \(slot) has no values; write `monday = mon` under it", line: max(1, line))
        }
        for (line, index, reply) in replyLines {
            let intent = knowledge.intents[index]
            let ever = intent.patterns.reduce(into: Set<String>()) { $0.formUnion($1.slots.ever) }
            for slot in reply.slots + reply.conditions.keys.sorted() where !ever.contains(slot) {
                complain(
                    "no `ask` of \(intent.name) has the slot \(slot); add <\(slot)> to one, or leave it out here",
                    line: line)
            }
            for (slot, value) in reply.conditions.sorted(by: { $0.key < $1.key }) {
                guard let values = knowledge.slots[slot], !values.phrases.contains(where: { $0.value == value }) else {
                    continue
                }
                complain(
                    "the slot \(slot) has no value \"\(value)\"; add it to [slot \(slot)], or correct it", line: line)
            }
        }
        for (index, intent) in knowledge.intents.enumerated() {
            let line = intentLines[index]
            if intent.patterns.isEmpty && !complaints.contains(where: { $0.line > line }) {
                complain("the intent \(intent.name) has no `ask`; say what callers ask", line: line)
            }
            if intent.replies.isEmpty && !complaints.contains(where: { $0.line > line }) {
                complain("the intent \(intent.name) has no `say`; say what is answered", line: line)
            }
            let always = intent.patterns.dropFirst().reduce(intent.patterns.first?.slots.always ?? []) {
                $0.intersection($1.slots.always)
            }
            let isAnswered = intent.replies.contains { $0.conditions.isEmpty && always.isSuperset(of: $0.slots) }
            if !intent.replies.isEmpty && !isAnswered {
                complain(
                    "the intent \(intent.name) has no `say` for callers who leave its slots out;"
                        + " add one without slots and conditions",
                    line: line)
            }
        }
    }

    private static func confidence(_ value: String) -> Double? {
        Double(value).flatMap { (0.5...1).contains($0) ? $0 : nil }
    }

    private static func list(_ value: String) -> [String] {
        value.split(separator: ",").map { trimmed($0) }.filter { !$0.isEmpty }
    }

    private static func trimmed(_ text: some StringProtocol) -> String {
        String(String(text).drop(while: \.isWhitespace).reversed().drop(while: \.isWhitespace).reversed())
    }
}
