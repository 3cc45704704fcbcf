// SVC: how a plugin uses the host's services; and what the vendor learns of an interruption.
//
// The bench writes down what a service's header forbids (`World.misuse`, `VendorServices.serviceBreaches`), and answers
// as a host would. Each rule here asks for one sort of it.

import JSON
import PluginABI
import Providers

let serviceRules: [Rule] = [
    misuse(
        "VC-SVC-01", "A handle is used as long as it lives.",
        ["of a handle that"],
        because: "A request that is done is gone, and its number may be another call's by now.",
        passing: "done(…) { self->exchange = 0; }",
        failing: "done(…) { http->cancel(self->exchange); }"),
    misuse(
        "VC-SVC-13", "Nothing is begun for an object that is destroyed.",
        ["that is gone"],
        because: "What calls back into freed memory is the crash that nobody can explain.",
        passing: "destroy(self) { free(self); }",
        failing: "destroy(self) { http->start(…, \"goodbye\"); }"),
    misuse(
        "VC-SVC-14", "What is handed to a service is well formed.",
        [
            "is no absolute URL", "is no token", "has a control character", "are the most", "length without",
            "a NULL pointer", "at NULL", "a line of level", "is no UTF-8", "cannot be sent",
        ],
        because: "A host refuses it, and a lenient one sends it: a line break in a header is a second request.",
        passing: "http->prewarm(self->handle, VC_STR(\"https://api.acme.example\"));",
        failing: "http->prewarm(self->handle, VC_STR(\"api.acme.example\"));"),
    misuse(
        "VC-SVC-07", "Metrics are defined by the provider, in `create` or `start`.",
        ["vc.metrics:"],
        because: "There is room for 32; a plugin that defines one for every call has none left after lunch.",
        passing: "create(…) { metrics->define(request->provider, …, &self->metric); }",
        failing: "open(…) { metrics->define(provider->handle, …); }"),
    misuse(
        "VC-SVC-16", "A secret is asked for in a call of the object, and not in a task.",
        ["vc.secret: asked for on"],
        because: "It is lent within one call; elsewhere it may be zeroed while it is read.",
        passing: "secret->with(self->handle, \"KEY\", sign, self);        // in `request`",
        failing: "void work(void *self) { secret->with(…); }        // in a task"),
    Rule(
        "VC-SVC-02", .resilient, .must, kinds: asking, "A request that the host cannot take fails the question.",
        because: "Thirty-two are under way, or the host is closing: who waits for a callback waits for ever.",
        passing: "if (http->start(…) != VC_OK) fail(self);",
        failing: "http->start(…);        // and its status is not looked at",
        check: .probe { bench in
            let (provider, services) = try bench.providerWithVendor()
            for status in [VC_E_AGAIN, VC_E_NETWORK] {
                let session = try provider.session()
                services.refuse { $0 == "http.start" ? vc_status(status) : nil }
                let trial = session.trial(services, ms: 60_000)
                services.refuse(nil)
                guard !trial.hangs else {
                    throw Violation(
                        "http.start answers \(statusName(vc_status(status)))", expected: "an ERROR, or a status",
                        got: trial.summary)
                }
            }
        }),
    Rule(
        "VC-SVC-03", .resilient, .must, kinds: asking, "A timer whose reason is gone is disarmed.",
        because: "A session has 64; a watchdog for every question, left to run out, is 64 questions long.",
        passing: "finish(self) { timer->disarm(self->watchdog); }",
        failing: "timer->arm(…, now + 600 s, …);        // for each question",
        needs: ["VC-LIFE-02", "VC-LIFE-34"],
        check: .probe { bench in
            let session = try bench.provider().session()
            for _ in 0..<12 { try session.exercise() }
            bench.advance(ms: 5_000)
            let count = bench.world.monitor.locked {
                bench.world.timers.values.count { $0.owner == session.handle || $0.owner == session.provider.handle }
            }
            guard count <= 4 else {
                throw Violation("5 s after the last of 12 questions", expected: "at most 4 timers", got: "\(count)")
            }
        }),
    Rule(
        "VC-SVC-08", .resilient, .must, kinds: asking, "A question writes ten lines to the log at most.",
        because: "A hundred calls that write a line for each piece of an answer hide the one line that matters.",
        passing: "log(VC_LOG_DEBUG, …)        // and one line above it for what failed",
        failing: "data(…) { log(VC_LOG_INFO, \"more of the answer\"); }",
        check: .probe { bench in
            let (provider, services) = try bench.providerWithVendor()
            let session = try provider.session()
            // A second of audio, byte by byte, would be a rule about the bench.
            if bench.kind != .textToSpeech { services.arm(.oneByteChunks) }
            let before = lines(bench)
            _ = session.trial(services)
            let count = lines(bench) - before
            guard count <= 10 else {
                throw Violation(
                    "an answer in many pieces", expected: "at most 10 lines above debug", got: "\(count)")
            }
        }),
    Rule(
        "VC-SVC-10", .basic, .must, kinds: asking, "No secret stands in a URL.",
        because: "URLs are written to the logs of every proxy on the way.",
        passing: "{\"Authorization\", \"Bearer ${secret:KEY}\"}",
        failing: "url = \"https://api.acme.example/v1?key=4711…\"",
        skip: { ($0.manifest?.secrets ?? []).isEmpty ? "the manifest lists no secrets" : nil },
        check: .probe { bench in
            let (_, services) = try bench.providerWithVendor()
            let secrets = bench.job.secrets.values.filter { $0.count >= 8 }
            guard !secrets.isEmpty else { throw NotApplicable("the vendor's script has no secret of eight letters") }
            for sighting in services.seen() {
                let url = sighting.request.url
                guard !secrets.contains(where: { url.contains($0) }), !url.contains("${secret:") else {
                    throw Violation(
                        "\(sighting.request.method) \(url.prefix { $0 != "?" })", expected: "no secret in the URL",
                        got: "one")
                }
            }
        }),
    Rule(
        "VC-SVC-23", .resilient, .must, kinds: asking, "A span that was begun is ended, also when the vendor fails.",
        because: "The turn's waterfall shows work that goes on for ever, exactly where one looks for what went wrong.",
        passing: "fail(self) { trace->end(self->span, …); }",
        failing: "finish(self) { trace->end(self->span, …); }        // and fail does not",
        check: .probe { bench in
            let (provider, services) = try bench.providerWithVendor()
            let session = try provider.session()
            services.arm(.status(400, retryAfterS: nil))
            _ = session.trial(services)
            try session.end()
            let count = bench.world.monitor.locked { bench.world.spans.count }
            guard count == 0 else {
                throw Violation(
                    "a question that failed, and the end of the call", expected: "no open span", got: "\(count)")
            }
        }),
    Rule(
        "VC-SVC-24", .realTime, .should, kinds: asking,
        "The connection to the vendor is opened ahead of the first question.",
        because: "A handshake takes 100 ms and more: a hesitation in the first answer of every call.",
        passing: "open(…) { http->prewarm(request->session, self->url); }",
        failing: "open(…) { }",
        check: .probe { bench in
            let (_, services) = try bench.providerWithVendor()
            guard services.callCount("http.prewarm") > 0 else {
                throw Violation("`start`, `open`", expected: "vc.http's prewarm", got: "none")
            }
        }),
    Rule(
        "VC-ENVI-11", .basic, .must, kinds: asking, "Only what the manifest names under `network` is asked.",
        because: "An operator who installs a plugin reads there where the calls' words go.",
        passing: "\"network\": [\"https://api.acme.example\"]",
        failing: "POST https://stats.acme.example/usage        // which the manifest does not name",
        check: .probe { bench in
            let (_, services) = try bench.providerWithVendor()
            let allowed = bench.subject.manifest?.network ?? []
            for sighting in services.seen() {
                let origin = VendorFailure.origin(of: sighting.request.url)
                guard allowed.contains(where: { VendorFailure.origin(of: $0) == origin }) else {
                    throw Violation(
                        "\(sighting.request.method) \(origin)", expected: "one of \(allowed.joined(separator: ", "))",
                        got: "an address that the manifest does not name")
                }
            }
        }),
    Rule(
        "VC-CAN-15", .realTime, .must, kinds: [.languageModel, .textToSpeech],
        "An interruption stops the request at the vendor.",
        because: "A vendor that goes on is paid for words that nobody hears, and has less left for those that matter.",
        passing: ".epoch = request->epoch        // the host cancels it",
        failing: ".epoch = UINT64_MAX",
        needs: ["VC-CAN-02"],
        check: .probe { bench in
            let (provider, services) = try bench.providerWithVendor()
            let session = try provider.session()
            services.arm(.slowFirstByte(ms: 3_000))
            let known = services.seen().count
            guard session.question(session.nextRequest()) == VC_OK else {
                throw NotApplicable("the question is refused")
            }
            bench.advance(ms: 100)
            guard services.seen().count > known else { throw NotApplicable("nothing was asked within 100 ms") }
            session.cancel()
            bench.advance(ms: 500)
            for sighting in services.seen().dropFirst(known) where !sighting.isCanceled {
                throw Violation(
                    "cancel while the vendor is at work", expected: "its request ends within 500 ms",
                    got: "it goes on: \(sighting.request.method) \(sighting.request.url)")
            }
        }),
    Rule(
        "VC-CAN-16", .realTime, .must, kinds: [.languageModel, .textToSpeech], "An interruption is no ERROR.",
        because: "The host would count it against the provider, and ask another one for an answer that nobody wants.",
        passing: "emit(LLM_DONE of VC_LLM_CANCELED);        // or nothing",
        failing: "emit(ERROR of VC_E_CANCELED);",
        needs: ["VC-CAN-02"],
        check: .probe { bench in
            let session = try bench.provider().session()
            // Once while the answer waits for credit, and once while nothing of it is there yet.
            try session.askAndStall()
            session.cancel()
            session.flow()
            bench.advance(ms: 200)
            _ = session.question(session.nextRequest())
            bench.advance(ms: 20)
            session.cancel()
            session.flow()
            bench.advance(ms: 2_000)
            if let failure = session.events.compactMap(\.failure).first {
                throw Violation("cancel", expected: "no ERROR", got: "\(statusName(failure.code)): \(failure.message)")
            }
        }),
]

/// A rule about what the bench wrote down in a life with everything in it: questions, a failure, an interruption, ends.
private func misuse(
    _ id: String, _ sentence: String, _ words: [String], because: String, passing: String, failing: String
) -> Rule {
    Rule(
        id, .resilient, .must, kinds: asking, sentence, because: because, passing: passing, failing: failing,
        check: .probe { bench in
            let provider = try bench.provider()
            let services = VendorServices.current
            let session = try provider.session()
            try session.exercise()
            services?.arm(.status(500, retryAfterS: nil), times: 1)
            try session.exercise()
            services?.disarm()
            _ = session.question(session.nextRequest())
            bench.advance(ms: 50)
            session.cancel()
            bench.advance(ms: 500)
            try provider.session().exercise()
            _ = session.question(session.nextRequest())
            bench.advance(ms: 50)
            try provider.end()
            bench.advance(ms: 2_000)
            let found = bench.world.monitor.locked { bench.world.misuse } + (services?.serviceBreaches ?? [])
            if let breach = found.first(where: { breach in words.contains { breach.contains($0) } }) {
                throw Violation("a life with the host's services", expected: sentence, got: breach)
            }
        })
}

/// Lines above debug.
private func lines(_ bench: Bench) -> Int {
    bench.world.monitor.locked { bench.world.logLines.count { $0.level > UInt32(VC_LOG_DEBUG) } }
}
