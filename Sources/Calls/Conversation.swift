/// One call's conversation: events and the time in, actions out.
///
///                 voice, words                        the turn has ended
///   caller ──────────────────► Endpointing ───────────────────────────────┐
///                │                  │ eager                               ▼
///                │                  └──────► Speculation ──────────► language model ──► ClauseChunker ─┐
///                ▼                                                  (Failover)                        │
///             BargeIn ── pause, resume ──► playout ◄───────── audio ◄──────── voice (Failover) ◄───────┘
///                │                            │
///                └─ commit ─► a new epoch     └─► HeardText ──► Dialogue (what the model believes it said)
///
///   waiting ──answered──► talking ──goodbye──► ending ──heard, or out of time──► over
///      │                     └──────────────── hung up ─────────────────────────►┘
///      └── a call that went out: busy, refused, nobody there, out of time ──────►┘
///
/// While it is talking the floor belongs to nobody (`agent == nil`: the caller speaks or is awaited) or to the agent.
/// All of the agent's work belongs to the epoch of its turn. The recogniser alone has none.
///
/// It is one value without clock, thread or provider, so that every sequence of events, however absurd, can be played
/// to it in a test. A set of actors was refused: then an order of arrival exists only at run time, and "nothing of an
/// old epoch is heard" is a hope.
///
/// The parts: `Conversation+Caller.swift` hears, `+Agent.swift` speaks, `+Failures.swift` keeps a failure from becoming
/// silence, `+Ending.swift` ends the call.
public struct Conversation: Sendable {
    enum Phase: UInt8, Sendable {
        case waiting, talking, ending, over
    }

    let policy: CallPolicy
    var chains: ProviderChains
    var pendingChains: ProviderChains?
    var phase = Phase.waiting
    var actions: [CallAction] = []
    var armed: Set<TimerID> = []

    // The caller.
    var endpointing: Endpointing
    var bargeIn: BargeIn
    var keypad: Keypad
    var recogniserRequest: UInt64 = 0
    /// Said while the agent could not be interrupted, or before a commit.
    var keptWords = ""
    /// The first half of a turn that was answered too early.
    var withdrawnWords = ""
    /// What was cut off by a sound that turned out to be nothing.
    var cutOff = ""
    var endOfSpeech: Instant?
    var lastWordsAt: Instant?
    var wastedThisTurn = 0
    var isOnHold = false
    var isTransferring = false

    // The agent.
    var agent: AgentTurn?
    var epoch: UInt64 = 0
    var requests: UInt64 = 0
    var turns = 0
    var dialogue = Dialogue()
    var speculation: Speculation
    var contextRepair: ContextRepair
    var noInput: NoInputLadder
    var declinedTurns = 0

    // Providers.
    var recognisers: Failover
    var models: Failover
    var voices: Failover
    var turnDetectors: Failover
    var isOpen: Set<Provider> = []

    // What is left behind.
    var ledger = TurnLedger()
    var record = CallRecord(end: .host(.agentDone))
    var answeredAt: Instant?

    public init(policy: CallPolicy, chains: ProviderChains) {
        self.policy = policy
        self.chains = chains
        endpointing = Endpointing(policy: policy.endpointing, language: policy.language, rateHz: policy.inboundRateHz)
        bargeIn = BargeIn(policy: policy.bargeIn, language: policy.language)
        keypad = Keypad(policy: policy.keypad)
        speculation = Speculation(policy: policy.speculation, language: policy.language)
        contextRepair = ContextRepair(windowMs: policy.contextRepairMs)
        noInput = NoInputLadder(policy: policy.noInput)
        recognisers = Failover(kind: .speechToText, names: chains.speechToText, policy: policy.failover)
        models = Failover(kind: .languageModel, names: chains.languageModel, policy: policy.failover)
        voices = Failover(kind: .textToSpeech, names: chains.textToSpeech, policy: policy.failover)
        turnDetectors = Failover(kind: .turn, names: chains.turn, policy: policy.failover)
    }

    public var isOver: Bool { phase == .over }

    /// The floor is the agent's and the caller hears or awaits it.
    var agentHasFloor: Bool { agent != nil && !bargeIn.isPaused && !isOnHold }

    /// The call exists and is ringing, here or at the callee: sessions are opened while it costs nobody time.
    public mutating func begin(at now: Instant) -> [CallAction] {
        for failover in [recognisers, models, voices, turnDetectors] {
            // A standby that is open already saves the time of opening it when it is needed.
            let ready = failover.names.count { !chains.resting.contains($0) }
            let opened = max(1, min(ready, 1 + policy.failover.warmStandbys))
            for (index, name) in failover.names.prefix(opened).enumerated() {
                open(Provider(kind: failover.kind, index: index, name: name))
            }
        }
        if policy.answerWithinMs > 0 {
            arm(Timers.answer, now.advanced(byMs: policy.answerWithinMs))
        } else {
            armCallMax(at: now)
        }
        return takeActions()
    }

    public mutating func handle(_ event: CallEvent, at now: Instant) -> [CallAction] {
        guard phase != .over else { return [] }
        switch event {
        case .answered: answered(at: now)
        case .hungUp(let cause, let code): hungUp(cause, code, at: now)
        case .end(let reason): end(reason, at: now)
        case .mediaTimeout: end(.mediaTimeout, at: now)
        case .hold(let isHeld): hold(isHeld, at: now)
        case .digit(let digit): self.digit(digit, at: now)
        case .transferResult(let succeeded): transferred(succeeded, at: now)

        case .voice(let event): voice(event, at: now)
        case .transcript(let transcript):
            recognisers.succeeded()
            outcome(recognisers.current, .answered)
            self.transcript(transcript, at: now)
        case .finalized(let request):
            // No proof of health: a session that has heard nothing yet answers too, and one whose server is gone may.
            if request == recogniserRequest { heard(endpointing.finalized(at: now), at: now) }
        case .recogniserTurn(let event): heard(endpointing.turn(event, at: now), at: now)
        case .turnProbability(let probability, _):
            outcome(turnDetectors.current, .answered)
            heard(endpointing.turnProbability(probability, at: now), at: now)

        case .languageModel(let ticket, let event): model(event, ticket, at: now)
        case .speech(let ticket, let event): speech(event, ticket, at: now)
        case .toolResult(let ticket, let call, let result): tool(call, result, ticket, at: now)
        case .playout(let progress): playout(progress, at: now)

        // The driver holds back work until then; nothing is decided by it.
        case .opened: break
        case .failed(let provider, let ticket, let failure): failed(provider, ticket, failure, at: now)
        case .chains(let chains): pendingChains = chains
        case .timer(let timer): fired(timer, at: now)
        }
        return takeActions()
    }

    private mutating func fired(_ timer: TimerID, at now: Instant) {
        guard armed.remove(timer) != nil else { return }
        switch timer.owner {
        case .endpointing:
            heard(endpointing.timer(at: now), at: now)
        case .bargeIn:
            bargedIn(bargeIn.timer(agentAsked: agent?.heard.endsInQuestion ?? false, at: now), at: now)
        case .keypad: typed(keypad.timer(), at: now)
        case .noInput: nobodySpoke(at: now)
        case .agent, .failover: waitedTooLong(timer, at: now)
        case .call: outOfTime(timer, at: now)
        case .driver: break
        }
    }

    // MARK: What every part needs

    mutating func emit(_ action: CallAction) {
        actions.append(action)
    }

    mutating func note(_ entry: LedgerEntry?) {
        if let entry { actions.append(.note(entry)) }
    }

    mutating func outcome(_ provider: Provider?, _ outcome: ProviderOutcome) {
        if let provider { actions.append(.outcome(provider, outcome)) }
    }

    mutating func log(_ level: CallLogLine.Level, _ message: String) {
        actions.append(.log(CallLogLine(level, message)))
    }

    mutating func arm(_ timer: TimerID, _ at: Instant?) {
        guard let at else { return disarm(timer) }
        armed.insert(timer)
        actions.append(.armTimer(timer, at: at))
    }

    mutating func disarm(_ timer: TimerID) {
        guard armed.remove(timer) != nil else { return }
        actions.append(.cancelTimer(timer))
    }

    mutating func open(_ provider: Provider) {
        guard isOpen.insert(provider).inserted else { return }
        actions.append(.open(provider))
    }

    mutating func nextRequest() -> UInt64 {
        requests += 1
        return requests
    }

    private mutating func takeActions() -> [CallAction] {
        var taken: [CallAction] = []
        swap(&taken, &actions)
        return taken
    }
}

/// Every timer of a conversation, by name.
enum Timers {
    static let endpointing = TimerID(.endpointing)
    static let bargeIn = TimerID(.bargeIn)
    static let keypad = TimerID(.keypad)
    static let noInput = TimerID(.noInput)
    /// The caller waits for the agent and hears nothing.
    static let silence = TimerID(.agent, 0)
    static let token = TimerID(.failover, 0)
    static let audio = TimerID(.failover, 1)
    static let tools = TimerID(.failover, 2)
    static let callMax = TimerID(.call, 0)
    static let farewell = TimerID(.call, 1)
    static let holdMax = TimerID(.call, 2)
    static let transfer = TimerID(.call, 3)
    static let answer = TimerID(.call, 4)

    static let ofAgentTurn = [silence, token, audio, tools]
}
