// STT: rates, odd audio, the form of transcripts, and what the manifest declares.

import PluginABI
import Providers

let speechToTextFormRules: [Rule] = [
    Rule(
        "VC-STT-14", kinds: [.speechToText], "A session opens at every rate of the manifest.",
        because: "The host chooses the one that needs no resampling, and has no other plan.",
        passing: "if (rate != 8000 && rate != 16000) refuse();        // \"rates\": [8000, 16000]",
        failing: "if (rate != 8000) refuse();        // \"rates\": [8000, 16000]",
        check: .probe { bench in try openAtEveryRate(bench) }),
    Rule(
        "VC-STT-15", kinds: [.speechToText], "`open` refuses another rate with a code of the caller's mistakes.",
        because: "The code says that no second try will help, and that the plugin is sound.",
        passing: "return VC_E_UNSUPPORTED;",
        failing: "return VC_E_INTERNAL;",
        check: .probe { bench in try openAtAnotherRate(bench) }),
    Rule(
        "VC-STT-17", kinds: [.speechToText], "Frames may be shorter than 20 ms.",
        because: "What is left of a stretch whose rate was changed is any number of samples.",
        passing: "append(self, frame->data, frame->samples);",
        failing: "if (frame->samples != 160) return VC_E_ARGUMENT;",
        check: .probe { bench in
            let session = try bench.session()
            session.begin(1)
            let speech = bench.speech(rateHz: session.rateHz, ms: 1_000)
            var begin = 0
            for length in [1, 7, 159, 80, 13, 160, 2, 99, 1, 158] {
                let status = session.push(Array(speech[begin..<begin + length]))
                begin += length
                guard status == VC_OK || status == vc_status(VC_E_AGAIN) else {
                    throw Violation("a frame of \(length) samples", expected: "VC_OK", got: statusName(status))
                }
            }
        }),
    Rule(
        "VC-STT-19", .resilient, kinds: [.speechToText], "Audio at full scale is audio.",
        because: "A line that clicks, hums or is shouted into has samples of -32768, which have no positive.",
        passing: "int32_t level = abs((int32_t)sample);",
        failing: "int16_t level = abs(sample);  histogram[level]++;        // [-32768]",
        check: .probe { bench in
            let session = try bench.session()
            session.begin(1)
            let count = session.rateHz / 5
            for level in [Int16.min, .max] { session.pushInTime([Int16](repeating: level, count: count)) }
            session.pushInTime((0..<count).map { $0 / 20 % 2 == 0 ? .max : .min })
            session.pushInTime((0..<count).map { $0 % 2 == 0 ? .min : 0 })
            let heard = session.finalized()
            guard !heard.ends.isEmpty || heard.failure?.isFatal == false else {
                throw Violation(
                    "finalize after audio at full scale", expected: "FINALIZED",
                    got: heard.failure.map { "a fatal ERROR: \($0.message)" } ?? "nothing for 20 s")
            }
        }),
    Rule(
        "VC-STT-24", .basic, .should, kinds: [.speechToText], "Texts are composed (Unicode NFC).",
        because: "A rule that looks for \"üç\" finds nothing in a text that has a u, a diaeresis, a c and a cedilla.",
        passing: "\"\\u00fc\\u00e7\"",
        failing: "\"u\\u0308c\\u0327\"",
        needs: ["VC-STT-02"],
        check: .probe { bench in
            let heard = try bench.session().hear(ms: 4_000)
            for text in try heard.needFinals().map(\.text) {
                if let character = text.first(where: isDecomposed) {
                    let scalars = character.unicodeScalars.map { "U+" + hexadecimal($0.value) }
                    throw Violation(
                        "\"\(text)\"", expected: "composed characters",
                        got: "\"\(character)\" as \(scalars.joined(separator: " "))")
                }
            }
        }),
    Rule(
        "VC-STT-26", kinds: [.speechToText], "A confidence is 0 ... 1, or negative when it is unknown.",
        because: "Thresholds are set in these units; 87 passes every one of them, and NaN none.",
        passing: "event.confidence = percent / 100;",
        failing: "event.confidence = percent;",
        needs: ["VC-STT-02"],
        check: .probe { bench in
            for text in try bench.session().hear(ms: 2_000).texts {
                if !(text.confidence <= 1) {
                    throw Violation("\"\(text.text)\"", expected: "a confidence up to 1", got: "\(text.confidence)")
                }
                if let word = text.words.first(where: { !($0.confidence <= 1) }) {
                    throw Violation(
                        "the word \"\(word.text)\"", expected: "a confidence up to 1", got: "\(word.confidence)")
                }
            }
        }),
    Rule(
        "VC-STT-27", kinds: [.speechToText], "A partial's stability is 0 ... 1, or negative when it is unknown.",
        because: "The host begins to think of an answer when a text is stable enough.",
        passing: "event.stability = -1;        // the vendor says nothing of it",
        failing: "event.stability = words_unchanged;",
        needs: ["VC-STT-02"],
        check: .probe { bench in
            let heard = try bench.session().hear(ms: 2_000)
            if let wrong = heard.partials.first(where: { !($0.stability <= 1) }) {
                throw Violation(
                    "the partial \"\(wrong.text)\"", expected: "a stability up to 1", got: "\(wrong.stability)")
            }
        }),
    Rule(
        "VC-STT-43", kinds: [.speechToText], "A recogniser that declares no partials sends none.",
        because: "The host shows an operator what he may expect, and counts what a plugin sends beside it.",
        passing: "\"partials\": true",
        failing: "\"partials\": false        // and TRANSCRIPT with final = 0",
        skip: { without("partials", $0) == nil ? "the manifest says \"partials\": true" : nil },
        check: .probe { bench in
            if let partial = try bench.session().hear(ms: 2_000).partials.first {
                throw Violation(
                    "two seconds of speech", expected: "no partial transcript, as the manifest says",
                    got: "\"\(partial.text)\"")
            }
        }),
    Rule(
        "VC-STT-47", kinds: [.speechToText], "A recogniser that declares no turns sends none.",
        because: "The host gives silence only to those that do: the others decide by what they do not hear.",
        passing: "\"turns\": true",
        failing: "\"turns\": false        // and STT_TURN",
        skip: { without("turns", $0) == nil ? "the manifest says \"turns\": true" : nil },
        check: .probe { bench in
            let session = try bench.session()
            _ = session.hear(ms: 2_000)
            guard session.events(VC_EVENT_STT_TURN).isEmpty else {
                throw Violation("two seconds of speech", expected: "no STT_TURN, as the manifest says", got: "STT_TURN")
            }
        }),
    Rule(
        "VC-STT-45", kinds: [.speechToText], "A turn ends with the text of its last EAGER, or RESUMED lies between.",
        because: "At EAGER the host begins the answer; at END it speaks it, whatever the question is by then.",
        passing: "if (text changed) emit(RESUMED);  …;  emit(END);",
        failing: "emit(EAGER of \"yes\");  emit(END of \"Yes.\");",
        skip: { without("turns", $0) },
        check: .probe { bench in
            var eager: String?
            for turn in try turns(bench) {
                switch turn.turn {
                case VC_STT_TURN_EAGER: eager = turn.text
                case VC_STT_TURN_START, VC_STT_TURN_RESUMED: eager = nil
                default:
                    if let eager, turn.text != eager {
                        throw Violation("EAGER of \"\(eager)\"", expected: "END of the same", got: "\"\(turn.text)\"")
                    }
                }
            }
        }),
    Rule(
        "VC-STT-46", kinds: [.speechToText], "RESUMED comes after EAGER only.",
        because: "It takes an answer back. Where none was begun, the host would stop one that is being spoken.",
        passing: "emit(is_eager ? RESUMED : START);",
        failing: "emit(RESUMED);        // whenever there is voice",
        skip: { without("turns", $0) },
        check: .probe { bench in
            var before = 0
            for turn in try turns(bench) {
                guard turn.turn != VC_STT_TURN_RESUMED || before == VC_STT_TURN_EAGER else {
                    throw Violation(
                        "speech and a pause", expected: "RESUMED after EAGER", got: "RESUMED after \(name(before))")
                }
                before = turn.turn
            }
        }),
]

/// The turns of two sentences with a pause after each.
private func turns(_ bench: Bench) throws -> [HeardTurn] {
    let session = try bench.session()
    session.begin(1)
    for _ in 0..<2 {
        session.pushInTime(bench.speech(rateHz: session.rateHz, ms: 1_000))
        session.pushSilence(ms: 1_500)
    }
    _ = session.finalized()
    return session.events.compactMap(HeardTurn.init)
}

private func name(_ turn: Int) -> String {
    let names = [
        VC_STT_TURN_START: "START", VC_STT_TURN_EAGER: "EAGER", VC_STT_TURN_RESUMED: "RESUMED", VC_STT_TURN_END: "END",
    ]
    return names[turn] ?? "nothing"
}

/// For every kind with audio: a session at each rate that the manifest names.
func openAtEveryRate(_ bench: Bench) throws {
    let provider = try bench.provider()
    for rate in bench.subject.provider?.capabilities.ratesHz ?? [] {
        var options = SessionOptions()
        options.rate = rate
        let (session, status, error) = try provider.open(options)
        guard let session else {
            throw Violation(
                "open at \(rate) Hz, which the manifest names", expected: "VC_OK",
                got: "\(statusName(status)): \(error.message)")
        }
        try session.end()
    }
}

/// The same, at one that it does not.
func openAtAnotherRate(_ bench: Bench) throws {
    let rates = bench.subject.provider?.capabilities.ratesHz ?? []
    var options = SessionOptions()
    options.rate = [11_025, 12_000].first { !rates.contains($0) } ?? 9_000
    let (session, status, _) = try bench.provider().open(options)
    guard session == nil else { throw NotApplicable("it takes \(options.rate) Hz too") }
    // VC_E_UNSUPPORTED says it best; VC_E_ARGUMENT is as true.
    guard (-19 ... -10).contains(status) else {
        throw Violation(
            "open at \(options.rate) Hz, which the manifest does not name",
            expected: "VC_E_UNSUPPORTED, or another of -10 ... -19", got: statusName(status))
    }
}

/// Whether `character` is written in pieces that have a composed form. Letters that have none stay as they are.
private func isDecomposed(_ character: Character) -> Bool {
    guard character.unicodeScalars.count > 1 else { return false }
    // Swift compares characters by canonical equivalence, so no table of compositions is needed.
    return composedLetters.contains { value in
        Unicode.Scalar(value).map { Character($0) == character } ?? false
    }
}

/// Latin with marks, and Greek and Cyrillic.
private let composedLetters = Array(0xc0...0x24f) + Array(0x386...0x4ff) + Array(0x1e00...0x1fff) as [UInt32]

private func hexadecimal(_ value: UInt32) -> String {
    let digits = String(value, radix: 16, uppercase: true)
    return String(repeating: "0", count: max(0, 4 - digits.count)) + digits
}
