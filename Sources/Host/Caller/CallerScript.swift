// When the caller of `vchost call` speaks: a machine of plain values, told what the agent does and what time it is.
//
// A person on the telephone does one of two things: waits until the other has finished, or interrupts. So each turn of
// a script has one of two rules, and a limit after which it is spoken all the same, because a call in which both wait
// for each other would show nothing.

/// One thing that the caller says.
struct CallerTurn: Equatable {
    enum Rule: Equatable {
        /// The agent has spoken since the caller's last turn, and has then been quiet for that long.
        case afterAgentQuiet(ms: Int)
        /// The agent has been speaking for that long.
        case intoAgent(ms: Int)
    }

    var file: String
    var rule: Rule
    /// Since the caller's last turn ended, or the call was answered.
    var timeoutMs: Int
}

struct CallerScript {
    private let turns: [CallerTurn]
    private var next = 0
    /// When the caller last finished speaking, or the call was answered. Nil while the caller speaks.
    private var listeningSinceNs: UInt64?
    private var agentSpeaksSinceNs: UInt64?
    private var agentQuietSinceNs: UInt64?
    /// How long the script waits after its last turn for the agent to end the call.
    static let lastWordMs = 8_000

    init(_ turns: [CallerTurn]) { self.turns = turns }

    enum Action: Equatable { case say(Int), hangUp }

    mutating func answered(at nowNs: UInt64) { listeningSinceNs = nowNs }

    mutating func finishedSpeaking(at nowNs: UInt64) {
        listeningSinceNs = nowNs
        // What the agent said before does not answer what was said now.
        if agentSpeaksSinceNs == nil { agentQuietSinceNs = nil }
    }

    mutating func agent(speaks: Bool, at nowNs: UInt64) {
        if speaks, agentSpeaksSinceNs == nil {
            agentSpeaksSinceNs = nowNs
            agentQuietSinceNs = nil
        } else if !speaks, agentSpeaksSinceNs != nil {
            agentSpeaksSinceNs = nil
            agentQuietSinceNs = nowNs
        }
    }

    /// What to do now, if anything. To be asked every 20 ms.
    mutating func poll(at nowNs: UInt64) -> Action? {
        guard let listeningSinceNs else { return nil }
        let listenedMs = Int((nowNs - listeningSinceNs) / 1_000_000)
        guard next < turns.count else {
            return listenedMs >= Self.lastWordMs || quietMs(at: nowNs) ?? 0 >= 3_000 ? .hangUp : nil
        }
        let turn = turns[next]
        let isDue =
            switch turn.rule {
            case .afterAgentQuiet(let ms): (quietMs(at: nowNs) ?? -1) >= ms
            case .intoAgent(let ms): agentSpeaksSinceNs.map { Int((nowNs - $0) / 1_000_000) >= ms } ?? false
            }
        guard isDue || listenedMs >= turn.timeoutMs else { return nil }
        self.listeningSinceNs = nil
        agentQuietSinceNs = nil
        defer { next += 1 }
        return .say(next)
    }

    private func quietMs(at nowNs: UInt64) -> Int? {
        agentQuietSinceNs.map { Int((nowNs - $0) / 1_000_000) }
    }
}
