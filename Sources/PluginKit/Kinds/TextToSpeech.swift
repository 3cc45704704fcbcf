// Voices: clauses in, audio out.
//
// A voice is asked for the next clause while the host is still saying the one before, and a vendor may well answer the
// second first. So an author speaks clause by clause, in any order and as it comes, and the kit puts the audio into the
// order of the text: it frames it, counts its samples, marks where each clause is said, and ends each request once.

import PluginABI

/// A provider of a voice.
public protocol TextToSpeech: Provider {
    associatedtype Session: TextToSpeechSession
    /// Opens the session of one call. Answers at once.
    func open(_ host: SessionHost) throws(PluginError) -> Session
}

/// A voice in one call.
public protocol TextToSpeechSession: ProviderSession {
    /// Speaks a clause. Its audio goes to `clause.emit`, now or later, and ends with `finish` or `fail`, once.
    ///
    /// Clauses come in the order of the text and may be worked on at the same time. After `cancel` those that are not
    /// finished are, without further ado.
    func speak(_ clause: Clause)
}

/// A stretch of text that is to be said, never blank; and the way back for its audio.
public final class Clause {
    public let text: String
    public let request: UInt64
    public let epoch: UInt64
    /// Nobody wants to hear more of it.
    public private(set) var isFinished = false

    /// Bytes of the request's text.
    fileprivate let textStart: Int
    fileprivate let textEnd: Int
    fileprivate var isComplete = false
    /// What came before the clause's turn.
    fileprivate enum Piece {
        case audio([Int16], rateHz: Int)
        case mark(text: Range<Int>, samples: Range<Int>)

        var bytes: Int { if case .audio(let samples, _) = self { samples.count * 2 } else { 0 } }
    }
    fileprivate var held: [Piece] = []
    /// The author marks the words himself, so the clause is not marked as a whole.
    fileprivate var isMarked = false
    private unowned let session: TextToSpeechOpenSession

    fileprivate init(
        _ text: String, _ request: UInt64, _ epoch: UInt64, _ textStart: Int, _ session: TextToSpeechOpenSession
    ) {
        self.text = text
        self.request = request
        self.epoch = epoch
        self.textStart = textStart
        textEnd = textStart + text.utf8.count
        self.session = session
    }

    /// Hands over more of the clause's audio: any length, one rate for the whole request, one that the manifest names.
    @discardableResult
    public func emit(_ samples: [Int16], rateHz: Int) -> Outcome {
        guard !isFinished else { return .canceled }
        return session.take(samples, rateHz, of: self)
    }

    /// Marks where a stretch of the clause is said: bytes of `text`, samples of the clause's own audio, both from 0.
    ///
    /// Marks come in the order of the text. A clause without any is marked as a whole.
    public func mark(_ stretch: Range<Int>, samples: Range<Int>) {
        guard !isFinished, session.allows(stretch, of: self) else { return }
        isMarked = true
        session.note(.mark(text: stretch, samples: samples), of: self)
    }

    /// The clause is said.
    public func finish() {
        guard !isFinished else { return }
        isFinished = true
        isComplete = true
        session.advance()
    }

    /// The clause cannot be said, and so neither can the rest of its request. The session goes on.
    public func fail(_ error: PluginError) {
        guard !isFinished else { return }
        session.fail(self, error)
    }

    fileprivate func forget() {
        isFinished = true
        held = []
    }
}

extension TextToSpeech {
    public static var _kind: ProviderKind { .textToSpeech }

    public func _open(_ request: OpenRequest) throws(PluginError) -> OpenSession {
        let host = try SessionHost(request.open)
        return TextToSpeechOpenSession(host, try open(host))
    }
}

private final class TextToSpeechOpenSession: OpenSession {
    /// Clauses that wait to be said: many times what an agent says in one turn.
    static let entriesMax = 512
    /// Frames of 100 ms: fewer events than 20 ms would make, and a barge-in wastes no more than one.
    static let frameMs = 100

    /// What is to be said, in order: clauses, and the ends of requests.
    private enum Entry {
        case clause(Clause)
        case end(request: UInt64, epoch: UInt64)

        var epoch: UInt64 {
            switch self {
            case .clause(let clause): clause.epoch
            case .end(_, let epoch): epoch
            }
        }
        var request: UInt64 {
            switch self {
            case .clause(let clause): clause.request
            case .end(let request, _): request
            }
        }
    }

    private let author: any TextToSpeechSession
    private var line: [Entry] = []
    private var heldBytes = 0
    /// A clause was told `noCredit` because it was too far ahead of its turn.
    private var isHeldBack = false

    /// The request whose pieces are coming in, and how many bytes of its text have come.
    private var incoming: (request: UInt64, epoch: UInt64, bytes: Int)?
    /// A request that ended with an error before all of its text had come; the rest is not wanted.
    private var failed: UInt64?

    /// The request that is being said, and how many samples of it and of its present clause went out.
    private var speaking: (request: UInt64, samples: UInt64)?
    private var clauseSamples: UInt64 = 0
    private var sequence: UInt64 = 0

    init(_ host: SessionHost, _ author: any TextToSpeechSession) {
        self.author = author
        super.init(host, author, UnsafeRawPointer(textToSpeechOps.pointer))
    }

    func speak(_ request: UInt64, _ epoch: UInt64, _ text: String, isLast: Bool) -> vc_status {
        if host.raiseEpoch(to: epoch) { host.settle() }
        guard epoch >= host.epoch, request != failed else { return vc_status(VC_E_CANCELED) }
        guard line.count < Self.entriesMax else { return vc_status(VC_E_AGAIN) }
        if let incoming, incoming.request != request {
            host.log.hostFault(
                "request \(request) was begun before the last piece of request \(incoming.request); that one ends here")
            line.append(.end(request: incoming.request, epoch: incoming.epoch))
            self.incoming = nil
        }
        let start = incoming?.bytes ?? 0
        incoming = isLast ? nil : (request, epoch, start + text.utf8.count)
        if text.contains(where: { !$0.isWhitespace }) {
            let clause = Clause(text, request, epoch, start, self)
            line.append(.clause(clause))
            if isLast { line.append(.end(request: request, epoch: epoch)) }
            author.speak(clause)
        } else if isLast {
            line.append(.end(request: request, epoch: epoch))
        }
        advance()
        return vc_status(VC_OK)
    }

    func take(_ samples: [Int16], _ rateHz: Int, of clause: Clause) -> Outcome {
        guard host.isOpen else { return .gone }
        if samples.isEmpty { return .accepted }
        if case .clause(let head)? = line.first, head === clause { return say(samples, rateHz, of: clause) }
        // Its turn has not come: what is ahead of it is not said yet.
        guard heldBytes < Outbox<Outbound>.bytesMax else {
            isHeldBack = true
            return .noCredit
        }
        clause.held.append(.audio(samples, rateHz: rateHz))
        heldBytes += samples.count * 2
        return .accepted
    }

    fileprivate func allows(_ stretch: Range<Int>, of clause: Clause) -> Bool {
        guard stretch.lowerBound >= 0, stretch.upperBound <= clause.text.utf8.count else {
            host.log.pluginFault("a mark of bytes \(stretch) in a clause of \(clause.text.utf8.count) was left out")
            return false
        }
        return true
    }

    fileprivate func note(_ mark: Clause.Piece, of clause: Clause) {
        guard case .clause(let head)? = line.first, head === clause else { return clause.held.append(mark) }
        post(mark, of: clause)
    }

    /// Says what can be said, and tells the author where that made room.
    func advance() {
        sayWhatIsDue()
        guard isHeldBack, heldBytes < Outbox<Outbound>.bytesMax, host.isOpen else { return }
        isHeldBack = false
        creditReturned()
    }

    /// Ends clauses and requests at the head of the line, and gives the next one its turn.
    private func sayWhatIsDue() {
        while let first = line.first, host.isOpen {
            switch first {
            case .clause(let clause):
                if !clause.held.isEmpty {
                    let held = clause.held
                    clause.held = []
                    for piece in held {
                        heldBytes -= piece.bytes
                        post(piece, of: clause)
                    }
                }
                guard clause.isComplete else { return }
                line.removeFirst()
                endClause(clause)
            case .end(let request, let epoch):
                line.removeFirst()
                let samples = speaking?.request == request ? speaking!.samples : 0
                speaking = nil
                _ = host.post(.spoken(isCanceled: false, samples: samples), epoch: epoch, request: request)
            }
        }
    }

    /// What was said of the request stands; nothing more of it comes, and no DONE: the error ends it.
    func fail(_ clause: Clause, _ error: PluginError) {
        for case .clause(let other) in line where other.request == clause.request {
            heldBytes -= other.held.reduce(0) { $0 + $1.bytes }
            other.forget()
        }
        clause.forget()
        line.removeAll { $0.request == clause.request }
        if incoming?.request == clause.request {
            failed = clause.request
            incoming = nil
        }
        if speaking?.request == clause.request { speaking = nil }
        clauseSamples = 0
        // In order behind audio of the request that still waits for credit.
        _ = host.post(.error(error, isFatal: false), epoch: clause.epoch, request: clause.request)
        advance()
    }

    override func canceled() {
        let epoch = host.epoch
        var ended: [(request: UInt64, epoch: UInt64)] = []
        for entry in line where entry.epoch < epoch {
            if case .clause(let clause) = entry {
                heldBytes -= clause.held.reduce(0) { $0 + $1.bytes }
                clause.forget()
            }
            if ended.last?.request != entry.request { ended.append((entry.request, entry.epoch)) }
        }
        if let incoming, incoming.epoch < epoch {
            if ended.last?.request != incoming.request { ended.append((incoming.request, incoming.epoch)) }
            self.incoming = nil
        }
        line.removeAll { $0.epoch < epoch }
        for request in ended {
            let samples = speaking?.request == request.request ? speaking!.samples : 0
            host.postCanceled(
                .spoken(isCanceled: true, samples: samples), epoch: request.epoch, request: request.request)
        }
        speaking = nil
        clauseSamples = 0
        super.canceled()
    }

    override func forgetRequests() {
        for case .clause(let clause) in line { clause.forget() }
        line = []
    }

    /// Puts out what is due of the clause whose turn it is.
    private func post(_ piece: Clause.Piece, of clause: Clause) {
        switch piece {
        case .audio(let samples, let rateHz):
            // It was accepted when it was held, so it goes out even where the outbox is full by now.
            _ = say(samples, rateHz, of: clause, evenIfFull: true)
        case .mark(let text, let samples):
            let spoken = speaking?.request == clause.request ? speaking!.samples : 0
            let begin = spoken - clauseSamples
            _ = host.post(
                .mark(
                    textStart: clause.textStart + text.lowerBound, textEnd: clause.textStart + text.upperBound,
                    start: begin + UInt64(samples.lowerBound), end: begin + UInt64(samples.upperBound)),
                epoch: clause.epoch, request: clause.request)
        }
    }

    private func say(_ samples: [Int16], _ rateHz: Int, of clause: Clause, evenIfFull: Bool = false) -> Outcome {
        if host.isFull && !evenIfFull { return host.starve() }
        if speaking?.request != clause.request { speaking = (clause.request, 0) }
        let frameSamples = max(1, rateHz * Self.frameMs / 1000)
        var start = 0
        while start < samples.count {
            let frame = samples[start..<min(start + frameSamples, samples.count)]
            let body = Outbound.Body.audio(frame, rateHz: rateHz, sequence: sequence, position: speaking!.samples)
            let outcome = host.post(body, epoch: clause.epoch, request: clause.request, evenIfFull: true)
            guard outcome == .accepted else { return outcome }
            sequence += 1
            speaking!.samples += UInt64(frame.count)
            clauseSamples += UInt64(frame.count)
            start += frame.count
        }
        return .accepted
    }

    private func endClause(_ clause: Clause) {
        defer { clauseSamples = 0 }
        guard clauseSamples > 0, !clause.isMarked, let speaking else { return }
        _ = host.post(
            .mark(
                textStart: clause.textStart, textEnd: clause.textEnd, start: speaking.samples - clauseSamples,
                end: speaking.samples), epoch: clause.epoch, request: clause.request)
    }
}

private let textToSpeechOps = ConstantTable(
    vc_tts_ops(size: UInt32(MemoryLayout<vc_tts_ops>.size), reserved: 0, speak: textToSpeechSpeak))

private func textToSpeechSpeak(
    _ self_: UnsafeMutableRawPointer?, _ request: UInt64, _ epoch: UInt64, _ text: vc_str, _ flags: UInt32
) -> vc_status {
    withSession(self_, as: TextToSpeechOpenSession.self) {
        $0.speak(request, epoch, String(text), isLast: flags & UInt32(VC_TTS_LAST) != 0)
    }
}
