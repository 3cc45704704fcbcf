// What the recogniser says, told to the host.
//
// Flux's eager end answers the host's tentative questions: both ask whether the caller is probably done, and Flux knows
// better than a timer. While it says nothing the host waits, up to `finalize_ms`, and then gets the text so far.

import DeepgramListen
import PluginKit

extension ListenSession {
    /// A result is counted to the end of its last frame, and may fall short of what was sent by one.
    static let coverageMs = 100

    func heard(_ message: ListenMessage) {
        lastHeardNs = host.clock.nowNs
        switch message {
        case .connected(let requestID):
            host.log.debug(
                "Deepgram listens", (name: "requestID", value: requestID), (name: "model", value: plan.model))
            connected()
        case .turn(let turn): heard(turn)
        case .results(let results): heard(results)
        case .utteranceEnd: if !utterances.text.isEmpty { deliver(utterances.close()) }
        case .warning(let code, let message):
            host.log.warning("Deepgram warns: \(message.prefix(200))", (name: "vendorCode", value: code))
        case .error, .other: break
        }
        audio.release(upTo: utterances.neededFrom)
    }

    // MARK: Flux

    private func heard(_ turn: ListenMessage.Turn) {
        // Nobody has said anything yet: this is of our own silence.
        guard phase == .live, !audio.isEmpty else { return }
        failures = 0
        let isEnd = turn.event == .end
        let piece = HeardPiece(
            id: turn.index, text: turn.text, words: words(turn.words), start: position(turn.start),
            end: position(turn.end), confidence: confidence(turn.words), language: turn.language, isFrozen: isEnd)
        isTurnOpen = !isEnd && (isTurnOpen || turn.event != .update || !turn.text.isEmpty)
        if turn.event == .start { tell(.start, piece.end, "", nil) }
        let outputs = utterances.heard(piece)
        let text = utterances.text
        if let eager = eagerText, turn.event == .resumed || text != eager {
            eagerText = nil
            tell(.resumed, piece.end, "", nil)
        }
        if isEnd { return ended(piece.end, text, turn.endConfidence) }
        deliver(outputs)
        if turn.event == .eager, !text.isEmpty {
            eagerText = text
            tell(.eagerEnd, piece.end, text, turn.endConfidence)
            deliver(utterances.answer(upTo: .max, final: false))
        }
        deliver(utterances.answer(upTo: piece.end + slack, tentative: text.isEmpty))
    }

    private func ended(_ position: UInt64, _ text: String, _ confidence: Double?) {
        eagerText = nil
        let utterance = utterances.utterance
        // Where the host has ended it already, it wants the words and no opinion.
        let isNews = !text.isEmpty && !utterances.hasFinalQuestion
        deliver(utterances.close())
        if isNews { tell(.end, position, text, confidence, utterance: utterance) }
    }

    private func tell(
        _ kind: RecogniserTurn.Kind, _ position: UInt64, _ text: String, _ confidence: Double?, utterance: UInt64? = nil
    ) {
        host.emit(
            .turn(
                RecogniserTurn(
                    kind, utterance: utterance ?? utterances.utterance, position: position, text: text,
                    confidence: share(confidence))))
    }

    // MARK: Nova

    private func heard(_ results: ListenMessage.Results) {
        guard phase == .live, !audio.isEmpty else { return }
        failures = 0
        let piece = HeardPiece(
            // A segment keeps its beginning until it is frozen.
            id: Int64((min(max(results.start, 0), 1e9) * 1000).rounded()), text: results.text,
            words: words(results.words), start: position(results.start),
            end: position(results.start + results.duration),
            confidence: results.text.isEmpty ? nil : share(results.confidence),
            language: results.language.isEmpty ? plan.language : results.language, isFrozen: results.isFinal)
        let outputs = utterances.heard(piece)
        if results.endsSpeech {
            deliver(utterances.close())
        } else if results.fromFinalize, utterances.hasQuestions {
            deliver(utterances.answer(upTo: piece.end + slack))
        } else {
            deliver(outputs)
        }
    }

    // MARK: To the host

    func deliver(_ outputs: [StreamedUtterances.Output]) {
        for output in outputs {
            switch output {
            case .partial(let transcript): host.emit(.partial(transcript))
            case .final(let transcript): host.emit(.final(transcript))
            case .answer(let request, let transcript):
                guard let finalization = finalizations.removeValue(forKey: request) else { continue }
                if let transcript { finalization.emit(transcript) }
                finalization.finish()
            }
        }
        if utterances.text.isEmpty { eagerText = nil }
    }

    private var slack: UInt64 { UInt64(host.rateHz * Self.coverageMs / 1000) }

    private func position(_ seconds: Double) -> UInt64 {
        min(audio.end, audio.position(ofSent: Int(min(max(seconds, 0), 1e6) * Double(host.rateHz))))
    }

    /// Words with their times; none where one of them has none.
    private func words(_ words: [ListenMessage.Word]) -> [Transcript.Word] {
        let timed = words.compactMap { word -> Transcript.Word? in
            guard let start = word.start, let end = word.end else { return nil }
            let from = position(start)
            return Transcript.Word(
                word.text, start: from, end: max(from, position(end)), confidence: share(word.confidence))
        }
        return timed.count == words.count ? timed : []
    }

    private func confidence(_ words: [ListenMessage.Word]) -> Float? {
        let known = words.compactMap(\.confidence)
        return known.isEmpty ? nil : share(known.reduce(0, +) / Double(known.count))
    }

    private func share(_ value: Double?) -> Float? { value.map { Float(min(max($0, 0), 1)) } }
}
