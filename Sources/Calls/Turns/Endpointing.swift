/// Finds the end of the caller's turn.
///
///             speech            100 ms silence         text is in            deadline
///   quiet ───────────► speaking ──────────────► pause ───────────► waiting ─────────► ended
///                         ▲                       │                   │
///                         └───────────────────────┴───────────────────┘ speech: the same turn goes on
///
/// All deadlines are anchored at the end of speech and not at whatever noticed it, so a slow recogniser does not also
/// slow the decision. The recogniser is asked tentatively while the decision is still open: its time and the waiting
/// overlap. How long to wait depends on what is there: a whole sentence waits little, "my number is" waits longer, and
/// digits being dictated wait longest. A recogniser or a model that knows better overrides the timers, in that order.
public struct Endpointing: Sendable, Equatable {
    public struct Policy: Sendable, Equatable {
        /// Silence after which the recogniser is asked while the caller may still go on.
        public var tentativeMs = 100
        /// Silence that ends a turn whose text looks complete.
        public var completeMs = 320
        /// Silence that ends a turn whose text does not.
        public var incompleteMs = 700
        /// Silence that ends a turn in which digits are dictated.
        public var digitsMs = 1_500
        /// Silence that ends a turn that the `turn` provider believes unfinished.
        public var unlikelyMs = 1_200
        /// The `turn` provider's probability from which a turn is believed finished.
        public var turnThreshold: Float = 0.5
        /// Probability of speech under which a window counts as silent.
        public var silenceThreshold: Float = 0.35
        /// The recogniser's answer is not awaited longer than this after the end of speech.
        public var recogniserMs = 2_500
        /// A detector that never reports an end is not believed longer than this.
        public var speechMaxMs = 30_000
        /// Whether the recogniser's own end of turn ends the turn.
        public var trustsRecogniserTurns = true

        public init() {}
    }

    enum Output: Sendable, Equatable {
        case begin(at: UInt64)
        case finalize(tentative: Bool)
        /// The detector has not said so yet, but the sound has ceased; and after all it goes on.
        case fellSilent
        case wentOn
        case askTurn(text: String, at: UInt64)
        case arm(Instant)
        case disarm
        /// Probably over, with this text: the language model may start.
        case eager(String)
        /// The caller goes on: an eager end was wrong.
        case resumed
        /// The words so far, for the barge-in.
        case words(String)
        case ended(String, endOfSpeech: Instant)
        /// There were no words: a cough, or a door. `answered` tells whether the recogniser has said so itself.
        case discarded(answered: Bool)
    }

    let policy: Policy
    let language: Language
    let rateHz: Int

    private(set) var isSpeaking = false
    private(set) var isOpen = false
    private var startedAt = Instant.origin
    private var endOfSpeech: Instant?
    private var endPosition: UInt64 = 0
    private var lastLoud: UInt64?
    private var pieces: [(utterance: UInt64, text: String, isFinal: Bool)] = []
    private var newestUtterance: UInt64 = 0
    private var closedUtterance: UInt64?
    private var hasAskedTentatively = false
    private var isAnswered = false
    private var hasGivenEager = false
    private var likelihood: Float?
    private(set) var droppedTranscripts = 0
    private(set) var unanswered = 0

    init(policy: Policy, language: Language, rateHz: Int) {
        self.policy = policy
        self.language = language
        self.rateHz = rateHz
    }

    /// The words of the turn so far.
    var text: String {
        pieces.map(\.text).joined(separator: " ")
    }

    var isWaitingForRecogniser: Bool { isOpen && !isSpeaking && hasAskedTentatively && !isAnswered }

    // MARK: Sound

    mutating func voice(_ event: VoiceEvent, at now: Instant) -> [Output] {
        switch event {
        case .started(let position):
            guard !isSpeaking else { return [] }
            isSpeaking = true
            isOpen = true
            startedAt = now
            lastLoud = nil
            return [.begin(at: position)] + goOn() + [.arm(now.advanced(byMs: policy.speechMaxMs))]
        case .probability(let value, let position):
            guard isSpeaking else { return [] }
            if value >= policy.silenceThreshold {
                lastLoud = position
                return hasAskedTentatively ? goOn() : []
            }
            guard let lastLoud, position > lastLoud, milliseconds(position - lastLoud) >= policy.tentativeMs,
                !hasAskedTentatively
            else { return [] }
            hasAskedTentatively = true
            return [.fellSilent, .finalize(tentative: true)]
        case .stopped(let speechEnd, let examined):
            guard isSpeaking else { return [] }
            let silenceMs = examined > speechEnd ? milliseconds(examined - speechEnd) : 0
            return stop(at: now.advanced(byMs: -min(silenceMs, 5_000)), position: speechEnd, now: now)
        }
    }

    private mutating func stop(at end: Instant, position: UInt64, now: Instant) -> [Output] {
        isSpeaking = false
        endOfSpeech = max(end, startedAt)
        endPosition = position
        var outputs: [Output] = []
        if !hasAskedTentatively {
            hasAskedTentatively = true
            outputs.append(.finalize(tentative: true))
        }
        outputs.append(.askTurn(text: text, at: position))
        return outputs + decide(at: now)
    }

    /// The pause was none.
    private mutating func goOn() -> [Output] {
        endOfSpeech = nil
        hasAskedTentatively = false
        isAnswered = false
        likelihood = nil
        defer { hasGivenEager = false }
        return hasGivenEager ? [.wentOn, .resumed] : [.wentOn]
    }

    // MARK: Words

    mutating func transcript(_ transcript: Transcript, at now: Instant) -> [Output] {
        if let closedUtterance, transcript.utterance <= closedUtterance {
            droppedTranscripts += 1
            return []
        }
        newestUtterance = max(newestUtterance, transcript.utterance)
        let words = transcript.text.trimmed
        if let index = pieces.firstIndex(where: { $0.utterance == transcript.utterance }) {
            guard !pieces[index].isFinal || transcript.isFinal else { return [] }
            pieces[index] = (transcript.utterance, words, transcript.isFinal)
        } else if !words.isEmpty, text.utf8.count + words.utf8.count <= CallLimits.callerTurnBytesMax {
            pieces.append((transcript.utterance, words, transcript.isFinal))
        }
        pieces.removeAll { $0.text.isEmpty }
        guard !pieces.isEmpty else { return decide(at: now) }
        // Words without detected speech: the recogniser heard what the detector missed. Its silence begins now.
        if !isOpen || (!isSpeaking && endOfSpeech == nil) {
            isOpen = true
            endOfSpeech = now
            hasAskedTentatively = true
        }
        if transcript.isFinal, !isSpeaking { isAnswered = true }
        return [.words(text)] + eager() + decide(at: now)
    }

    /// The recogniser has answered the newest request.
    mutating func finalized(at now: Instant) -> [Output] {
        guard isOpen, hasAskedTentatively else { return [] }
        isAnswered = true
        unanswered = 0
        return eager() + decide(at: now)
    }

    mutating func turn(_ event: RecogniserTurn, at now: Instant) -> [Output] {
        switch event {
        case .started:
            return []
        case .eagerEnd(let words, let utterance):
            guard !isOver(utterance) else { return [] }
            take(words, of: utterance)
            guard !text.isEmpty, !hasGivenEager else { return [] }
            hasGivenEager = true
            return [.words(text), .eager(text)]
        case .resumed:
            return goOn()
        case .ended(let words, let utterance):
            guard policy.trustsRecogniserTurns, !isOver(utterance) else { return [] }
            take(words, of: utterance)
            guard !text.isEmpty else { return [] }
            let spoken = text
            return [.words(spoken)] + end(at: now)
        }
    }

    mutating func turnProbability(_ probability: Float, at now: Instant) -> [Output] {
        likelihood = probability
        return decide(at: now)
    }

    mutating func forgiveSilence() {
        unanswered = 0
    }

    /// The recogniser was lost with what it had heard.
    mutating func recogniserLost(at now: Instant) -> [Output] {
        newestUtterance = 0
        closedUtterance = nil
        isAnswered = isAnswered || !pieces.isEmpty
        // The turn was over, and its words will never come: nothing is gained by waiting for them.
        if isOpen, !isSpeaking, endOfSpeech != nil, text.isEmpty {
            close()
            return [.disarm, .discarded(answered: false)]
        }
        return decide(at: now)
    }

    mutating func timer(at now: Instant) -> [Output] {
        if isSpeaking {
            guard now.milliseconds(since: startedAt) >= policy.speechMaxMs else { return [] }
            return stop(at: now, position: lastLoud ?? endPosition, now: now)
        }
        return decide(at: now)
    }

    /// Forgets the turn that is open.
    mutating func reset() {
        close()
        isSpeaking = false
    }

    // MARK: The decision

    private mutating func eager() -> [Output] {
        guard isAnswered, !hasGivenEager, !text.isEmpty, looksComplete else { return [] }
        hasGivenEager = true
        return [.eager(text)]
    }

    private mutating func decide(at now: Instant) -> [Output] {
        guard isOpen, !isSpeaking, let endOfSpeech else { return [] }
        let deadline: Instant
        if isAnswered {
            if text.isEmpty {
                close()
                return [.disarm, .discarded(answered: true)]
            }
            deadline = endOfSpeech.advanced(byMs: waitMs)
        } else {
            deadline = endOfSpeech.advanced(byMs: policy.recogniserMs)
        }
        guard now >= deadline else { return [.arm(deadline)] }
        if !isAnswered { unanswered += 1 }
        if text.isEmpty {
            close()
            return [.disarm, .discarded(answered: false)]
        }
        return end(at: now)
    }

    private mutating func end(at now: Instant) -> [Output] {
        let ended = Output.ended(text, endOfSpeech: endOfSpeech ?? now)
        close()
        isSpeaking = false
        return [.disarm, .finalize(tentative: false), ended]
    }

    private mutating func close() {
        if !pieces.isEmpty { closedUtterance = newestUtterance }
        isOpen = false
        pieces = []
        endOfSpeech = nil
        hasAskedTentatively = false
        isAnswered = false
        hasGivenEager = false
        likelihood = nil
    }

    private var waitMs: Int {
        if let likelihood { return likelihood >= policy.turnThreshold ? policy.completeMs : policy.unlikelyMs }
        let words = Words.list(text, language)
        if isDictatingDigits(words) { return policy.digitsMs }
        return looksComplete ? policy.completeMs : policy.incompleteMs
    }

    /// Two or more digits at the end: a number that may go on.
    private func isDictatingDigits(_ words: [String]) -> Bool {
        let digits = words.reversed().prefix { word in
            word.allSatisfy(\.isNumber) || language.digitWords.contains(word)
        }
        let count = digits.reduce(0) { $0 + ($1.allSatisfy(\.isNumber) ? $1.count : 1) }
        return count >= 2
    }

    private var looksComplete: Bool {
        guard let last = text.last(where: { !$0.isWhitespace }) else { return false }
        if last == "," || last == "-" || last == "…" || text.hasSuffix("...") { return false }
        if last == "?" || last == "!" { return true }
        guard let word = Words.list(text, language).last else { return false }
        return !language.hangingWords.contains(word)
    }

    /// The turn in which it was said has ended without the recogniser, and was answered: a second time it would be a
    /// second question.
    private mutating func isOver(_ utterance: UInt64) -> Bool {
        guard utterance != 0, let closedUtterance, utterance <= closedUtterance else { return false }
        droppedTranscripts += 1
        return true
    }

    private mutating func take(_ words: String, of utterance: UInt64) {
        let words = words.trimmed
        guard !words.isEmpty else { return }
        isOpen = true
        newestUtterance = max(newestUtterance, utterance)
        pieces = [(newestUtterance, words, true)]
    }

    private func milliseconds(_ samples: UInt64) -> Int {
        Int(samples * 1000 / UInt64(rateHz))
    }

    public static func == (one: Endpointing, other: Endpointing) -> Bool {
        one.text == other.text && one.isSpeaking == other.isSpeaking && one.isOpen == other.isOpen
    }
}

extension String {
    /// Without white space at both ends.
    var trimmed: String {
        guard let start = firstIndex(where: { !$0.isWhitespace }), let end = lastIndex(where: { !$0.isWhitespace })
        else { return "" }
        return String(self[start...end])
    }
}
