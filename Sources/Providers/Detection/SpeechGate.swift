// From a detector's probabilities to the two facts that a conversation acts on: speech began, speech ended.
//
// Detectors differ in how they find speech, and none of them may differ in how it is declared; so smoothing and
// hangover are here and not in the plugins. Two thresholds (hysteresis), because one threshold chatters at every weak
// syllable; a hold before the start, because a click or a breath is not an interruption; a higher threshold (and hold,
// where wanted) while the agent speaks, because a telephone line returns part of what is played into it and a false
// barge-in costs a pause.
//
// Positions are back-dated: speech begins where its first window did, not where it was believed, and ends after the
// last window that still had speech. Whoever cuts audio for a recogniser needs those, and `examined` besides, which
// says how much time the decision took.
//
// Refused: exponential smoothing of the probabilities (it delays both edges by its time constant; a hold delays one, by
// an amount that can be written down), and a stop time adapted here (that is endpointing, and knows more than sound).

/// Turns the probabilities of one call's windows into starts, pauses and stops of speech.
public struct SpeechGate: Sendable {
    /// What the gate reports. Positions count samples of the call's inbound audio.
    public enum Event: Sendable, Equatable {
        /// Speech began at `position`; the gate had looked as far as `examined` when it was sure.
        case started(position: UInt64, examined: UInt64)
        /// A pause within speech, reported with each of its windows: nothing was said from `speechEnd` on.
        case silence(durationMs: UInt32, speechEnd: UInt64, examined: UInt64)
        /// Speech ended at `speechEnd`; the silence after it reached `stopSilenceMs` at `examined`.
        case stopped(speechEnd: UInt64, examined: UInt64)
    }

    public struct Configuration: Sendable, Equatable {
        /// A window is speech from this probability on.
        public var startThreshold: Float = 0.6
        /// The same while the agent's voice is played out: the echo guard.
        public var startThresholdWhileAgentSpeaks: Float = 0.75
        /// Speech must be this long to count: 64 ms are two windows of 32 ms.
        public var startHoldMs: UInt32 = 64
        /// The same while the agent's voice is played out. No longer by default: what a start causes then is a pause of
        /// the playout, which can be taken back, and 32 ms more would be heard in every interruption.
        public var startHoldMsWhileAgentSpeaks: UInt32 = 64
        /// Speech goes on until the probability falls below this.
        public var endThreshold: Float = 0.35
        /// The silence that ends speech. 200 ms is what a turn detector wants to be asked after.
        public var stopSilenceMs: UInt32 = 200

        public init() {}
    }

    public let configuration: Configuration
    private let samplesPerMs: UInt64

    private enum State {
        case quiet
        /// Perhaps speech: since where, and how many samples of it were above the threshold.
        case candidate(start: UInt64, samplesAbove: UInt64)
        case speaking(speechEnd: UInt64)
    }
    private var state = State.quiet

    /// A gate for a call of `rateHz` samples a second.
    public init(configuration: Configuration = Configuration(), rateHz: Int) {
        precondition(rateHz >= 1000, "a call's rate is 8000 or 16000 Hz, not \(rateHz)")
        self.configuration = configuration
        samplesPerMs = UInt64(rateHz / 1000)
    }

    /// True between `started` and `stopped`.
    public var isSpeaking: Bool {
        if case .speaking = state { true } else { false }
    }

    /// True when nothing suggests speech: neither speaking nor about to.
    public var isQuiet: Bool {
        if case .quiet = state { true } else { false }
    }

    /// Takes the next window, samples `start..<end`. Windows come in order; a gap between them counts as time in which
    /// nothing was heard.
    public mutating func process(
        probability: Float, start: UInt64, end: UInt64, isAgentSpeaking: Bool
    ) -> Event? {
        switch state {
        case .quiet:
            return consider(
                probability, candidateStart: start, samplesAbove: 0, start: start, end: end,
                isAgentSpeaking: isAgentSpeaking)
        case .candidate(let candidateStart, let samplesAbove):
            return consider(
                probability, candidateStart: candidateStart, samplesAbove: samplesAbove, start: start, end: end,
                isAgentSpeaking: isAgentSpeaking)
        case .speaking(let speechEnd):
            return follow(probability, speechEnd: speechEnd, end: end)
        }
    }

    /// The caller was quiet so far: is this the beginning?
    private mutating func consider(
        _ probability: Float, candidateStart: UInt64, samplesAbove: UInt64, start: UInt64, end: UInt64,
        isAgentSpeaking: Bool
    ) -> Event? {
        let threshold =
            isAgentSpeaking ? configuration.startThresholdWhileAgentSpeaks : configuration.startThreshold
        let holdMs = isAgentSpeaking ? configuration.startHoldMsWhileAgentSpeaks : configuration.startHoldMs
        let hold = UInt64(holdMs) * samplesPerMs
        guard probability >= threshold else {
            // A weak window within a beginning neither helps nor harms, unless the beginning drags on or was none.
            if probability < configuration.endThreshold || end - candidateStart > 4 * hold { state = .quiet }
            return nil
        }
        // After a gap the beginning is what comes after it: of what was missed nobody can say that it was speech.
        let isFresh = samplesAbove == 0 || end - candidateStart > 4 * hold + (end - start)
        let beginning = isFresh ? start : candidateStart
        let above = (isFresh ? 0 : samplesAbove) + (end - start)
        guard above >= hold else {
            state = .candidate(start: beginning, samplesAbove: above)
            return nil
        }
        state = .speaking(speechEnd: end)
        return .started(position: beginning, examined: end)
    }

    /// The caller speaks: still?
    private mutating func follow(_ probability: Float, speechEnd: UInt64, end: UInt64) -> Event? {
        if probability >= configuration.endThreshold {
            state = .speaking(speechEnd: end)
            return nil
        }
        let silence = end - speechEnd
        if silence >= UInt64(configuration.stopSilenceMs) * samplesPerMs {
            state = .quiet
            return .stopped(speechEnd: speechEnd, examined: end)
        }
        return .silence(durationMs: UInt32(silence / samplesPerMs), speechEnd: speechEnd, examined: end)
    }
}
