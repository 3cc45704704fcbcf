// The words behind `vchost conform VERB`: options that were declared, and the rest in their order.
//
// As the other commands of `vchost` have it (`Sources/Host/CommandLine/Arguments.swift`), with short names besides,
// because an author types these options all day.

/// An option of a verb.
struct CommandOption: Sendable {
    let short: String?
    let name: String
    /// What the value is, for the help text; nil for a switch.
    let value: String?
    let summary: String

    init(_ short: String?, _ name: String, _ value: String, _ summary: String) {
        self.short = short
        self.name = name
        self.value = value
        self.summary = summary
    }

    /// A switch.
    init(_ name: String, _ summary: String) {
        short = nil
        self.name = name
        value = nil
        self.summary = summary
    }
}

/// The words make no sense: exit status 2.
struct CommandUsage: Error, Equatable {
    let message: String

    init(_ message: String) { self.message = message }
}

struct CommandWords {
    private(set) var positional: [String] = []
    /// Options by their long names, in the order given.
    private var given: [(name: String, value: String)] = []

    init(_ words: some Sequence<String>, options: [CommandOption]) throws(CommandUsage) {
        var rest = Array(words)[...]
        while let word = rest.popFirst() {
            guard word.hasPrefix("-"), word != "-" else {
                positional.append(word)
                continue
            }
            if word == "--" {
                positional += rest
                return
            }
            let parts = word.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
            guard let option = options.first(where: { $0.name == parts[0] || $0.short == parts[0] }) else {
                throw CommandUsage("there is no option \(parts[0])")
            }
            switch (option.value, parts.count == 2 ? parts[1] : nil) {
            case (nil, nil): given.append((option.name, ""))
            case (nil, .some): throw CommandUsage("\(parts[0]) takes no value")
            case (.some, .some(let value)): given.append((option.name, value))
            case (.some(let what), nil):
                guard let value = rest.popFirst() else { throw CommandUsage("\(parts[0]) wants \(what) behind it") }
                given.append((option.name, value))
            }
        }
    }

    /// The last value of an option, or nil.
    subscript(name: String) -> String? { given.last { $0.name == name }?.value }

    func all(_ name: String) -> [String] { given.filter { $0.name == name }.map(\.value) }

    func has(_ name: String) -> Bool { given.contains { $0.name == name } }

    /// A whole number between bounds.
    func number(_ name: String, _ range: ClosedRange<Int>) throws(CommandUsage) -> Int? {
        guard let text = self[name] else { return nil }
        guard let value = Int(text), range.contains(value) else {
            throw CommandUsage("\(name) wants a number from \(range.lowerBound) to \(range.upperBound), not \(text)")
        }
        return value
    }

    /// A positive number with or without a fraction.
    func decimal(_ name: String, atMost: Double) throws(CommandUsage) -> Double? {
        guard let text = self[name] else { return nil }
        guard let value = Double(text), value > 0, value <= atMost else {
            throw CommandUsage("\(name) wants a number above 0, at most \(Int(atMost)), not \(text)")
        }
        return value
    }

    /// Options as lines of a help text.
    static func help(_ options: [CommandOption]) -> String {
        let heads = options.map { option in
            (option.short.map { "\($0), " } ?? "    ") + option.name + (option.value.map { " \($0)" } ?? "")
        }
        let width = heads.map(\.count).max() ?? 0
        return zip(heads, options)
            .map { "  " + $0 + String(repeating: " ", count: width - $0.count + 2) + $1.summary }
            .joined(separator: "\n")
    }
}
