// What `vchost call` prints: the transcript as it comes, each turn's waterfall, and at the end whether everything was
// understood that the script wants understood.

import JSON

struct CallReport {
    private let plan: CallerPlan
    private let isQuiet: Bool
    private var transcript: [(speaker: String, text: String, interrupted: Bool)] = []
    private(set) var waterfalls: [Waterfall] = []
    private var events: [JSONValue] = []
    private(set) var isComplete = false

    init(plan: CallerPlan, isQuiet: Bool) {
        self.plan = plan
        self.isQuiet = isQuiet
    }

    func begin(_ target: String) { say("calling \(target)") }

    /// An event of the host about our call.
    mutating func take(_ event: JSONValue) {
        events.append(event)
        switch event["event"]?.string {
        case "incoming": say("answered by [profile.\(event["profile"]?.string ?? "?")]\n")
        case "caller": line("caller", event["text"]?.string ?? "", interrupted: false)
        case "agent":
            let heard = event["heard"]?.string ?? ""
            let interrupted = event["interrupted"]?.bool ?? false
            if !heard.isEmpty || interrupted { line("agent", heard, interrupted: interrupted) }
        case "clip": say("  agent   [\(event["clip"]?.string ?? "")]")
        case "failover":
            say("          \(event["from"]?.string ?? "?") failed: \(event["reason"]?.string ?? "")")
        case "turn":
            guard let waterfall = Waterfall(event), !waterfalls.contains(where: { $0.turn == waterfall.turn }) else { return }
            waterfalls.append(waterfall)
            say(waterfall.drawn().joined(separator: "\n") + "\n")
        case "ended": isComplete = true
        default: break
        }
    }

    private mutating func line(_ speaker: String, _ text: String, interrupted: Bool) {
        transcript.append((speaker, text, interrupted))
        say("  \(speaker == "caller" ? "caller" : "agent ")  \(text)\(interrupted ? " —  (interrupted)" : "")")
    }

    /// The summary. Returns the command's exit status.
    mutating func end(_ outcome: CallRun.Outcome, _ results: [CallRun.TurnResult], recording: String?) -> Int32 {
        var problems: [String] = []
        switch outcome {
        case .notAnswered(let why): problems.append("not answered: \(why)")
        case .tooLong: problems.append("the call did not end by itself")
        case .ended: break
        }
        let heard = transcript.filter { $0.speaker == "caller" }.map { $0.text.lowercased() }.joined(separator: " | ")
        if !events.isEmpty {
            for turn in plan.turns {
                for part in turn.hears where !heard.contains(part) {
                    problems.append("\(turn.id): \"\(part)\" was said and is not in the transcript")
                }
            }
            if plan.turns.contains(where: { if case .intoAgent = $0.rule { true } else { false } }),
                !transcript.contains(where: { $0.speaker == "agent" && $0.interrupted })
            {
                problems.append("the interruption did not stop the agent")
            }
        }
        let responses = waterfalls.filter { !$0.spans.isEmpty }.map(\.responseMs).sorted()
        let median = responses.isEmpty ? nil : responses[responses.count / 2]
        if isQuiet {
            StandardOutput.write(json(outcome, results, problems, median, recording).text + "\n")
        } else {
            summarise(results, problems, median, recording)
        }
        return problems.isEmpty ? 0 : 1
    }

    private func summarise(
        _ results: [CallRun.TurnResult], _ problems: [String], _ median: Int?, _ recording: String?
    ) {
        if let median { say("response, end of speech to first packet: median \(median) ms of \(waterfalls.count) turns") }
        for result in results {
            if let answer = result.answerMs { say("  \(pad(result.id)) answer heard after \(answer) ms") }
            if let silenced = result.silencedMs { say("  \(pad(result.id)) silenced the agent within \(silenced) ms") }
        }
        if let recording { say("recording of both sides: \(recording)") }
        for problem in problems { StandardError.write("vchost call: \(problem)\n") }
    }

    private func pad(_ id: String) -> String {
        let width = plan.turns.map(\.id.count).max() ?? 0
        return id + String(repeating: " ", count: max(0, width - id.count))
    }

    private func json(
        _ outcome: CallRun.Outcome, _ results: [CallRun.TurnResult], _ problems: [String], _ median: Int?, _ recording: String?
    ) -> JSONValue {
        func number(_ value: Int?) -> JSONValue { value.map { .integer(Int64($0)) } ?? .null }
        return [
            "outcome": .string("\(outcome)"), "problems": .array(problems.map { .string($0) }),
            "medianResponseMs": number(median), "recording": recording.map { .string($0) } ?? .null,
            "turns": .array(
                results.map { ["id": .string($0.id), "answerMs": number($0.answerMs), "silencedMs": number($0.silencedMs)] }),
            "events": .array(events),
        ]
    }

    private func say(_ text: String) { if !isQuiet { StandardOutput.write(text + "\n") } }
}
