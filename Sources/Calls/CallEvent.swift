/// Everything that can happen to a call.
///
/// One closed list instead of a protocol per source: the conversation is a function of this list and of time, so a call
/// can be replayed from its events, and a property test can draw from all of them.
public enum CallEvent: Sendable {
    // Signalling.
    /// Media flows both ways; the agent may speak.
    case answered
    /// `code` is the protocol's, a SIP status or 0: of a call that went out and was not answered it says why.
    case hungUp(HangUpCause, code: Int = 0)
    /// The far end put the call on hold (true) or took it back.
    case hold(Bool)
    /// No packet has arrived for as long as the media engine tolerates.
    case mediaTimeout
    case digit(Character)
    case transferResult(succeeded: Bool)

    // The caller's sound. Positions are samples of the inbound stream.
    case voice(VoiceEvent)
    /// Probability (0…1) that the turn has ended at `position`.
    case turnProbability(Float, position: UInt64)

    // The recogniser.
    case transcript(Transcript)
    case finalized(request: UInt64)
    case recogniserTurn(RecogniserTurn)

    // The language model and the voice.
    case languageModel(Ticket, LanguageModelEvent)
    case speech(Ticket, SpeechEvent)
    case toolResult(Ticket, call: String, ToolResult)

    // Providers as such.
    case opened(Provider)
    /// With a ticket: that request failed. Without: the session as a whole is lost, or could not be opened.
    case failed(Provider, Ticket?, ProviderFailure)
    /// The configuration changed; taken up at the next turn.
    case chains(ProviderChains)

    // Made by the driver.
    case playout(PlayoutProgress)
    case timer(TimerID)
    /// The operator, or a host that shuts down, ends the call.
    case end(HangUpReason)
}

/// What the voice activity detector found.
public enum VoiceEvent: Sendable, Equatable {
    /// Speech began at `position`.
    case started(position: UInt64)
    /// Speech ended at `speechEnd`; the detector had looked as far as `examined` when it was sure (some 200 ms later).
    case stopped(speechEnd: UInt64, examined: UInt64)
    /// Probability of speech in the window that ends at `position`. Optional, yet with it the tentative recognition
    /// begins after 100 ms of silence instead of after the detector's own stop.
    case probability(Float, position: UInt64)
}

public struct Transcript: Sendable, Equatable {
    /// Number that the recogniser gave the utterance; grows within a call.
    public var utterance: UInt64
    /// Text of the whole utterance so far; replaces what came before for it.
    public var text: String
    /// Samples of the inbound stream; `end` is 0 if the recogniser does not know.
    public var start: UInt64
    public var end: UInt64
    public var isFinal: Bool
    /// How unlikely a change is, 0…1.
    public var stability: Float
    /// 0…1, or nil if unknown.
    public var confidence: Float?
    /// BCP 47, or empty if not detected.
    public var language: String

    public init(
        utterance: UInt64, text: String, start: UInt64 = 0, end: UInt64 = 0, isFinal: Bool,
        stability: Float = 0, confidence: Float? = nil, language: String = ""
    ) {
        self.utterance = utterance
        self.text = text
        self.start = start
        self.end = end
        self.isFinal = isFinal
        self.stability = stability
        self.confidence = confidence
        self.language = language
    }
}

/// The end-of-turn detection of a recogniser that has its own. It proposes; the conversation decides.
///
/// `utterance` is the recogniser's number of it, 0 when it has none: an opinion on a turn that is over comes too late.
public enum RecogniserTurn: Sendable, Equatable {
    case started
    /// Probably over. `text` may be empty when a transcript said it already.
    case eagerEnd(text: String, utterance: UInt64 = 0)
    /// The eager end was wrong: the caller goes on.
    case resumed
    case ended(text: String, utterance: UInt64 = 0)
}

public enum LanguageModelEvent: Sendable, Equatable {
    case delta(String)
    case toolCall(ToolCall)
    case usage(promptTokens: Int, completionTokens: Int)
    case done(Finish)

    public enum Finish: UInt8, Sendable {
        case stop, length, toolCalls
        /// "Not mine, ask the next in the chain." Legal only before the first delta.
        case declined
        case canceled
    }
}

public struct ToolCall: Sendable, Equatable {
    public var id: String
    public var name: String
    /// A JSON object.
    public var arguments: String

    public init(id: String, name: String, arguments: String) {
        self.id = id
        self.name = name
        self.arguments = arguments
    }
}

public enum ToolResult: Sendable, Equatable {
    case json(String)
    /// The tool acts on the call itself; the model is told `{"ok":true}`.
    case control(CallControl)
    /// The model is told why, in the place of a result.
    case failed(ToolFailure)
}

public enum CallControl: Sendable, Equatable {
    case hangUp
    case transfer(to: String)
    case sendDTMF(String)
}

public enum SpeechEvent: Sendable, Equatable {
    /// So many samples entered the call's audio. Made by the driver out of `CallMailbox.audio`.
    case audio(samples: Int)
    case mark(SpeechMark)
    case done
}

/// The voice says that a stretch of the text begins at a place of the audio.
public struct SpeechMark: Sendable, Equatable {
    /// UTF-8 offsets in the text of the request.
    public var textStart: Int
    public var textEnd: Int
    /// Samples of the request's audio before the stretch begins to sound.
    public var position: UInt64
    /// The sample after its last; 0 when the voice does not say.
    public var end: UInt64

    public init(textStart: Int, textEnd: Int, position: UInt64, end: UInt64 = 0) {
        self.textStart = textStart
        self.textEnd = textEnd
        self.position = position
        self.end = end
    }
}

/// Why the far end, or the network, ended the call. The last three are of a call that went out and was not answered.
public enum HangUpCause: UInt8, Sendable {
    case caller, network, rejected, transferred
    case busy, noAnswer
    /// There was no way to the callee: no such place, or a network that failed.
    case unreachable
}

/// Why this host ends the call.
public enum HangUpReason: UInt8, Sendable {
    case agentDone, noInput, providersFailed, mediaTimeout, limit, operatorRequest, shutdown, transferred
    /// A callee who was called did not answer in time.
    case noAnswer
}
