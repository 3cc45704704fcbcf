// LIFE: providers and sessions, from `create` to `destroy`.

import PluginABI
import Providers

/// A detector's session is only a memory: it emits nothing.
let everySessionButADetectors: [PluginKind] = [.telephony, .speechToText, .turn, .languageModel, .textToSpeech]

let lifeRules: [Rule] = [
    Rule(
        "VC-LIFE-01", smoke: true, "A provider is created and destroyed.",
        because: "It is the first thing that a host does with every configured section.",
        passing: "*self = the_provider;  return VC_OK;",
        failing: "return VC_E_INTERNAL;", needs: ["VC-ENT-01"],
        check: .probe { bench in
            let (provider, status, error) = try bench.create()
            guard let provider else {
                throw Violation("create", expected: "VC_OK", got: "\(statusName(status)): \(error.message)")
            }
            provider.destroy()
        }),
    Rule(
        "VC-LIFE-02", smoke: true, "A session is opened, becomes READY, closes and is destroyed.",
        because: "It is the life of every session of every call.",
        passing: "open … READY … close … CLOSED … destroy",
        failing: "open, and nothing more", needs: ["VC-LIFE-01"],
        check: .probe { bench in
            let provider = try bench.provider()
            try provider.plainSession().end()
            try provider.end()
        }),
    Rule(
        "VC-LIFE-03", smoke: true, kinds: everySessionButADetectors, "A session emits CLOSED exactly once.",
        because: "The host frees the session at the first; the second would be somebody else's.",
        passing: "close(self) { …; emit(CLOSED); }",
        failing: "close(self) { emit(CLOSED); …; emit(CLOSED); }",
        check: .probe { bench in
            let session = try bench.provider().plainSession()
            session.close()
            _ = session.waitUntilClosed()
            bench.advance(ms: 200)
            let count = session.events(VC_EVENT_CLOSED).count
            guard count == 1 else { throw Violation("close", expected: "CLOSED once", got: "\(count) times") }
        }),
    Rule(
        "VC-LIFE-04", smoke: true, kinds: everySessionButADetectors, "A session emits nothing after CLOSED.",
        because: "What comes after it belongs to a call that is over.",
        passing: "stop_the_worker(self);  emit(CLOSED);",
        failing: "emit(CLOSED);  emit(AUDIO);",
        check: .probe { bench in
            let session = try bench.provider().plainSession()
            try session.exercise()
            session.close()
            _ = session.waitUntilClosed()
            bench.advance(ms: 1_000)
            let late = session.events.drop { $0.type != VC_EVENT_CLOSED }.filter { $0.type != VC_EVENT_CLOSED }
            if let first = late.first { throw Violation("after CLOSED", expected: "nothing", got: first.name) }
        }),
    Rule(
        "VC-LIFE-05", kinds: everySessionButADetectors, "CLOSED comes within a second of `close`.",
        because: "Until then the call's resources are held; after five seconds the host gives the session up.",
        passing: "close(self) { abort_the_request(self); emit(CLOSED); }",
        failing: "close(self) { wait_for_the_vendor(self); emit(CLOSED); }",
        check: .probe { bench in
            let session = try bench.provider().plainSession()
            let began = bench.nowNs
            session.close()
            guard session.waitUntilClosed(), let closed = session.events(VC_EVENT_CLOSED).first else { return }
            let tookMs = (closed.atNs - began) / 1_000_000
            guard tookMs <= 1_000 else {
                throw Violation("close", expected: "CLOSED within 1000 ms", got: "\(tookMs) ms")
            }
        }),
    Rule(
        "VC-LIFE-07", kinds: [.speechToText, .turn, .languageModel, .textToSpeech],
        "A session that is closed before it is READY emits CLOSED.",
        because: "Callers hang up while the vendor is still being connected.",
        passing: "close(self) { cancel_the_connect(self); emit(CLOSED); }",
        failing: "close(self) { if (self->is_ready) emit(CLOSED); }",
        check: .probe { bench in
            let (session, _, _) = try bench.provider().open()
            guard let session else { return }
            session.close()
            guard session.waitUntilClosed() else {
                throw Violation("close right after open", expected: "CLOSED", got: "nothing for 5 s")
            }
        }),
    Rule(
        "VC-LIFE-09", kinds: [.languageModel, .textToSpeech],
        "A session that is closed in the middle of an answer emits CLOSED.",
        because: "That is when most calls end.",
        passing: "close(self) { drop_all_requests(self); emit(CLOSED); }",
        failing: "close(self) { if (!self->first) emit(CLOSED); }",
        check: .probe { bench in
            let session = try bench.provider().session()
            try session.askAndStall()
            session.close()
            guard session.waitUntilClosed() else {
                throw Violation("close during an answer", expected: "CLOSED", got: "nothing for 5 s")
            }
        }),
] + moreLifeRules
