// A dialogue on its way: messages and the time in, messages out.
//
// The one place where the vendor is on a real clock: a signalling plugin brings its own sockets and timers, which
// follow no bench. The machine does not know that; `now` is a parameter, and its tests give it any.

/// One run of a `SignallingScript`.
public struct SignallingDialogue: Sendable {
    public enum State: Sendable, Equatable {
        case running
        case passed
        /// What was awaited at which step, and what came.
        case failed(String)
    }

    public private(set) var state = State.running
    /// What the plugin sent in this dialogue, repetitions left out.
    public private(set) var received: [SignallingMessage] = []
    /// The step that is next, from 0.
    public private(set) var position = 0
    /// When `tick` has to be called; nil: it need not be.
    public private(set) var deadlineNs: UInt64?
    public private(set) var variables: [String: String]

    private let script: SignallingScript
    private var known: Set<String> = []
    private var sent: [String: String] = [:]
    /// Start lines that did not fit, for the report.
    private var refused: [String] = []
    private static let refusedMax = 8

    public init(_ script: SignallingScript, variables: [String: String]) {
        self.script = script
        self.variables = variables
    }

    /// Begins. Returns what is to be sent.
    public mutating func start(nowNs: UInt64) -> [String] { advance(nowNs: nowNs, isDue: false) }

    /// The time has come that `deadlineNs` names.
    public mutating func tick(nowNs: UInt64) -> [String] {
        guard state == .running, let deadlineNs, nowNs >= deadlineNs else { return [] }
        if case .expect(let expectation) = script.steps[position] {
            state = .failed(
                "step \(position): no message that begins with \(expectation.start.source) within "
                    + "\(expectation.withinMs) ms; received: \(summary)")
            self.deadlineNs = nil
            return []
        }
        return advance(nowNs: nowNs, isDue: true)
    }

    /// A message came. Nil: it does not belong to this dialogue.
    public mutating func receive(_ text: String, nowNs: UInt64) -> [String]? {
        // A repetition is answered as the first was.
        if known.contains(text) { return sent[text].map { [$0] } ?? [] }
        guard state == .running, case .expect(let expectation) = script.steps[position],
            let message = SignallingMessage(parsing: text.utf8)
        else { return nil }
        if let found = expectation.match(message, variables) {
            known.insert(text)
            received.append(message)
            variables.merge(found) { _, new in new }
            position += 1
            let answers = advance(nowNs: nowNs, isDue: false)
            sent[text] = answers.first
            return answers
        }
        if expectation.skip.contains(where: { $0.match(message.start, variables) != nil }) {
            known.insert(text)
            received.append(message)
            return []
        }
        if refused.count < Self.refusedMax { refused.append(message.start) }
        return nil
    }

    private var summary: String {
        let others = refused.isEmpty ? "" : "; not awaited: " + refused.joined(separator: ", ")
        return (received.isEmpty ? "nothing" : received.map(\.start).joined(separator: ", ")) + others
    }

    private mutating func advance(nowNs: UInt64, isDue: Bool) -> [String] {
        var isDue = isDue
        var out: [String] = []
        deadlineNs = nil
        while position < script.steps.count {
            switch script.steps[position] {
            case .expect(let expectation):
                deadlineNs = nowNs + UInt64(expectation.withinMs) * 1_000_000
                return out
            case .pause(let ms):
                guard isDue else {
                    deadlineNs = nowNs + UInt64(ms) * 1_000_000
                    return out
                }
            case .send(let lines, let body, let afterMs):
                guard isDue || afterMs == 0 else {
                    deadlineNs = nowNs + UInt64(afterMs) * 1_000_000
                    return out
                }
                out.append(text(of: lines, body))
            case .sendText(let text, let afterMs):
                guard isDue || afterMs == 0 else {
                    deadlineNs = nowNs + UInt64(afterMs) * 1_000_000
                    return out
                }
                out.append(ScriptVariables.fill(text, variables))
            }
            isDue = false
            position += 1
        }
        state = .passed
        return out
    }

    private func text(of lines: [String], _ body: String) -> String {
        let filled = lines.map { ScriptVariables.fill($0, variables) }
        let headers = filled.dropFirst().map { line in
            let colon = line.firstIndex(of: ":")!
            return (name: String(line[..<colon]), value: String(line[line.index(after: colon)...].drop { $0 == " " }))
        }
        return SignallingMessage(
            start: filled[0], headers: Array(headers), body: ScriptVariables.fill(body, variables)
        ).text
    }
}
