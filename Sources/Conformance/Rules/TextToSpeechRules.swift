// TTS: requests, and what ends them. Audio: `TextToSpeechRules+Audio.swift`. Marks: `TextToSpeechRules+Marks.swift`.

import PluginABI
import Providers

let textToSpeechRules: [Rule] = [
    Rule(
        "VC-TTS-01", smoke: true, kinds: [.textToSpeech],
        "A text becomes audio, and then TTS_DONE with VC_TTS_COMPLETE.",
        because: "Without the one the caller hears nothing; without the other the host takes the answer for cut off.",
        passing: "emit(AUDIO);  …  emit(TTS_DONE with reason = VC_TTS_COMPLETE);",
        failing: "emit(AUDIO);  …  emit(TTS_DONE with reason = 0);",
        check: .probe { bench in
            let spoken = try bench.session().say("Hello.")
            if let failure = spoken.failure {
                throw Violation("speak(\"Hello.\")", expected: "audio", got: "an ERROR: \(failure.message)")
            }
            guard spoken.samples > 0 else { throw Violation("speak(\"Hello.\")", expected: "AUDIO", got: "none") }
            guard let done = spoken.dones.first, case .spoken(let reason, _) = done.body else {
                throw Violation("speak(\"Hello.\")", expected: "TTS_DONE", got: "nothing for 60 s")
            }
            guard reason == UInt32(VC_TTS_COMPLETE) else {
                throw Violation("speak(\"Hello.\")", expected: "VC_TTS_COMPLETE (1)", got: "reason \(reason)")
            }
        }),
    Rule(
        "VC-TTS-02", smoke: true, kinds: [.textToSpeech], "A request ends with one TTS_DONE.",
        because: "The second would end the next clause before it was heard.",
        passing: "emit(TTS_DONE);  drop(request);",
        failing: "emit(TTS_DONE);        // when the vendor is done, and when the queue is empty",
        check: .probe { bench in
            let session = try bench.session()
            let request = session.nextRequest()
            _ = session.say("Hello there.", request: request)
            bench.advance(ms: 5_000)
            let count = session.spoken(request).dones.count
            guard count <= 1 else { throw Violation("a request", expected: "TTS_DONE once", got: "\(count) times") }
        }),
    Rule(
        "VC-TTS-35", kinds: [.textToSpeech], "Nothing of a request comes after its TTS_DONE.",
        because: "The host has closed the account: what comes then is played in nobody's name, or thrown away.",
        passing: "emit(last AUDIO);  emit(last MARK);  emit(TTS_DONE);",
        failing: "emit(TTS_DONE);  emit(last MARK);",
        check: .probe { bench in
            let session = try bench.session()
            let request = session.nextRequest()
            _ = session.say("Hello there.", request: request)
            bench.advance(ms: 5_000)
            let events = session.answers(to: request)
            guard let done = events.firstIndex(where: { $0.type == VC_EVENT_TTS_DONE }) else { return }
            if let late = events[done...].first(where: { $0.type != VC_EVENT_TTS_DONE }) {
                throw Violation("after TTS_DONE", expected: "nothing of the request", got: late.name)
            }
        }),
    Rule(
        "VC-TTS-03", kinds: [.textToSpeech], "Audio belongs to a request.",
        because: "The host plays what it asked for. A voice that speaks by itself interrupts the caller.",
        passing: "event.head.request = request->number;",
        failing: "open(…) { emit(AUDIO of request 0);        // to warm up the line }",
        check: .probe { bench in
            let session = try bench.session()
            bench.advance(ms: 1_000)
            _ = session.say("Hello.", request: 7)
            if let stray = session.events.first(where: {
                $0.type >= VC_EVENT_TTS && $0.request != 7
            }) {
                throw Violation(
                    "request 7", expected: "events of request 7", got: "\(stray.name) of \(stray.request)")
            }
        }),
    Rule(
        "VC-TTS-04", kinds: [.textToSpeech], "Requests are spoken in the order in which they came.",
        because: "They are the clauses of one answer.",
        passing: "append(&self->queue, request);",
        failing: "push(&self->stack, request);",
        needs: ["VC-TTS-01"],
        check: .probe { bench in
            let (session, requests) = try queued(bench)
            let begins = requests.compactMap { request in
                session.spoken(request).events.first { $0.audio != nil }.map { (request, $0.number) }
            }
            let order = begins.sorted { $0.1 < $1.1 }.map(\.0)
            guard order == begins.map(\.0) else {
                throw Violation("requests 1, 2, 3", expected: "spoken in this order", got: "\(order)")
            }
        }),
    Rule(
        "VC-TTS-36", kinds: [.textToSpeech], "Requests are never mixed.",
        because: "Two clauses spoken in turns, frame by frame, are no language.",
        passing: "while (request_has_audio) emit(AUDIO);        // and then the next",
        failing: "for (each request) emit(its next AUDIO);",
        needs: ["VC-TTS-01"],
        check: .probe { bench in
            let (session, requests) = try queued(bench)
            let audio = session.events(VC_EVENT_AUDIO).filter {
                $0.answer == vc_status(VC_OK) && requests.contains($0.request)
            }
            var ended: Set<UInt64> = []
            for (one, next) in zip(audio, audio.dropFirst()) where one.request != next.request {
                ended.insert(one.request)
                guard !ended.contains(next.request) else {
                    throw Violation(
                        "three requests at once", expected: "the audio of each in one stretch",
                        got: "request \(next.request) again after request \(one.request)")
                }
            }
        }),
    Rule(
        "VC-TTS-05", kinds: [.textToSpeech], "The pieces of a request are spoken like the whole.",
        because: "A model's words come in pieces, and the caller is to hear all of them.",
        passing: "append(request, text);",
        failing: "if (find(request)) return VC_OK;        // we have it already",
        needs: ["VC-TTS-01"],
        check: .probe { bench in
            guard bench.job.scripts.isEmpty else { throw NotApplicable("its vendor is a script, and says the same") }
            let provider = try bench.provider()
            let whole = try provider.session().say("One two three four. Five six seven eight.").needAudio()
            let pieces = try provider.session().say("One two three four. ", "Five six seven eight.")
            // Half of it is missing when a piece is; prosody and pauses are worth a third at most.
            guard pieces.samples * 3 > whole.samples * 2 else {
                throw Violation(
                    "a text in two pieces",
                    expected: "about \(secondsText(UInt64(whole.samples), whole.rateHz)) of audio",
                    got: secondsText(UInt64(pieces.samples), whole.rateHz))
            }
        }),
    Rule(
        "VC-TTS-52", kinds: [.textToSpeech], "A request does not end before its last piece.",
        because: "What comes after TTS_DONE is no part of it: the rest of the answer would be lost.",
        passing: "if (request->is_complete && nothing_left) emit(TTS_DONE);",
        failing: "if (nothing_left) emit(TTS_DONE);",
        check: .probe { bench in
            let session = try bench.session()
            let request = session.nextRequest()
            session.speak(request, "One two three. ", last: false)
            bench.advance(ms: 10_000)
            guard session.spoken(request).dones.isEmpty else {
                throw Violation("a piece without VC_TTS_LAST", expected: "no TTS_DONE yet", got: "TTS_DONE")
            }
        }),
    Rule(
        "VC-TTS-06", kinds: [.textToSpeech], "An empty last piece ends the request.",
        because: "That a text has ended is often known only after its last word was sent.",
        passing: "request->is_complete = flags & VC_TTS_LAST;        // whatever the text",
        failing: "if (!text.length) return VC_OK;",
        needs: ["VC-LIFE-02", "VC-ROB-01"],
        check: .probe { bench in
            let spoken = try bench.session().say("One two three.", "")
            try needEnd(spoken, "a text, and then an empty piece with VC_TTS_LAST")
        }),
    Rule(
        "VC-TTS-07", kinds: [.textToSpeech], "An empty request ends.",
        because: "A model may answer with nothing. The host waits for the end of what it asked for.",
        passing: "if (!request->length) emit(TTS_DONE);",
        failing: "if (!text.length) return VC_OK;        // nothing to say",
        needs: ["VC-LIFE-02", "VC-ROB-01"],
        check: .probe { bench in
            let session = try bench.session()
            let request = session.nextRequest()
            guard session.speak(request, "") == VC_OK else { return }
            session.waitForEnd(of: request, VC_EVENT_TTS_DONE)
            try needEnd(session.spoken(request), "an empty text with VC_TTS_LAST")
        }),
    Rule(
        "VC-TTS-08", .resilient, kinds: [.textToSpeech], "A text that cannot be spoken ends all the same.",
        because: "Models write emoji, tables and formulas, and one of them would hold up the call.",
        passing: "emit(TTS_DONE);        // with whatever audio there is",
        failing: "if (!has_letters(text)) return VC_OK;",
        needs: ["VC-LIFE-13", "VC-ROB-01", "VC-ROB-02"],
        check: .probe { bench in
            let provider = try bench.provider()
            for text in oddTexts {
                let session = try provider.session()
                let request = session.nextRequest()
                guard session.speak(request, text) == VC_OK else { continue }
                session.waitForEnd(of: request, VC_EVENT_TTS_DONE, ms: 30_000)
                try needEnd(session.spoken(request), "the text \(quoted(text))")
            }
        }),
    Rule(
        "VC-TTS-09", .resilient, kinds: [.textToSpeech], "A text of 100 kB is begun, or refused.",
        because: "A tool that returned a whole page must not leave the caller in silence.",
        passing: "if (text.length > TEXT_MAX) return VC_E_ARGUMENT;",
        failing: "uint16_t length = text.length;",
        needs: ["VC-ROB-03", "VC-TTS-01"],
        check: .probe { bench in
            let session = try bench.session()
            session.object.credit = session.rateHz * 4
            let request = session.nextRequest()
            let sentence = "This is one of very many sentences, and each of them is spoken. "
            let text = String(repeating: sentence, count: 100_000 / sentence.utf8.count + 1)
            guard session.speak(request, text) == VC_OK else { return }
            let isBegun = bench.wait(ms: 10_000) {
                session.answers(to: request).contains { $0.audio != nil || $0.failure != nil }
            }
            session.cancel()
            bench.advance(ms: 500)
            guard isBegun else {
                throw Violation("a text of 100 kB", expected: "AUDIO or a refusal", got: "neither for 10 s")
            }
        }),
] + textToSpeechCancelRules

private let textToSpeechCancelRules: [Rule] = [
    Rule(
        "VC-TTS-17", .realTime, .should, kinds: [.textToSpeech], "A request that is canceled ends with TTS_DONE.",
        because: "Who counts requests, a recorder or a bill, would wait for this one for ever.",
        passing: "emit(TTS_DONE with reason = VC_TTS_CANCELED);",
        failing: "free(request);",
        check: .probe { bench in
            let (session, requests) = try canceled(bench)
            try needEnd(of: requests[0], session, "cancel of the request that is spoken")
        }),
    Rule(
        "VC-TTS-49", .realTime, .should, kinds: [.textToSpeech], "A request that is canceled before it began ends too.",
        because: "The clauses of an answer wait one behind the other, and all of them are over.",
        passing: "for (each request before epoch) emit(TTS_DONE);",
        failing: "emit(TTS_DONE of the first);  free_list(self->first);",
        check: .probe { bench in
            let (session, requests) = try canceled(bench)
            try needEnd(of: requests[1], session, "cancel of a request that waits")
        }),
    Rule(
        "VC-TTS-50", .realTime, kinds: [.textToSpeech], "A request that is canceled does not say that it is complete.",
        because: "The transcript would have words that nobody heard.",
        passing: ".reason = VC_TTS_CANCELED",
        failing: ".reason = VC_TTS_COMPLETE        // always",
        check: .probe { bench in
            let (session, requests) = try canceled(bench)
            for request in requests {
                for case .spoken(let reason, _) in session.answers(to: request).map(\.body)
                where reason == UInt32(VC_TTS_COMPLETE) {
                    throw Violation(
                        "cancel before any audio was taken", expected: "VC_TTS_CANCELED", got: "VC_TTS_COMPLETE")
                }
            }
        }),
]

private func needEnd(_ spoken: Spoken, _ what: String) throws {
    guard spoken.dones.isEmpty, spoken.failure == nil else { return }
    throw Violation(what, expected: "TTS_DONE, or an ERROR for the request", got: "neither")
}

/// Whatever the host answered to it: an event of a canceled request is refused.
private func needEnd(of request: UInt64, _ session: BenchSession, _ what: String) throws {
    try needEnd(Spoken(events: session.answers(to: request)), what)
}

/// Three requests that wait together, and are then spoken.
private func queued(_ bench: Bench) throws -> (BenchSession, [UInt64]) {
    let session = try bench.session()
    session.refuseAudio()
    let requests = (0..<3).map { _ in session.nextRequest() }
    for (request, text) in zip(requests, ["One two three four.", "Five six seven eight.", "Nine ten eleven twelve."]) {
        guard session.speak(request, text) == VC_OK else { throw NotApplicable("it takes one request at a time") }
        bench.advance(ms: 100)
    }
    session.takeAudio()
    for request in requests { session.waitForEnd(of: request, VC_EVENT_TTS_DONE) }
    return (session, requests)
}

/// Two requests of which nothing was taken yet, canceled; and one after them, spoken.
private func canceled(_ bench: Bench) throws -> (BenchSession, [UInt64]) {
    let session = try bench.session()
    session.refuseAudio()
    let requests = (0..<2).map { _ in session.nextRequest() }
    for request in requests {
        guard session.speak(request, "One two three four five six.") == VC_OK else {
            throw NotApplicable("it takes one request at a time")
        }
        bench.advance(ms: 100)
    }
    session.cancel()
    bench.advance(ms: 500)
    session.takeAudio()
    _ = session.say("Hello.")
    bench.advance(ms: 1_000)
    return (session, requests)
}

private let oddTexts = [
    " ", "\n\n", ".", "…", "?!", "-", "\"\"", "\u{1f600}", "\u{1f468}\u{200d}\u{1f467} \u{1f1f9}\u{1f1f7}",
    "\u{0}", "a\u{0}b",
    "\u{1b}[31mred\u{1b}[0m", "\t1\t2\t3", "\u{200b}", "\u{feff}Hello.", "\u{202e}olleH", "مرحبا", "你好。",
    "Здравствуйте.", "e\u{301}\u{301}\u{301}\u{301}", "∑ x² ÷ √2 ≠ ∞", "<speak>Hello</speak>", "& < > \"",
    "{\"a\": [1, 2]}", "| a | b |\n|---|---|", "https://example.org/?q=%20&r=1#x", "12345678901234567890",
    String(repeating: "a", count: 200), "%s%n%d", "\\", "\u{fffd}", "\u{10ffff}",
]

/// In plain letters, because the text is one that trips programs up.
private func quoted(_ text: String) -> String {
    let scalars = text.unicodeScalars.map { scalar in
        (32...126).contains(scalar.value) ? String(scalar) : "\\u{\(String(scalar.value, radix: 16))}"
    }
    return "\"" + scalars.joined() + "\""
}
