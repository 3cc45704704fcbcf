// STT: the numbers, the positions and the texts of transcripts.

import PluginABI
import Providers

let speechToTextTextRules: [Rule] = [
    Rule(
        "VC-STT-03", kinds: [.speechToText], "A partial transcript has the utterance number of its final.",
        because: "The host shows and drops partial words by that number.",
        passing: "partial.utterance = self->utterance;",
        failing: "partial.utterance = 0;",
        needs: ["VC-STT-02"],
        check: .probe { bench in
            let heard = try bench.session().hear(7)
            let final = try heard.needFinals()[0]
            guard let partial = heard.partials.first(where: { $0.event.number < final.event.number }) else {
                throw NotApplicable("no partial transcript came")
            }
            guard partial.utterance == final.utterance else {
                throw Violation(
                    "an utterance", expected: "partial and final transcripts of utterance \(final.utterance)",
                    got: "a partial one of utterance \(partial.utterance)")
            }
        }),
    Rule(
        "VC-STT-34", kinds: [.speechToText], "Transcripts carry the number that `begin` gave.",
        because: "Two counts that begin together drift apart at the first cough.",
        passing: "self->utterance = utterance;        // in begin",
        failing: "self->utterance++;        // in finalize, and begin ignored",
        needs: ["VC-STT-02"],
        check: .probe { bench in
            let session = try bench.session()
            try session.needBegin()
            let final = try session.hear(7).needFinals()[0]
            guard final.utterance == 7 else {
                throw Violation("begin(7)", expected: "a final of utterance 7", got: "of utterance \(final.utterance)")
            }
        }),
    Rule(
        "VC-STT-32", kinds: [.speechToText], "After `begin`, transcripts no longer carry the number before it.",
        because: "The words of the new sentence would be taken for the old one, which is answered already.",
        passing: "self->utterance = utterance;        // in begin",
        failing: "self->partial_utterance = self->utterance;        // in finalize, too late",
        needs: ["VC-STT-02"],
        check: .probe { bench in
            let session = try bench.session()
            try session.needBegin()
            _ = session.hear(7)
            session.pushSilence(ms: 500)
            if let stale = session.hear(8).partials.first(where: { $0.utterance == 7 }) {
                throw Violation(
                    "begin(7), …, begin(8)", expected: "no more of utterance 7", got: "\"\(stale.text)\" of it")
            }
        }),
    Rule(
        "VC-STT-40", kinds: [.speechToText], "Sessions keep their own utterances.",
        because: "One caller's words would be another's.",
        passing: "self->utterance = utterance;",
        failing: "static uint64_t utterance;",
        needs: ["VC-STT-02"],
        check: .probe { bench in
            let provider = try bench.provider()
            let (one, other) = (try provider.session(), try provider.session())
            try one.needBegin()
            one.begin(3)
            one.pushInTime(bench.speech(rateHz: one.rateHz, ms: 1_200))
            other.begin(9)
            let final = try one.finalized().needFinals()[0]
            guard final.utterance != 9 else {
                throw Violation(
                    "begin(3) in one session, begin(9) in another", expected: "a final of utterance 3 in the first",
                    got: "of utterance 9")
            }
        }),
    Rule(
        "VC-STT-10", kinds: [.speechToText], "A final transcript is never taken back or said again.",
        because: "Finals are joined to what the model reads: said twice, it is read twice.",
        passing: "emit(TRANSCRIPT with final = 1);        // for each stretch once",
        failing: "emit(the vendor's final);  emit(the vendor's speech_final);        // of the same audio",
        needs: ["VC-STT-02"],
        check: .probe { bench in
            let finals = try bench.session().hear(ms: 2_000).needFinals()
            let pairs = zip(finals, finals.dropFirst())
            if let (first, second) = pairs.first(where: { max($0.start, $1.start) < min($0.end, $1.end) }) {
                throw Violation(
                    "finalize", expected: "finals of different audio",
                    got: "\"\(first.text)\" and \"\(second.text)\" of the same")
            }
        }),
    Rule(
        "VC-STT-11", kinds: [.speechToText], "A transcript does not end before it starts.",
        because: "The host reckons with its length.",
        passing: "event.start = first;  event.end = first + length;",
        failing: "event.start = first;  event.end = length;",
        needs: ["VC-STT-02"],
        check: .probe { bench in
            let session = try bench.session()
            session.pushSilence(ms: 1_000)
            let heard = session.hear(ms: 2_000)
            if let wrong = heard.texts.first(where: { $0.start > $0.end }) {
                throw Violation(
                    "\"\(wrong.text)\"", expected: "start <= end",
                    got: "start \(session.seconds(wrong.start)), end \(session.seconds(wrong.end))")
            }
        }),
    Rule(
        "VC-STT-36", kinds: [.speechToText], "A transcript lies in audio that was pushed.",
        because: "The host compares its end with the pause after it: in the future there is no pause.",
        passing: "event.end = min(end, self->position);",
        failing: "event.end = now_ms(self) * rate / 1000;",
        needs: ["VC-STT-02"],
        check: .probe { bench in
            let session = try bench.session()
            let heard = session.hear(ms: 2_000)
            // 20 ms for a vendor that counts in milliseconds or in frames.
            let limit = session.position + UInt64(session.rateHz / 50)
            if let wrong = heard.texts.first(where: { max($0.start, $0.end) > limit }) {
                throw Violation(
                    "\(session.seconds(session.position)) of audio", expected: "transcripts within it",
                    got: "\"\(wrong.text)\" until \(session.seconds(max(wrong.start, wrong.end)))")
            }
        }),
    Rule(
        "VC-STT-13", kinds: [.speechToText], "Positions are samples at the session's rate.",
        because: "At another rate everything that the caller said would have happened at another time.",
        passing: "event.start = seconds * self->rate_hz;",
        failing: "event.start = seconds * 8000;",
        needs: ["VC-STT-02", "VC-STT-14"], skip: withoutBothRates,
        check: .probe { bench in
            var ends: [(start: Double, end: Double)] = []
            for rate in [8_000, 16_000] {
                let session = try bench.provider().session(at: rate)
                session.pushSilence(ms: 2_000)
                let finals = try session.hear(ms: 2_000).needFinals()
                ends.append((Double(finals[0].start) / Double(rate), Double(finals.last!.end) / Double(rate)))
            }
            let difference = max(abs(ends[0].start - ends[1].start), abs(ends[0].end - ends[1].end))
            // What is recognised may differ by a syllable; a wrong rate is a factor of two of two seconds and more.
            guard difference < 0.75 else {
                throw Violation(
                    "the same audio at 8000 and 16000 Hz", expected: "the same times",
                    got: "\(ends[0].start)…\(ends[0].end) s and \(ends[1].start)…\(ends[1].end) s")
            }
        }),
    Rule(
        "VC-STT-20", .resilient, kinds: [.speechToText], "Positions go on where a frame after missing audio says.",
        because: "Packets are lost. Who counts samples himself is late by each of them, for the rest of the call.",
        passing: "self->position = frame->position;",
        failing: "self->position += frame->samples;",
        needs: ["VC-STT-02"],
        check: .probe { bench in
            let session = try bench.session()
            _ = try session.hear(1).needFinals()
            let gapEnd = session.position + UInt64(session.rateHz * 10)
            session.position = gapEnd
            let first = session.events.count
            session.begin(2)
            for (index, frame) in bench.speech(rateHz: session.rateHz, ms: 1_200).frames(of: session.rateHz / 50)
                .enumerated()
            {
                session.push(frame) { if index == 0 { $0.flags = UInt32(VC_FRAME_DISCONTINUITY) } }
                bench.advance(ms: 20)
            }
            let final = try session.finalized(since: first).needFinals()[0]
            // In whichever order it tells them: that is VC-STT-11's.
            guard final.end == 0 || max(final.start, final.end) > gapEnd else {
                if !bench.job.scripts.isEmpty { throw NotApplicable("its vendor is a script, with times of its own") }
                throw Violation(
                    "speech after ten seconds that are missing", expected: "a final after \(session.seconds(gapEnd))",
                    got: "one that ends at \(session.seconds(final.end))")
            }
        }),
    Rule(
        "VC-STT-12", kinds: [.speechToText], "Words lie within their transcript.",
        because: "The host cuts a text by the times of its words.",
        passing: "word.start = utterance.start + offset;",
        failing: "word.start = offset;",
        needs: ["VC-STT-02"],
        check: .probe { bench in
            let session = try bench.session()
            session.pushSilence(ms: 2_000)
            let finals = try session.hear(2, ms: 2_000).needFinals()
            let slack = UInt64(session.rateHz / 50)
            for final in finals {
                let (from, to) = (min(final.start, final.end), max(final.start, final.end))
                if let word = final.words.first(where: { $0.start + slack < from || $0.end > to + slack }) {
                    throw Violation(
                        "\"\(final.text)\" at \(session.seconds(from))…\(session.seconds(to))",
                        expected: "its words within it",
                        got: "\"\(word.text)\" at \(session.seconds(word.start))…\(session.seconds(word.end))")
                }
            }
        }),
    Rule(
        "VC-STT-37", kinds: [.speechToText], "Words come in the order in which they were said.",
        because: "A text is cut after the last word that was heard before the interruption.",
        passing: "for (i = 0; i < n; i++) words[i] = …;",
        failing: "for (node = list; node; node = node->next)        // which is a stack",
        needs: ["VC-STT-02"],
        check: .probe { bench in
            let session = try bench.session()
            for final in try session.hear(ms: 2_000).needFinals() {
                let pairs = zip(final.words, final.words.dropFirst())
                if let (first, second) = pairs.first(where: { $0.start > $1.start || $0.end > $1.end }) {
                    throw Violation(
                        "the words of \"\(final.text)\"", expected: "ascending times",
                        got: "\"\(first.text)\" at \(session.seconds(first.start)), then \"\(second.text)\" at "
                            + session.seconds(second.start))
                }
            }
        }),
    Rule(
        "VC-STT-38", kinds: [.speechToText], "A recogniser that declares words gives them with its finals.",
        because: "The operator chose it for them.",
        passing: "event.words = words;  event.word_count = count;",
        failing: "event.words = NULL;        // and \"words\": true in the manifest",
        needs: ["VC-STT-02"], skip: { without("words", $0) },
        check: .probe { bench in
            let finals = try bench.session().hear(ms: 2_000).needFinals()
            if let bare = finals.first(where: \.words.isEmpty) {
                throw Violation("\"\(bare.text)\"", expected: "its words, as the manifest says", got: "none")
            }
        }),
]

extension BenchSession {
    func needBegin() throws {
        if sttOps?.begin == nil { throw NotApplicable("it has no `begin`, and finds utterances by itself") }
    }
}

extension BenchProvider {
    /// A session that works, at `rate`.
    func session(at rate: Int) throws -> BenchSession {
        var options = SessionOptions()
        options.rate = rate
        return try session(options)
    }
}

/// Why a rule about a capability does not apply.
func without(_ capability: String, _ subject: Subject) -> String? {
    subject.provider?.capabilities.flag(capability) == true ? nil : "the manifest does not say \"\(capability)\": true"
}

let withoutBothRates: @Sendable (Subject) -> String? = { subject in
    Set([8_000, 16_000]).isSubset(of: subject.provider?.capabilities.ratesHz ?? [])
        ? nil : "the manifest's `rates` are not both of 8000 and 16000"
}
