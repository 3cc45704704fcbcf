// TURN: one question at a pause, one answer.

import PluginABI
import Providers

let turnRules: [Rule] = [
    Rule(
        "VC-TURN-01", smoke: true, kinds: [.turn], "A verdict's probability is a finite number in 0 ... 1.",
        because: "The host refuses any other, and the caller waits for the longest pause.",
        passing: "1 / (1 + exp(-x))",
        failing: "100 / (1 + exp(-x))",
        check: .probe { bench in
            for text in ["Yes, that is all.", "I would like to"] {
                let verdict = try bench.session().verdict(text)
                guard (0...1).contains(verdict.probability) else {
                    throw Violation("\"\(text)\"", expected: "a probability in 0...1", got: "\(verdict.probability)")
                }
            }
        }),
    Rule(
        "VC-TURN-02", .realTime, .should, kinds: [.turn],
        "A sentence that is complete is rather over than one that is not.",
        because: "That is what a judge is asked for: otherwise the pause alone would do.",
        passing: "\"… a table for two.\" 0.9, \"… a table for\" 0.2",
        failing: "1 - probability",
        needs: ["VC-TURN-01"],
        check: .probe { bench in
            let languages = bench.subject.provider?.capabilities.languages ?? []
            guard languages.isEmpty || languages.contains(where: { $0.hasPrefix("en") }) else {
                throw NotApplicable("it does not speak English")
            }
            let complete = try bench.session().verdict("I would like to book a table for two people.")
            let open = try bench.session().verdict("I would like to book a table for")
            guard complete.probability >= open.probability else {
                throw Violation(
                    "\"… a table for two people.\" and \"… a table for\"", expected: "the first as over as the second",
                    got: "\(complete.probability) and \(open.probability)")
            }
        }),
    Rule(
        "VC-TURN-03", kinds: [.turn], "No verdict comes without a question.",
        because: "It would be taken for the answer to a question about another pause.",
        passing: "decide(self, request, …) { emit(VERDICT of request); }",
        failing: "push(self, frame) { if (silence) emit(VERDICT); }",
        check: .probe { bench in
            let session = try bench.session()
            session.pushInTime(bench.speech(rateHz: session.rateHz, ms: 800))
            session.transcript("That is all.")
            session.pushSilence(ms: 2_000)
            bench.advance(ms: 2_000)
            guard session.events(VC_EVENT_VERDICT).isEmpty else {
                throw Violation("speech and a pause, no `decide`", expected: "no VERDICT", got: "VERDICT")
            }
        }),
    Rule(
        "VC-TURN-05", kinds: [.turn], "`transcript` replaces the words that came before it.",
        because: "It is told the turn so far, again and again; joined, it would be judged as a stammer.",
        passing: "self->text = copy(text);",
        failing: "self->text = join(self->text, text);",
        needs: ["VC-TURN-09"],
        check: .probe { bench in
            let plain = try bench.session().verdict("Yes.")
            let session = try bench.session()
            guard session.turnOps?.transcript != nil else { throw NotApplicable("it judges by audio alone") }
            let revised = try session.verdict(
                "Yes.", after: ["I guess", "I guess so, or at least I would think so if you"])
            try same(revised, plain, "\"Yes.\" after other words that it replaces, and alone")
        }),
    Rule(
        "VC-TURN-09", kinds: [.turn], "The same turn gives the same verdict.",
        because: "A fault that comes and goes cannot be found, and a threshold cannot be set.",
        passing: "the session's own state, and nothing else",
        failing: "probability += noise;",
        check: .probe { bench in
            let verdicts = try (0..<3).map { _ in try bench.session().verdict("Yes, that is all.") }
            for verdict in verdicts.dropFirst() { try same(verdict, verdicts[0], "the same turn in a new session") }
        }),
    Rule(
        "VC-TURN-11", smoke: true, kinds: [.turn], "VERDICT carries the request of its `decide`.",
        because: "The caller may have gone on: the host must know which pause the answer is about.",
        passing: "event.head.request = request;",
        failing: "event.head.request = 0;",
        check: .probe { bench in
            let verdict = try bench.session().verdict("Yes, that is all.", request: 4_711)
            guard verdict.event.request == 4_711 else {
                throw Violation("decide(4711)", expected: "VERDICT of request 4711", got: "of \(verdict.event.request)")
            }
        }),
    Rule(
        "VC-TURN-12", kinds: [.turn], "A question gets one verdict.",
        because: "The host acts on the first; the second would be counted for the next pause.",
        passing: "emit(VERDICT);",
        failing: "emit(VERDICT of the words);  emit(VERDICT of the sound);",
        check: .probe { bench in
            let session = try bench.session()
            let first = try session.verdict("Yes, that is all.").event
            bench.advance(ms: 2_000)
            let count = session.events(VC_EVENT_VERDICT).filter { $0.number >= first.number }.count
            guard count == 1 else { throw Violation("decide", expected: "VERDICT once", got: "\(count) times") }
        }),
    Rule(
        "VC-TURN-13", kinds: [.turn], "A question without any audio is answered.",
        because: "A recogniser may be quicker than the audio; the host waits for the answer it asked for.",
        passing: "if (!self->samples) judge(self->text);",
        failing: "if (!self->samples) return VC_OK;",
        check: .probe { bench in
            let session = try bench.session()
            session.transcript("Yes, that is all.")
            try needVerdict(session, "decide without audio")
        }),
    Rule(
        "VC-TURN-14", kinds: [.turn], "A question without any words is answered.",
        because: "A caller who coughs says none, and the host asks all the same.",
        passing: "if (!self->length) judge(self->audio);",
        failing: "if (!self->length) return VC_OK;",
        check: .probe { bench in
            let session = try bench.session()
            session.pushInTime(bench.speech(rateHz: session.rateHz, ms: 400))
            try needVerdict(session, "decide without a transcript")
        }),
    Rule(
        "VC-TURN-15", kinds: [.turn], "The sign of listening is 0 ... 1, or negative when it is unknown.",
        because: "With 40 of 1 every word of the caller would be taken for a hum.",
        passing: "event.backchannel = -1;",
        failing: "event.backchannel = percent;",
        check: .probe { bench in
            let verdict = try bench.session().verdict("Mhm.")
            guard verdict.backchannel <= 1 else {
                throw Violation("\"Mhm.\"", expected: "a backchannel up to 1", got: "\(verdict.backchannel)")
            }
        }),
    Rule(
        "VC-TURN-16", kinds: [.turn], "A session opens at every rate of the manifest.",
        because: "The host chooses the one that needs no resampling, and has no other plan.",
        passing: "if (rate != 8000 && rate != 16000) refuse();        // \"rates\": [8000, 16000]",
        failing: "if (rate != 8000) refuse();        // \"rates\": [8000, 16000]",
        check: .probe { bench in try openAtEveryRate(bench) }),
    Rule(
        "VC-TURN-18", kinds: [.turn], "A session judges by its own caller.",
        because: "One caller's silence would end another caller's sentence.",
        passing: "self->silence_ms += 20;",
        failing: "static uint32_t silence_ms;",
        needs: ["VC-TURN-09"],
        check: .probe { bench in
            let alone = try bench.session().verdict("Yes, that is all.")
            let provider = try bench.provider()
            let (one, other) = (try provider.session(), try provider.session())
            let verdict = try one.verdict("Yes, that is all.") {
                other.pushSilence(ms: 2_000)
                other.transcript("And another thing, if I may: I would also like to")
            }
            try same(verdict, alone, "a turn beside another caller's, and alone")
        }),
]

private struct TurnOpinion {
    let event: RecordedEvent
    let probability: Float
    let backchannel: Float
}

extension BenchSession {
    /// Speech, a short pause and `text`, and what is thought of it. `between` runs before the question.
    fileprivate func verdict(
        _ text: String, after others: [String] = [], request: UInt64? = nil, between: () -> Void = {}
    ) throws -> TurnOpinion {
        pushInTime(bench.speech(rateHz: rateHz, ms: 400))
        for other in others { transcript(other, isFinal: false) }
        transcript(text)
        between()
        guard let event = ask(request), case .verdict(let probability, let backchannel) = event.body else {
            throw NotApplicable("no verdict came")
        }
        return TurnOpinion(event: event, probability: probability, backchannel: backchannel)
    }

    /// Any VERDICT after the question: whose id it carries, another rule asks.
    fileprivate func ask(_ request: UInt64? = nil) -> RecordedEvent? {
        let asked = events.count
        decide(request ?? nextRequest())
        func answer() -> RecordedEvent? { events.dropFirst(asked).first { $0.type == VC_EVENT_VERDICT } }
        _ = bench.wait(ms: 10_000) {
            answer() != nil || events.dropFirst(asked).contains { $0.failure != nil }
        }
        return answer()
    }
}

private func needVerdict(_ session: BenchSession, _ what: String) throws {
    guard session.ask() == nil, !session.events.contains(where: { $0.failure != nil }) else { return }
    throw Violation(what, expected: "VERDICT", got: "nothing for 10 s")
}

private func same(_ one: TurnOpinion, _ other: TurnOpinion, _ what: String) throws {
    guard abs(one.probability - other.probability) <= 0.001 else {
        throw Violation(what, expected: "the same probability", got: "\(one.probability) and \(other.probability)")
    }
}
