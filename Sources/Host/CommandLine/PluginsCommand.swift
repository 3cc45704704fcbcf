// `vchost plugins`: the work is in `Providers.PluginsCommand`, where it can be tested without a process.

import Glibc
import Providers

enum PluginsCommand: Command {
    static let name = "plugins"
    static let summary = "list the plugins of a directory, or pack a manifest into one"
    static let help = Providers.PluginsCommand.help

    static func run(_ words: [String]) throws -> Int32 {
        Providers.PluginsCommand(directory: "plugins.d").run(
            words, output: { print($0, terminator: "") }, errors: { StandardError.write($0) })
    }
}

/// Commands that the host gives itself; they are in no help text.
enum Probe {
    /// `vchost __probe PATH` opens a foreign library in a process that may die of it. Nil for any other name.
    static func run(_ name: String, _ words: some Sequence<String>) -> Int32? {
        guard name == "__probe", let path = Array(words).first else { return nil }
        PluginProbe.child(path: path)
    }
}
