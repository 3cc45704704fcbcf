/// How a conversation behaves: all that a profile may set, with its unit and default.
///
/// One value, read when a call begins and never changed in it, so that a call can be replayed from its policy and its
/// events. Providers are not here; they may change from turn to turn (`ProviderChains`).
public struct CallPolicy: Sendable, Equatable {
    public var language = Language.english
    /// The first message of every request to a language model.
    public var systemPrompt = ""
    /// Said to the next model when one failed in the middle of an answer.
    public var continuePrompt = "Your answer was cut off. Go on exactly where it stopped and repeat nothing."
    /// Rate of the inbound stream, in which positions count. Set from the call's audio when the call begins.
    public var inboundRateHz = 8_000
    public var outboundRateHz = 8_000
    /// Speech sent to the recogniser from before its detected start, so that no first syllable is lost.
    public var preRollMs = 500

    public var greeting = Greeting.Policy()
    public var endpointing = Endpointing.Policy()
    public var bargeIn = BargeIn.Policy()
    public var speculation = Speculation.Policy()
    public var chunking = ClauseChunker.Policy()
    public var failover = Failover.Policy()
    public var noInput = NoInputLadder.Policy()
    public var keypad = Keypad.Policy()
    public var tools = ToolPolicy()

    /// The caller goes on within this time after the agent began to speak: what he says belongs to the same turn.
    /// 0 switches context repair off.
    public var contextRepairMs = 1_500
    /// Time that what has left the host takes to the caller's ear: network, jitter buffer and handset.
    public var earDelayMs = 150
    /// A call that goes out is given up when it was not answered within this time. 0: the call came in, and is answered
    /// by us.
    public var answerWithinMs = 0
    /// The longest call, from the answer where it went out. 0: no limit.
    public var callMaxMs = 3_600_000
    /// A call on hold ends after this time.
    public var holdMaxMs = 600_000

    /// The words of the pre-rendered clips, for the history and the transcript.
    public var clipTexts: [Clip: String] = [:]

    public init() {}

    public init(language: Language) {
        self.language = language
        clipTexts = language.clipTexts
    }

    func clipText(_ clip: Clip) -> String {
        clipTexts[clip] ?? language.clipTexts[clip] ?? ""
    }
}
