/// What the world of one call consists of.
public struct CallEdges: Sendable {
    public var audio: any CallAudio
    public var telephony: any CallTelephony
    public var sessions: any SessionFactory
    public var tools: any CallTools
    public var clips: any ClipLibrary
    public var observer: any CallObserver

    public init(
        audio: any CallAudio, telephony: any CallTelephony, sessions: any SessionFactory, tools: any CallTools,
        clips: any ClipLibrary, observer: any CallObserver
    ) {
        self.audio = audio
        self.telephony = telephony
        self.sessions = sessions
        self.tools = tools
        self.clips = clips
        self.observer = observer
    }
}

/// One call: its mailbox, its conversation and its sessions.
///
/// It decides nothing. It feeds the conversation what has arrived, keeps it told how far playout has come, and carries
/// out its actions. What is not plain plumbing is in `CallerSound` and `AgentSound`.
///
/// `@unchecked Sendable`: it is made on one thread, handed to its loop's thread and used there only.
final class Call: @unchecked Sendable {
    private enum Slot {
        /// Being opened; the work that waits for it.
        case opening([CallAction])
        case open(OpenedSession)
    }

    let number: Int
    let identity: CallIdentity
    let mailbox: CallMailbox
    private let edges: CallEdges
    private(set) var conversation: Conversation
    private(set) var isOver = false
    private var slots: [Provider: Slot] = [:]
    private var callerSound: CallerSound
    private var agentSound: AgentSound
    private var speechOf: [UInt64: Provider] = [:]
    private var chains: ProviderChains
    private(set) var lateEvents = 0
    private var waiting: [CallAction] = []
    private var isPerforming = false

    init(number: Int, identity: CallIdentity, policy: CallPolicy, edges: CallEdges, mailbox: CallMailbox) {
        self.number = number
        self.identity = identity
        self.edges = edges
        self.mailbox = mailbox
        var policy = policy
        policy.inboundRateHz = edges.audio.inboundRateHz
        policy.outboundRateHz = edges.audio.outboundRateHz
        chains = edges.sessions.chains(for: identity)
        conversation = Conversation(policy: policy, chains: chains)
        callerSound = CallerSound(rateHz: policy.inboundRateHz, preRollMs: policy.preRollMs)
        agentSound = AgentSound(rateHz: policy.outboundRateHz)
    }

    // MARK: Called by the loop

    func begin(at now: Instant, timers: inout LoopTimers) {
        perform(conversation.begin(at: now), at: now, timers: &timers)
    }

    func takeMail(at now: Instant, timers: inout LoopTimers) {
        if mailbox.takeInbound() { hear() }
        for item in mailbox.takeItems() where !isOver {
            switch item {
            case .event(let event): handle(event, at: now, timers: &timers)
            case .audio(let maker, let ticket, let samples): speak(samples, maker, ticket, at: now, timers: &timers)
            case .opened(let provider, let session): opened(provider, session, at: now, timers: &timers)
            }
        }
    }

    func fired(_ timer: TimerID, at now: Instant, timers: inout LoopTimers) {
        guard !isOver else { return }
        lookAtPlayout(at: now, timers: &timers)
        if timer.owner == .driver {
            agentSound.pump(into: edges.audio, epoch: conversation.epoch)
            pollPlayout(at: now, timers: &timers)
        } else {
            perform(conversation.handle(.timer(timer), at: now), at: now, timers: &timers)
        }
    }

    // MARK: Events

    private func handle(_ event: CallEvent, at now: Instant, timers: inout LoopTimers) {
        if let epoch = event.epoch, epoch < conversation.epoch {
            // It was queued before the epoch ended.
            lateEvents += 1
            return
        }
        // The greeting is a turn too, and the telephone may have rung for long.
        if case .answered = event { lookAtChains(at: now, timers: &timers) }
        // What was heard must be known before anything is decided.
        lookAtPlayout(at: now, timers: &timers)
        if case .speech(let ticket, .done) = event { speechOf[ticket.request] = nil }
        perform(conversation.handle(event, at: now), at: now, timers: &timers)
    }

    private func lookAtPlayout(at now: Instant, timers: inout LoopTimers) {
        guard conversation.agent != nil else { return }
        let progress = edges.audio.progress()
        guard progress.epoch == conversation.epoch else { return }
        let played = agentSound.advanced(to: progress.playedSamples)
        if played > 0 { mailbox.released(samples: played) }
        returnCredit()
        perform(conversation.handle(.playout(progress), at: now), at: now, timers: &timers)
    }

    private func returnCredit() {
        for (maker, samples) in agentSound.takeCredit() {
            for voice in [maker, conversation.agent?.voice] {
                guard let voice, case .open(.textToSpeech(let session)) = slots[voice] else { continue }
                session.credit(samples: samples)
                break
            }
        }
    }

    private func speak(
        _ samples: [Int16], _ maker: Provider, _ ticket: Ticket, at now: Instant, timers: inout LoopTimers
    ) {
        guard ticket.epoch == conversation.epoch, speechOf[ticket.request] == maker else {
            lateEvents += 1
            if ticket.epoch == conversation.epoch { mailbox.released(samples: samples.count) }
            agentSound.refused(samples.count, from: maker)
            return returnCredit()
        }
        play(samples, maker, ticket, at: now, timers: &timers)
    }

    private func play(
        _ samples: [Int16], _ maker: Provider?, _ ticket: Ticket, at now: Instant, timers: inout LoopTimers
    ) {
        agentSound.append(samples, from: maker)
        agentSound.pump(into: edges.audio, epoch: conversation.epoch)
        perform(conversation.handle(.speech(ticket, .audio(samples: samples.count)), at: now), at: now, timers: &timers)
        pollPlayout(at: now, timers: &timers)
    }

    private func pollPlayout(at now: Instant, timers: inout LoopTimers) {
        guard agentSound.isPlaying, !isOver else { return }
        timers.arm(.init(call: number, id: TimerID(.driver)), at: now.advanced(byMs: CallLimits.playoutPollMs))
    }

    /// Moves what the caller said from the media engine to the recogniser.
    private func hear() {
        let recogniser = recogniser
        var detector: (any TurnSession)?
        if let provider = conversation.turnDetectors.current, case .open(.turn(let session)) = slots[provider] {
            detector = session
        }
        edges.audio.drainInbound { samples, position in
            callerSound.frame(samples, at: position, to: recogniser)
            _ = detector?.push(samples, at: position)
        }
    }

    private var recogniser: (any SpeechToTextSession)? {
        guard let provider = conversation.recognisers.current, case .open(.speechToText(let session)) = slots[provider]
        else { return nil }
        return session
    }

    // MARK: Sessions

    private func opened(_ provider: Provider, _ session: OpenedSession, at now: Instant, timers: inout LoopTimers) {
        guard case .opening(let waiting) = slots[provider], session.kind == provider.kind else {
            // Nobody waits for it any more, or it is not what was asked for.
            return session.close()
        }
        slots[provider] = .open(session)
        if provider == conversation.recognisers.current, let recogniser { callerSound.ready(recogniser) }
        perform(conversation.handle(.opened(provider), at: now), at: now, timers: &timers)
        perform(waiting.filter { ($0.epoch ?? .max) >= conversation.epoch }, at: now, timers: &timers)
    }

    private func open(_ provider: Provider) {
        guard slots[provider] == nil else { return }
        slots[provider] = .opening([])
        edges.sessions.open(
            provider, for: identity, inboundRateHz: edges.audio.inboundRateHz,
            outboundRateHz: edges.audio.outboundRateHz, mailbox: mailbox)
    }

    private func close(_ provider: Provider) {
        if case .open(let session) = slots[provider] { session.close() }
        slots[provider] = nil
        agentSound.closed(provider)
    }

    /// Hands work to a session, or keeps it until the session is open.
    private func with(_ provider: Provider, _ action: CallAction, _ body: (OpenedSession) -> Void) {
        switch slots[provider] {
        case .open(let session): body(session)
        case .opening(var waiting):
            if waiting.count < CallLimits.opensPending { waiting.append(action) }
            slots[provider] = .opening(waiting)
        case nil: break
        }
    }

    // MARK: Actions

    /// An action may have consequences that are known at once (a clip is spoken when it is written). Their actions come
    /// after those that were decided before them: carried out in between, a timer could be cancelled before it is
    /// armed.
    private func perform(_ actions: [CallAction], at now: Instant, timers: inout LoopTimers) {
        waiting += actions
        guard !isPerforming else { return }
        isPerforming = true
        defer { isPerforming = false }
        var next = 0
        while next < waiting.count, !isOver {
            perform(waiting[next], at: now, timers: &timers)
            next += 1
        }
        waiting = []
    }

    private func perform(_ action: CallAction, at now: Instant, timers: inout LoopTimers) {
        switch action {
        case .pausePlayout: edges.audio.pausePlayout()
        case .resumePlayout: edges.audio.resumePlayout()
        case .startEpoch(let epoch): startEpoch(epoch)
        case .playClip(let clip, let ticket): play(clip, ticket, at: now, timers: &timers)
        case .beginSpeech(let position):
            hear()
            callerSound.begin(at: position, recogniser)
            // A recogniser that finds the ends of turns itself is never asked to finalize.
            lookAtChains(at: now, timers: &timers)
        case .endSpeech: callerSound.end()
        case .finalize(let provider, let request, let tentative):
            hear()
            with(provider, action) { $0.speechToText?.finalize(request: request, tentative: tentative) }
            if tentative { lookAtChains(at: now, timers: &timers) }
        case .decideTurn(let provider, let text, let position):
            with(provider, action) { $0.turn?.decide(text: text, at: position) }
        case .open(let provider): open(provider)
        case .close(let provider): close(provider)
        case .request(let provider, let request): with(provider, action) { $0.languageModel?.request(request) }
        case .runTool(let call, let ticket):
            edges.tools.run(call, ticket: ticket, for: identity, mailbox: mailbox)
        case .toolResult(let provider, let ticket, let call, let json):
            with(provider, action) { $0.languageModel?.toolResult(ticket, call: call, json: json) }
        case .speak(let provider, let ticket, let text, let last):
            speechOf[ticket.request] = provider
            with(provider, action) { $0.textToSpeech?.speak(ticket, text: text, last: last) }
        case .abandonSpeech(let provider, let first):
            speechOf = speechOf.filter { $0.key < first || $0.value != provider }
        case .armTimer(let timer, let at): timers.arm(.init(call: number, id: timer), at: at)
        case .cancelTimer(let timer): timers.cancel(.init(call: number, id: timer))
        case .transfer(let target): edges.telephony.transfer(to: target)
        case .sendDTMF(let digits): edges.telephony.sendDTMF(digits)
        case .hangUp(let reason): edges.telephony.hangUp(reason)
        case .outcome(let provider, let outcome): edges.observer.outcome(outcome, of: provider, in: identity)
        case .note(let entry): edges.observer.note(entry, of: identity)
        case .log(let line): edges.observer.log(line, of: identity)
        case .finish(let record): finish(record, timers: &timers)
        }
    }

    /// The order matters: first nothing old can come in, then nothing old can go out, then the work itself stops.
    private func startEpoch(_ epoch: UInt64) {
        mailbox.advance(to: epoch)
        edges.audio.flush(olderThan: epoch)
        agentSound.startEpoch()
        speechOf = [:]
        for case .open(let session) in slots.values {
            session.textToSpeech?.cancel(olderThan: epoch)
            session.languageModel?.cancel(olderThan: epoch)
        }
        returnCredit()
    }

    private func play(_ clip: Clip, _ ticket: Ticket, at now: Instant, timers: inout LoopTimers) {
        let rateHz = edges.audio.outboundRateHz
        let language = conversation.policy.language.tag
        var samples = edges.clips.samples(of: clip, language: language, rateHz: rateHz) ?? []
        if samples.isEmpty {
            samples = FallbackTone.samples(rateHz: rateHz)
            edges.observer.log(
                CallLogLine(.warning, "no clip \(clip.rawValue) for \(language): a tone is played"), of: identity)
        }
        play(samples, nil, ticket, at: now, timers: &timers)
        perform(conversation.handle(.speech(ticket, .done), at: now), at: now, timers: &timers)
    }

    private func lookAtChains(at now: Instant, timers: inout LoopTimers) {
        let current = edges.sessions.chains(for: identity)
        guard current != chains else { return }
        chains = current
        perform(conversation.handle(.chains(current), at: now), at: now, timers: &timers)
    }

    private func finish(_ record: CallRecord, timers: inout LoopTimers) {
        isOver = true
        timers.cancelAll(of: number)
        for slot in slots.values {
            if case .open(let session) = slot { session.close() }
        }
        slots = [:]
        edges.audio.close()
        // Sessions that arrive from here on are refused with `.stale` and closed by their factory; those that had
        // arrived and were not looked at are closed here.
        for case .opened(_, let session) in mailbox.close() { session.close() }
        edges.observer.ended(record, of: identity)
    }
}

extension OpenedSession {
    var kind: ProviderKind {
        switch self {
        case .speechToText: .speechToText
        case .languageModel: .languageModel
        case .textToSpeech: .textToSpeech
        case .turn: .turn
        }
    }

    var speechToText: (any SpeechToTextSession)? {
        if case .speechToText(let session) = self { session } else { nil }
    }

    var languageModel: (any LanguageModelSession)? {
        if case .languageModel(let session) = self { session } else { nil }
    }

    var textToSpeech: (any TextToSpeechSession)? {
        if case .textToSpeech(let session) = self { session } else { nil }
    }

    var turn: (any TurnSession)? {
        if case .turn(let session) = self { session } else { nil }
    }

    func close() {
        switch self {
        case .speechToText(let session): session.close()
        case .languageModel(let session): session.close()
        case .textToSpeech(let session): session.close()
        case .turn(let session): session.close()
        }
    }
}

extension CallAction {
    /// The epoch of work that waits for a session, nil for work without one.
    var epoch: UInt64? {
        switch self {
        case .request(_, let request): request.ticket.epoch
        case .speak(_, let ticket, _, _), .toolResult(_, let ticket, _, _): ticket.epoch
        default: nil
        }
    }
}
