// What the caller of `vchost call` will say: files named on the command line, or the turns of a script with what each
// is expected to be understood as. The format of a script is described in services/demo/README.md.

import Control
import JSON
import Media

struct CallerPlan {
    struct Turn {
        let id: String
        let wav: WAVFile
        let rule: CallerTurn.Rule
        let timeoutMs: Int
        /// What is said, for the person who reads along; empty when unknown.
        let words: String
        /// Parts, in lower case, that the transcript must contain.
        let hears: [String]
    }

    let turns: [Turn]

    /// Files that are said one after the other, each when the agent has finished.
    init(saying files: [String]) throws {
        turns = try files.map { file in
            Turn(
                id: String(file.split(separator: "/").last ?? ""), wav: try WAVFile(path: file),
                rule: .afterAgentQuiet(ms: 800),
                timeoutMs: 15_000, words: "", hears: [])
        }
    }

    /// A script; turn N with the id `x` is the sound NN-x.wav of `sounds`.
    init(script: String, sounds: String) throws {
        let text = try TextFile.read(script, bytesMax: 1 << 20)
        let document = try JSONValue(parsing: text)
        guard let entries = document["turns"]?.array, !entries.isEmpty else {
            throw SettingsError(.invalid, "\(script) has no turns: write {\"turns\": [...]}")
        }
        turns = try entries.enumerated().map { index, entry in
            guard let id = entry["id"]?.string, let when = entry["when"] else {
                throw SettingsError(.invalid, "\(script): turn \(index + 1) needs an id and a rule `when`")
            }
            let rule: CallerTurn.Rule
            if let ms = when["afterAgentQuietMs"]?.integer {
                rule = .afterAgentQuiet(ms: Int(ms))
            } else if let ms = when["intoAgentMs"]?.integer {
                rule = .intoAgent(ms: Int(ms))
            } else {
                throw SettingsError(.invalid, "\(script): `when` of \(id) needs afterAgentQuietMs or intoAgentMs")
            }
            let number = index + 1 < 10 ? "0\(index + 1)" : "\(index + 1)"
            return Turn(
                id: id, wav: try WAVFile(path: "\(sounds)/\(number)-\(id).wav"), rule: rule,
                timeoutMs: Int(when["timeoutMs"]?.integer ?? 15_000), words: entry["words"]?.string ?? "",
                hears: entry["hears"]?.array?.compactMap(\.string) ?? [])
        }
    }

    var script: CallerScript {
        CallerScript(turns.map { CallerTurn(file: $0.id, rule: $0.rule, timeoutMs: $0.timeoutMs) })
    }
}
