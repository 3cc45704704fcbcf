// BP: credit. The host takes two seconds of audio ahead of the caller's ear, and then says AGAIN.

import PluginABI
import Providers

let backpressureRules: [Rule] = [
    Rule(
        "VC-BP-02", .realTime, kinds: [.textToSpeech], "What was refused with AGAIN comes again, once and whole.",
        because: "A frame that is lost is a gap in a word; one that comes twice is a stammer.",
        passing: "if (emit(frame) == VC_E_AGAIN) return;        // and the same frame after credit",
        failing: "emit(frame);  next_frame(self);",
        check: .probe { bench in
            let provider = try bench.provider()
            let text = "One two three four five six seven eight nine ten."
            let free = try provider.session()
            free.speak(1, text)
            free.waitForEnd(of: 1, VC_EVENT_TTS_DONE)
            let expected = accepted(free)
            let session = try provider.session()
            session.object.credit = 4_000
            session.speak(1, text)
            func isDone() -> Bool { session.events.contains { $0.type == VC_EVENT_TTS_DONE } }
            for _ in 0..<2_000 where !isDone() {
                // A wait and no leap: a plugin with threads of its own lives on the machine's time.
                _ = bench.wait(ms: 20, until: isDone)
                session.credit(events: 1, bytes: 640)
            }
            let got = accepted(session)
            guard got == expected else {
                let differs = zip(got, expected).enumerated().first { $1.0 != $1.1 }
                let at = differs?.offset ?? min(got.count, expected.count)
                throw Violation(
                    "audio through a narrow credit", expected: "the same \(expected.count) samples as without",
                    got: "\(got.count) samples, the first difference at \(at)")
            }
        }),
    Rule(
        "VC-BP-03", .realTime, kinds: [.languageModel, .textToSpeech], "A session without credit waits for it.",
        because: "Who tries again and again uses up a core while the caller listens.",
        passing: "credit(self, …) { pump(self); }",
        failing: "while (emit(frame) == VC_E_AGAIN) {}",
        check: .probe { bench in
            let session = try bench.provider().session()
            try session.askAndStall()
            bench.advance(ms: 60_000)
            let tries = session.events.filter { $0.answer == vc_status(VC_E_AGAIN) }.count
            guard tries <= 60 else {
                throw Violation("a minute without credit", expected: "at most 60 tries", got: "\(tries)")
            }
        }),
    Rule(
        "VC-BP-06", .realTime, kinds: [.languageModel, .textToSpeech], "Any credit is taken, however large.",
        because: "The host gives back what it has played at once: after a long stall, a lot.",
        passing: "self->credit = add_saturating(self->credit, bytes);",
        failing: "int32_t credit;  self->credit += bytes;",
        check: .probe { bench in
            let session = try bench.provider().session()
            let request = try session.askAndStall()
            bench.world.monitor.locked { session.object.creditEvents = nil }
            session.credit(events: .max, bytes: .max)
            session.credit(events: .max, bytes: .max)
            let end = bench.kind == .textToSpeech ? VC_EVENT_TTS_DONE : VC_EVENT_LLM_DONE
            guard session.waitForEnd(of: request, end) else {
                throw Violation(
                    "credit of 2^64 - 1 bytes, twice", expected: "the answer goes on", got: "nothing for 20 s")
            }
        }),
    Rule(
        "VC-BP-07", .realTime, kinds: [.languageModel, .textToSpeech], "A session without credit stalls no other.",
        because: "One caller on hold must not stop the agents of all others.",
        passing: "each session has its own queue",
        failing: "static queue out;        // and its head waits for credit",
        check: .probe { bench in
            let provider = try bench.provider()
            let free = try provider.session()
            let expected = free.signature(of: try free.exercise())
            try provider.session().askAndStall()
            let other = try provider.session()
            let got = try? other.signature(of: other.exercise())
            guard got == expected else {
                throw Violation(
                    "a request beside a session without credit", expected: expected.joined(separator: ", "),
                    got: got?.joined(separator: ", ") ?? "a refusal")
            }
        }),
    Rule(
        "VC-BP-09", .realTime, kinds: [.languageModel, .textToSpeech], "CANCELED needs no credit.",
        because: "Interruptions come when the playout is full: that is when the agent speaks.",
        passing: "cancel(self, epoch) { emit(CANCELED); }",
        failing: "append(self->outbox, CANCELED);        // behind the frame that waits for credit",
        needs: ["VC-CAN-02"],
        check: .probe { bench in
            let session = try bench.provider().session()
            try session.askAndStall()
            let epoch = session.cancel()
            guard bench.wait(ms: 500, until: { isCanceled(session, epoch) > 0 }) else {
                throw Violation("cancel without credit", expected: "CANCELED of epoch \(epoch)", got: "none")
            }
        }),
]

private func accepted(_ session: BenchSession) -> [Int16] {
    session.events(VC_EVENT_AUDIO).filter { $0.answer == vc_status(VC_OK) }.flatMap { $0.audio?.samples ?? [] }
}
