// `vchost conform`: the work is in `Conformance.ConformCommand`, where it can be tested without a process.

import Conformance

enum ConformCommand: Command {
    static let name = "conform"
    static let summary = "prove that a plugin keeps the contract"
    static let help = Conformance.ConformCommand.help

    static func run(_ words: [String]) throws -> Int32 {
        Conformance.ConformCommand().run(
            words, output: { print($0, terminator: "") }, errors: { StandardError.write($0) })
    }
}
