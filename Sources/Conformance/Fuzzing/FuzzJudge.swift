// What must hold after any calls in any order: the contract without its scenarios.
//
// A rule of the book makes one situation and looks at one thing. The judge cannot know which situation a random case
// made, so it asks what is true in all of them: events in their order, one end for each thing, nothing for what never
// was or is over. Whatever the contract leaves open (whether a request that was cancelled is ended, say) is left open.

import JSON
import PluginABI
import Providers

/// Judges one round of a case.
struct FuzzJudge {
    private let history: FuzzHistory

    init(_ history: FuzzHistory) { self.history = history }

    /// Throws the first breach. `expected` is the same words for the same breach, whatever the numbers: findings are
    /// told apart by it.
    func judge() throws {
        try judgeWhole()
        for session in history.sessions {
            try judgeForm(session)
            try judgeLife(session)
            try judgeEpochs(session)
            try judgeRequests(session)
            try judgeCredit(session)
            switch history.kind {
            case .textToSpeech: try judgeVoice(session)
            case .languageModel: try judgeWords(session)
            case .speechToText: try judgeTranscripts(session)
            case .turn: try judgeVerdicts(session)
            case .voiceActivity, .telephony: break
            }
        }
    }

    /// Whether everything that was asked has its end.
    var isAnswered: Bool { history.sessions.allSatisfy { missing($0) == nil && !isBetween($0) } }

    // MARK: All kinds

    private func judgeWhole() throws {
        if let use = history.misuse.first {
            throw Violation("the host's services", expected: "uses that their headers allow", got: use)
        }
        if let status = history.unknownStatuses.first {
            throw Violation("a slot", expected: "a status of the contract", got: status)
        }
        if let odd = history.probabilities.first(where: { !($0 >= 0 && $0 <= 1) }) {
            throw Violation("process", expected: "probabilities of 0 to 1", got: "\(odd)")
        }
        for line in history.logLines {
            let text = line.message + line.fields.map { " \($0.0)=\($0.1)" }.joined()
            if history.secrets.contains(where: text.contains) {
                throw Violation("the log", expected: "no secret", got: "one, in a line of level \(line.level)")
            }
        }
        let provider = history.providerEvents
        if let event = provider.first(where: { !$0.complaints.isEmpty }) {
            throw Violation("\(event.name) of the provider", expected: "an event in its form", got: event.complaints[0])
        }
        if provider.count(where: { $0.type == VC_EVENT_READY }) > 1 {
            throw Violation("start", expected: "READY of the provider once", got: "twice")
        }
        let drained = provider.filter { $0.type == VC_EVENT_DRAINED }
        if drained.count > 1 || drained.first.map({ $0.number < history.drained?.before ?? .max }) ?? false {
            throw Violation("drain", expected: "DRAINED once, and as its answer", got: "\(drained.count) of them")
        }
    }

    private func judgeForm(_ session: FuzzHistory.Session) throws {
        for event in session.events {
            if let complaint = event.complaints.first {
                throw breach(session, event, expected: "an event in its form", got: complaint)
            }
            let texts = [event.failure?.message, event.failure?.vendorCode, event.text].compactMap(\.self)
            if texts.contains(where: { text in history.secrets.contains(where: text.contains) }) {
                throw breach(session, event, expected: "no secret in an event", got: "one")
            }
        }
    }

    private func judgeLife(_ session: FuzzHistory.Session) throws {
        var isReady = false
        var isFatal = false
        var isClosed = false
        for event in session.events {
            if isClosed {
                throw breach(session, event, expected: "nothing after CLOSED", got: event.name)
            }
            switch event.type {
            case VC_EVENT_READY:
                if isReady { throw breach(session, event, expected: "READY once", got: "a second one") }
                isReady = true
            case VC_EVENT_CLOSED:
                guard let closed = session.closed, event.number >= closed.before else {
                    throw breach(session, event, expected: "CLOSED as the answer to `close`", got: "one before it")
                }
                isClosed = true
            case VC_EVENT_ERROR: isFatal = isFatal || event.failure!.isFatal
            case VC_EVENT_CANCELED: break
            default:
                if isFatal { throw breach(session, event, expected: "nothing after a fatal ERROR", got: event.name) }
                // A call rings and is answered when the other side does it.
                if !isReady, history.kind != .telephony {
                    throw breach(session, event, expected: "no answer before READY", got: event.name)
                }
            }
        }
        guard history.kind != .voiceActivity else { return }
        if session.closed != nil, !isClosed {
            throw Violation("close of session \(session.index)", expected: "CLOSED within 5 s", got: "none")
        }
        if session.wasAwaited, !isReady, !isFatal, history.kind != .telephony {
            throw Violation("open of session \(session.index)", expected: "READY or a fatal ERROR", got: "neither")
        }
    }

    private func judgeEpochs(_ session: FuzzHistory.Session) throws {
        guard history.kind == .textToSpeech || history.kind == .languageModel else { return }
        var canceled: UInt64 = 0
        for event in session.events {
            guard event.type != VC_EVENT_CANCELED else {
                guard session.cancels.contains(where: { $0.epoch == event.epoch && $0.at.before <= event.number })
                else {
                    throw breach(
                        session, event, expected: "CANCELED with the epoch of a `cancel`", got: "epoch \(event.epoch)")
                }
                guard event.epoch > canceled else {
                    throw breach(
                        session, event, expected: "CANCELED once for an epoch, and none for a smaller one",
                        got: "\(event.epoch) after \(canceled)")
                }
                canceled = event.epoch
                continue
            }
            // What ends an old request may follow: it is no part of the answer.
            let isEnd = event.type == VC_EVENT_TTS_DONE || event.type == VC_EVENT_LLM_DONE || event.isControl
            if event.epoch < canceled, !isEnd {
                throw breach(
                    session, event, expected: "nothing older after CANCELED",
                    got: "\(event.name) of epoch \(event.epoch) after CANCELED of \(canceled)")
            }
        }
        for (epoch, at) in session.cancels {
            // One that is closed or broken need not answer any more.
            let end = session.events.first { $0.type == VC_EVENT_CLOSED || $0.failure?.isFatal ?? false }
            let limitNs = at.atNs + UInt64(100 + history.lateMs * 2) * 1_000_000
            if let closed = session.closed, closed.atNs <= limitNs { continue }
            if let end, end.atNs <= limitNs { continue }
            let ready = session.events.first { $0.type == VC_EVENT_READY }
            guard let ready, ready.number < at.before else { continue }
            let answer = session.events.first {
                $0.type == VC_EVENT_CANCELED && $0.number >= at.before && $0.epoch >= epoch
            }
            if answer == nil || !history.hasOwnThreads && answer!.atNs > limitNs {
                throw Violation(
                    "cancel(\(epoch)) of session \(session.index)", expected: "CANCELED within 100 ms",
                    got: answer.map { "it after \(($0.atNs - at.atNs) / 1_000_000) ms" } ?? "none")
            }
        }
    }

    // MARK: Requests

    private static let ends: Set<Int> = [VC_EVENT_TTS_DONE, VC_EVENT_LLM_DONE, VC_EVENT_FINALIZED, VC_EVENT_VERDICT]

    private func judgeRequests(_ session: FuzzHistory.Session) throws {
        var ended: [UInt64: Int] = [:]
        for event in session.events where event.request != 0 && !(event.failure?.isFatal ?? false) {
            guard let request = session.requests[event.request] else {
                throw breach(
                    session, event, expected: "a request that was asked in this session", got: "\(event.request)")
            }
            let isStream = history.kind == .textToSpeech || history.kind == .languageModel
            if isStream, !event.isControl, event.epoch != request.epoch {
                throw breach(
                    session, event, expected: "the epoch of its request",
                    got: "\(event.epoch), and request \(request.number) has \(request.epoch)")
            }
            // What the host drops ends nothing: a late piece of a cancelled request may be ended once more.
            if event.answer == vc_status(VC_E_CANCELED) { continue }
            // Each tool result that was given may begin the answer again.
            guard ended[event.request, default: 0] <= request.toolResults else {
                throw breach(
                    session, event, expected: "one end of a request, and nothing for it afterwards",
                    got: "\(event.name) of request \(event.request)")
            }
            // An end that the host refused was none: with AGAIN it must come again. And a recogniser may say what went
            // wrong and still end its answer: FINALIZED has no reason to carry.
            let isEnd = Self.ends.contains(event.type) || event.failure != nil && history.kind != .speechToText
            if isEnd {
                if event.answer != vc_status(VC_E_AGAIN) { ended[event.request, default: 0] += 1 }
            }
        }
        if let request = missing(session), session.wasAwaited {
            throw Violation(
                "request \(request) of session \(session.index)", expected: "an end of every request", got: "none")
        }
    }

    /// A request that waits for its end although nothing stands in its way.
    private func missing(_ session: FuzzHistory.Session) -> UInt64? {
        guard session.closed == nil || session.wasAwaited, session.fatal == nil else { return nil }
        let epoch = session.cancels.last?.epoch ?? 0
        // A request that was never finished holds up those behind it.
        for request in session.requests.values.sorted(by: { $0.number < $1.number }) where request.epoch >= epoch {
            guard request.isComplete else { break }
            let hasEnd = session.events.contains {
                $0.request == request.number && (Self.ends.contains($0.type) || $0.type == VC_EVENT_ERROR)
            }
            if !hasEnd { return request.number }
        }
        return nil
    }

    /// Still connecting.
    private func isBetween(_ session: FuzzHistory.Session) -> Bool {
        history.kind != .voiceActivity && history.kind != .telephony && session.closed == nil && !session.isReady
            && session.fatal == nil
    }

    private func judgeCredit(_ session: FuzzHistory.Session) throws {
        var tries = 0
        var next = session.credits[...]
        for event in session.events where !event.isControl {
            while let credit = next.first, credit.before <= event.number {
                next = next.dropFirst()
                tries = 0
            }
            // One for each request that is asked meanwhile is in order; this is somebody who tries and tries.
            if event.answer == vc_status(VC_E_AGAIN) { tries += 1 }
            if tries > 60 + session.requests.count {
                throw breach(session, event, expected: "at most 60 tries without credit", got: "more")
            }
        }
    }

    // MARK: Kinds

    private func judgeVoice(_ session: FuzzHistory.Session) throws {
        var samples: [UInt64: UInt64] = [:]
        var latest: UInt64 = 0
        for event in session.events where event.answer == vc_status(VC_OK) {
            switch event.body {
            case .audio(let audio):
                if event.request < latest {
                    throw breach(
                        session, event, expected: "requests one after another",
                        got: "audio of request \(event.request) after request \(latest)")
                }
                latest = event.request
                let sofar = samples[event.request, default: 0]
                if audio.position != sofar {
                    throw breach(
                        session, event, expected: "frames without gap and repetition",
                        got: "position \(audio.position) after \(sofar) samples")
                }
                samples[event.request] = sofar + UInt64(audio.declaredSamples)
            case .spoken(let reason, let count) where reason == UInt32(VC_TTS_COMPLETE):
                if count != samples[event.request, default: 0] {
                    throw breach(
                        session, event, expected: "the samples of the whole request",
                        got: "\(count), and \(samples[event.request, default: 0]) came")
                }
            default: break
            }
        }
    }

    private func judgeWords(_ session: FuzzHistory.Session) throws {
        var spoken: Set<UInt64> = []
        for event in session.events {
            switch event.body {
            case .delta(let text):
                if text.isEmpty { throw breach(session, event, expected: "no empty DELTA", got: "one") }
                spoken.insert(event.request)
            case .toolCall(let call, let name, let arguments):
                let value = try? JSONValue(parsing: arguments)
                if call.isEmpty || name.isEmpty || value?.object == nil {
                    throw breach(
                        session, event, expected: "a call with a name, and an object as its arguments",
                        got: "\(name)(\(arguments.prefix(80)))")
                }
            case .answered(let reason) where reason == UInt32(VC_LLM_DECLINED) && spoken.contains(event.request):
                throw breach(session, event, expected: "DECLINED before the first DELTA only", got: "one after it")
            default: break
            }
        }
    }

    private func judgeTranscripts(_ session: FuzzHistory.Session) throws {
        for event in session.events {
            guard case .transcript(_, let start, let end, _, _, _, let confidence, _, _) = event.body else { continue }
            if start > end || end > session.position {
                throw breach(
                    session, event, expected: "a stretch of the audio that was pushed",
                    got: "\(start) to \(end) of \(session.position)")
            }
            if !(confidence <= 1) {
                throw breach(session, event, expected: "a confidence of at most 1", got: "\(confidence)")
            }
        }
    }

    private func judgeVerdicts(_ session: FuzzHistory.Session) throws {
        for event in session.events {
            guard case .verdict(let probability, let backchannel) = event.body else { continue }
            if !(probability >= 0 && probability <= 1) || !(backchannel <= 1) {
                throw breach(
                    session, event, expected: "probabilities of 0 to 1", got: "\(probability), \(backchannel)")
            }
        }
    }

    private func breach(
        _ session: FuzzHistory.Session, _ event: RecordedEvent, expected: String, got: String
    ) -> Violation {
        Violation(
            "\(event.name) of session \(session.index)", expected: expected, got: got, place: event.during)
    }
}
