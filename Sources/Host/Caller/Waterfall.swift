// Where the time of a turn went, drawn: one bar for each stage, its owner beside it.
//
//     end of speech ─► end of turn ─► final text ─► first token ─► first clause ─► first audio ─► first packet
//
// Stages may come before the end of the turn was decided, when the recogniser or the model was started early; a bar
// then begins left of where the one above it ended, which is just what an early start looks like.

import JSON

struct Waterfall {
    struct Span: Equatable {
        let title: String
        let owner: String
        let fromMs: Int
        let toMs: Int
    }

    let turn: Int
    let spans: [Span]
    let isInterrupted: Bool

    /// The title of each stage and whose time it was, in the order in which a turn passes them.
    private static let stages: [(stage: String, title: String, owner: @Sendable (JSONValue) -> String)] = [
        ("endOfTurn", "end of turn", { _ in "endpointing" }),
        ("finalText", "final text", { _ in "recogniser" }),
        ("firstToken", "first token", { $0["languageModel"]?.string ?? "language model" }),
        ("firstClause", "first clause", { _ in "host" }),
        ("firstAudio", "first audio", { $0["voice"]?.string ?? "voice" }),
        ("firstPacket", "first packet", { _ in "playout" }),
    ]

    /// From the `turn` event of the host; nil for a turn without an answer.
    init?(_ event: JSONValue) {
        guard let number = event["turn"]?.integer, let stages = event["stagesMs"],
            stages["firstPacket"]?.integer != nil
        else { return nil }
        turn = Int(number)
        isInterrupted = event["interrupted"]?.bool ?? false
        var spans: [Span] = []
        var before = 0
        for (stage, title, owner) in Self.stages {
            guard let at = stages[stage]?.integer.map({ Int($0) }) else { continue }
            spans.append(Span(title: title, owner: owner(event), fromMs: min(before, at), toMs: at))
            before = max(before, at)
        }
        self.spans = spans
    }

    /// From the end of the caller's speech to the first packet of the answer.
    var responseMs: Int { spans.last?.toMs ?? 0 }

    /// Lines for a terminal of 80 columns.
    func drawn() -> [String] {
        let columns = 36
        let end = max(1, spans.map(\.toMs).max() ?? 1)
        let start = min(0, spans.map(\.fromMs).min() ?? 0)
        let titleWidth = spans.map(\.title.count).max() ?? 0
        let ownerWidth = spans.map(\.owner.count).max() ?? 0
        return spans.map { span in
            let left = (span.fromMs - start) * columns / (end - start)
            let width = max(1, (span.toMs - start) * columns / (end - start) - left)
            let bar = String(repeating: " ", count: left) + String(repeating: "▇", count: width)
            return "    " + Self.pad(span.title, titleWidth) + "  " + Self.pad(span.owner, ownerWidth) + "  "
                + Self.pad(bar, columns + 1) + String(repeating: " ", count: max(0, 6 - "\(span.toMs)".count))
                + "\(span.toMs) ms"
        }
    }

    private static func pad(_ text: String, _ width: Int) -> String {
        text + String(repeating: " ", count: max(0, width - text.count))
    }
}
