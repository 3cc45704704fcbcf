// `vchost plugins`: the work is in `Providers.PluginsCommand`, where it can be tested without a process.

import Glibc
import Providers

enum PluginsCommand: Command {
    static let name = "plugins"
    static let summary = "list the plugins of a directory, begin a new one, pack a manifest into one"
    static let help = Providers.PluginsCommand.help

    static func run(_ words: [String]) throws -> Int32 {
        Providers.PluginsCommand(directory: Installation.own.plugins).run(
            words, output: { print($0, terminator: "") }, errors: { StandardError.write($0) })
    }
}

