// ENVI: the process is the host's. A plugin changes nothing in it that is not its own.

import CConformance
import PluginABI
import Providers

let processRules: [Rule] = [
    Rule(
        "VC-ENVI-01", .basic, .must, "Nothing is written to standard output.",
        because: "It belongs to whoever started the host: a report, a protocol, a pipe.",
        passing: "log->write(0, VC_LOG_INFO, message, NULL, 0);",
        failing: "printf(\"connected\\n\");",
        check: .observed { seen in
            guard seen.standardOutput.isEmpty else {
                throw Violation("a whole life", expected: "no byte on stdout", got: quoted(seen.standardOutput))
            }
        }),
    Rule(
        "VC-ENVI-02", .basic, .should, "Nothing is written to standard error.",
        because: "Lines there have no call, no level and no place in the operator's log.",
        passing: "log->write(0, VC_LOG_WARNING, message, NULL, 0);",
        failing: "perror(\"connect\");",
        check: .observed { seen in
            guard seen.standardError.isEmpty else {
                throw Violation("a whole life", expected: "no byte on stderr", got: quoted(seen.standardError))
            }
        }),
    unchanged(
        "VC-ENVI-03", "Signal handlers and masks stay as they are.", VCC_SIGNAL_HANDLERS | VCC_SIGNAL_MASK,
        because: "SIGTERM is how an operator ends the host, and SIGPIPE how libraries end it by mistake.",
        passing: "send(socket, bytes, count, MSG_NOSIGNAL);",
        failing: "signal(SIGPIPE, SIG_IGN);"),
    unchanged(
        "VC-ENVI-04", "The environment stays as it is.", VCC_ENVIRONMENT_CHANGED,
        because: "It is one for all plugins, and changing it while another thread reads it is a crash.",
        passing: "pass the proxy in the request",
        failing: "setenv(\"https_proxy\", proxy, 1);"),
    unchanged(
        "VC-ENVI-05", "The current directory and the umask stay as they are.", VCC_DIRECTORY | VCC_UMASK,
        because: "The host's own relative paths would lead elsewhere.",
        passing: "openat(self->directory, name, O_RDONLY);",
        failing: "chdir(model_directory);"),
    unchanged(
        "VC-ENVI-06", "The locale stays as it is.", VCC_LOCALE_CHANGED,
        because: "In a Turkish locale, tolower(\"I\") is another letter and 0.5 is written 0,5: in every plugin.",
        passing: "strtod_l(text, &end, self->c_locale);",
        failing: "setlocale(LC_ALL, \"\");"),
    Rule(
        "VC-ENVI-07", .basic, .must, "No process is left behind.",
        because: "It lives on when the host is gone, with the host's ports in its hands.",
        passing: "kill(child, SIGTERM);  waitpid(child, NULL, 0);",
        failing: "if (fork() == 0) { setsid(); … }",
        check: .observed { seen in
            if let stray = seen.strays.first {
                throw Violation("a whole life", expected: "no process left", got: stray)
            }
        }),
    Rule(
        "VC-ENVI-08", .basic, .must, "No exit handler is registered.",
        because: "A host ends with _exit: it would not run, or it would run in a plugin whose threads still work.",
        passing: "provider.destroy frees everything",
        failing: "atexit(flush_cache);",
        skip: { subject in
            // Swift and C++ register destructors of statics by themselves, when they are first used.
            let language = subject.manifest?.runtime.language ?? ""
            return language == "c" ? nil : "the runtime of \(language) registers its own"
        },
        check: .probe { bench in
            _ = vcc_watch_install(try bench.load())
            try life(bench)
            let count = vcc_watch_total_calls(UInt32(VCC_EXIT_HANDLER))
            guard count == 0 else { throw Violation("a whole life", expected: "no atexit", got: "\(count) of them") }
        }),
    Rule(
        "VC-ENVI-09", .basic, .must, "Only descriptors of its own are closed.",
        because: "A number that was closed twice is by then another call's socket.",
        passing: "close(self->file);  self->file = -1;",
        failing: "close(self->file);  …  close(self->file);",
        check: .probe { bench in
            let lines = try differences(bench, VCC_DESCRIPTORS).filter { !$0.contains("left open") }
            if let line = lines.first { throw Violation("a whole life", expected: "all others open", got: line) }
        }),
    unchanged(
        "VC-ENVI-13", "The floating-point mode stays as it is.", VCC_FLOATING_POINT,
        because: "Whoever computes next on the thread gets other results.",
        passing: "restore what fegetenv gave",
        failing: "_MM_SET_FLUSH_ZERO_MODE(_MM_FLUSH_ZERO_ON);"),
    unchanged(
        "VC-ENVI-17", "Limits, priorities and interval timers stay as they are.",
        VCC_LIMITS | VCC_PRIORITY | VCC_TIMERS,
        because: "The host has given its media threads a priority, and its process a limit, on purpose.",
        passing: "vc.timer/1",
        failing: "alarm(5);"),
    Rule(
        "VC-ENVI-14", .basic, .must, "A secret appears in no log line, error or event.",
        because: "Logs are copied to places where keys must not be.",
        passing: "the key of ACME_KEY was refused (401)",
        failing: "the key sk-4711… was refused (401)",
        skip: { ($0.manifest?.secrets ?? []).isEmpty ? "the manifest lists no secrets" : nil },
        check: .probe { bench in
            try life(bench)
            let secrets = bench.job.secrets.values.filter { $0.count >= 8 }
            for line in bench.world.logLines {
                let text = line.message + line.fields.map { " \($0.0)=\($0.1)" }.joined()
                if secrets.contains(where: text.contains) {
                    throw Violation("the log", expected: "no secret", got: "one, in a line of level \(line.level)")
                }
            }
            for event in bench.world.events {
                let texts = [event.failure?.message, event.failure?.vendorCode, event.text].compactMap(\.self)
                if texts.contains(where: { text in secrets.contains(where: text.contains) }) {
                    throw Violation("events", expected: "no secret", got: "one, in \(event.name)")
                }
            }
        }),
    Rule(
        "VC-ENVI-15", .basic, kinds: [.turn, .languageModel, .textToSpeech],
        "What callers and agents say is in no log line above debug.",
        because: "It is private, and a log is read by many and kept for long.",
        passing: "spoke 42 characters",
        failing: "spoke \"Your account number is …\"",
        check: .probe { bench in
            try life(bench)
            let words = ["Hello there", "That is all", "Hello."]
            for line in bench.world.logLines where line.level > UInt32(VC_LOG_DEBUG) {
                let text = line.message + line.fields.map { " \($0.0)=\($0.1)" }.joined()
                if words.contains(where: text.contains) {
                    throw Violation("the log", expected: "no words of the call", got: quoted(line.message))
                }
            }
        }),
]

private func unchanged(
    _ id: String, _ sentence: String, _ subjects: Int, because: String, passing: String, failing: String
) -> Rule {
    Rule(
        id, .basic, .must, sentence, because: because, passing: passing, failing: failing,
        check: .probe { bench in
            if let line = try differences(bench, subjects).first {
                throw Violation("a whole life", expected: "nothing of it changed", got: line)
            }
        })
}

/// A provider with a session that is used once, and its end.
func life(_ bench: Bench) throws {
    let provider = try bench.provider()
    try provider.plainSession().exercise()
    try provider.end()
}

/// What a whole life changed in the process, a line each.
private func differences(_ bench: Bench, _ subjects: Int) throws -> [String] {
    // The bench's own thread for tasks is there before the first snapshot.
    _ = bench.world.tasks.run(0, { _ in }, nil)
    _ = bench.world.tasks.waitUntilIdle()
    // What loading changes is judged by the rules of the group LOAD.
    try bench.enter()
    return try changes(subjects) { try life(bench) }
}

private func quoted(_ text: String) -> String {
    "\"" + text.prefix(80).replacing("\n", with: "\\n") + "\""
}
