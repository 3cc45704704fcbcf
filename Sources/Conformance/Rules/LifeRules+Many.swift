// LIFE: many sessions, several providers, and what follows an end.

import JSON
import PluginABI
import Providers

let moreLifeRules: [Rule] = [
    Rule(
        "VC-LIFE-12", kinds: [.speechToText, .turn, .voiceActivity, .languageModel, .textToSpeech],
        "A provider opens a hundred sessions, one after another.",
        because: "A host runs for months, and every call opens one.",
        passing: "self->free_list = session;        // in destroy",
        failing: "if (++provider->opened > 64) return VC_E_AGAIN;",
        check: .probe { bench in
            let provider = try bench.provider()
            for number in 1...100 {
                let (session, status, error) = try provider.open()
                guard let session else {
                    throw Violation(
                        "open \(number) of 100, all others destroyed", expected: "VC_OK",
                        got: "\(statusName(status)): \(error.message)")
                }
                try session.waitUntilReady()
                try session.end()
            }
        }),
    Rule(
        "VC-LIFE-13", .realTime, kinds: [.speechToText, .turn, .voiceActivity, .languageModel, .textToSpeech],
        "A provider has 64 sessions open at once.",
        because: "A host has as many calls as its machine carries.",
        passing: "session *self = calloc(1, sizeof *self);",
        failing: "static session pool[16];",
        check: .probe { bench in
            let provider = try bench.provider()
            for number in 1...64 {
                let (session, status, error) = try provider.open()
                guard session != nil else {
                    throw Violation(
                        "open \(number) of 64 at once", expected: "VC_OK",
                        got: "\(statusName(status)): \(error.message)")
                }
            }
        }),
    Rule(
        "VC-LIFE-14", kinds: [.languageModel, .textToSpeech], "What happens to one session changes no other.",
        because: "One caller's interruption must not silence another caller's agent.",
        passing: "atomic_store(&self->epoch, epoch);",
        failing: "static uint64_t epoch;",
        check: .probe { bench in
            let provider = try bench.provider()
            let alone = try provider.session()
            let expected = alone.signature(of: try alone.exercise())
            let (one, other) = (try provider.session(), try provider.session())
            let request = try other.askAndStall()
            one.cancel()
            try one.end()
            other.flow()
            other.waitForEnd(of: request, bench.kind == .textToSpeech ? VC_EVENT_TTS_DONE : VC_EVENT_LLM_DONE)
            let fresh = try provider.session()
            let (stalled, after) = (other.signature(of: request), fresh.signature(of: try fresh.exercise()))
            guard after == expected, stalled[0] != "0 samples" || !stalled[1].isEmpty else {
                throw Violation(
                    "cancel and close of another session", expected: "the answer as without them",
                    got: "\((after == expected ? stalled : after).joined(separator: ", "))")
            }
        }),
    Rule(
        "VC-LIFE-16", kinds: [.speechToText, .turn, .voiceActivity, .languageModel, .textToSpeech],
        "Two providers of the plugin live side by side.",
        because: "An operator configures two sections: two voices, two models, two accounts.",
        passing: "provider *self = calloc(1, sizeof *self);",
        failing: "static provider the_only_one;",
        check: .probe { bench in
            let first = try bench.provider()
            let (second, status, error) = try bench.create(name: "conform.second")
            guard let second else {
                throw Violation(
                    "create of a second provider", expected: "VC_OK", got: "\(statusName(status)): \(error.message)")
            }
            try second.start()
            try second.session().end()
            try second.end()
            do {
                try first.session().exercise()
            } catch {
                throw Violation(
                    "the first provider after the second was destroyed", expected: "a session that works",
                    got: (error as? Violation).map { "\($0.what): \($0.got)" } ?? "\(error)")
            }
        }),
    Rule(
        "VC-LIFE-19", kinds: [.speechToText, .turn, .textToSpeech], "A failed `open` leaves no session that emits.",
        because: "The handle is gone with the failure, and may soon be another call's.",
        passing: "if (!supported) return VC_E_UNSUPPORTED;        // before anything else",
        failing: "emit(READY);  if (!supported) return VC_E_UNSUPPORTED;",
        check: .probe { bench in
            let provider = try bench.provider()
            var options = SessionOptions()
            options.rate = 11_025
            var handle: vc_handle = 0
            options.prepare = { handle = $0.handle }
            let (session, _, _) = try provider.open(options)
            guard session == nil else { throw NotApplicable("it takes 11025 Hz, and fails nothing") }
            bench.advance(ms: 1_000)
            if let event = bench.world.events(of: handle).first {
                throw Violation("open at 11025 Hz, which failed", expected: "no event", got: event.name)
            }
        }),
    Rule(
        "VC-LIFE-23", kinds: everySessionButADetectors, "READY comes once.",
        because: "The host begins to send what it kept back; a second time there is nothing, and the order is lost.",
        passing: "if (!self->is_ready++) emit(READY);",
        failing: "on_reconnect(self) { emit(READY); }",
        check: .probe { bench in
            let session = try bench.provider().plainSession()
            try session.exercise()
            bench.advance(ms: 1_000)
            let count = session.events(VC_EVENT_READY).count
            guard count == 1 else { throw Violation("open", expected: "READY once", got: "\(count) times") }
        }),
    Rule(
        "VC-LIFE-25", kinds: [.languageModel, .textToSpeech], "A session to which `emit` says STALE stops.",
        because: "The host has given it up; whatever it makes is made for nobody.",
        passing: "if (emit(…) == VC_E_STALE) return;",
        failing: "while (emit(…) != VC_OK) {}",
        check: .probe { bench in
            let session = try bench.provider().session()
            session.object.answer = { _ in vc_status(VC_E_STALE) }
            let before = session.events.count
            switch bench.kind {
            case .textToSpeech: session.speak(session.nextRequest(), "One two three four five six seven eight.")
            default: session.ask(session.nextRequest(), [["role": "user", "content": "Hello."]])
            }
            bench.advance(ms: 5_000)
            let tries = session.events.count - before
            guard tries <= 8 else {
                throw Violation("emit = STALE", expected: "at most 8 more events", got: "\(tries)")
            }
        }),
    Rule(
        "VC-LIFE-26", kinds: [.languageModel, .textToSpeech], "Open sessions go on while their provider drains.",
        because: "A provider is drained when its plugin is upgraded; the calls that it has end by themselves.",
        passing: "drain(self) { self->takes_calls = 0; }",
        failing: "drain(self) { close_all_sessions(self); }",
        check: .probe { bench in
            let provider = try bench.provider()
            let session = try provider.session()
            let request = try session.askAndStall()
            provider.drain()
            session.flow()
            session.waitForEnd(of: request, bench.kind == .textToSpeech ? VC_EVENT_TTS_DONE : VC_EVENT_LLM_DONE)
            let got = session.signature(of: request)
            guard !session.isClosed, got[0] != "0 samples" || !got[1].isEmpty else {
                throw Violation(
                    "drain during an answer", expected: "the whole answer", got: got.joined(separator: ", "))
            }
        }),
    Rule(
        "VC-LIFE-30", .basic, .must, "A provider with `drain` emits DRAINED when it holds nothing more.",
        because: "The next version waits for it: a port is bound again only when it is free.",
        passing: "if (self->is_draining && !self->sessions) emit(DRAINED);",
        failing: "drain(self) { }",
        check: .probe { bench in
            let provider = try bench.provider()
            guard provider.table.pointee.drain != nil else { throw NotApplicable("the provider has no `drain`") }
            provider.drain()
            guard bench.wait(ms: 5_000, until: { provider.events.contains { $0.type == VC_EVENT_DRAINED } }) else {
                throw Violation("drain without a session", expected: "DRAINED", got: "nothing for 5 s")
            }
        }),
    Rule(
        "VC-LIFE-31", .basic, .must, "A session emits nothing after `destroy`.",
        because: "Its memory was freed; whatever still runs for it uses memory of somebody else.",
        passing: "destroy(self) { disarm(self->timer); free(self); }",
        failing: "destroy(self) { free(self); }        // and its timer fires",
        check: .probe { bench in
            let provider = try bench.provider()
            let session = try provider.plainSession()
            try session.exercise()
            session.close()
            if bench.kind != .voiceActivity { _ = session.waitUntilClosed() }
            let before = session.events.count
            session.destroy()
            bench.advance(ms: 4_800)
            // Threads of the plugin's own follow the wall clock, and have a moment of it.
            _ = bench.wait(ms: 200) { session.events.count > before }
            if let late = session.events.dropFirst(before).first {
                throw Violation("from `destroy` on", expected: "nothing", got: late.name)
            }
        }),
    Rule(
        "VC-LIFE-34", kinds: everySessionButADetectors, "CLOSED answers `close`, and never comes by itself.",
        because: "The host would take a call's session for ended while the call goes on. Who cannot go on says ERROR.",
        passing: "emit(ERROR with fatal = 1);        // and waits for close",
        failing: "on_disconnect(self) { emit(CLOSED); }",
        check: .probe { bench in
            let session = try bench.provider().plainSession()
            try session.exercise()
            bench.advance(ms: 10_000)
            guard !session.isClosed else {
                throw Violation("a session in use", expected: "no CLOSED before close", got: "CLOSED")
            }
        }),
]
