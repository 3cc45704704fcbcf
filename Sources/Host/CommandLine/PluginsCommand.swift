// `vchost plugins`: the work is in `Providers.PluginsCommand`, where it can be tested without a process.

import Control
import Glibc
import JSON
import Providers

enum PluginsCommand: Command {
    static let name = "plugins"
    static let summary = "list plugins, begin a new one, reload or pardon those of a running host, pack a manifest"
    static let help = Providers.PluginsCommand.help

    static func run(_ words: [String]) throws -> Int32 {
        let sources = try? ConfigurationSources(config: nil, plugins: nil)
        let socket = sources?.configuration.text("vchost", "control_socket") ?? ""
        return Providers.PluginsCommand(
            directory: Installation.own.plugins, stateDirectory: sources?.stateDirectory ?? StateDirectory.path(),
            hostVersion: VCHost.version, socket: socket.isEmpty ? nil : socket, ask: ask
        ).run(
            words, output: { print($0, terminator: "") }, errors: { StandardError.write($0) })
    }

    /// Trying a plugin out and starting it may take as long as loading a model.
    private static let timeoutMs = 120_000

    @Sendable private static func ask(
        _ socket: String, _ request: JSONValue
    ) -> Result<JSONValue, Providers.PluginsCommand.Unreachable> {
        do throws(SettingsError) {
            return .success(try ControlClient.ask(socket, request, timeoutMs: timeoutMs))
        } catch {
            return .failure(Providers.PluginsCommand.Unreachable(error.message))
        }
    }
}
