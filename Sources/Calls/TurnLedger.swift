/// Where the time of each turn went, and whose time it was.
///
///   end of speech ─► end-of-turn decision ─► final text ─► first token ─► first clause ─► first audio ─► first packet
///        endpointing            recogniser        language model     host            voice          playout
///
/// Every latency complaint ends in the question which part was slow. So each stage is stamped once, in the order in
/// which a turn passes it, with its owner; retries and work thrown away are counted beside it. A stage that came before
/// the decision (an early start of the model, say) shows as a negative time, which is what an early start is for.

public enum TurnStage: UInt8, Sendable, CaseIterable {
    case endOfSpeech, endOfTurn, finalText, request, firstToken, firstClause, firstAudio, firstPacket
}

/// A line written the moment it is known; the whole of a turn follows as `.turn`.
public enum LedgerEntry: Sendable, Equatable {
    case stage(turn: Int, TurnStage, at: Instant)
    case bargeIn(turn: Int, heard: String)
    case falseAlarm(turn: Int, pausedMs: Int)
    case repaired(turn: Int)
    case failover(turn: Int, from: Provider, to: Provider?, ProviderFailure)
    case declined(turn: Int, Provider)
    case speculation(turn: Int, kept: Bool)
    case transcript(Transcript)
    case caller(turn: Int, text: String)
    case agent(turn: Int, heard: String, interrupted: Bool)
    case clip(turn: Int, Clip)
    /// A tool has answered, or will not. Without a failure it did what it was asked for.
    case tool(turn: Int, name: String, failure: ToolFailure.Code?, tookMs: Int)
    case turn(TurnRecord)
}

public struct TurnRecord: Sendable, Equatable {
    public var turn: Int
    /// Instants by stage; a stage that was not reached is missing.
    public var stages: [TurnStage: Instant] = [:]
    public var recogniser = ""
    public var languageModel = ""
    public var voice = ""
    public var retries = 0
    public var speculative = false
    public var wastedRequests = 0
    public var interrupted = false
    public var clips = 0

    public init(turn: Int) {
        self.turn = turn
    }

    /// Milliseconds from the end of the caller's speech to `stage`, or nil if either is unknown.
    public func sinceEndOfSpeechMs(_ stage: TurnStage) -> Int? {
        guard let start = stages[.endOfSpeech], let at = stages[stage] else { return nil }
        return at < start ? -start.milliseconds(since: at) : at.milliseconds(since: start)
    }

    /// From the end of the caller's speech to the first sample of an answer that left the host.
    public var responseMs: Int? { sinceEndOfSpeechMs(.firstPacket) }
}

/// Keeps the record of the turn that is going on.
struct TurnLedger: Sendable, Equatable {
    private(set) var current = TurnRecord(turn: 0)
    private var isOpen = false

    /// Starts a turn, and returns the record of the one before if it has not been returned yet.
    mutating func begin(turn: Int) -> TurnRecord? {
        let finished = finish()
        current = TurnRecord(turn: turn)
        isOpen = true
        return finished
    }

    mutating func finish() -> TurnRecord? {
        guard isOpen else { return nil }
        isOpen = false
        return current
    }

    /// Stamps a stage the first time it is reached; nil if it was stamped before.
    mutating func stamp(_ stage: TurnStage, at now: Instant) -> LedgerEntry? {
        guard isOpen, current.stages[stage] == nil else { return nil }
        current.stages[stage] = now
        return .stage(turn: current.turn, stage, at: now)
    }

    mutating func change(_ body: (inout TurnRecord) -> Void) {
        body(&current)
    }
}
