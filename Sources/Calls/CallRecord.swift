/// What remains of a call when it is over.
///
/// Enough to answer "what happened in this call?" without a recording: both sides as they were heard, why it ended, and
/// what each turn cost. Written once, by the last action of a call.
public struct CallRecord: Sendable, Equatable {
    public enum End: Sendable, Equatable {
        case farEnd(HangUpCause)
        case host(HangUpReason)
    }

    public struct Line: Sendable, Equatable {
        public enum Speaker: UInt8, Sendable {
            case caller, agent
        }

        public var speaker: Speaker
        /// For the agent: what the caller has heard of it.
        public var text: String
        /// True if the agent was cut short here.
        public var interrupted: Bool
        public var atMs: Int

        public init(speaker: Speaker, text: String, interrupted: Bool, atMs: Int) {
            self.speaker = speaker
            self.text = text
            self.interrupted = interrupted
            self.atMs = atMs
        }
    }

    public var end: End
    /// The protocol's word for a far end's end: a SIP status, or 0.
    public var code = 0
    public var durationMs = 0
    public var lines: [Line] = []
    public var turns: [TurnRecord] = []
    public var callerTurns = 0
    public var agentTurns = 0
    public var bargeIns = 0
    public var falseAlarms = 0
    public var contextRepairs = 0
    public var speculations = 0
    public var speculationsWasted = 0
    public var failovers = 0
    public var declines = 0
    public var promptTokens = 0
    public var completionTokens = 0
    public var digits = ""
    /// Lines and turns beyond their bound that were not kept.
    public var dropped = 0

    public init(end: End) {
        self.end = end
    }
}
