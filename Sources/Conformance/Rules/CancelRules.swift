// CAN: `cancel`, which is a caller's interruption.

import CConformance
import PluginABI
import Providers

private let interruptible: [PluginKind] = [.languageModel, .textToSpeech]

let cancelRules: [Rule] = [
    Rule(
        "VC-CAN-01", .realTime, kinds: interruptible, "`cancel` returns within a millisecond.",
        because: "It is called in the instant of the interruption, before the caller hears silence.",
        passing: "atomic_store(&self->epoch, epoch);",
        failing: "join(self->worker);",
        check: .probe { bench in
            let session = try bench.provider().session()
            try session.exercise()
            var least = UInt64.max
            for _ in 0..<20 {
                let began = vcc_thread_cpu_ns()
                session.cancel()
                least = min(least, vcc_thread_cpu_ns() - began)
            }
            guard least <= 1_000_000 else {
                throw Violation(
                    "cancel, the quickest of 20", expected: "1 ms of CPU time at most", got: "\(least / 1_000_000) ms")
            }
        }),
    Rule(
        "VC-CAN-02", .realTime, smoke: true, kinds: interruptible, "CANCELED answers `cancel` within 100 ms.",
        because: "Until then the host does not know whether something still comes.",
        passing: "cancel(self, epoch) { …; emit(CANCELED of epoch); }",
        failing: "cancel(self, epoch) { self->stop = 1; }",
        needs: ["VC-LIFE-02", "VC-ABI-02"],
        check: .probe { bench in
            let session = try bench.provider().session()
            try session.exercise()
            let epoch = session.cancel()
            guard bench.wait(ms: 100, until: { isCanceled(session, epoch) > 0 }) else {
                throw Violation("cancel(\(epoch))", expected: "CANCELED of epoch \(epoch) within 100 ms", got: "none")
            }
        }),
    Rule(
        "VC-CAN-03", .realTime, kinds: interruptible, "After CANCELED nothing older comes.",
        because: "The host has begun the next answer; old words would be heard in it.",
        passing: "drop_requests_before(self, epoch);  emit(CANCELED);",
        failing: "emit(CANCELED);  drop_requests_before(self, epoch);        // and the worker emits meanwhile",
        needs: ["VC-CAN-02"],
        check: .probe { bench in
            let session = try bench.provider().session()
            try session.askAndStall()
            let epoch = session.cancel()
            _ = bench.wait(ms: 500) { isCanceled(session, epoch) > 0 }
            session.flow()
            bench.advance(ms: 5_000)
            let after = session.events.drop { !($0.type == VC_EVENT_CANCELED && $0.epoch == epoch) }
            // What ends the old request may follow: it is no part of the answer.
            let old = after.first {
                $0.epoch < epoch && !$0.isControl && $0.type != VC_EVENT_TTS_DONE && $0.type != VC_EVENT_LLM_DONE
            }
            if let old {
                throw Violation(
                    "after CANCELED of epoch \(epoch)", expected: "nothing older",
                    got: "\(old.name) of epoch \(old.epoch)")
            }
        }),
    Rule(
        "VC-CAN-04", .realTime, kinds: interruptible, "The same epoch cancelled twice is answered once.",
        because: "`cancel` may be repeated; a second CANCELED would end what began in between.",
        passing: "if (epoch > known) emit(CANCELED);",
        failing: "if (epoch >= known) emit(CANCELED);",
        needs: ["VC-CAN-02"],
        check: .probe { bench in
            let session = try bench.provider().session()
            try session.exercise()
            let epoch = session.cancel()
            session.callCancel(epoch)
            bench.advance(ms: 500)
            let count = isCanceled(session, epoch)
            guard count <= 1 else { throw Violation("cancel twice", expected: "CANCELED once", got: "\(count) times") }
        }),
    Rule(
        "VC-CAN-05", .realTime, kinds: interruptible, "A smaller epoch than the last one is ignored.",
        because: "`cancel` comes on any thread, and two of them may overtake each other.",
        passing: "while (known < epoch && !compare_exchange(&self->epoch, &known, epoch)) {}",
        failing: "self->epoch = epoch;",
        needs: ["VC-CAN-02"],
        check: .probe { bench in
            let session = try bench.provider().session()
            try session.exercise()
            let epoch = session.cancel(session.epoch + 5)
            session.callCancel(epoch - 3)
            bench.advance(ms: 500)
            guard isCanceled(session, epoch - 3) == 0 else {
                throw Violation(
                    "cancel(\(epoch)), then cancel(\(epoch - 3))", expected: "nothing for the smaller one",
                    got: "CANCELED of epoch \(epoch - 3)")
            }
        }),
    Rule(
        "VC-CAN-06", .realTime, kinds: interruptible, "An epoch may jump.",
        because: "Interruptions that came while the session was not told count all the same.",
        passing: "if (epoch > known)",
        failing: "if (epoch == known + 1)",
        needs: ["VC-CAN-02"],
        check: .probe { bench in
            let session = try bench.provider().session()
            try session.exercise()
            let epoch = session.cancel(session.epoch + 1_000)
            guard bench.wait(ms: 500, until: { isCanceled(session, epoch) > 0 }) else {
                throw Violation("cancel 1000 epochs on", expected: "CANCELED of epoch \(epoch)", got: "none")
            }
        }),
    Rule(
        "VC-CAN-07", .realTime, kinds: interruptible, "`cancel` before the first request is answered too.",
        because: "A caller may speak before the agent said its first word.",
        passing: "cancel(self, epoch) { …; emit(CANCELED); }",
        failing: "if (self->first) emit(CANCELED);",
        needs: ["VC-CAN-02"],
        check: .probe { bench in
            let session = try bench.provider().session()
            let epoch = session.cancel()
            guard bench.wait(ms: 500, until: { isCanceled(session, epoch) > 0 }) else {
                throw Violation("cancel of a new session", expected: "CANCELED of epoch \(epoch)", got: "none")
            }
        }),
] + moreCancelRules

func isCanceled(_ session: BenchSession, _ epoch: UInt64) -> Int {
    session.events(VC_EVENT_CANCELED).filter { $0.epoch == epoch }.count
}

private let moreCancelRules: [Rule] = [
    Rule(
        "VC-CAN-10", .realTime, kinds: interruptible, "`cancel` after `close` does nothing.",
        because: "It comes on any thread, also in the moment in which the call ends.",
        passing: "if (self->is_closed) return;",
        failing: "emit(CANCELED);        // of a session that said CLOSED",
        needs: ["VC-CAN-02"],
        check: .probe { bench in
            let session = try bench.provider().session()
            session.close()
            _ = session.waitUntilClosed()
            let before = session.events.count
            session.cancel()
            bench.advance(ms: 500)
            if let late = session.events.dropFirst(before).first {
                throw Violation("cancel after CLOSED", expected: "nothing", got: late.name)
            }
        }),
    Rule(
        "VC-CAN-11", .realTime, kinds: interruptible, "A thousand cancels leave a session that works.",
        because: "A noisy line interrupts all the time.",
        passing: "one counter, however often",
        failing: "self->canceled[self->count++ % 256] = epoch;",
        needs: ["VC-CAN-02", "VC-CAN-12"],
        check: .probe { bench in
            let provider = try bench.provider()
            let fresh = try provider.session()
            let expected = fresh.signature(of: try fresh.exercise())
            let session = try provider.session()
            for _ in 0..<1_000 { session.cancel() }
            bench.advance(ms: 1_000)
            let got = try? session.signature(of: session.exercise())
            guard got == expected else {
                throw Violation(
                    "a request after 1000 cancels", expected: expected.joined(separator: ", "),
                    got: got?.joined(separator: ", ") ?? "a refusal")
            }
        }),
    Rule(
        "VC-CAN-12", .realTime, kinds: interruptible, "The request after a cancel is answered completely.",
        because: "The best known bug of voice agents: after an interruption two frames of the answer, and silence.",
        passing: "compare epochs",
        failing: "if (self->stop) return;        // a flag that nobody took back",
        needs: ["VC-CAN-02"],
        check: .probe { bench in
            let provider = try bench.provider()
            let fresh = try provider.session()
            let expected = fresh.signature(of: try fresh.exercise())
            let session = try provider.session()
            try session.askAndStall()
            session.cancel()
            session.flow()
            bench.advance(ms: 200)
            let got = try? session.signature(of: session.exercise())
            guard got == expected else {
                throw Violation(
                    "the request after a cancel", expected: expected.joined(separator: ", "),
                    got: got?.joined(separator: ", ") ?? "a refusal")
            }
        }),
    Rule(
        "VC-CAN-14", .realTime, kinds: interruptible, "A session to which `emit` says CANCELED stops that request.",
        because: "It is the second way to learn of an interruption, and the quicker one.",
        passing: "if (emit(…) == VC_E_CANCELED) drop(request);",
        failing: "emit(…);        // whatever it answers",
        check: .probe { bench in
            let provider = try bench.provider()
            // What waits for credit, and what is still being made: two places in most plugins.
            for isWaiting in [true, false] {
                let session = try provider.session()
                _ = try isWaiting ? session.askAndStall() : session.askAndStream()
                bench.world.raiseEpoch(of: session.object, to: session.epoch + 1)
                if isWaiting { session.flow() }
                bench.advance(ms: 5_000)
                let refused = session.events.filter {
                    $0.answer == vc_status(VC_E_CANCELED) && ($0.type == VC_EVENT_AUDIO || $0.type == VC_EVENT_DELTA)
                }
                guard refused.count <= 4 else {
                    throw Violation(
                        "emit = CANCELED, to an answer that \(isWaiting ? "waits" : "is being made")",
                        expected: "at most 4 more", got: "\(refused.count) events")
                }
            }
        }),
]
