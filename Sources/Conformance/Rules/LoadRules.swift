// LOAD: the library comes into a process and changes nothing there.
//
// A constructor is code that runs before anybody has looked at the plugin. The rules judge what one has done; most
// plugins need none.

import CConformance

let loadRules: [Rule] = [
    Rule(
        "VC-LOAD-01", smoke: true, "The library loads, with every symbol bound.",
        because: "A symbol that is missed only when it is called ends the host in the middle of a call.",
        passing: "cc -shared -Wl,-z,now -Wl,-z,defs acme.c -lacme -o acme.so",
        failing: "cc -shared acme.c -o acme.so        # acme.c calls a function of libacme",
        needs: [],
        check: .probe { bench in try bench.load() }),
    Rule(
        "VC-LOAD-06", .basic, .must, smoke: true, "Loading takes at most 200 ms of CPU time.",
        because: "A host loads its plugins before it answers the first call, and new ones while it answers others.",
        passing: "read the dictionary in `start`",
        failing: "__attribute__((constructor)) static void init(void) { build_the_tables(); }",
        needs: ["VC-LOAD-01"],
        check: .probe { bench in
            let began = vcc_process_cpu_ns()
            try bench.load()
            let tookMs = (vcc_process_cpu_ns() - began) / 1_000_000
            guard tookMs <= 200 else { throw Violation("dlopen", expected: "at most 200 ms", got: "\(tookMs) ms") }
        }),
    unchangedByLoading(
        "VC-LOAD-07", "Loading starts no thread.", VCC_THREADS_LEFT,
        because: "A plugin that is only listed, and never used, must cost nothing.",
        passing: "pthread_create(…);        // in `start`",
        failing: "__attribute__((constructor)) static void init(void) { pthread_create(…); }"),
    unchangedByLoading(
        "VC-LOAD-08", "Loading opens no descriptor.", VCC_DESCRIPTORS,
        because: "A plugin that is only listed holds no file and no port.",
        passing: "self->log = open(…);        // in `create`",
        failing: "__attribute__((constructor)) static void init(void) { trace = open(…); }"),
    unchangedByLoading(
        "VC-LOAD-10", "Loading changes nothing of the process.",
        VCC_SIGNAL_HANDLERS | VCC_SIGNAL_MASK | VCC_ENVIRONMENT_CHANGED | VCC_DIRECTORY | VCC_UMASK
            | VCC_LOCALE_CHANGED | VCC_LIMITS | VCC_FLOATING_POINT | VCC_CHILDREN | VCC_PRIORITY | VCC_TIMERS,
        because: "It would change for all plugins, before one call is up.",
        passing: "no constructor",
        failing: "__attribute__((constructor)) static void init(void) { signal(SIGCHLD, SIG_IGN); }"),
]

private func unchangedByLoading(
    _ id: String, _ sentence: String, _ subjects: Int, because: String, passing: String, failing: String
) -> Rule {
    Rule(
        id, .basic, .must, smoke: true, sentence, because: because, passing: passing, failing: failing,
        needs: ["VC-LOAD-01"],
        check: .probe { bench in
            if let line = try changes(subjects, { try bench.load() }).first {
                throw Violation("dlopen", expected: "nothing of it changed", got: line)
            }
        })
}

/// What `body` changed in the process, a line each.
func changes(_ subjects: Int, _ body: () throws -> Void) throws -> [String] {
    guard let before = vcc_snapshot_take() else { throw NotApplicable("no memory for a snapshot") }
    try body()
    guard let after = vcc_snapshot_take() else { throw NotApplicable("no memory for a snapshot") }
    var text = [CChar](repeating: 0, count: 4_096)
    _ = vcc_snapshot_difference(before, after, UInt32(subjects), &text, text.count)
    return String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        .split(separator: "\n").map(String.init)
}
