// CFG and the first of ERR: settings, and how a refusal reads.

import JSON
import PluginABI
import Providers

let settingsRules: [Rule] = [
    Rule(
        "VC-CFG-05", .basic, .must, "Every value that an `enum` of the schema lists is taken.",
        because: "An operator chooses from the list that the manifest shows.",
        passing: "one branch for each value",
        failing: "\"enum\": [\"square\", \"saw\"]        // and create knows square only",
        needs: ["VC-LIFE-01"],
        check: .probe { bench in
            for (name, schema) in properties(bench) {
                for choice in schema.choices ?? [] { try isTaken(bench, name, choice) }
            }
        }),
    Rule(
        "VC-CFG-06", .basic, .must, "The smallest and the largest number of the schema are taken.",
        because: "The schema is a promise: the host lets through what it allows.",
        passing: "\"minimum\": 20, \"maximum\": 1000        // and create takes both",
        failing: "if (word_ms >= 1000) return VC_E_CONFIG;",
        needs: ["VC-LIFE-01"],
        check: .probe { bench in
            for (name, schema) in properties(bench) where schema.type == .integer || schema.type == .number {
                for number in [schema.minimum, schema.maximum].compactMap(\.self) {
                    try isTaken(bench, name, schema.type == .integer ? .integer(Int64(number)) : .number(number))
                }
            }
        }),
    Rule(
        "VC-CFG-07", .resilient, .must, "Texts of any length and script are taken or refused, and never fatal.",
        because: "A setting is pasted from anywhere.",
        passing: "copy = malloc(text.length + 1);",
        failing: "char voice[64];  memcpy(voice, text.data, text.length);",
        needs: ["VC-LIFE-01"],
        check: .probe { bench in
            let texts = ["", "Iğdır’da şöyle böyle", String(repeating: "long ", count: 13_000)]
            for (name, schema) in properties(bench) where schema.type == .string && schema.choices == nil {
                for text in texts {
                    let (provider, status, error) = try bench.create(bench.settings([name: .string(text)]))
                    guard provider != nil || (status < 0 && !error.message.isEmpty) else {
                        throw Violation(
                            "create with \(name) of \(text.utf8.count) bytes", expected: "VC_OK, or a reason",
                            got: "\(statusName(status)) without a message")
                    }
                    provider?.destroy()
                }
            }
        }),
    Rule(
        "VC-ERR-01", .basic, .must, kinds: [.speechToText, .turn, .textToSpeech],
        "A call that fails answers with a status of the contract.",
        because: "What the host does next (wait, fail over, give up) depends on its range.",
        passing: "return VC_E_UNSUPPORTED;",
        failing: "return -1000 - errno;",
        check: .probe { bench in
            let (status, _) = try refusal(bench)
            guard (-39...(-1)).contains(status) else {
                throw Violation("open at 11025 Hz", expected: "a status between -39 and -1", got: "\(status)")
            }
        }),
    Rule(
        "VC-ERR-02", .basic, .must, kinds: [.speechToText, .turn, .textToSpeech],
        "A call that fails says why, in one line.",
        because: "It is what the operator reads; a number alone is a riddle.",
        passing: "error->message = VC_STR(\"the voice speaks at 8000 and 16000 Hz\");",
        failing: "return VC_E_UNSUPPORTED;        // and error is empty",
        check: .probe { bench in
            let (_, error) = try refusal(bench)
            let message = error.message
            guard !message.isEmpty, message.utf8.count <= 512, !message.contains("\n") else {
                throw Violation(
                    "open at 11025 Hz", expected: "a message of one line, 512 bytes at most",
                    got: message.isEmpty ? "none" : "\(message.utf8.count) bytes")
            }
        }),
]

private func properties(_ bench: Bench) -> [(String, ConfigurationSchema)] {
    (bench.subject.provider?.configuration.properties ?? [:]).sorted { $0.key < $1.key }
}

/// `create` takes the value, or refuses it because another setting, file or peer is missing, and says so.
private func isTaken(_ bench: Bench, _ name: String, _ value: JSONValue) throws {
    let (provider, status, error) = try bench.create(bench.settings(.object([name: value])))
    guard let provider else {
        throw Violation(
            "create with \(name) = \(value.text)", expected: "VC_OK, as the schema allows it",
            got: "\(statusName(status)): \(error.message)")
    }
    provider.destroy()
}

/// A session that cannot be opened: at a rate that the manifest does not list.
private func refusal(_ bench: Bench) throws -> (vc_status, RecordedEvent.Failure) {
    let provider = try bench.provider()
    var options = SessionOptions()
    options.rate = 11_025
    let (session, status, error) = try provider.open(options)
    guard session == nil else { throw NotApplicable("it takes 11025 Hz, and fails nothing") }
    return (status, error)
}
