// What can be asked of a running host about its plugins, over the control socket.

import Calls
import Control
import JSON
import Providers

struct PluginControl: Sendable {
    let plugins: LivePlugins
    let health: ProviderHealth
    let version: String

    func handle(_ request: JSONValue, _ answer: @escaping @Sendable (JSONValue) -> Void) {
        switch request["command"]?.string {
        case "plugins":
            answer([
                "ok": true, "version": .string(version), "directory": .string(plugins.directory),
                "plugins": .array(plugins.rows().map(\.json)),
                "providers": .array(health.rows(at: CallLoop.monotonicClock())),
            ])
        case "reload":
            plugins.reload { lines in answer(["ok": true, "lines": .array(lines.map { .string($0) })]) }
        case "pardon":
            guard let name = request["plugin"]?.string, !name.isEmpty else {
                return answer(
                    ControlSocket.failure("pardon needs \"plugin\": an id, a file, or eight digits of a hash"))
            }
            let pardoned = plugins.pardon(name)
            guard !pardoned.isEmpty else {
                return answer(ControlSocket.failure("nothing is remembered against \(name)"))
            }
            answer(["ok": true, "pardoned": .array(pardoned.map { .string($0) })])
        case let other:
            answer(
                ControlSocket.failure(
                    "there is no command \(other ?? "in the request"); there are plugins, reload, pardon and dial"))
        }
    }
}
