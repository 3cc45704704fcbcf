// `vchost dial`: has a running host call somebody, and its agent talk to whoever answers. `vchost call` is the other
// end: there this program is the person, and the host is called.

import Control
import Glibc
import JSON

enum DialCommand: Command {
    static let name = "dial"
    static let summary = "have a running host call somebody, for its agent to talk to"

    private static let options = [
        Option("--from", "ADDRESS", "as whom the host calls; what the provider's section says"),
        Option("--profile", "NAME", "the agent that talks; the default profile"),
        Option("--ring-timeout", "SECONDS", "give up without an answer after this time; 30"),
        Option("--wait", "until the call is over, and say how it ended"),
        Option("--host", "SOCKET", "the host's control_socket; that of the configuration"),
        Option("--config", "FILE", "the configuration of that host; vchost.ini"),
        Option("--json", "the host's answer as it came"),
    ]

    static let help = """
        usage: vchost dial PROVIDER TO [--from ADDRESS] [--profile NAME] [--ring-timeout SECONDS] [--wait] [--json]

        Asks a running host to call TO by its section PROVIDER (telephony.NAME). When somebody answers, the agent
        greets and talks as in a call that came in. Prints the call's id, by which the host's events and log tell what
        becomes of it; the call goes on whether or not this command does.

        It places a call for the agent. To be the person that an agent talks to, for a test: `vchost call`.

        \(Arguments.help(options))

        Exit status: 0 the host calls, with --wait: it was answered; 1 not, and standard error says why; 2 usage.
        """

    /// The longest call that a profile allows is a day; a host that answers nothing within ten seconds is stuck.
    private static let waitMs = 90_000_000
    private static let answerMs = 10_000

    static func run(_ words: [String]) throws -> Int32 {
        let arguments = try Arguments(words, options: options)
        guard arguments.positional.count == 2 else {
            throw UsageError(
                message: "name the provider and whom to call: vchost dial telephony.sip sip:desk@example.org")
        }
        var request: [String: JSONValue] = [
            "command": "dial", "provider": .string(arguments.positional[0]), "to": .string(arguments.positional[1]),
            "from": .string(arguments["--from"] ?? ""), "profile": .string(arguments["--profile"] ?? ""),
        ]
        if let text = arguments["--ring-timeout"] {
            guard let seconds = Int(text), (1...600).contains(seconds) else {
                throw UsageError(message: "--ring-timeout wants seconds, from 1 to 600")
            }
            request["ringTimeoutMs"] = .integer(Int64(seconds) * 1_000)
        }
        let waits = arguments.has("--wait")
        if waits { request["wait"] = true }
        let answer = try ControlClient.ask(
            socket(arguments), .object(request), timeoutMs: waits ? waitMs : answerMs)
        return report(answer, waits: waits, asJSON: arguments.has("--json"))
    }

    private static func socket(_ arguments: Arguments) throws -> String {
        if let path = arguments["--host"] { return path }
        let configuration = try ConfigurationSources(config: arguments["--config"], plugins: nil).configuration
        let path = configuration.text("vchost", "control_socket")
        guard !path.isEmpty else {
            throw SettingsError(
                .invalid, "the host cannot be asked: set [vchost] control_socket, or name its socket with --host")
        }
        return path
    }

    private static func report(_ answer: JSONValue, waits: Bool, asJSON: Bool) -> Int32 {
        let isDone = answer["ok"]?.bool == true
        if asJSON {
            StandardOutput.write(answer.text + "\n")
        } else if !isDone {
            StandardError.write("vchost: dial: \(answer["error"]?.string ?? "the host refused")\n")
        } else if waits {
            StandardOutput.write(sentence(answer) + "\n")
        } else {
            StandardOutput.write((answer["call"]?.string ?? "") + "\n")
        }
        return isDone && (!waits || answer["answered"]?.bool == true) ? 0 : 1
    }

    /// "toup3u-1 farEnd.busy 486 Busy Here", "toup3u-2 farEnd.caller after 12 s".
    private static func sentence(_ end: JSONValue) -> String {
        var words = [end["call"]?.string ?? "", end["end"]?.string ?? ""]
        if let code = end["code"]?.integer, code != 0 { words.append("\(code)") }
        if let reason = end["reason"]?.string, !reason.isEmpty { words.append(reason) }
        if end["answered"]?.bool == true { words.append("after \((end["durationMs"]?.integer ?? 0) / 1_000) s") }
        return words.joined(separator: " ")
    }
}
