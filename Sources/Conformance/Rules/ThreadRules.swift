// THR: threads are roles. A control call comes on any thread of the host, one at a time for each object.

import PluginABI
import Providers

let threadRules: [Rule] = [
    Rule(
        "VC-THR-01", .basic, kinds: [.languageModel, .textToSpeech], "Every call may come on another thread.",
        because: "The host has several, and a session is bound to none of them.",
        passing: "state in the session",
        failing: "static __thread session *current;",
        check: .probe { bench in
            let provider = try bench.elsewhere { try bench.provider() }
            let usual = try provider.session()
            let expected = usual.signature(of: try usual.exercise())
            let session = try bench.elsewhere { try provider.session() }
            let request = try bench.elsewhere { try session.exercise() }
            let got = session.signature(of: request)
            try bench.elsewhere { session.close() }
            _ = session.waitUntilClosed()
            try bench.elsewhere { session.destroy() }
            guard got == expected else {
                throw Violation(
                    "the same request on three threads", expected: expected.joined(separator: ", "),
                    got: got.joined(separator: ", "))
            }
        }),
    Rule(
        "VC-THR-04", .realTime, kinds: [.textToSpeech], "`cancel` returns while another call of the session runs.",
        because: "The agent is speaking when the caller interrupts: that is the call in which the session is.",
        passing: "atomic_store(&self->epoch, epoch);",
        failing: "lock(&self->mutex);        // which `speak` holds",
        check: .probe { bench in
            let session = try bench.provider().session()
            let gate = BenchGate()
            bench.world.monitor.locked { session.object.gate = gate }
            let speaking = BenchThread { session.speak(session.nextRequest(), "One two three.") }
            guard gate.isReached(ms: 2_000) else {
                gate.open()
                throw NotApplicable("it emits nothing within `speak`")
            }
            let canceling = BenchThread { session.callCancel(session.epoch + 1) }
            let isBack = canceling.join(ms: 1_000)
            gate.open()
            _ = speaking.join(ms: 5_000)
            guard isBack else {
                throw Violation("cancel while `speak` emits", expected: "an end at once", got: "none for a second")
            }
        }),
    Rule(
        "VC-THR-12", .realTime, kinds: [.textToSpeech], "No lock of the whole plugin is held while it calls the host.",
        because: "A call that waits in the host would stop every other call.",
        passing: "unlock(&all);  emit(event);",
        failing: "lock(&all);  emit(event);  unlock(&all);",
        check: .probe { bench in
            let provider = try bench.provider()
            let (one, other) = (try provider.session(), try provider.session())
            let gate = BenchGate()
            bench.world.monitor.locked { one.object.gate = gate }
            let speaking = BenchThread { one.speak(one.nextRequest(), "One two three.") }
            guard gate.isReached(ms: 2_000) else {
                gate.open()
                throw NotApplicable("it emits nothing within `speak`")
            }
            let beside = BenchThread { other.speak(other.nextRequest(), "One two three.") }
            let isBack = beside.join(ms: 1_000)
            gate.open()
            _ = speaking.join(ms: 5_000)
            guard isBack else {
                throw Violation(
                    "speak beside a session that waits in `emit`", expected: "an end at once",
                    got: "none for a second")
            }
        }),
]
