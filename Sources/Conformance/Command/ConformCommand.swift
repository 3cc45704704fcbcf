// `vchost conform`: words in, text out, an exit code back; the executable around it is in `Sources/Host/CommandLine`.
//
// Exit codes are part of the contract with build servers:
//     0  every selected rule passed or is waived      4  the plugin crashed, hung, or left no verdict
//     1  a MUST was broken, or a SHOULD with           5  the runner itself failed; never blamed on the plugin
//        `--fail-on warn`                              6  nothing was selected: a misspelt filter must not look green
//     2  the command line is wrong                    77  everything was skipped, as automake and meson have it
//     3  there was no plugin to inspect

import Glibc

/// The command, without a process around it.
public struct ConformCommand: Sendable {
    /// Who plays the vendors; the argument is the folder of `--scripts`, if one was given.
    public var peers: @Sendable (_ scripts: String?) throws -> any PeerSource = { _ in NoPeers() }
    /// Keeps a plugin's result by its sha256 for `vchost plugins list`; nil: this program keeps none.
    public var record: (@Sendable (Report) throws -> Void)?
    /// What all runs begin with: the probe, and limits for tests.
    public var settings = RunSettings()
    public var rules: [Rule] = RuleBook.all
    /// Whether a progress bar may be drawn.
    public var isTerminal = isatty(STDERR_FILENO) == 1 && isatty(STDOUT_FILENO) == 1

    public init() {}

    public static let help = """
        usage: vchost conform run PLUGIN... [OPTION...]
               vchost conform list [--kind KIND] [--json]
               vchost conform explain RULE
               vchost conform scan DIRECTORY [--json]
               vchost conform selftest [--corpus DIRECTORY] [--full] [--repeat N]

        run       Runs the rules of the contract against plugins: .so files, or directories of them. Nothing is loaded
                  into this process; each rule has one of its own.
        list      Every rule: id, level, weight, and one sentence.
        explain   One rule: why it is there, what keeps it and what breaks it.
        scan      What a host would load of a directory, and why not the rest, without running any of it.
        selftest  Proves the rules: each must find its own broken plugin, and nothing else must.

        Options of run:
        \(CommandWords.help(ConformRun.options))

        Options of selftest:
        \(CommandWords.help(SelfTestCommand.options))

        Exit codes: 0 all rules kept or waived, 1 a rule broken, 2 the command line is wrong, 3 no plugin to inspect,
        4 the plugin crashed, hung or left no verdict, 5 the runner itself failed, 6 nothing was selected,
        77 everything was skipped.

        """

    /// Runs the verb with the words after `conform`.
    public func run(
        _ words: [String], output: @escaping @Sendable (String) -> Void, errors: @escaping @Sendable (String) -> Void
    ) -> Int32 {
        do {
            let rest = Array(words.dropFirst())
            switch words.first {
            case "run": return try ConformRun(command: self, output: output, errors: errors).run(rest)
            case "list": return try RuleCatalogue(rules).list(rest, output)
            case "explain": return try RuleCatalogue(rules).explain(rest, output)
            case "scan": return try ScanCommand.run(rest, output)
            case "selftest": return try SelfTestCommand(command: self, output: output, errors: errors).run(rest)
            case "help", "--help", "-h":
                output(Self.help)
                return 0
            case let verb?: throw CommandUsage("there is no `conform \(verb)`")
            case nil: throw CommandUsage("say what to do: run, list, explain, scan or selftest")
            }
        } catch let usage as CommandUsage {
            errors("vchost conform: \(usage.message)\n`vchost help conform` tells the rest.\n")
            return 2
        } catch let problem as SubjectProblem {
            errors("vchost conform: \(problem)\n")
            return 3
        } catch {
            errors("vchost conform: the runner failed, and no plugin is to blame: \(error)\n")
            return 5
        }
    }
}
