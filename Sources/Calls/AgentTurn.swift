/// What the agent is saying, or is about to.
///
/// One value per epoch. It holds everything that a commit throws away, so throwing it away is one assignment.
struct AgentTurn: Sendable, Equatable {
    enum Kind: UInt8, Sendable {
        /// An answer of the language model.
        case reply
        /// Fixed words: the greeting.
        case fixed
        /// A clip that asks whether anybody is there, or that no model had an answer.
        case prompt
        /// The last words of the call.
        case farewell
    }

    /// Text given to a voice and not yet wholly spoken.
    struct Spoken: Sendable, Equatable {
        var request: UInt64
        var text: String
    }

    /// A tool that was called and has not answered.
    struct OpenTool: Sendable, Equatable {
        var call: String
        var name: String
        var startedAt: Instant
        var deadline: Instant
    }

    let kind: Kind
    let epoch: UInt64
    var isProtected = false
    /// What the caller said; not yet in the history while speculative.
    var callerText = ""

    var languageModel: Provider?
    var modelRequest: UInt64?
    var isModelDone = false
    var hasToken = false
    var receivedBytes = 0
    var openTools: [OpenTool] = []
    var toolCalls = 0
    /// The answer that is coming has called a tool.
    var hasCalled = false
    /// Tool calls that wait for the end of speculation.
    var heldTools: [ToolCall] = []
    /// Clauses that wait for it.
    var heldClauses: [String] = []
    var isSpeculative = false
    var emitted = ""

    var chunker: ClauseChunker
    var voice: Provider?
    /// Speech requests in order of speaking that have not been answered by `done`.
    var speaking: [Spoken] = []
    var speechRequests = 0
    var hasSaidLast = false
    var clips: Set<UInt64> = []
    var bridges = 0

    var heard: HeardText
    var firstHeardAt: Instant?
    /// When the caller last heard something of the agent, or when he began to wait.
    var lastSoundAt: Instant
    /// If nothing is heard until then, a clip is played.
    var nextBridgeAt: Instant
    var isRepairable = true
    /// To be done when everything has been heard.
    var controls: [CallControl] = []
    var hangUpReason: HangUpReason?

    /// Nothing more will come.
    var isSaid: Bool { isModelDone && hasSaidLast && speaking.isEmpty && clips.isEmpty && openTools.isEmpty }

    /// Everything that came was heard.
    var isQuiet: Bool { heard.playedSamples >= heard.totalSamples }
}
