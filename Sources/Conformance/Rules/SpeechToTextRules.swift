// STT: what a recogniser is asked, and what ends its answer. What the answer says: `SpeechToTextRules+Text.swift`.

import PluginABI
import Providers

let speechToTextRules: [Rule] = [
    Rule(
        "VC-STT-01", smoke: true, kinds: [.speechToText], "Silence gives no words.",
        because: "The agent would answer what nobody said, again and again.",
        passing: "if (loudest(audio) < threshold) { emit(FINALIZED); return; }",
        failing: "transcript = model(audio);        // \"Thank you for watching.\"",
        check: .probe { bench in
            let session = try bench.session()
            session.begin(1)
            session.pushSilence(ms: 1_000)
            guard let said = session.finalized(since: 0).finals.first else { return }
            if !bench.job.scripts.isEmpty { throw NotApplicable("its vendor is a script, which hears nothing") }
            throw Violation("a second of silence, finalized", expected: "no words", got: "\"\(said.text)\"")
        }),
    Rule(
        "VC-STT-02", smoke: true, kinds: [.speechToText], "Speech gives a final transcript.",
        because: "Without it the agent hears nothing.",
        passing: "emit(TRANSCRIPT with final = 1);  emit(FINALIZED);",
        failing: "emit(TRANSCRIPT with final = 0);  emit(FINALIZED);",
        check: .probe { bench in
            let heard = try bench.session().hear(ms: 2_000)
            guard heard.finals.isEmpty else { return }
            if !bench.hasRecording, bench.job.scripts.isEmpty {
                throw Bench.noRecording
            }
            let other = heard.failure.map { ", an ERROR: \($0.message)" } ?? ""
            throw Violation(
                "two seconds of speech, finalized", expected: "a final transcript with words",
                got: heard.partials.isEmpty ? "no transcript\(other)" : "partial ones only\(other)")
        }),
    Rule(
        "VC-STT-04", smoke: true, kinds: [.speechToText], "FINALIZED carries the request of its `finalize`.",
        because: "The host asks several times in an utterance, and takes each answer for the question it names.",
        passing: "event.head.request = request;",
        failing: "event.head.request = 0;",
        check: .probe { bench in
            let heard = try bench.session().hear(request: 4_711)
            guard let end = heard.ends.first else { throw NotApplicable("nothing was finalized") }
            guard end.request == 4_711 else {
                throw Violation("finalize(4711)", expected: "FINALIZED of request 4711", got: "of \(end.request)")
            }
        }),
    Rule(
        "VC-STT-05", kinds: [.speechToText], "FINALIZED comes after the final transcripts that it ends.",
        because: "At FINALIZED the host answers the caller; what comes later is not part of the question.",
        passing: "emit(TRANSCRIPT);  emit(FINALIZED);",
        failing: "emit(FINALIZED);  emit(TRANSCRIPT);",
        needs: ["VC-STT-02"],
        check: .probe { bench in
            let heard = try bench.session().hear()
            guard let end = heard.ends.first else { throw NotApplicable("nothing was finalized") }
            if let late = heard.finals.first(where: { $0.event.number > end.number }) {
                throw Violation(
                    "finalize", expected: "all final transcripts, then FINALIZED",
                    got: "\"\(late.text)\" after FINALIZED")
            }
        }),
    Rule(
        "VC-STT-06", kinds: [.speechToText], "`finalize` is answered when no audio came at all.",
        because: "A caller who is mute from the first second still gets a question from the agent.",
        passing: "if (!self->samples) { emit(FINALIZED); return VC_OK; }",
        failing: "if (!self->samples) return VC_OK;",
        check: .probe { bench in
            try needAnswer(bench.session().finalized(), "finalize without any audio")
        }),
    Rule(
        "VC-STT-07", kinds: [.speechToText], "A second utterance is recognised like the first.",
        because: "A call has more than one sentence.",
        passing: "reset(&self->utterance);        // in finalize",
        failing: "self->is_done = 1;        // in finalize, and looked at in push",
        needs: ["VC-STT-02"],
        check: .probe { bench in
            let session = try bench.session()
            _ = try session.hear(1).needFinals()
            session.pushSilence(ms: 500)
            guard session.hear(2).finals.isEmpty else { return }
            throw Violation(
                "a second utterance, the same speech", expected: "a final transcript as for the first", got: "none")
        }),
    Rule(
        "VC-STT-08", kinds: [.speechToText], "A second `finalize` without audio between is answered too.",
        because: "The host asks once while the caller may go on, and once more when it is sure.",
        passing: "answer(request, self->latest_text);",
        failing: "if (!self->new_audio) return VC_OK;",
        check: .probe { bench in
            let session = try bench.session()
            _ = session.hear()
            try needAnswer(session.finalized(), "finalize again, without new audio")
        }),
    Rule(
        "VC-STT-35", kinds: [.speechToText], "A `finalize` is answered by FINALIZED once.",
        because: "The second would end the next question before its answer came.",
        passing: "emit(FINALIZED);        // when the last final is out",
        failing: "for (each final) { emit(TRANSCRIPT);  emit(FINALIZED); }",
        check: .probe { bench in
            let session = try bench.session()
            let heard = session.hear()
            bench.advance(ms: 2_000)
            let count = session.events(VC_EVENT_FINALIZED).count
            guard count <= 1 else { throw Violation("one finalize", expected: "FINALIZED once", got: "\(count) times") }
            try needAnswer(heard, "finalize after speech")
        }),
    Rule(
        "VC-STT-31", kinds: [.speechToText], "No transcript comes before any audio.",
        because: "Words of nobody make the host believe that the caller interrupts.",
        passing: "emit(TRANSCRIPT);        // when audio was recognised",
        failing: "begin(self, …) { emit(TRANSCRIPT of the former text); }",
        check: .probe { bench in
            let session = try bench.session()
            session.begin(1)
            bench.advance(ms: 5_000)
            if let text = session.events.compactMap(HeardText.init).first(where: \.hasWords) {
                throw Violation("begin, and no audio for 5 s", expected: "no transcript", got: "\"\(text.text)\"")
            }
        }),
    Rule(
        "VC-STT-39", kinds: [.speechToText], "`push` after `close` answers VC_E_CLOSED.",
        because: "Audio and the end of a call come on different threads; the last frame may be late.",
        passing: "if (self->is_closed) return VC_E_CLOSED;",
        failing: "append(self->stream, frame);        // of a connection that is closed",
        check: .probe { bench in
            let session = try bench.session()
            session.pushSilence(ms: 100)
            session.close()
            let status = session.push(bench.silence(rateHz: session.rateHz, ms: 20))
            guard status == vc_status(VC_E_CLOSED) else {
                throw Violation("push after close", expected: "VC_E_CLOSED", got: statusName(status))
            }
        }),
    Rule(
        "VC-STT-33", .resilient, kinds: [.speechToText], "A session takes two minutes of speech.",
        because: "It lives as long as the call. Whoever fills a buffer meets its end in the middle of one.",
        passing: "self->length = 0;        // when the utterance ends",
        failing: "if (self->length > sizeof self->samples) return VC_E_MEMORY;",
        check: .probe { bench in
            let session = try bench.session()
            let speech = bench.speech(rateHz: session.rateHz, ms: 4_000).frames(of: session.rateHz / 50)
            for number in 1...30 {
                session.begin(UInt64(number))
                for frame in speech {
                    let at = session.seconds(session.position)
                    let status = session.push(frame)
                    guard status == VC_OK || status == vc_status(VC_E_AGAIN) else {
                        throw Violation("push at \(at) of a call", expected: "VC_OK", got: statusName(status))
                    }
                }
                bench.advance(ms: 4_000)
                _ = session.finalized()
            }
        }),
    Rule(
        "VC-STT-41", kinds: [.speechToText], "A tentative `finalize` leaves the utterance open.",
        because: "The caller went on after all; a new utterance would be a second question.",
        passing: "if (!(flags & VC_STT_TENTATIVE)) end_utterance(self);",
        failing: "end_utterance(self);",
        needs: ["VC-STT-02"], skip: withoutTentative,
        check: .probe { bench in
            let session = try bench.session()
            session.begin(5)
            session.pushInTime(bench.speech(rateHz: session.rateHz, ms: 1_200))
            let first = try session.finalized(flags: UInt32(VC_STT_TENTATIVE)).needFinals()
            session.pushInTime(bench.speech(rateHz: session.rateHz, ms: 600))
            guard let second = session.finalized().finals.last else {
                throw Violation(
                    "finalize after a tentative one and more speech", expected: "a final transcript", got: "none")
            }
            guard second.utterance == first[0].utterance else {
                throw Violation(
                    "finalize after a tentative one and more speech",
                    expected: "a final transcript of utterance \(first[0].utterance)",
                    got: "of utterance \(second.utterance)")
            }
        }),
    Rule(
        "VC-STT-42", kinds: [.speechToText], "A tentative `finalize` is answered by FINALIZED.",
        because: "The host decides with its answer whether the caller is done; without one it waits for its timeout.",
        passing: "emit(TRANSCRIPT);  emit(FINALIZED);        // whatever the flags",
        failing: "if (flags & VC_STT_TENTATIVE) return VC_OK;",
        skip: withoutTentative,
        check: .probe { bench in
            let session = try bench.session()
            session.begin(1)
            session.pushInTime(bench.speech(rateHz: session.rateHz, ms: 1_200))
            try needAnswer(session.finalized(flags: UInt32(VC_STT_TENTATIVE)), "a tentative finalize")
        }),
]

private func needAnswer(_ heard: Heard, _ what: String) throws {
    guard heard.ends.isEmpty, heard.failure == nil else { return }
    throw Violation(
        what, expected: "FINALIZED",
        got: heard.status == VC_OK ? "nothing for 20 s" : "a refusal, \(statusName(heard.status))")
}

private let withoutTentative: @Sendable (Subject) -> String? = { subject in
    subject.provider?.capabilities.flag("tentative") == true ? nil : "the manifest does not say \"tentative\": true"
}
