// LIFE: providers and sessions, from `create` to `destroy`.

import PluginABI
import Providers

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
        "VC-LIFE-03", smoke: true, "A session emits CLOSED exactly once.",
        because: "The host frees the session at the first; the second would be somebody else's.",
        passing: "close(self) { …; emit(CLOSED); }",
        failing: "close(self) { emit(CLOSED); …; emit(CLOSED); }",
        skip: { $0.kind == .voiceActivity ? "a detector's session need not emit CLOSED" : nil },
        check: .probe { bench in
            let session = try bench.provider().plainSession()
            session.close()
            _ = session.waitUntilClosed()
            bench.advance(ms: 200)
            let count = session.events(VC_EVENT_CLOSED).count
            guard count == 1 else { throw Violation("close", expected: "CLOSED once", got: "\(count) times") }
        }),
]
