// ROB: odd requests, and an odd end.
//
// What a caller says, a recogniser hears and a model writes, nobody has proof-read: a request without a word in it, a
// script that the author does not know, a megabyte of one letter. How such a request is answered is each plugin's own
// affair; an error is an answer. But it must be the only thing that is lost. These faults are at home in the safe
// languages: there an index that is out of range, an overflow or an unwrapped nil does not corrupt memory, it ends the
// process, with all other calls of the worker.

import Glibc
import JSON
import PluginABI
import Providers

private let readers: [PluginKind] = [.languageModel, .textToSpeech, .turn]

let robustnessRules: [Rule] = [
    odd(
        "VC-ROB-01", "A text without a word leaves a session that works.",
        because: "A model that has nothing to say says a blank, and a recogniser that heard a cough a full stop.",
        passing: "const auto first = text.empty() ? '\\0' : text.front();",
        failing: "const auto first = text.at(0);        // std::out_of_range, in a function that C calls",
        texts: ["", " ", "\n\n", "\u{2003}\t ", ".", "?!", "…", "-"]),
    odd(
        "VC-ROB-02", "A text of any characters leaves a session that works.",
        because: "Names, emoji and what is left of a web page come through the model as they are.",
        passing: "text.chars().take(3)",
        failing: "&text[..3]        // the middle of a character, and a panic",
        texts: [
            "\u{1f469}\u{200d}\u{1f4bb}\u{1f1f9}\u{1f1f7}", "日本語のテキスト", "e\u{301}\u{302}\u{303}", "\u{202e}txet",
            "\u{0}\u{1}\u{7}\u{1b}[2J\u{7f}", "\u{feff}\u{fffd}\u{10ffff}", "<speak><break/>&amp;%s%n{}\"\\", "İ ı ß ﬁ",
        ]),
    odd(
        "VC-ROB-03", "A text of a megabyte leaves a session that works.",
        because: "A tool's result or a pasted document becomes part of the conversation.",
        passing: "if (text.length > TEXT_MAX) return VC_E_ARGUMENT;",
        failing: "char copy[65536];  memcpy(copy, text.data, text.length);",
        texts: [String(repeating: "a", count: 1 << 20)]),
    Rule(
        "VC-ROB-04", .basic, .must, "The plugin is silent when the process exits.",
        because: "Destructors of static and thread-local objects run when the host's own are gone: it ends in a crash.",
        passing: "static Pool *pool = new Pool;        // never destroyed",
        failing: "static Pool pool;        // ~Pool emits for what is left in it",
        check: .probe { bench in
            let provider = try bench.provider()
            try provider.plainSession().exercise()
            try provider.end()
            bench.endsByExit = true
        }),
]

/// A rule that asks for each of `texts` and then for something plain.
private func odd(
    _ id: String, _ sentence: String, because reason: String, passing: String, failing: String, texts: [String]
) -> Rule {
    Rule(
        id, .basic, .must, kinds: readers, sentence, because: reason, passing: passing, failing: failing,
        needs: ["VC-LIFE-02", "VC-CAN-12"],
        check: .probe { bench in
            let provider = try bench.provider()
            let fresh = try provider.session()
            let expected = shape(fresh.signature(of: try fresh.exercise()))
            let session = try provider.session()
            for (number, text) in texts.enumerated() {
                session.askOddly(text)
                let got = (try? session.signature(of: session.exercise())).map(shape)
                guard got == expected else {
                    throw Violation(
                        "a request after odd text \(number + 1) of \(texts.count)",
                        expected: expected.joined(separator: ", "),
                        got: got?.joined(separator: ", ") ?? "a refusal")
                }
            }
        })
}

/// Without the judgement of a turn: what a caller said before may well change it.
private func shape(_ signature: [String]) -> [String] {
    signature.map { $0.hasPrefix("VERDICT") ? "VERDICT" : $0 }
}

extension BenchSession {
    /// A request for `text`, of which the beginning is taken; then it is cancelled.
    fileprivate func askOddly(_ text: String) {
        let request = nextRequest()
        world.monitor.locked { object.creditEvents = 10 }
        switch bench.kind {
        case .textToSpeech: speak(request, text)
        case .languageModel: ask(request, [["role": "user", "content": .string(text)]])
        default:
            transcript(text)
            decide(request)
        }
        bench.advance(ms: 400)
        cancel()
        flow()
        bench.advance(ms: 400)
    }
}

/// What the plugin had asked of the host when its sessions were gone, for the handler below.
nonisolated(unsafe) private var exiting: (bench: Bench, verdict: Verdict, calls: Int)?

/// Lets the process exit as a program does, with all destructors, and gives the verdict after them.
func exitInPeace(_ bench: Bench, _ verdict: Verdict) -> Never {
    exiting = (bench, verdict, callsIn(bench.world))
    Breadcrumbs.leave("exit")
    exit(0)
}

/// Registered before the plugin is loaded, so that it runs after everything that the plugin left behind.
func judgeExit() {
    guard let (bench, verdict, before) = exiting else { return }
    let calls = callsIn(bench.world) - before
    if calls > 0 {
        verdict.fail(
            Violation("exit", expected: "nothing of the plugin", got: "\(calls) calls of the host", place: "exit"))
    }
    verdict.done()
    _exit(0)
}

private func callsIn(_ world: World) -> Int {
    world.monitor.locked { world.events.count + world.servicesAsked.count + world.logLines.count + world.misuse.count }
}
