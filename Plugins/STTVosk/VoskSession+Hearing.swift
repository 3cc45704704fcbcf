// What the server answers, told to the host.

import PluginKit
import VoskDialogue

extension VoskSession {
    func heard(_ reply: VoskReply) {
        // Nobody has asked: a word of welcome, or of the configuration.
        guard phase == .live, !awaited.isEmpty, reply != .other else { return }
        failures = 0
        lastReplyNs = host.clock.nowNs
        let end = min(audio.end, audio.position(ofSent: awaited.removeFirst()))
        switch reply {
        case .partial(let text):
            deliver(utterances.heard(HeardPiece(id: piece.id, text: text, start: min(piece.start, end), end: end)))
        case .result(let text, let heard):
            let words = heard.map { word in
                let start = min(position(word.start), end)
                return Transcript.Word(
                    word.text, start: start, end: min(max(start, position(word.end)), end),
                    confidence: share(word.confidence))
            }
            let known = words.compactMap(\.confidence)
            // What comes as partial here is said again as final at once.
            _ = utterances.heard(
                HeardPiece(
                    id: piece.id, text: text, words: words, start: words.first?.start ?? min(piece.start, end),
                    end: end, confidence: known.isEmpty ? nil : known.reduce(0, +) / Float(known.count),
                    language: language, isFrozen: true))
            piece = (piece.id + 1, end)
            if !utterances.text.isEmpty { deliver(utterances.close()) }
        case .other: break
        }
        answerWhatWasHeard(upTo: end)
        audio.release(upTo: utterances.neededFrom)
        pump()
    }

    /// Answers the questions about audio that is in already. A reset answers those that end an utterance.
    func answerWhatWasHeard(upTo end: UInt64? = nil) {
        if let end {
            deliver(utterances.answer(upTo: end, final: !provider.resets || awaited.isEmpty))
        } else if awaited.isEmpty, audio.unsentSamples == 0 {
            deliver(utterances.answer(upTo: .max))
        }
    }

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
    }

    private func position(_ seconds: Double) -> UInt64 {
        audio.position(ofSent: Int(min(max(seconds, 0), 1e6) * Double(host.rateHz)))
    }

    private func share(_ value: Double?) -> Float? { value.map { Float(min(max($0, 0), 1)) } }
}
