// The words behind a command: options that were declared, and the rest in their order.
//
// `--name value` and `--name=value` are the same, `--` ends the options. What was not declared is refused with the
// nearest name that was, because a misspelt option that is ignored costs an operator an hour.

import Control

struct Option: Sendable {
    let name: String
    /// What the value is, for the help text; nil for a switch.
    let value: String?
    let summary: String

    init(_ name: String, _ value: String, _ summary: String) {
        self.name = name
        self.value = value
        self.summary = summary
    }

    /// A switch.
    init(_ name: String, _ summary: String) {
        self.name = name
        value = nil
        self.summary = summary
    }
}

/// The words make no sense to the command. `vchost` prints the message and ends with status 2.
struct UsageError: Error {
    let message: String
}

struct Arguments {
    private(set) var positional: [String] = []
    /// Options in the order given, so that a command can pair those that repeat.
    private(set) var given: [(name: String, value: String)] = []

    init(_ words: some Sequence<String>, options: [Option]) throws(UsageError) {
        var rest = Array(words)[...]
        while let word = rest.popFirst() {
            // As the connector calls it, whose place vchost takes in start scripts.
            let word = word == "-c" && options.contains { $0.name == "--config" } ? "--config" : word
            guard word.hasPrefix("--") else {
                positional.append(word)
                continue
            }
            if word == "--" {
                positional += rest
                return
            }
            let parts = word.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            let name = String(parts[0])
            guard let option = options.first(where: { $0.name == name }) else {
                let hint = Spelling.nearest(to: name, among: options.map(\.name)).map { "; did you mean \($0)?" } ?? ""
                throw UsageError(message: "there is no option \(name)\(hint)")
            }
            switch (option.value, parts.count == 2 ? String(parts[1]) : nil) {
            case (nil, nil): given.append((name, ""))
            case (nil, .some): throw UsageError(message: "\(name) takes no value")
            case (.some, .some(let value)): given.append((name, value))
            case (.some(let what), nil):
                guard let value = rest.popFirst() else { throw UsageError(message: "\(name) wants \(what) behind it") }
                given.append((name, value))
            }
        }
    }

    /// The last value of an option, or nil.
    subscript(name: String) -> String? { given.last { $0.name == name }?.value }

    func has(_ name: String) -> Bool { given.contains { $0.name == name } }

    /// Options as lines of a help text.
    static func help(_ options: [Option]) -> String {
        let heads = options.map { option in option.value.map { "\(option.name) \($0)" } ?? option.name }
        let width = heads.map(\.count).max() ?? 0
        return zip(heads, options)
            .map { "  " + $0 + String(repeating: " ", count: width - $0.count + 2) + $1.summary }
            .joined(separator: "\n")
    }
}
