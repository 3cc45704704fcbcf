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
    public var peers: @Sendable (_ scripts: String?) -> any PeerSource = {
        VendorScripts(directory: $0)
    }
    /// Keeps a plugin's result by its sha256 for `vchost plugins list`; nil: this program keeps none.
    public var record: (@Sendable (Report) throws -> Void)?
    /// What all runs begin with: the probe, and limits for tests.
    public var settings = RunSettings()
    public var rules: [Rule] = RuleBook.all
    /// Whether SIGINT and SIGTERM end a run in order: the process is this command's.
    public var ownsSignals = false
    /// Whether a progress bar may be drawn.
    public var isTerminal = isatty(STDERR_FILENO) == 1 && isatty(STDOUT_FILENO) == 1

    public init() {}

    public static let help = """
        usage: vchost conform run PLUGIN... [OPTION...]
               vchost conform list [--kind KIND] [--json]
               vchost conform explain RULE
               vchost conform scan DIRECTORY [--json]
               vchost conform fuzz PLUGIN [--seed HEX] [--runs N | --seconds S] [--out DIRECTORY]
               vchost conform selftest [--corpus DIRECTORY] [--only REGEX] [--full] [--share PERCENT] [--repeat N]

        run       Runs the rules of the contract against plugins: .so files, or directories of them. Nothing is loaded
                  into this process; each rule has one of its own.
        list      Every rule: id, level, weight, and one sentence.
        explain   One rule: why it is there, what keeps it and what breaks it.
        scan      What a host would load of a directory, and why not the rest, without running any of it.
        fuzz      Calls a plugin in any order that is legal, with vendors that fail, services that refuse and clocks
                  that are late. What fails is made as short as it goes and kept; `run` plays it from then on.
        selftest  Proves the rules: each must find its own broken plugin, and nothing else must.

        Options of run:
        \(CommandWords.help(ConformRun.options))

        Options of fuzz:
        \(CommandWords.help(FuzzCommand.options))

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
        if ownsSignals, ["run", "fuzz", "selftest"].contains(words.first) { Interruption.listen() }
        defer { if ownsSignals { Interruption.dieIfRaised() } }
        do {
            let rest = Array(words.dropFirst())
            switch words.first {
            case "run": return try ConformRun(command: self, output: output, errors: errors).run(rest)
            case "list": return try RuleCatalogue(rules).list(rest, output)
            case "explain": return try RuleCatalogue(rules).explain(rest, output)
            case "scan": return try ScanCommand.run(rest, output)
            case "fuzz": return try FuzzCommand(command: self, output: output, errors: errors).run(rest)
            case "selftest": return try SelfTestCommand(command: self, output: output, errors: errors).run(rest)
            case "help", "--help", "-h":
                output(Self.help)
                return 0
            case let verb?: throw CommandUsage("there is no `conform \(verb)`")
            case nil: throw CommandUsage("say what to do: run, list, explain, scan, fuzz or selftest")
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
