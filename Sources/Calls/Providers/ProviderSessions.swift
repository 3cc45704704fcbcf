/// What a call needs from the world, and nothing of how it is had.
///
/// These are the only doors between a conversation and its providers. The module above implements them over the C line
/// (`Sources/PluginABI`), tests implement them with scripts. Three rules hold for every method here:
///   - it is called on the loop's thread and answers at once; what takes time is reported to the call's `CallMailbox`,
///     from any thread;
///   - it never calls back into the mailbox while it runs, except where said;
///   - a report carries the ticket (epoch and request) of what it answers, and a report of an older epoch is refused by
///     the mailbox, so that an implementation needs no bookkeeping of its own to be correct after a barge-in.
///
/// A session belongs to one call. It may be used until `close()`, which is called once and last.

/// Names one piece of work: the epoch it belongs to, and its number within the call.
///
/// Numbers only grow, over all epochs of a call, so a late report can never be taken for a newer one.
public struct Ticket: Hashable, Sendable {
    public var epoch: UInt64
    public var request: UInt64

    public init(epoch: UInt64, request: UInt64) {
        self.epoch = epoch
        self.request = request
    }
}

/// What became of something handed over.
public enum Handover: Sendable, Equatable {
    case accepted
    /// No room now, and nothing was taken. The caller of the method counts it and may try again later.
    case full
}

/// A recogniser that listens to one caller for the whole call.
///
/// It has no epochs: a barge-in never cancels it, because it is hearing the one who barges in.
/// Its reports are `CallEvent.transcript`, `.finalized`, `.recogniserTurn` and `.failed`.
public protocol SpeechToTextSession: AnyObject, Sendable {
    /// True: it hears every sample of the call, silence too, as a recogniser with a turn detector of its own must.
    /// False: it hears only speech, each stretch of it with `CallPolicy.preRollMs` before its detected start.
    var wantsSilence: Bool { get }

    /// A stretch of speech begins; the next `push` starts at `position` (samples of the inbound stream).
    /// Not called when `wantsSilence`.
    func begin(at position: UInt64)

    /// Hears 16-bit mono samples at `CallAudio.inboundRateHz`. The memory is the caller's and is lent for the call
    /// only. `.full` means that the samples were not taken; the driver counts and drops them.
    func push(_ samples: UnsafeBufferPointer<Int16>, at position: UInt64) -> Handover

    /// Asks for the text of everything pushed so far; answered by transcripts and one `.finalized(request)`.
    ///
    /// - Parameter tentative: the speech may go on and the utterance stays open. A recogniser that cannot do that
    ///   answers `.finalized` with the best text it has. When a final request follows a tentative one and no speech was
    ///   pushed between them, the earlier result should be given again rather than computed again.
    func finalize(request: UInt64, tentative: Bool)

    func close()
}

/// A language model that answers in one call.
///
/// Its reports are `CallEvent.languageModel(ticket, …)`.
public protocol LanguageModelSession: AnyObject, Sendable {
    func request(_ request: LanguageModelRequest)

    /// The result of a tool call that the model made under `ticket`; the model goes on under the same ticket.
    func toolResult(_ ticket: Ticket, call: String, json: String)

    /// Nothing older than `epoch` matters any more. Idempotent; must return within a millisecond.
    func cancel(olderThan epoch: UInt64)

    func close()
}

public struct LanguageModelRequest: Sendable, Equatable {
    public var ticket: Ticket
    public var messages: [Message]
    /// True while it is not certain that the caller has finished. For accounts and priorities only: the conversation
    /// itself withholds what must not happen early.
    public var speculative: Bool

    public init(ticket: Ticket, messages: [Message], speculative: Bool) {
        self.ticket = ticket
        self.messages = messages
        self.speculative = speculative
    }
}

/// A voice that speaks in one call.
///
/// Its reports are `CallMailbox.audio(…)` for samples and `CallEvent.speech(ticket, …)` for the rest. Requests of one
/// epoch are spoken in the order in which they were made and never interleave.
public protocol TextToSpeechSession: AnyObject, Sendable {
    /// Speaks `text`. `last` says that no more text follows in this epoch, so nothing need be held back for prosody.
    /// `text` may be empty when `last` is true: everything was said already.
    func speak(_ ticket: Ticket, text: String, last: Bool)

    /// There is room for so many more samples (at the rate asked for at `open`) than before.
    func credit(samples: Int)

    /// Nothing older than `epoch` matters any more. Idempotent; must return within a millisecond.
    func cancel(olderThan epoch: UInt64)

    func close()
}

/// A model that judges from the sound and the words whether the caller has finished.
///
/// Its report is `CallEvent.turnProbability`.
public protocol TurnSession: AnyObject, Sendable {
    func push(_ samples: UnsafeBufferPointer<Int16>, at position: UInt64) -> Handover
    /// How likely is it that the turn has ended at `position`? `text` is the best transcript so far, or empty.
    func decide(text: String, at position: UInt64)
    func close()
}

/// A session just opened, for `CallMailbox.opened(_:_:)`.
public enum OpenedSession: Sendable {
    case speechToText(any SpeechToTextSession)
    case languageModel(any LanguageModelSession)
    case textToSpeech(any TextToSpeechSession)
    case turn(any TurnSession)
}

/// Opens sessions for calls.
public protocol SessionFactory: AnyObject, Sendable {
    /// The providers of this call's profile as they are configured now. Asked at the start of each agent turn, so a
    /// change of the configuration reaches a live call at its next turn.
    func chains(for call: CallIdentity) -> ProviderChains

    /// Opens a session and reports it by `mailbox.opened(provider, session)`, or the failure by
    /// `mailbox.failed(provider, nil, failure)`. May report before it returns. If the call has ended meanwhile the
    /// mailbox answers `.stale` and the factory closes the session itself.
    ///
    /// - Parameter outboundRateHz: the rate of the samples that a voice must deliver.
    func open(
        _ provider: Provider, for call: CallIdentity, inboundRateHz: Int, outboundRateHz: Int, mailbox: CallMailbox)
}
