// The commands of `vchost`, and what they share: help, usage errors, exit codes.
//
// 0: done. 1: it could not be done, and standard error says why. 2: the words made no sense. A command prints what was
// asked for on standard output and everything else on standard error, so that a pipe gets the one and a person both.

import Control
import Glibc
import HostServices

enum VCHost {
    static let version = "0.1.0"

    /// The commands in the order of the help text.
    private static var commands: [any Command.Type] {
        [
            RunCommand.self, DialCommand.self, CallCommand.self, PluginsCommand.self, ModelsCommand.self,
            VoicesCommand.self, ConformCommand.self, ConfigCommand.self,
        ]
    }

    static func run(_ words: [String]) -> Int32 {
        // A peer that closes its end while we write must be an error of that write, not the end of the process.
        signal(SIGPIPE, SIG_IGN)
        var words = words.dropFirst()
        switch words.first {
        case "--version", "version":
            print("vchost \(version)")
            return 0
        case "--help", "help", nil:
            return help(for: words.dropFirst().first)
        case let name? where name.hasPrefix("--") || name == "-c":
            // `vchost --plugins plugins.d` runs the host: what one types most has no command's name.
            return start(RunCommand.self, words)
        case let name?:
            words = words.dropFirst()
            guard let command = commands.first(where: { $0.name == name }) else {
                if let hidden = InnerCommands.run(name, words) { return hidden }
                let hint =
                    Spelling.nearest(to: name, among: commands.map { $0.name }).map { "; did you mean \($0)?" } ?? ""
                return usage("there is no command \(name)\(hint)")
            }
            return start(command, words)
        }
    }

    private static func start(_ command: any Command.Type, _ words: some Sequence<String>) -> Int32 {
        let words = Array(words)
        if words.contains("--help") {
            print(command.help)
            return 0
        }
        do {
            return try command.run(words)
        } catch let error as UsageError {
            return usage("\(command.name): \(error.message)")
        } catch {
            complain("\(error)")
            // Threads of the services may still be setting themselves up, in libraries that exit() takes down.
            HostServices.stop()
            return 1
        }
    }

    private static func help(for name: String?) -> Int32 {
        if let name, let command = commands.first(where: { $0.name == name }) {
            print(command.help)
            return 0
        }
        let width = commands.map { $0.name.count }.max() ?? 0
        print(
            """
            vchost answers telephone calls and lets an AI talk.

              vchost --plugins plugins.d --config vchost.ini

            Commands:
            \(commands.map { "  " + $0.name + String(repeating: " ", count: width - $0.name.count + 2) + $0.summary }
                .joined(separator: "\n"))
              version
              help COMMAND

            Exit status: 0 done, 1 it could not be done, 2 the command was not understood.
            """)
        return 0
    }

    private static func usage(_ message: String) -> Int32 {
        complain("\(message)\nvchost help tells the commands.")
        return 2
    }

    static func complain(_ message: String) {
        StandardError.write("vchost: \(message)\n")
    }
}

/// One word behind `vchost`.
protocol Command: Sendable {
    static var name: String { get }
    /// One line for the list of commands.
    static var summary: String { get }
    /// The whole text of `vchost help NAME`.
    static var help: String { get }

    /// Does it, with the words behind the name. Returns the exit status; throws `UsageError` for words that make no
    /// sense, and any other error for what could not be done.
    static func run(_ words: [String]) throws -> Int32
}
