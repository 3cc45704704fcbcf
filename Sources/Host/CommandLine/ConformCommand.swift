// `vchost conform`: the work is in `Conformance.ConformCommand`, where it can be tested without a process.

import Conformance
import Control
import Providers

enum ConformCommand: Command {
    static let name = "conform"
    static let summary = "prove that a plugin keeps the contract"
    static let help = Conformance.ConformCommand.help

    static func run(_ words: [String]) throws -> Int32 {
        var command = Conformance.ConformCommand()
        command.ownsSignals = true
        command.record = record
        return command.run(
            words, output: { print($0, terminator: "") }, errors: { StandardError.write($0) })
    }

    /// Keeps a badge by the file's hash, where `vchost plugins list` and a running host find it.
    @Sendable private static func record(_ report: Report) throws {
        guard report.problem.isEmpty else { return }
        let sources = try? ConfigurationSources(config: nil, plugins: nil)
        let records = ConformanceRecords(directory: sources?.stateDirectory ?? StateDirectory.path())
        let record = ConformanceRecord(
            // A plugin without a badge has been tried, too.
            level: report.badge?.name ?? "none", hostVersion: VCHost.version, seed: report.seedText)
        if let problem = records.write(record, for: report.sha256) {
            throw SettingsError(.unreadable, "the result cannot be kept: \(problem)")
        }
    }
}
