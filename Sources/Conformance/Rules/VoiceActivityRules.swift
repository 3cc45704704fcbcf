// VAD: what a detector hears. How it treats a batch: `VoiceActivityRules+Batch.swift`.

import PluginABI
import Providers

let voiceActivityRules: [Rule] = [
    Rule(
        "VC-VAD-01", smoke: true, kinds: [.voiceActivity], "Silence is not speech: below 0.1 after half a second.",
        because: "The host would wait for the end of a turn that nobody began.",
        passing: "probability = 0.001",
        failing: "probability = 0.5        // \"unknown\", until there is a noise floor",
        check: .probe { bench in
            let session = try bench.session()
            _ = try session.detect(bench.silence(rateHz: session.rateHz, ms: 500))
            let heard = try session.detect(bench.silence(rateHz: session.rateHz, ms: 500))
            guard let most = heard.max(), most >= 0.1 else { return }
            throw Violation("a second of silence", expected: "less than 0.1", got: "\(most)")
        }),
    Rule(
        "VC-VAD-02", smoke: true, kinds: [.voiceActivity], "Speech is heard: above 0.5.",
        because: "A caller who is not heard is not answered, and cannot interrupt.",
        passing: "probability = 0.97",
        failing: "probability = 0.4        // scaled for another threshold",
        check: .probe { bench in
            guard bench.hasRecording else { throw Bench.noRecording }
            let session = try bench.session()
            let heard = try session.detect(bench.speech(rateHz: session.rateHz, ms: 2_000))
            let most = heard.max() ?? 0
            bench.note("windows above 0.5", "\(heard.filter { $0 > 0.5 }.count) of \(heard.count)")
            guard most > 0.5 else {
                throw Violation("two seconds of speech", expected: "a window above 0.5", got: "at most \(most)")
            }
        }),
    Rule(
        "VC-VAD-03", smoke: true, kinds: [.voiceActivity], "A probability is a finite number in 0 ... 1.",
        because: "Everything that the host decides with it is set in these units.",
        passing: "1 / (1 + exp(-x))",
        failing: "100 / (1 + exp(-x))",
        check: .probe { bench in
            let session = try bench.session()
            let rate = session.rateHz
            let signals = [
                ("silence", bench.silence(rateHz: rate, ms: 320)), ("speech", bench.speech(rateHz: rate, ms: 1_000)),
                ("noise", bench.noise(rateHz: rate, ms: 320, levelDBFS: -20)),
                ("a tone", bench.tone(rateHz: rate, ms: 320, hertz: 440)),
            ]
            for (name, signal) in signals {
                if let wrong = try session.detect(signal).first(where: { !(0...1).contains($0) }) {
                    throw Violation(name, expected: "a probability in 0...1", got: "\(wrong)")
                }
            }
        }),
    Rule(
        "VC-VAD-04", kinds: [.voiceActivity], "The same audio gives the same probabilities.",
        because: "A fault that comes and goes cannot be found, and a threshold cannot be set.",
        passing: "the session's own state, and nothing else",
        failing: "probability += dither(random());",
        check: .probe { bench in
            let runs = try (0..<2).map { _ in try trial(bench) }
            try compare(runs[0], runs[1], "the same audio in two new providers")
        }),
    Rule(
        "VC-VAD-05", kinds: [.voiceActivity], "VC_VAD_ROW_RESET forgets what was heard.",
        because: "Audio is missing before this window; what lay before it belongs to another moment.",
        passing: "if (row->flags & VC_VAD_ROW_RESET) memset(session->state, 0, …);",
        failing: "// flags are not looked at",
        needs: ["VC-VAD-04"],
        check: .probe { bench in
            let session = try bench.session()
            let audio = bench.silence(rateHz: session.rateHz, ms: 640)
            let fresh = try session.detect(audio)
            let other = try bench.provider().session()
            _ = try other.detect(bench.speech(rateHz: session.rateHz, ms: 640))
            _ = try other.detect(bench.tone(rateHz: session.rateHz, ms: 640, hertz: 300, amplitude: 20_000))
            try compare(try other.detect(audio, resetFirst: true), fresh, "silence after RESET, and in a new session")
        }),
    Rule(
        "VC-VAD-08", .realTime, kinds: [.voiceActivity], "Both rates hear the same.",
        because: "Calls in wide band would be cut off, or those in narrow band.",
        passing: "samples / rate",
        failing: "a model of one rate fed with the other",
        needs: ["VC-VAD-02", "VC-VAD-18", "VC-VAD-22"], skip: withoutBothRates,
        check: .probe { bench in
            let means = try [8_000, 16_000].map { rate in
                let heard = try bench.provider().session(at: rate).detect(bench.speech(rateHz: rate, ms: 3_000))
                // As a share of whatever it takes for certainty: that this is 1 is VC-VAD-03's.
                let most = max(1, heard.max() ?? 1)
                return heard.reduce(0) { $0 + $1 / most } / Float(max(heard.count, 1))
            }
            // The two are not the same audio above 4 kHz: only what is plainly wrong counts.
            guard abs(means[0] - means[1]) <= 0.35 else {
                throw Violation(
                    "the same speech at 8000 and 16000 Hz", expected: "mean probabilities within 0.35",
                    got: "\(means[0]) and \(means[1])")
            }
        }),
    Rule(
        "VC-VAD-09", .realTime, .should, kinds: [.voiceActivity], "Quiet noise, -40 dBFS, is not speech.",
        because: "Every line has some; the caller's turn would never end.",
        passing: "a threshold above the noise",
        failing: "a threshold of -60 dBFS",
        needs: ["VC-VAD-03"],
        check: .probe { bench in
            let session = try bench.session()
            let heard = try session.detect(bench.noise(rateHz: session.rateHz, ms: 3_000, levelDBFS: -40)).suffix(30)
            let high = heard.filter { $0 >= 0.5 }.count
            guard high <= heard.count / 10 else {
                throw Violation(
                    "noise of -40 dBFS", expected: "probabilities below 0.5",
                    got: "0.5 or more in \(high) of \(heard.count) windows")
            }
        }),
    Rule(
        "VC-VAD-20", .resilient, kinds: [.voiceActivity], "A detector recovers from audio at full scale.",
        because: "One click of the line, and every later window would be NaN.",
        passing: "floor = max(floor, smallest);",
        failing: "floor = log(0);        // and stays what it is",
        needs: ["VC-VAD-03"],
        check: .probe { bench in
            let session = try bench.session()
            let count = session.rateHz * 320 / 1_000
            for level in [Int16.min, .max] { _ = try session.detect([Int16](repeating: level, count: count)) }
            _ = try session.detect((0..<count).map { $0 % 2 == 0 ? .max : .min })
            let heard = try session.detect(bench.silence(rateHz: session.rateHz, ms: 640))
            if let wrong = heard.first(where: { !$0.isFinite }) {
                throw Violation("silence after audio at full scale", expected: "a probability", got: "\(wrong)")
            }
        }),
    Rule(
        "VC-VAD-21", .realTime, kinds: [.voiceActivity], "Silence after speech is silence within half a second.",
        because: "Hangover is the host's. Two of them one after the other, and the agent answers a second late.",
        passing: "return sigmoid(level - floor);",
        failing: "if (now - last_speech < one_second) return 0.9;",
        needs: ["VC-VAD-01"],
        check: .probe { bench in
            let session = try bench.session()
            _ = try session.detect(bench.speech(rateHz: session.rateHz, ms: 2_000))
            _ = try session.detect(bench.silence(rateHz: session.rateHz, ms: 500))
            let heard = try session.detect(bench.silence(rateHz: session.rateHz, ms: 200))
            guard let most = heard.max(), most >= 0.5 else { return }
            throw Violation("silence, half a second after speech", expected: "less than 0.5", got: "\(most)")
        }),
]

/// Speech, silence and noise, in a provider of its own.
private func trial(_ bench: Bench) throws -> [Float] {
    let session = try bench.provider().session()
    let rate = session.rateHz
    return try session.detect(
        bench.speech(rateHz: rate, ms: 1_000) + bench.silence(rateHz: rate, ms: 320)
            + bench.noise(rateHz: rate, ms: 320, levelDBFS: -30))
}

/// Equal but for the last bits, which differ where a batch is computed in another order.
func compare(_ got: [Float], _ expected: [Float], _ what: String) throws {
    for (index, (one, other)) in zip(got, expected).enumerated() where !(abs(one - other) <= 0.01) {
        throw Violation(what, expected: "\(other) in window \(index)", got: "\(one)")
    }
}
