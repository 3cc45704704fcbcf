// The corpus of broken plugins, as its build lists it in `corpus.json`.
//
//     [{"rule": "VC-LIFE-03", "file": "VC-LIFE-03.so", "language": "c", "kind": "vc.tts/1", "also": ["VC-LIFE-04"]},
//      {"file": "good-swift.so", "language": "swift"}]
//
// An entry without a rule is a good plugin. `also` names other rules that may fail on it because the fault cannot be had
// without theirs.

import JSON

/// Plugins that are known to break one rule each, and some that break none.
struct Corpus: Sendable, Equatable {
    struct Entry: Sendable, Equatable {
        /// Nil: it keeps all rules.
        var rule: String?
        var file: String
        var language: String
        /// Rules that may fail besides.
        var also: Set<String> = []
    }

    let directory: String
    let entries: [Entry]

    init(directory: String) throws(CommandUsage) {
        let path = directory + "/corpus.json"
        guard let list = try CommandFile.json(path).array else { throw CommandUsage("\(path) wants a list of plugins") }
        var entries: [Entry] = []
        for (index, value) in list.enumerated() {
            guard let file = value["file"]?.string, let language = value["language"]?.string else {
                throw CommandUsage("\(path): entry \(index + 1) wants \"file\" and \"language\"")
            }
            let rule = value["rule"]?.string.flatMap { $0.isEmpty ? nil : $0 }
            entries.append(
                Entry(
                    rule: rule, file: file, language: language,
                    also: Set((value["also"]?.array ?? []).compactMap(\.string))))
        }
        self.directory = directory
        self.entries = entries
    }
}
