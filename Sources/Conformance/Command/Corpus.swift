// The corpus of broken plugins, as its build lists it in `corpus.json`.
//
//     [{"rule": "VC-LIFE-03", "file": "VC-LIFE-03.so", "language": "c", "kind": "vc.tts/1", "also": ["VC-LIFE-04"]},
//      {"file": "good-swift.so", "language": "swift", "scripts": "/…/swift.conform"}]
//
// An entry without a rule is a good plugin. `scripts` is its vendor's folder; `also` names other rules that may fail on
// it because the fault cannot be had without theirs.

import Glibc
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
        /// The folder of its vendor; nil: beside it, if there is one.
        var scripts: String?
    }

    let directory: String
    var entries: [Entry]

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
                    also: Set((value["also"]?.array ?? []).compactMap(\.string)), scripts: value["scripts"]?.string))
        }
        self.directory = directory
        self.entries = entries
    }
}

/// The vendors of a corpus: many plugins share one, which lies with their source.
struct CorpusPeers: PeerSource {
    private let byPath: [String: any PeerSource]
    private let others: any PeerSource

    /// - Parameter peers: makes the source for a folder, or nil for what lies beside a plugin.
    init(_ corpus: Corpus, peers: (String?) -> any PeerSource) {
        var byPath: [String: any PeerSource] = [:]
        var byFolder: [String: any PeerSource] = [:]
        for entry in corpus.entries {
            guard let folder = entry.scripts, let path = realpath(corpus.directory + "/" + entry.file, nil) else {
                continue
            }
            let source = byFolder[folder] ?? peers(folder)
            byFolder[folder] = source
            byPath[String(cString: path)] = source
            free(path)
        }
        self.byPath = byPath
        others = peers(nil)
    }

    func prepare(_ job: inout Job, for subject: Subject) throws(RunnerFailure) {
        try source(subject).prepare(&job, for: subject)
    }
    func peer(of job: Job, for subject: Subject) -> (any ProbePeer)? { source(subject).peer(of: job, for: subject) }
    func ownRules(of subject: Subject, provider: String) -> [Rule] {
        source(subject).ownRules(of: subject, provider: provider)
    }
    func problem(of subject: Subject) -> String? { source(subject).problem(of: subject) }

    private func source(_ subject: Subject) -> any PeerSource { byPath[subject.path] ?? others }
}
