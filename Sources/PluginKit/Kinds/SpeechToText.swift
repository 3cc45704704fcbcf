// Recognisers: the caller's audio in, words out.

import PluginABI

/// A provider of speech recognition.
public protocol SpeechToText: Provider {
    associatedtype Session: SpeechToTextSession
    /// Opens the session of one call. Answers at once.
    func open(_ host: SpeechToTextHost) throws(PluginError) -> Session
}

/// Whether a frame was taken.
public enum Intake: Sendable, Equatable {
    case taken
    /// No room; the host offers it again, and drops the oldest after 200 ms.
    case full
}

/// A recogniser in one call. It lives as long as the call: a barge-in does not cancel it.
public protocol SpeechToTextSession: ProviderSession {
    /// The caller's utterance of this number begins at `position`, which may lie in audio that was pushed already.
    /// Audio before it is needed no more. A recogniser that finds utterances by itself leaves this out.
    func begin(utterance: UInt64, at position: UInt64)

    /// Takes 20 ms of the caller's audio, in order.
    func push(_ frame: borrowing AudioFrame) -> Intake

    /// Asks for the final text of the utterance. `request` is answered now or later: `emit`, if anything was said, and
    /// then `finish` or `fail`, once.
    func finalize(_ request: Finalization)
}

extension SpeechToTextSession {
    public func begin(utterance: UInt64, at position: UInt64) {}
}

/// Words of the caller. Positions are samples of the session.
public struct Transcript: Sendable, Equatable {
    /// A word and where it was said.
    public struct Word: Sendable, Equatable {
        public var text: String
        public var start: UInt64
        public var end: UInt64
        /// 0 ... 1; nil when unknown.
        public var confidence: Float?

        public init(_ text: String, start: UInt64, end: UInt64, confidence: Float? = nil) {
            self.text = text
            self.start = start
            self.end = end
            self.confidence = confidence
        }
    }

    public var text: String
    public var utterance: UInt64
    /// Where the text begins.
    public var start: UInt64
    /// Up to where audio was used.
    public var end: UInt64
    /// What was recognised, BCP 47, or empty.
    public var language: String
    /// 0 ... 1; nil when unknown.
    public var confidence: Float?
    /// Of a partial, 0 ... 1; nil when unknown.
    public var stability: Float?
    public var words: [Word]

    public init(
        _ text: String, utterance: UInt64, start: UInt64, end: UInt64, language: String = "", confidence: Float? = nil,
        stability: Float? = nil, words: [Word] = []
    ) {
        self.text = text
        self.utterance = utterance
        self.start = start
        self.end = end
        self.language = language
        self.confidence = confidence
        self.stability = stability
        self.words = words
    }
}

/// The opinion on the turn of a recogniser that has `"turns": true` in its manifest.
public struct RecogniserTurn: Sendable, Equatable {
    public enum Kind: UInt32, Sendable { case start = 1, eagerEnd = 2, resumed = 3, end = 4 }
    public var kind: Kind
    public var utterance: UInt64
    public var position: UInt64
    public var text: String
    public var confidence: Float?

    public init(_ kind: Kind, utterance: UInt64, position: UInt64, text: String = "", confidence: Float? = nil) {
        self.kind = kind
        self.utterance = utterance
        self.position = position
        self.text = text
        self.confidence = confidence
    }
}

/// What a recogniser says without being asked.
public enum SpeechToTextEvent: Sendable, Equatable {
    /// Replaces the partial before it.
    case partial(Transcript)
    /// Never taken back.
    case final(Transcript)
    case turn(RecogniserTurn)
}

/// The host, as a session of a recogniser sees it.
public final class SpeechToTextHost: SessionHost, @unchecked Sendable {
    @discardableResult
    public func emit(_ event: SpeechToTextEvent) -> Outcome {
        switch event {
        case .partial(let transcript): post(.transcript(transcript, isFinal: false), epoch: epoch, request: 0)
        case .final(let transcript): post(.transcript(transcript, isFinal: true), epoch: epoch, request: 0)
        case .turn(let turn): post(.recogniserTurn(turn), epoch: epoch, request: 0)
        }
    }
}

/// The host wants the final text of the utterance up to a position.
public final class Finalization {
    public let request: UInt64
    /// Samples of the session.
    public let position: UInt64
    /// The caller may well go on: the utterance stays open, and may be finalized again.
    public let isTentative: Bool
    /// It was answered, or nobody waits for it.
    public private(set) var isFinished = false

    private unowned let session: SpeechToTextOpenSession

    fileprivate init(_ request: UInt64, _ position: UInt64, _ flags: UInt32, _ session: SpeechToTextOpenSession) {
        self.request = request
        self.position = position
        isTentative = flags & UInt32(VC_STT_TENTATIVE) != 0
        self.session = session
    }

    /// Final text of the utterance. Several are joined; nothing is emitted where nothing was said.
    @discardableResult
    public func emit(_ transcript: Transcript) -> Outcome {
        guard !isFinished else { return .canceled }
        return session.host.post(.transcript(transcript, isFinal: true), epoch: session.host.epoch, request: request)
    }

    /// All was said.
    public func finish() {
        guard !isFinished else { return }
        isFinished = true
        session.remove(self)
        _ = session.host.post(.finalized, epoch: session.host.epoch, request: request)
    }

    /// There is no text because something went wrong. The session goes on: it is hearing the caller.
    public func fail(_ error: PluginError) {
        guard !isFinished else { return }
        session.host.report(error, request: request)
        finish()
    }

    fileprivate func forget() { isFinished = true }
}

extension SpeechToText {
    public static var _kind: ProviderKind { .speechToText }

    public func _open(_ request: OpenRequest) throws(PluginError) -> OpenSession {
        let host = try SpeechToTextHost(request.open)
        return SpeechToTextOpenSession(host, try open(host))
    }
}

private final class SpeechToTextOpenSession: OpenSession {
    /// One is confirmed while a few tentative ones may be on their way; more is a host gone wrong.
    static let finalizationsMax = 16

    let author: any SpeechToTextSession
    private var finalizations: [Finalization] = []

    init(_ host: SpeechToTextHost, _ author: any SpeechToTextSession) {
        self.author = author
        super.init(host, author, UnsafeRawPointer(speechToTextOps.pointer))
    }

    func finalize(_ request: UInt64, _ position: UInt64, _ flags: UInt32) -> vc_status {
        guard finalizations.count < Self.finalizationsMax else { return vc_status(VC_E_AGAIN) }
        let finalization = Finalization(request, position, flags, self)
        finalizations.append(finalization)
        author.finalize(finalization)
        return vc_status(VC_OK)
    }

    func remove(_ finalization: Finalization) { finalizations.removeAll { $0 === finalization } }

    override func canceled() {
        // Their HTTP exchanges are gone with the epoch, so they would wait for ever; nobody waits for them either.
        for finalization in finalizations { finalization.forget() }
        finalizations = []
        super.canceled()
    }

    override func forgetRequests() {
        for finalization in finalizations { finalization.forget() }
        finalizations = []
    }
}

private let speechToTextOps = ConstantTable(
    vc_stt_ops(
        size: UInt32(MemoryLayout<vc_stt_ops>.size), reserved: 0, begin: speechToTextBegin, push: speechToTextPush,
        finalize: speechToTextFinalize))

private func speechToTextBegin(_ self_: UnsafeMutableRawPointer?, _ utterance: UInt64, _ position: UInt64) -> vc_status
{
    withSession(self_, as: SpeechToTextOpenSession.self) {
        $0.author.begin(utterance: utterance, at: position)
        return vc_status(VC_OK)
    }
}

private func speechToTextPush(_ self_: UnsafeMutableRawPointer?, _ frame: UnsafePointer<vc_frame>) -> vc_status {
    withSession(self_, as: SpeechToTextOpenSession.self) {
        guard let audio = AudioFrame(frame) else { return vc_status(VC_E_ARGUMENT) }
        return $0.author.push(audio) == .taken ? vc_status(VC_OK) : vc_status(VC_E_AGAIN)
    }
}

private func speechToTextFinalize(
    _ self_: UnsafeMutableRawPointer?, _ request: UInt64, _ position: UInt64, _ flags: UInt32
) -> vc_status {
    withSession(self_, as: SpeechToTextOpenSession.self) { $0.finalize(request, position, flags) }
}
