// MEM: what is lent stays the host's, and what is taken is given back.
//
// The first five use memory that answers for itself (`Lender.guards`): a fault in it is reported by the crash handler
// under the name of the input. The others measure slopes: what is taken once, lazily, is no leak. Nor is what was given
// back: a probe's `malloc` has no thread caches (ProbeProcess), whose blocks would count as in use.

import CConformance
import PluginABI
import Providers

let memoryRules: [Rule] = [
    guarded(
        "VC-MEM-01", "An input is not written to.", .readOnly,
        because: "The host lends the same memory to others.",
        passing: "copy = malloc(text.length);  memcpy(copy, text.data, text.length);",
        failing: "((char *)text.data)[i] = tolower(text.data[i]);"),
    guarded(
        "VC-MEM-02", "An input is not read beyond its end.", .end,
        because: "Texts are not terminated by a NUL; what follows is somebody else's, or nothing.",
        passing: "memcpy(copy, text.data, text.length);",
        failing: "strdup(text.data);"),
    guarded(
        "VC-MEM-03", "An input is not read before its beginning.", .begin,
        because: "What stands there is somebody else's, or nothing.",
        passing: "for (i = text.length; i > 0 && is_space(text.data[i - 1]); i--) {}",
        failing: "while (is_space(text.data[--i])) {}"),
    guarded(
        "VC-MEM-04", "An input is not used after its call returned.", .retired,
        because: "It is another call's by then.",
        passing: "self->text = copy_of(text);",
        failing: "self->text = text.data;"),
    Rule(
        "VC-MEM-05", .basic, .must, "What `create` and `open` were given is not used after they returned.",
        because: "The configuration's text lives until `create` returns, and not as long as the provider.",
        passing: "self->url = copy_of(config_text(\"url\"));",
        failing: "self->config = request->config;",
        needs: ["VC-LIFE-02"],
        check: .probe { bench in
            bench.lender.guards = .retired
            let provider = try bench.provider()
            let session = try provider.plainSession()
            bench.lender.guards = []
            try session.exercise()
            try provider.end()
        }),
    slope(
        "VC-MEM-06", "Sessions leave no memory behind.", "heap bytes a session", limit: 512,
        needs: ["VC-LIFE-31", "VC-MEM-07", "VC-MEM-09", "VC-SVC-08"],
        because: "A thousand calls a day with a kilobyte each is a restart a month.",
        passing: "destroy(self) { free(self->text); free(self); }",
        failing: "destroy(self) { free(self); }",
        each: { provider in
            let session = try provider.plainSession()
            try session.exercise()
            try session.end()
        }, measure: { Int(vcc_heap_bytes_in_use()) }),
    Rule(
        "VC-MEM-07", .basic, kinds: [.speechToText, .turn, .languageModel, .textToSpeech],
        "Requests leave no memory behind while their session goes on.",
        because: "A call may last for hours.",
        passing: "forget(request);        // with its DONE",
        failing: "append(self->all_requests, request);",
        // What a flood of log lines leaves behind is the bench's.
        needs: ["VC-LIFE-02", "VC-SVC-08"],
        check: .probe { bench in
            let session = try bench.provider().session()
            let grown = try perRound(rounds: 3, times: 50, { try session.exercise() }) { Int(vcc_heap_bytes_in_use()) }
            guard grown <= 256 else {
                throw Violation(
                    "150 requests", expected: "at most 256 bytes kept for each", got: "\(roughly(grown)) bytes")
            }
        }),
    slope(
        "VC-MEM-08", "Sessions leave no descriptor open.", "descriptors a session", limit: 0,
        because: "At 1024 the host can take no more calls.",
        passing: "close(self->file);",
        failing: "self->file = open(path, O_RDONLY);        // and nobody closes it",
        each: { provider in try provider.plainSession().end() }, measure: { Int(vcc_vitals_take().descriptors) }),
    slope(
        "VC-MEM-09", "Sessions leave no thread behind.", "threads a session", limit: 0,
        because: "Each takes eight megabytes of addresses, and the kernel has a limit.",
        passing: "pthread_join(self->thread, NULL);",
        failing: "pthread_detach(self->thread);        // and it waits for ever",
        each: { provider in try provider.plainSession().end() }, measure: { Int(vcc_vitals_take().threads) }),
    slope(
        "VC-MEM-10", "Sessions leave no mapping behind.", "pages of addresses a session", limit: 8,
        needs: ["VC-LIFE-31", "VC-MEM-06", "VC-MEM-09"],
        because: "Mapped memory is memory, though no allocator counts it.",
        passing: "munmap(self->ring, RING_BYTES);",
        failing: "self->ring = mmap(NULL, RING_BYTES, …);",
        each: { provider in try provider.plainSession().end() }, measure: { mappedPages() }),
]

/// A rule in which a whole session lives on memory that answers for itself.
private func guarded(
    _ id: String, _ sentence: String, _ guards: Lender.Guards, because: String, passing: String, failing: String
) -> Rule {
    Rule(
        id, .basic, .must, sentence, because: because, passing: passing, failing: failing,
        check: .probe { bench in
            let provider = try bench.provider()
            let session = try provider.plainSession()
            bench.lender.guards = guards
            try session.exercise()
            try session.exercise()
            bench.advance(ms: 1_000)
            try provider.end()
        })
}

/// To the next power of two: the last bytes are the allocator's mood, and two reports of one plugin should be the same.
/// Upwards, since 600 that are told as "about 512" would be within a limit of 512.
private func roughly(_ amount: Int) -> String {
    guard amount > 4 else { return "\(amount)" }
    return "up to \(1 << (Int.bitWidth - (amount - 1).leadingZeroBitCount))"
}

/// A rule about what is kept for each session.
private func slope(
    _ id: String, _ sentence: String, _ unit: String, limit: Int, needs: [String] = [], because: String,
    passing: String, failing: String,
    each: @escaping @Sendable (BenchProvider) throws -> Void, measure: @escaping @Sendable () -> Int
) -> Rule {
    Rule(
        id, .basic, kinds: [.speechToText, .turn, .voiceActivity, .languageModel, .textToSpeech], sentence,
        because: because, passing: passing, failing: failing, needs: ["VC-LIFE-12"] + needs,
        check: .probe { bench in
            let provider = try bench.provider()
            let grown = try perRound(rounds: 3, times: 20, { try each(provider) }, measure)
            guard grown <= limit else {
                throw Violation("60 sessions", expected: "at most \(limit) \(unit)", got: roughly(grown))
            }
        })
}

/// What each time adds, in the round in which it adds least: what is made once, at any time, is in one round only.
private func perRound(rounds: Int, times: Int, _ each: () throws -> Void, _ measure: () -> Int) throws -> Int {
    for _ in 0..<times { try each() }
    var least = Int.max
    for _ in 0..<rounds {
        // The record of what was emitted is the bench's memory, and not the plugin's.
        World.current.forgetEvents()
        let before = measure()
        for _ in 0..<times { try each() }
        World.current.forgetEvents()
        least = min(least, (measure() - before) / times)
    }
    return least
}

private func mappedPages() -> Int {
    var text = [UInt8](repeating: 0, count: 256)
    guard let pages = readProcess("/proc/self/statm", into: &text) else { return 0 }
    return pages
}
