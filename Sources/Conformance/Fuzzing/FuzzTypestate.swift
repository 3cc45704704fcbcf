// What a host may do next: the contract's order of calls, as a machine.
//
// The generator proposes steps and keeps those that the machine accepts; the minimiser takes steps out and drops what
// has become illegal by it. So a finding is always the plugin's: a host could have called like this.
//
// What depends on the plugin's answers (READY came, the call was answered, a tool was called) is not known here. The
// driver leaves such steps out when they are not possible, as a host would.

import Providers

/// The order of calls, for one provider.
struct FuzzTypestate {
    private struct Session {
        var isOpen = true
        var isDestroyed = false
        /// The largest number of a request, and of an utterance.
        var latestRequest = 0
        var latestUtterance = 0
        /// An utterance that began and was not finalized.
        var hasUtterance = false
        /// A request whose last piece has not come.
        var unfinished: Int?
        /// The one that is unfinished was begun before the last cancel: it may be left, or go on.
        var wasCanceled = false
        var hasHangup = false
        var hasAnswer = false
    }

    static let sessionsMax = 4

    let kind: PluginKind
    let canBeTentative: Bool
    private var sessions: [Int: Session] = [:]
    private var isDraining = false

    init(kind: PluginKind, canBeTentative: Bool) {
        self.kind = kind
        self.canBeTentative = canBeTentative
    }

    /// Sessions that may be called.
    var open: [Int] { sessions.filter { $0.value.isOpen }.keys.sorted() }
    /// Sessions that were closed and wait for `destroy`.
    var closed: [Int] { sessions.filter { !$0.value.isOpen && !$0.value.isDestroyed }.keys.sorted() }
    var nextSession: Int { sessions.count }

    func nextRequest(_ session: Int) -> Int { (sessions[session]?.latestRequest ?? 0) + 1 }
    func nextUtterance(_ session: Int) -> Int { (sessions[session]?.latestUtterance ?? 0) + 1 }
    /// The request that waits for its next piece.
    func unfinished(_ session: Int) -> Int? { sessions[session]?.unfinished }
    func hasUtterance(_ session: Int) -> Bool { sessions[session]?.hasUtterance ?? false }

    /// Takes the step if a host could make it now.
    mutating func accept(_ step: FuzzStep) -> Bool {
        switch step.verb {
        case .open:
            guard sessions[step.session] == nil, !isDraining, sessions.count < Self.sessionsMax else { return false }
            sessions[step.session] = Session()
            return true
        case .drain:
            defer { isDraining = true }
            return !isDraining
        case .advance: return step.count >= 0
        case .fault, .mend, .refuse, .mangle: return true
        case .detect:
            // The driver takes those that are still open; one at least must be.
            return kind == .voiceActivity && open.contains { step.count & 1 << $0 != 0 }
        default: break
        }
        guard var session = sessions[step.session], !session.isDestroyed else { return false }
        guard accept(step, &session) else { return false }
        sessions[step.session] = session
        return true
    }

    private func accept(_ step: FuzzStep, _ session: inout Session) -> Bool {
        switch step.verb {
        case .cancel:
            // VC_ANY: it may come while the session ends, up to `destroy`. A recogniser hears the interrupter: a host
            // cancels only those who answer.
            guard step.count > 0, kind == .textToSpeech || kind == .languageModel else { return false }
            session.wasCanceled = true
            return true
        case .destroy:
            guard !session.isOpen else { return false }
            session.isDestroyed = true
            return true
        default: break
        }
        guard session.isOpen else { return false }
        switch step.verb {
        case .close: session.isOpen = false
        case .limit: return kind == .textToSpeech || kind == .languageModel
        // A plugin cannot tell credit for an AGAIN from credit that was on its way before: it may come at any time.
        case .credit: return step.count >= 0
        case .speak: return kind == .textToSpeech && speak(step, &session)
        case .ask: return kind == .languageModel && newRequest(step, &session)
        case .toolResult: return kind == .languageModel
        case .begin:
            guard kind == .speechToText, step.request > session.latestUtterance, step.count >= 0 else { return false }
            session.latestUtterance = step.request
            session.hasUtterance = true
        case .push: return (kind == .speechToText || kind == .turn) && step.count > 0
        case .finalize:
            guard kind == .speechToText, session.hasUtterance, !step.flag || canBeTentative,
                newRequest(step, &session)
            else { return false }
            session.hasUtterance = step.flag
        case .transcript: return kind == .turn
        case .decide: return kind == .turn && newRequest(step, &session)
        default: return telephony(step, &session)
        }
        return true
    }

    private func newRequest(_ step: FuzzStep, _ session: inout Session) -> Bool {
        guard step.request > session.latestRequest else { return false }
        session.latestRequest = step.request
        return true
    }

    /// Requests come one after another, each in its pieces. One that was cancelled need not be finished; if a piece of
    /// it still comes, it was on its way when the caller interrupted, and is the last.
    private func speak(_ step: FuzzStep, _ session: inout Session) -> Bool {
        if step.request != session.unfinished {
            guard session.unfinished == nil || session.wasCanceled, newRequest(step, &session) else { return false }
            session.unfinished = step.flag ? nil : step.request
        } else {
            session.unfinished = step.flag || session.wasCanceled ? nil : step.request
        }
        session.wasCanceled = false
        return true
    }

    private func telephony(_ step: FuzzStep, _ session: inout Session) -> Bool {
        guard kind == .telephony, !session.hasHangup else { return false }
        switch step.verb {
        case .ringing: return !session.hasAnswer
        case .answer:
            guard !session.hasAnswer else { return false }
            session.hasAnswer = true
        case .hangup: session.hasHangup = true
        case .transfer, .hold, .dial, .play, .mark, .flush: return session.hasAnswer
        default: return false
        }
        return true
    }
}

extension FuzzCase {
    /// Without the steps that no host could make.
    func legal(_ kind: PluginKind, canBeTentative: Bool) -> FuzzCase {
        var state = FuzzTypestate(kind: kind, canBeTentative: canBeTentative)
        var copy = self
        copy.steps = steps.filter { state.accept($0) }
        return copy
    }
}
