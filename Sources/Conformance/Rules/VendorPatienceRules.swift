// ERR: how long a provider waits for its vendor, and how often it asks.
//
// Nobody waits on the telephone. The bounds here are those beyond which a caller has hung up, and not what a good
// plugin aims at: the operator's settings are finer.

import PluginABI
import Providers

let vendorPatienceRules: [Rule] = [
    failing(
        "VC-ERR-10", .status(500, retryAfterS: nil), "A vendor that fails is asked four times at most.",
        because: "Who is ill does not recover by being asked by every call at once, again and again.",
        passing: "if (self->tries_left--) attempt(self);",
        failing: "attempt(self);        // until it works"
    ) { trial in
        guard trial.seen.count <= 4 else {
            throw Violation("status 500, every time", expected: "at most 4 requests", got: "\(trial.seen.count)")
        }
    },
    failing(
        "VC-ERR-14", .status(400, retryAfterS: nil), "What the vendor calls wrong is not sent again.",
        because: "The same question is as wrong the second time, and the caller waits twice as long.",
        passing: "retryable = status == 429 || status >= 500;",
        failing: "retryable = status != 200;"
    ) { try $0.needOneRequest("status 400") },
    failing(
        "VC-ERR-15", .status(401, retryAfterS: nil), "A refused credential is not tried again.",
        because: "Some vendors lock an account after a few wrong keys.",
        passing: "if (code == VC_E_AUTH) fail(error);",
        failing: "if (status != 200) attempt(self);"
    ) { try $0.needOneRequest("status 401") },
    failing(
        "VC-ERR-17", .status(429, retryAfterS: 30), "A vendor that names a time is not asked before it.",
        because: "Each request before it counts against the limit, and moves the time away.",
        passing: "if (error.retry_after_ms > PATIENCE_MS) fail(error);",
        failing: "if (status == 429) attempt(self);"
    ) { trial in
        guard let first = trial.seen.first else { throw NotApplicable("nothing was asked") }
        if let early = trial.seen.dropFirst().first(where: { $0.atNs < first.atNs + 30_000_000_000 }) {
            throw Violation(
                "Retry-After: 30", expected: "no request for 30 s",
                got: "one after \((early.atNs - first.atNs) / 1_000_000) ms")
        }
    },
    failing(
        "VC-ERR-20", .stall, "A vendor that is silent is given up within 25 s.",
        because: "The caller hears nothing meanwhile, and the next provider would have answered.",
        passing: ".first_byte_ms = 4000",
        failing: ".deadline_ms = 60000, .first_byte_ms = 0"
    ) { trial in
        guard !trial.hangs, trial.lastedMs <= 25_000 else {
            throw Violation(
                "a vendor that takes the request and says nothing", expected: "an ERROR within 25 s",
                got: trial.hangs ? trial.summary : "one after \(trial.lastedMs / 1_000) s")
        }
    },
    failing(
        "VC-ERR-21", .slowLoris, "An answer that trickles is given up, or is there, within 90 s.",
        because: "A byte now and then keeps the connection open, and the session, and the memory, for hours.",
        passing: ".deadline_ms = 20000",
        failing: ".deadline_ms = 600000, .first_byte_ms = 4000        // and the first byte came in time"
    ) { trial in
        guard !trial.hangs, trial.lastedMs <= 90_000 else {
            throw Violation(
                "ten bytes a second", expected: "an end within 90 s",
                got: trial.hangs ? trial.summary : "one after \(trial.lastedMs / 1_000) s")
        }
    },
    failing(
        "VC-ERR-31", .slowFirstByte(ms: 1_500), "A vendor that begins after a second and a half is waited for.",
        because: "That is a slow day and no failure; a provider that gives up then fails on every slow day.",
        passing: ".first_byte_ms = 4000",
        failing: ".first_byte_ms = 500"
    ) { trial in
        guard trial.status == VC_OK, trial.failure == nil, !trial.ends.isEmpty else {
            throw Violation("a first byte after 1.5 s", expected: "the answer", got: trial.summary)
        }
    },
    Rule(
        "VC-ERR-32", .resilient, .should, kinds: asking,
        "A connection that breaks before the answer is tried once more.",
        because: "A pooled connection that the vendor has closed meanwhile breaks so, and the second attempt works.",
        passing: "if (error->retryable && !self->has_output && self->tries_left--) attempt(self);",
        failing: "fail(error);",
        check: .probe { bench in
            let trial = try bench.trial(of: .resetBeforeFirstByte, times: 1)
            guard trial.status == VC_OK, trial.failure == nil, !trial.ends.isEmpty else {
                throw Violation("a connection that breaks once", expected: "the answer", got: trial.summary)
            }
        }),
]

extension VendorTrial {
    fileprivate func needOneRequest(_ what: String) throws {
        guard seen.count <= 1 else { throw Violation(what, expected: "one request", got: "\(seen.count)") }
    }
}
