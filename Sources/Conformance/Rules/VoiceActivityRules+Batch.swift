// VAD: many calls in one call, and what it may cost.

import CConformance
import PluginABI
import Providers

let voiceActivityBatchRules: [Rule] = [
    Rule(
        "VC-VAD-06", kinds: [.voiceActivity], "A row is judged by itself, whoever stands beside it.",
        because: "One shouting caller would make all others silent.",
        passing: "normalize(row);",
        failing: "normalize(batch);",
        needs: ["VC-VAD-04"],
        check: .probe { bench in
            let signals = try callers(bench)
            let alone = try signals.map { try bench.provider().session().detect($0) }
            let provider = try bench.provider()
            let sessions = try signals.map { _ in try provider.session() }
            let together = try detect(provider, sessions, signals) { Array($0.indices) }
            for (index, name) in ["speech", "silence", "noise", "a tone"].enumerated() {
                try compare(together[index], alone[index], "\(name) in a batch of four, and alone")
            }
        }),
    Rule(
        "VC-VAD-19", kinds: [.voiceActivity], "What a detector remembers is the session's, wherever its row stands.",
        because: "Batches are made of the calls that have audio just now, in any order.",
        passing: "state = row->session;",
        failing: "state = &self->states[index];",
        needs: ["VC-VAD-04", "VC-VAD-06"],
        check: .probe { bench in
            let signals = try callers(bench)
            let orders: [([Int]) -> [Int]] = [{ $0 }, { $0.reversed() }]
            let runs = try [false, true].map { isShuffled in
                let provider = try bench.provider()
                let sessions = try signals.map { _ in try provider.session() }
                var count = 0
                return try detect(provider, sessions, signals) { rows in
                    count += 1
                    return orders[isShuffled ? count % 2 : 0](Array(rows.indices))
                }
            }
            for index in signals.indices {
                try compare(runs[1][index], runs[0][index], "rows in changing order, and always in the same")
            }
        }),
    Rule(
        "VC-VAD-15", kinds: [.voiceActivity], "Rows are `row_stride` bytes apart.",
        because: "`vc_vad_row` will grow, and a plugin of today meets the host of then.",
        passing: "(vc_vad_row *)((char *)batch->rows + index * batch->row_stride)",
        failing: "&batch->rows[index]",
        needs: ["VC-VAD-04"],
        check: .probe { bench in
            let signals = try callers(bench)
            let runs = try [MemoryLayout<vc_vad_row>.stride, 64].map { stride in
                let provider = try bench.provider()
                let rows = try signals.map { (try provider.session(), $0) }
                return try provider.processBatch(
                    rows.map { ($0, try $0.windows($1)[0], false) }, stride: stride
                ).probabilities
            }
            try compare(runs[1], runs[0], "four rows 64 bytes apart, and as today")
        }),
    Rule(
        "VC-VAD-16", kinds: [.voiceActivity], "A batch may have any number of rows up to 32.",
        because: "The rows left out keep the host's value, which is none: those callers are not heard.",
        passing: "for (index = 0; index < batch->row_count; index++)",
        failing: "float inputs[16][WINDOW];",
        needs: ["VC-VAD-03"],
        check: .probe { bench in
            let provider = try bench.provider()
            let sessions = try (0..<32).map { _ in try provider.session() }
            let rate = sessions[0].rateHz
            let window = try sessions[0].windows(bench.noise(rateHz: rate, ms: 200, levelDBFS: -30))[0]
            for count in [1, 2, 3, 7, 16, 17, 31, 32] {
                let heard = try provider.process(sessions.prefix(count).map { ($0, window, false) })
                if let missed = heard.firstIndex(where: { !(0...1).contains($0) }) {
                    throw Violation(
                        "a batch of \(count) rows", expected: "a probability in each",
                        got: "\(heard[missed]) in row \(missed)")
                }
            }
        }),
    Rule(
        "VC-VAD-17", kinds: [.voiceActivity], "Nothing is written beyond the last row.",
        because: "It is the host's memory, and the next batch's.",
        passing: "index < batch->row_count",
        failing: "index < round_up(batch->row_count, 4)",
        check: .probe { bench in
            let provider = try bench.provider()
            let sessions = try (0..<5).map { _ in try provider.session() }
            let window = try sessions[0].windows(bench.silence(rateHz: sessions[0].rateHz, ms: 200))[0]
            for count in 1...5 {
                let batch = try provider.processBatch(sessions.prefix(count).map { ($0, window, false) })
                guard batch.isRestUntouched else {
                    throw Violation("a batch of \(count) rows", expected: "\(count) rows written", got: "more")
                }
            }
        }),
    Rule(
        "VC-VAD-18", smoke: true, kinds: [.voiceActivity],
        "There is a window of 10 to 100 ms at every rate of the manifest.",
        because: "The host collects so many samples of each call before it asks.",
        passing: ".window_8k = 256, .window_16k = 512",
        failing: ".window_8k = 256        // and \"rates\": [8000, 16000]",
        check: .probe { bench in
            let ops = try bench.session().detector().ops
            for rate in bench.subject.provider?.capabilities.ratesHz ?? [] where [8_000, 16_000].contains(rate) {
                let window = Int(rate == 16_000 ? ops.window_16k : ops.window_8k)
                guard (rate / 100...rate / 10).contains(window) else {
                    throw Violation(
                        "the window at \(rate) Hz, which the manifest names",
                        expected: "\(rate / 100) to \(rate / 10) samples", got: "\(window)")
                }
            }
        }),
    Rule(
        "VC-VAD-22", kinds: [.voiceActivity], "A session opens at every rate of the manifest.",
        because: "The host chooses the one that needs no resampling, and has no other plan.",
        passing: "if (rate != 8000 && rate != 16000) refuse();        // \"rates\": [8000, 16000]",
        failing: "if (rate != 8000) refuse();        // \"rates\": [8000, 16000]",
        check: .probe { bench in try openAtEveryRate(bench) }),
    Rule(
        "VC-VAD-13", .realTime, kinds: [.voiceActivity], "`process` takes no memory after the first batch of a size.",
        because: "The thread of all calls would wait for a lock of the heap that any other thread may hold.",
        passing: "float scratch[ROWS_MAX][WINDOW];        // in the provider",
        failing: "float *scratch = malloc(…);  …  free(scratch);",
        check: .probe { bench in
            let library = try bench.load()
            guard vcc_watch_install(library) >= 0 else { throw NotApplicable("its imports cannot be watched") }
            let provider = try bench.provider()
            let sessions = try (0..<4).map { _ in try provider.session() }
            let window = try sessions[0].windows(bench.noise(rateHz: sessions[0].rateHz, ms: 200, levelDBFS: -30))[0]
            let rows: [DetectorRow] = sessions.map { ($0, window, false) }
            for count in [1, 4, 1, 4] { _ = try provider.process(Array(rows.prefix(count))) }
            vcc_watch_reset()
            for turn in 0..<50 {
                _ = try provider.processBatch(Array(rows.prefix(turn % 2 == 0 ? 1 : 4))) { call in
                    vcc_watch_arm()
                    defer { vcc_watch_disarm() }
                    return call()
                }
            }
            guard vcc_watch_armed_calls(VCC_ALLOCATES) > 0 else { return }
            var text = [CChar](repeating: 0, count: 512)
            let length = vcc_watch_report(VCC_ALLOCATES, true, &text, text.count)
            throw Violation(
                "50 batches of sizes that were there before", expected: "no memory taken",
                got: String(decoding: text.prefix(length).map { UInt8(bitPattern: $0) }, as: UTF8.self))
        }),
    Rule(
        "VC-VAD-14", .realTime, kinds: [.voiceActivity], clock: .real, "A window costs at most 1 ms of CPU time.",
        because: "One thread hears all calls: at 1 ms, thirty of them fill a core.",
        passing: "a model of 1 MB, with one thread",
        failing: "a model for transcription, asked whether it heard words",
        check: .probe { bench in
            let session = try bench.session()
            let windows = try session.windows(bench.speech(rateHz: session.rateHz, ms: 6_400))
            let costs = try windows.map { try session.provider.processBatch([(session, $0, false)]).cpuNs }
            // The first few are warm-up, and the slowest tenth belongs to whoever else uses the machine's caches.
            let sorted = costs.dropFirst(min(8, costs.count / 2)).sorted()
            let cost = Double(sorted[sorted.count * 9 / 10]) / 1_000_000
            bench.note("CPU time of a window, ms", "\((cost * 1_000).rounded() / 1_000)")
            guard cost <= 1 else {
                throw Violation(
                    "\(sorted.count) windows, the slowest tenth left out", expected: "1 ms", got: "\(cost) ms")
            }
        }),
]

/// Half a second of four callers: speech, silence, noise, a loud tone.
private func callers(_ bench: Bench) throws -> [[Int16]] {
    let rate = SessionOptions().rateHz(bench)
    return [
        bench.speech(rateHz: rate, ms: 1_000), bench.silence(rateHz: rate, ms: 1_000),
        bench.noise(rateHz: rate, ms: 1_000, levelDBFS: -30),
        bench.tone(rateHz: rate, ms: 1_000, hertz: 300, amplitude: 20_000),
    ]
}

/// All of them window by window in batches; `order` says where each stands.
private func detect(
    _ provider: BenchProvider, _ sessions: [BenchSession], _ signals: [[Int16]], order: ([BenchSession]) -> [Int]
) throws -> [[Float]] {
    let windows = try zip(sessions, signals).map { try $0.windows($1) }
    var heard = [[Float]](repeating: [], count: sessions.count)
    for number in 0..<(windows.map(\.count).min() ?? 0) {
        let places = order(sessions)
        let answers = try provider.process(places.map { (sessions[$0], windows[$0][number], false) })
        for (place, answer) in zip(places, answers) { heard[place].append(answer) }
    }
    return heard
}
