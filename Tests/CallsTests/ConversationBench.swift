@testable import Calls

/// A conversation under a virtual clock, with a playout, a recogniser, models and voices that do as they are told.
///
/// Playout is simulated to the sample: what is heard is recorded with its epoch and the piece of text it came from, so
/// a test can ask what the caller really heard and when he heard nothing.
struct ConversationBench {
    struct Heard: Equatable {
        var epoch: UInt64
        var request: UInt64
        var samples: UInt64
    }

    static let rateHz = 8_000

    var now = Instant(nanoseconds: 1_000_000_000)
    var conversation: Conversation
    var timers: [TimerID: Instant] = [:]
    var actions: [CallAction] = []
    /// Actions not yet looked at by `unseen`.
    private var seen = 0
    private var waiting: [CallAction] = []
    private var isTaking = false
    var inbound: UInt64 = 0

    // Playout.
    var epoch: UInt64 = 0
    var isPaused = false
    var queue: [(request: UInt64, samples: UInt64)] = []
    var played: UInt64 = 0
    var heard: [Heard] = []
    var lastHeardAt: Instant?
    var texts: [UInt64: String] = [:]

    /// Voices speak so fast; nil: they say nothing until told.
    var samplesPerByte: UInt64? = 600
    var record: CallRecord?
    var hangUp: HangUpReason?

    init(_ change: (inout CallPolicy) -> Void = { _ in }, chains: ProviderChains? = nil) {
        var policy = CallPolicy(language: .english)
        change(&policy)
        conversation = Conversation(
            policy: policy,
            chains: chains
                ?? ProviderChains(speechToText: ["s0", "s1"], languageModel: ["l0", "l1"], textToSpeech: ["t0", "t1"]))
        take(conversation.begin(at: now))
    }

    mutating func send(_ event: CallEvent) {
        reportPlayout()
        take(conversation.handle(event, at: now))
    }

    private mutating func reportPlayout() {
        let queued = queue.reduce(0) { $0 + $1.samples }
        let progress = PlayoutProgress(epoch: epoch, playedSamples: played, queuedSamples: queued)
        take(conversation.handle(.playout(progress), at: now))
    }

    /// Actions that follow from an action come after those that were decided before, as in the driver.
    mutating func take(_ new: [CallAction]) {
        waiting += new
        guard !isTaking else { return }
        isTaking = true
        defer { isTaking = false }
        while !waiting.isEmpty {
            let action = waiting.removeFirst()
            actions.append(action)
            switch action {
            case .armTimer(let id, let at): timers[id] = at
            case .cancelTimer(let id): timers[id] = nil
            case .pausePlayout: isPaused = true
            case .resumePlayout: isPaused = false
            case .startEpoch(let new):
                precondition(new > epoch)
                epoch = new
                queue = []
                played = 0
                isPaused = false
            case .playClip(_, let ticket):
                queue.append((ticket.request, 8_000))
                take(conversation.handle(.speech(ticket, .audio(samples: 8_000)), at: now))
                take(conversation.handle(.speech(ticket, .done), at: now))
            case .speak(_, let ticket, let text, _):
                texts[ticket.request] = text
                if samplesPerByte != nil, !text.isEmpty { voice(ticket, text) }
            case .hangUp(let reason): hangUp = reason
            case .finish(let record): self.record = record
            default: break
            }
        }
    }

    mutating func voice(_ ticket: Ticket, _ text: String) {
        guard ticket.epoch == epoch else { return }
        let samples = UInt64(text.utf8.count) * (samplesPerByte ?? 600)
        queue.append((ticket.request, samples))
        take(conversation.handle(.speech(ticket, .audio(samples: Int(samples))), at: now))
        take(conversation.handle(.speech(ticket, .done), at: now))
    }

    /// Lets time pass in frames of 20 ms, firing timers and playing audio.
    mutating func pass(_ milliseconds: Int) {
        var left = milliseconds
        while left > 0 {
            let step = min(20, left)
            left -= step
            now = now.advanced(byMs: step)
            inbound += UInt64(step * Self.rateHz / 1000)
            play(UInt64(step * Self.rateHz / 1000))
            reportPlayout()
            while let due = timers.filter({ $0.value <= now }).min(by: { $0.value < $1.value }) {
                timers[due.key] = nil
                take(conversation.handle(.timer(due.key), at: now))
            }
        }
    }

    private mutating func play(_ samples: UInt64) {
        guard !isPaused else { return }
        var left = samples
        while left > 0, !queue.isEmpty {
            let part = min(left, queue[0].samples)
            heard.append(Heard(epoch: epoch, request: queue[0].request, samples: part))
            lastHeardAt = now
            played += part
            left -= part
            queue[0].samples -= part
            if queue[0].samples == 0 { queue.removeFirst() }
        }
    }

    // MARK: What a caller and providers do

    /// Speech of `milliseconds`, found by the detector at once and its end after 200 ms; the recogniser answers the
    /// tentative request after 60 ms.
    mutating func says(_ text: String, utterance: UInt64, lasting milliseconds: Int = 800) {
        startsSpeaking()
        pass(milliseconds)
        stopsSpeaking(text, utterance: utterance)
    }

    mutating func startsSpeaking() {
        send(.voice(.started(position: inbound)))
    }

    mutating func stopsSpeaking(_ text: String, utterance: UInt64) {
        let end = inbound
        send(.voice(.probability(0.9, position: end)))
        pass(100)
        send(.voice(.probability(0.1, position: inbound)))
        pass(60)
        answer(text, utterance: utterance)
        pass(40)
        send(.voice(.stopped(speechEnd: end, examined: inbound)))
    }

    mutating func answer(_ text: String, utterance: UInt64) {
        guard let request = lastFinalize else { return }
        if !text.isEmpty {
            send(.transcript(Transcript(utterance: utterance, text: text, isFinal: false, stability: 1)))
        }
        send(.finalized(request: request))
    }

    var lastFinalize: UInt64? {
        for case .finalize(_, let request, true) in actions.reversed() { return request }
        return nil
    }

    var lastRequest: (provider: Provider, request: LanguageModelRequest)? {
        for case .request(let provider, let request) in actions.reversed() { return (provider, request) }
        return nil
    }

    mutating func model(_ deltas: String..., done: LanguageModelEvent.Finish? = .stop) {
        guard let ticket = lastRequest?.request.ticket else { return }
        for delta in deltas { send(.languageModel(ticket, .delta(delta))) }
        if let done { send(.languageModel(ticket, .done(done))) }
    }

    /// Actions since the last time this was asked.
    mutating func unseen() -> [CallAction] {
        defer { seen = actions.count }
        return Array(actions[seen...])
    }

    var history: [Message] { conversation.dialogue.messages }

    var notes: [LedgerEntry] {
        actions.compactMap { if case .note(let entry) = $0 { entry } else { nil } }
    }
}
