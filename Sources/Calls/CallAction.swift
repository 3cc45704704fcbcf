/// Everything a conversation can ask of its driver.
///
/// Actions are carried out in order, at once, on the loop's thread. None returns anything: what comes of it is an
/// event.
public enum CallAction: Sendable, Equatable {
    // Playout.
    case pausePlayout
    case resumePlayout
    /// From now on only `epoch` counts: cancel older work of models and voices, flush older audio, drop older events.
    case startEpoch(UInt64)
    case playClip(Clip, Ticket)

    // Recogniser.
    /// Speech began: send the pre-roll, then every frame, until `endSpeech`.
    case beginSpeech(at: UInt64)
    /// The turn is over and the recogniser need not hear more.
    case endSpeech
    case finalize(Provider, request: UInt64, tentative: Bool)
    case decideTurn(Provider, text: String, position: UInt64)

    // Language model and voice.
    case open(Provider)
    case close(Provider)
    case request(Provider, LanguageModelRequest)
    case runTool(ToolCall, Ticket)
    case toolResult(Provider, Ticket, call: String, json: String)
    case speak(Provider, Ticket, text: String, last: Bool)
    /// A voice was given up in the middle of an epoch: its audio for requests from this number on is refused.
    case abandonSpeech(Provider, fromRequest: UInt64)

    // Time.
    case armTimer(TimerID, at: Instant)
    case cancelTimer(TimerID)

    // Signalling.
    case transfer(to: String)
    case sendDTMF(String)
    case hangUp(HangUpReason)

    // What is left behind.
    case outcome(Provider, ProviderOutcome)
    case note(LedgerEntry)
    case log(CallLogLine)
    /// The call is over. Always the last action of a call, and given exactly once.
    case finish(CallRecord)
}

/// A timer is named by who waits for it. There are no anonymous timers: each owner has at most one of each name, arming
/// it again moves it, and all of them die with the call.
public struct TimerID: Hashable, Sendable {
    public enum Owner: UInt8, Sendable, CaseIterable {
        case endpointing, bargeIn, agent, failover, noInput, keypad, call, driver
    }

    public var owner: Owner
    /// What it is for; the meaning is the owner's.
    public var number: UInt8

    public init(_ owner: Owner, _ number: UInt8 = 0) {
        self.owner = owner
        self.number = number
    }
}

public struct CallLogLine: Sendable, Equatable {
    public enum Level: UInt8, Sendable {
        case debug, info, warning, error
        /// A provider broke its contract. Logged as its fault, never answered by a crash.
        case providerFault
    }

    public var level: Level
    public var message: String

    public init(_ level: Level, _ message: String) {
        self.level = level
        self.message = message
    }
}

/// One line of the history that a language model is given.
public struct Message: Sendable, Equatable {
    public enum Role: UInt8, Sendable {
        case system, caller, agent, tool
    }

    public var role: Role
    public var text: String
    /// Calls that an `agent` message made.
    public var toolCalls: [ToolCall]
    /// For a `tool` message: the call it answers.
    public var toolCallID: String

    public init(_ role: Role, _ text: String, toolCalls: [ToolCall] = [], toolCallID: String = "") {
        self.role = role
        self.text = text
        self.toolCalls = toolCalls
        self.toolCallID = toolCallID
    }
}
