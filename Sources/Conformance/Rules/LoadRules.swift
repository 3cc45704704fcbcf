// LOAD: the library comes into a process and changes nothing there.
//
// A constructor is code that runs before anybody has looked at the plugin. The rules judge what one has done; most
// plugins need none.

import CConformance
import Glibc
import Providers

let loadRules: [Rule] = [
    Rule(
        "VC-LOAD-01", smoke: true, "The library loads, with every symbol bound.",
        because: "A symbol that is missed only when it is called ends the host in the middle of a call.",
        passing: "cc -shared -Wl,-z,now -Wl,-z,defs acme.c -lacme -o acme.so",
        failing: "cc -shared acme.c -o acme.so        # acme.c calls a function of libacme",
        needs: ["VC-ELF-01", "VC-ELF-02", "VC-ELF-06", "VC-ELF-16"],
        check: .probe { bench in try bench.load() }),
    Rule(
        "VC-LOAD-02", .basic, .must, "It writes nothing beside its own file.",
        because: "A host loads a copy from a directory that is named by the copy's hash and swept as a whole.",
        passing: "\"cache_directory\": {\"type\": \"string\", …}        // a setting",
        failing: "dladdr(&host, &info);  ofstream(info.dli_fname + \".cache\"s);",
        check: .probe { bench in
            try life(bench)
            // The runner's copy lies alone in its folder.
            let parts = bench.path.split(separator: "/")
            let folder = "/" + parts.dropLast().joined(separator: "/")
            if let other = names(in: folder).first(where: { $0 != parts.last.map(String.init) }) {
                throw Violation("the folder of the library", expected: "the library alone", got: "\(other) too")
            }
        }),
    Rule(
        "VC-LOAD-03", .basic, .must, "It works without a home, in the directory `/`.",
        because: "A service has neither HOME nor USER, and whatever a login brings is not there.",
        passing: "const char *home = getenv(\"HOME\");  if (home) …",
        failing: "std::string home(getenv(\"HOME\"));        // of a null pointer: an exception",
        check: .probe { bench in
            for name in ["HOME", "USER", "LOGNAME", "SHELL", "PWD", "LANG", "TERM", "TMPDIR"] { unsetenv(name) }
            let files = bench.subject.manifest?.files ?? []
            // Those of the installation are found from its directory, in which the host starts.
            if files.allSatisfy({ $0.hasPrefix("/") }) { chdir("/") }
            try life(bench)
        }),
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
    Rule(
        "VC-LOAD-12", .basic, .should, "Loading takes at most 4 MiB of memory of its own.",
        because: "Every plugin of the directory is loaded, and each worker loads its own again.",
        passing: "self->table = build_table();        // in `create`",
        failing: "static const std::vector<float> table(2 << 20, 0.5f);        // built when the library is loaded",
        needs: ["VC-LOAD-01"],
        check: .probe { bench in
            let before = ownMemoryKiB()
            try bench.load()
            let tookKiB = ownMemoryKiB() - before
            bench.note("memory after loading", "\(tookKiB) KiB")
            guard tookKiB <= 4_096 else {
                throw Violation("dlopen", expected: "at most 4096 KiB of pages of its own", got: "\(tookKiB) KiB")
            }
        }),
    Rule(
        "VC-LOAD-15", .resilient, .must, "Without a free descriptor it works, or says why not.",
        because: "A host that is full must go on with the calls that it has.",
        passing: "let Ok(file) = File::open(path) else { return VC_E_INTERNAL };",
        failing: "File::open(path).unwrap()        // a panic, and the end of the process",
        needs: ["VC-LIFE-02", "VC-LIFE-16", "VC-LIFE-31", "VC-ENT-05", "VC-MEM-06"],
        check: .probe { bench in
            try bench.enter()
            _ = bench.speech(rateHz: 8_000, ms: 20)
            var usual = rlimit()
            getrlimit(Int32(RLIMIT_NOFILE.rawValue), &usual)
            let free = dup(0)
            close(free)
            var full = rlimit(rlim_cur: rlim_t(free), rlim_max: usual.rlim_max)
            setrlimit(Int32(RLIMIT_NOFILE.rawValue), &full)
            // A refusal is an answer; only a crash or a standstill is none.
            let provider = try? bench.provider()
            _ = try? provider?.plainSession().end()
            setrlimit(Int32(RLIMIT_NOFILE.rawValue), &usual)
            try provider?.end()
            try life(bench)
        }),
    Rule(
        "VC-HOT-01", .basic, .must, kinds: [.speechToText, .turn, .voiceActivity, .languageModel, .textToSpeech],
        "Two versions of it work side by side in one process.",
        because: "When a plugin is upgraded, calls that are up finish on the version with which they began.",
        passing: "state in the provider",
        failing: "open(\"/var/lib/acme/lock\", O_CREAT | O_EXCL)        // once in a process",
        check: .probe { bench in
            let old = try bench.provider()
            let session = try old.session()
            let copy = "upgraded-\(bench.subject.name)"
            guard copyFile(bench.path, to: copy), let path = realpath(copy, nil) else {
                throw NotApplicable("the library cannot be copied here")
            }
            defer { free(path) }
            try bench.change(to: String(cString: path))
            let upgraded = try bench.provider()
            try upgraded.session().exercise()
            try session.exercise()
            try old.end()
            try upgraded.session().exercise()
            try upgraded.end()
        }),
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

private func names(in folder: String) -> [String] {
    guard let handle = opendir(folder) else { return [] }
    defer { closedir(handle) }
    var names: [String] = []
    while let entry = readdir(handle) {
        names.append(
            withUnsafePointer(to: &entry.pointee.d_name) { name in
                String(cString: UnsafeRawPointer(name).assumingMemoryBound(to: CChar.self))
            })
    }
    return names.filter { $0 != "." && $0 != ".." }
}

/// Pages that this process shares with no other and no file: what it costs.
private func ownMemoryKiB() -> Int {
    guard let file = fopen("/proc/self/smaps_rollup", "re") else { return 0 }
    defer { fclose(file) }
    var bytes = [UInt8](repeating: 0, count: 4_096)
    let count = fread(&bytes, 1, bytes.count, file)
    let lines = String(decoding: bytes.prefix(count), as: UTF8.self).split(separator: "\n")
    let words = lines.first { $0.hasPrefix("Private_Dirty:") }?.split(separator: " ") ?? []
    return words.count > 1 ? Int(words[1]) ?? 0 : 0
}

private func copyFile(_ from: String, to path: String) -> Bool {
    guard let bytes = readWholeFile(from), let file = fopen(path, "wxe") else { return false }
    let count = fwrite(bytes, 1, bytes.count, file)
    return fclose(file) == 0 && count == bytes.count
}
