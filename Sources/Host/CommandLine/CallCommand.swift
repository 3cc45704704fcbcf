// `vchost call sip:...`: a call as the caller, with the transcript as it comes and a waterfall for each turn.

import Control
import Glibc
import JSON
import Media
import Providers

enum CallCommand: Command {
    static let name = "call"
    static let summary = "be the caller of an agent, for a test, and show where the time of each turn goes"

    private static let options = [
        Option("--say", "FILE.wav", "what to say, each file when the agent has finished; may be given several times"),
        Option("--script", "FILE.json", "what to say and when, instead of --say (services/demo/caller.json is one)"),
        Option("--sounds", "DIRECTORY", "where the script's sounds are"),
        Option("--record", "OUT.wav", "both sides: the agent left, the caller right"),
        Option("--watch", "SOCKET", "the host's events_socket, for transcript and waterfall"),
        Option("--plugins", "DIRECTORY", "where the SIP plugin is; plugins.d, or those installed"),
        Option("--ring", "SECONDS", "give up without an answer after this time; 20"),
        Option("--json", "one JSON object at the end instead of text as it comes"),
    ]

    static let help = """
        usage: vchost call sip:USER@HOST[:PORT] --say FILE.wav [--record OUT.wav] [--watch SOCKET] [--json]
               vchost call sip:USER@HOST[:PORT] --script FILE.json --sounds DIRECTORY [...]

        Calls as a person would, speaks, and shows what was heard and how long each stage of each answer took. The
        transcript and the stages come from the host that answers, if --watch names its events_socket; how soon the
        agent was heard, and how soon an interruption silenced it, is measured on the caller's side.

        To have a running host call somebody for its agent: `vchost dial`.

        \(Arguments.help(options))

        Exit status: 0 answered, and everything was understood that the script wants understood; 1 not; 2 usage.
        """

    static func run(_ words: [String]) throws -> Int32 {
        let arguments = try Arguments(words, options: options)
        guard arguments.positional.count == 1, let target = arguments.positional.first, target.hasPrefix("sip:") else {
            throw UsageError(message: "name one address, sip:USER@HOST[:PORT]")
        }
        let plan: CallerPlan
        if let script = arguments["--script"] {
            plan = try CallerPlan(script: script, sounds: arguments["--sounds"] ?? ".")
        } else {
            plan = try CallerPlan(saying: arguments.given.filter { $0.name == "--say" }.map(\.value))
        }
        guard let ringS = Int(arguments["--ring"] ?? "20"), (1...600).contains(ringS) else {
            throw UsageError(message: "--ring wants seconds, from 1 to 600")
        }

        // Unique to this call: by it the host's events about us are found.
        let from = "caller-" + String(UInt32.random(in: 0 ... .max), radix: 36)
        var watch = arguments["--watch"].flatMap { EventWatch(socket: $0, from: from) }
        if let path = arguments["--watch"], watch == nil {
            throw SettingsError(.unreadable, "nobody listens at \(path): is the host up?")
        }

        var report = CallReport(plan: plan, isQuiet: arguments.has("--json"))
        report.begin(target)
        let leg = try OutboundLeg(
            to: target, from: from, plugins: arguments["--plugins"] ?? Installation.own.plugins, plugin: "TelephonySIP",
            ringTimeoutMs: ringS * 1_000)
        defer { leg.end() }
        var recorder: StereoRecorder?
        var call = CallRun(plan, leg: leg)
        let outcome = try call.run { stream in
            if recorder == nil, let stream, let path = arguments["--record"] {
                recorder = try StereoRecorder(stream: stream, path: path)
            }
            for event in watch?.take() ?? [] { report.take(event) }
        }
        try recorder?.finish()
        // The host's last words about the call may come after its end.
        for _ in 0..<50 where watch != nil && !report.isComplete {
            usleep(20_000)
            for event in watch?.take() ?? [] { report.take(event) }
        }
        return report.end(outcome, call.results, recording: arguments["--record"])
    }
}
