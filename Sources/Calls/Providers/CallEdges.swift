/// The other doors of a call: its audio, its signalling, its tools and its pre-rendered clips.
///
/// As for `ProviderSessions.swift`: called on the loop's thread, answered at once.

/// Who a call is, as far as providers, logs and records need to know.
public struct CallIdentity: Hashable, Sendable {
    /// Unique in this host, and safe to write into a file name.
    public var id: String
    public var profile: String
    public var caller: String
    public var callee: String
    /// The id that the protocol gave it, by which the far end finds it in what we tell: the Call-ID of SIP.
    public var protocolCall: String

    public init(id: String, profile: String, caller: String, callee: String, protocolCall: String = "") {
        self.id = id
        self.profile = profile
        self.caller = caller
        self.callee = callee
        self.protocolCall = protocolCall
    }
}

/// How far playout has come.
public struct PlayoutProgress: Equatable, Sendable {
    /// The newest epoch of which samples were written.
    public var epoch: UInt64
    /// Samples of that epoch that have left the host (or, where the far end plays from a buffer of its own, that it has
    /// reported as played). Never shrinks within an epoch and never counts concealment or silence.
    public var playedSamples: UInt64
    /// Samples of that epoch that wait to be played.
    public var queuedSamples: UInt64

    public init(epoch: UInt64, playedSamples: UInt64, queuedSamples: UInt64) {
        self.epoch = epoch
        self.playedSamples = playedSamples
        self.queuedSamples = queuedSamples
    }
}

/// The media of one call. Implementations share state with a media thread and must not make it wait.
public protocol CallAudio: AnyObject, Sendable {
    /// Rate of the samples given by `drainInbound`, and the unit of every inbound position.
    var inboundRateHz: Int { get }
    /// Rate of the samples taken by `write`, and the unit of every outbound position.
    var outboundRateHz: Int { get }

    /// Appends to the playout and returns how many samples were taken; the rest is offered again later. The playout
    /// should hold at least two seconds. Samples of an epoch older than the one flushed to are taken and dropped.
    func write(_ samples: UnsafeBufferPointer<Int16>, epoch: UInt64) -> Int

    /// No further frame leaves until `resume()`; nothing is lost, and resuming goes on at the exact sample.
    func pausePlayout()
    func resumePlayout()

    /// Drops what is queued of epochs older than `epoch`, here and in the carrier's buffers. No sample of them leaves
    /// after this returns. A paused playout is running again afterwards.
    func flush(olderThan epoch: UInt64)

    func progress() -> PlayoutProgress

    /// Hands over every inbound frame that arrived since the last time, oldest first, with the position of its first
    /// sample. Gaps show as a jump of the position.
    func drainInbound(_ body: (_ samples: UnsafeBufferPointer<Int16>, _ position: UInt64) -> Void)

    /// The call is over; called once.
    func close()
}

/// The signalling of one call. What comes back arrives as `CallEvent`.
public protocol CallTelephony: AnyObject, Sendable {
    /// Called at most once. Not called when the caller hung up first.
    func hangUp(_ reason: HangUpReason)
    /// Answered by `.transferResult`.
    func transfer(to target: String)
    func sendDTMF(_ digits: String)
}

/// Runs the tools that a language model calls.
///
/// Answers by `CallEvent.toolResult`, also where a tool fails: the model should hear why. A tool that acts on the call
/// itself answers with a `CallControl`, which the conversation carries out once what the agent is saying has been
/// heard.
public protocol CallTools: AnyObject, Sendable {
    func run(_ call: ToolCall, ticket: Ticket, for identity: CallIdentity, mailbox: CallMailbox)
}

/// Audio rendered beforehand, which needs no provider: the floor below every failure.
public protocol ClipLibrary: AnyObject, Sendable {
    /// 16-bit mono at `rateHz`, or nil if there is none; then a short tone made in the host is played in its place.
    func samples(of clip: Clip, language: String, rateHz: Int) -> [Int16]?
}

/// What can be played without any provider. The words of each are in `CallPolicy.clipTexts`.
public enum Clip: String, Sendable, CaseIterable {
    /// "One moment, please." Bridges a gap while a provider is slow or replaced.
    case oneMoment
    /// "I did not get that." All language models declined.
    case notUnderstood
    /// "I am sorry, we have a technical problem. Goodbye." The last step of every chain.
    case technicalGoodbye
    /// "Are you still there?"
    case stillThere
    /// "I cannot hear you. Goodbye."
    case goodbye
}

/// Receives what a call leaves behind. May be called from the loop's thread only and must not wait.
public protocol CallObserver: AnyObject, Sendable {
    func note(_ entry: LedgerEntry, of call: CallIdentity)
    func log(_ line: CallLogLine, of call: CallIdentity)
    /// Heard by whoever remembers providers beyond this call.
    func outcome(_ outcome: ProviderOutcome, of provider: Provider, in call: CallIdentity)
    /// The last word of a call.
    func ended(_ record: CallRecord, of call: CallIdentity)
}

extension CallObserver {
    public func outcome(_ outcome: ProviderOutcome, of provider: Provider, in call: CallIdentity) {}
}
