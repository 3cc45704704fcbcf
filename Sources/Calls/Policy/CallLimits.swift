/// Every bound of a call, with its reason.
///
/// These protect the host and are not settings: what an operator may choose is in `CallPolicy`. A bound that is hit is
/// counted and answered, never a crash.
public enum CallLimits {
    /// Audio that a voice may be ahead of the listener: enough to ride out a stall of a provider, and never more than
    /// this to throw away at a barge-in.
    public static let speechAheadMs = 2_000

    /// The longest piece of audio taken at once: voices that synthesise a sentence in one go stay below it.
    public static let speechChunkMs = 30_000

    /// Events waiting for a call. At 100 events a second this is forty seconds of a loop that stands still.
    public static let mailboxEvents = 4_096

    /// Room that only signalling may use, so that a flood of tokens cannot hide a hang-up.
    public static let mailboxSignallingReserve = 256

    /// Inbound sound kept for a recogniser that is not open yet, or is being replaced.
    public static let recogniserBacklogMs = 5_000

    /// Work kept for a session that is still being opened; more than a turn can ask for.
    public static let opensPending = 256

    /// How often playout is looked at while the agent speaks: one frame.
    public static let playoutPollMs = 20

    /// Text of one clause given to a voice. Voices degrade or refuse beyond some 500 characters, and a listener should
    /// not wait for more than one such piece to be synthesised.
    public static let clauseBytesMax = 400

    /// Text of one agent turn. Some four minutes of speech; a model that runs on is stopped here.
    public static let agentTurnBytesMax = 4_000

    /// Text of one turn of the caller; beyond it the oldest words are kept and the newest dropped.
    public static let callerTurnBytesMax = 4_000

    /// Turns kept in the history for the language model, and their text. Older turns leave in pairs.
    public static let dialogueMessagesMax = 200
    public static let dialogueBytesMax = 48_000

    /// Tool calls within one agent turn: a model that calls tools in a circle is stopped here.
    public static let toolCallsPerTurn = 8

    /// Speech requests of one agent turn.
    public static let speechRequestsPerTurn = 200

    /// Marks kept per speech request: one per word of the longest clause.
    public static let marksPerRequest = 256

    /// Digits collected for one keypad entry.
    public static let keypadDigits = 32

    /// From the decision to hang up to the end of the call: a goodbye has this long to be heard.
    public static let farewellMs = 12_000

    /// A transfer is answered within this time, or has failed.
    public static let transferMs = 30_000

    /// Attempts of all providers of a kind within one agent turn, over the whole chain.
    public static let attemptsPerTurn = 8
}
