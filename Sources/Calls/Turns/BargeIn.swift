/// Decides whether the caller who makes a sound wants the floor.
///
///             sound                    words, or sound that lasts
///   running ─────────► paused ───────────────────────────────────► committed (a new epoch)
///      ▲                  │
///      └──────────────────┘ no words, or only "uh huh": playout goes on at the exact sample
///
/// Pausing costs nothing and is undone without a trace, so it happens at once, within one frame. Only the commit throws
/// work away, so it waits for evidence. While paused no epoch changes: the model and the voice run on. After a question
/// "yes" is an answer and not an acknowledgement.
public struct BargeIn: Sendable, Equatable {
    public struct Policy: Sendable, Equatable {
        public var isEnabled = true
        /// Sound that lasts so long is taken for speech even without words. 0: words only.
        public var commitSpeechMs = 350
        /// An acknowledgement that is still going on after this time is none.
        public var acknowledgementMs = 1_500
        /// Words, other than acknowledgements, that take the floor.
        public var commitWords = 1
        /// Silence without words after which playout goes on.
        public var falseAlarmMs = 800
        /// Digits interrupt as words do.
        public var digitsInterrupt = true

        public init() {}
    }

    enum Output: Sendable, Equatable {
        case pause, commit
        case resume(pausedMs: Int)
        case arm(Instant)
        case disarm
    }

    private struct Pause: Sendable, Equatable {
        var since: Instant
        var silentSince: Instant?
        var words = ""
    }

    let policy: Policy
    let language: Language
    private var pause: Pause?

    init(policy: Policy, language: Language) {
        self.policy = policy
        self.language = language
    }

    var isPaused: Bool { pause != nil }

    /// The caller makes a sound while the agent has the floor.
    mutating func voiceStarted(at now: Instant) -> [Output] {
        guard policy.isEnabled else { return [] }
        if pause != nil {
            pause?.silentSince = nil
            return armForSpeech(from: now)
        }
        pause = Pause(since: now)
        return [.pause] + armForSpeech(from: now)
    }

    private func armForSpeech(from now: Instant) -> [Output] {
        policy.commitSpeechMs > 0 ? [.arm(now.advanced(byMs: policy.commitSpeechMs))] : [.disarm]
    }

    mutating func voiceStopped(endOfSpeech: Instant) -> [Output] {
        guard pause != nil else { return [] }
        pause?.silentSince = endOfSpeech
        return [.arm(endOfSpeech.advanced(byMs: policy.falseAlarmMs))]
    }

    /// The words of the caller's turn so far. They may come without detected sound, where the detector missed it.
    mutating func words(_ words: String, agentAsked: Bool, at now: Instant) -> [Output] {
        guard policy.isEnabled else { return [] }
        pause?.words = words
        guard takesTheFloor(words, agentAsked: agentAsked) else { return [] }
        return commit()
    }

    /// The caller's turn is over. True: it asks for the floor; false: it was an acknowledgement.
    func takesTheFloor(_ words: String, agentAsked: Bool) -> Bool {
        if Words.isBackchannel(words, language) { return agentAsked }
        return Words.list(words, language).count >= max(1, policy.commitWords)
    }

    /// The recogniser found no words, or only an acknowledgement.
    mutating func dismissed(at now: Instant) -> [Output] {
        resume(at: now)
    }

    mutating func timer(agentAsked: Bool, at now: Instant) -> [Output] {
        guard let pause else { return [] }
        if let silentSince = pause.silentSince {
            let due = silentSince.advanced(byMs: policy.falseAlarmMs)
            return now >= due ? resume(at: now) : [.arm(due)]
        }
        if Words.isBackchannel(pause.words, language), !agentAsked {
            let due = pause.since.advanced(byMs: policy.acknowledgementMs)
            return now >= due ? commit() : [.arm(due)]
        }
        return policy.commitSpeechMs > 0 ? commit() : []
    }

    /// The agent no longer has the floor, for whatever reason.
    mutating func reset() -> [Output] {
        guard pause != nil else { return [] }
        pause = nil
        return [.disarm]
    }

    private mutating func commit() -> [Output] {
        pause = nil
        return [.disarm, .commit]
    }

    private mutating func resume(at now: Instant) -> [Output] {
        guard let pause else { return [] }
        self.pause = nil
        return [.disarm, .resume(pausedMs: now.milliseconds(since: pause.since))]
    }
}
