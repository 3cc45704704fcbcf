// TEL: calls to somebody, and what can be asked of a call that is up: digits, hold, transfer.

import JSON
import PluginABI
import Providers

let telephonyCallRules: [Rule] = [
    Rule(
        "VC-TEL-49", kinds: [.telephony], "A capability that the manifest declares has its slot.",
        because: "The host offers the agent what the manifest says, and would promise a transfer that cannot be made.",
        passing: "\"transfer\": true        .transfer = transfer,",
        failing: "\"transfer\": true        .transfer = NULL,",
        check: .probe { bench in
            let ops = try bench.call("incoming").taken().telephonyOps
            let slots = [
                ("transfer", ops?.transfer != nil), ("hold", ops?.hold != nil), ("dtmf", ops?.dtmf != nil),
                ("ringing", ops?.ringing != nil),
            ]
            for (name, isThere) in slots where !isThere && bench.subject.declares(name) {
                throw Violation("vc_telephony_ops", expected: "`\(name)`, which the manifest declares", got: "NULL")
            }
        }),
    Rule(
        "VC-TEL-48", kinds: [.telephony], "A plugin that does not declare `outbound` refuses to call out.",
        because: "Who can call out can be made to call anywhere; an operator reads in the manifest that this cannot.",
        passing: "if (kind->direction == VC_CALL_OUTBOUND) return VC_E_UNSUPPORTED;",
        failing: "if (kind->direction == VC_CALL_OUTBOUND) dial(kind->to);",
        skip: { $0.declares("outbound") ? "it declares `outbound`" : nil },
        check: .probe { bench in
            let provider = try bench.provider()
            var options = SessionOptions()
            options.direction = UInt32(VC_CALL_OUTBOUND)
            options.to = "4930123"
            guard let session = try provider.open(options).session else { return }
            if bench.wait(ms: 1_000, until: { session.fatal != nil || !session.events(VC_EVENT_HANGUP).isEmpty }) {
                return
            }
            throw Violation("open of a call out", expected: "VC_E_UNSUPPORTED", got: "a session")
        }),
    Rule(
        "VC-TEL-03", kinds: [.telephony], "A call out is ANSWERED when the callee answers.",
        because: "The callee says hello to an agent that does not know yet.",
        passing: "on_ok(call) { accept(media, body);  send(ACK);  emit(ANSWERED); }",
        failing: "on_ok(call) { accept(media, body);  send(ACK); }",
        skip: needsOutbound,
        check: .probe { bench in
            let first = try bench.dial("outgoing").session.waitForAny(VC_EVENT_ANSWERED, VC_EVENT_HANGUP)
            guard first?.type != VC_EVENT_ANSWERED else { return }
            throw Violation("the callee answers", expected: "ANSWERED", got: first?.name ?? "nothing")
        }),
    Rule(
        "VC-TEL-50", .realTime, kinds: [.telephony], "A call out that rings is not ANSWERED.",
        because: "The agent would tell its story to a ringing tone.",
        passing: "case 180: emit(RINGING); break;",
        failing: "case 180: case 183: emit(RINGING);  emit(ANSWERED); break;",
        skip: needsOutbound,
        check: .probe { bench in
            let session = try bench.dial("outgoing-unanswered").session
            session.waitForAny(VC_EVENT_RINGING, ms: 2_000)
            bench.pass()
            guard !session.events(VC_EVENT_ANSWERED).isEmpty else { return }
            throw Violation("the callee's phone rings", expected: "RINGING alone", got: "ANSWERED")
        }),
    Rule(
        "VC-TEL-51", kinds: [.telephony], "A callee who is busy ends the call with the cause REFUSED.",
        because: "Whoever is busy is called again later; a failure of ours is not mended by that.",
        passing: "if (status >= 400) end(call, VC_HANGUP_REFUSED, status);",
        failing: "if (status >= 300) end(call, VC_HANGUP_FAILED, status);",
        skip: needsOutbound,
        check: .probe { bench in
            try bench.dial("outgoing-busy").session.needCause(VC_HANGUP_REFUSED, "the callee is busy")
        }),
    Rule(
        "VC-TEL-52", kinds: [.telephony], "A refusal carries the peer's code.",
        because: "Busy, declined and no such number are one cause; the code tells which.",
        passing: "event.code = status;",
        failing: "event.code = 0;",
        skip: needsOutbound,
        check: .probe { bench in
            let end = try bench.dial("outgoing-busy").session.needHangup("the callee is busy")
            guard end.code == 0 else { return }
            throw Violation("the callee is busy", expected: "a code in HANGUP", got: "0")
        }),
    Rule(
        "VC-TEL-53", kinds: [.telephony], "Nobody answers within `ring_timeout_ms`: the cause is NO_ANSWER.",
        because: "A call that rings for ever holds its place, and a list of numbers never comes to the next.",
        passing: "arm(timer, kind->ring_timeout_ms);  …  end(call, VC_HANGUP_NO_ANSWER);",
        failing: "arm(timer, kind->ring_timeout_ms);  …  end(call, VC_HANGUP_AGENT);",
        skip: needsOutbound,
        check: .probe { bench in
            let session = try bench.dial("outgoing-unanswered", ringTimeoutMs: 100).session
            try session.needCause(VC_HANGUP_NO_ANSWER, "100 ms of ringing, with ring_timeout_ms = 100")
        }),
    Rule(
        "VC-TEL-54", kinds: [.telephony], "`hangup` of a call that rings reaches the callee.",
        because: "The phone goes on ringing, and who picks it up is talking to nobody.",
        passing: "if (call->state == RINGING) send(CANCEL);",
        failing: "if (call->state == UP) send(BYE);        // and nothing otherwise",
        skip: needsOutbound,
        check: .probe { bench in
            let (session, peer) = try bench.dial("outgoing-unanswered")
            session.waitForAny(VC_EVENT_RINGING, ms: 2_000)
            session.hangup()
            try peer.needEnd("hangup of a call that rings", expected: "the callee is told")
        }),
    Rule(
        "VC-TEL-10", kinds: [.telephony], "A key that the caller presses is one digit.",
        because: "A menu takes the second for the next answer, and a PIN has eight digits.",
        passing: "if (event.is_end) emit(DTMF);",
        failing: "emit(DTMF);        // for each packet of the key",
        needs: ["VC-TEL-01"],
        check: .probe { bench in
            let digits = try digits(bench)
            guard digits.count == 3 else {
                throw Violation("the caller presses 5 * #", expected: "three digits", got: "\"\(digits)\"")
            }
        }),
    Rule(
        "VC-TEL-58", kinds: [.telephony], "Digits are of 0-9 * # A-D.",
        because: "Ten is the star on the wire, and nothing that an agent knows.",
        passing: "digit = \"0123456789*#ABCD\"[code];",
        failing: "digit = '0' + code;",
        needs: ["VC-TEL-01"],
        check: .probe { bench in
            let digits = try digits(bench)
            guard let other = digits.first(where: { !"0123456789*#ABCD".contains($0) }) else { return }
            throw Violation("the caller presses 5 * #", expected: "digits of 0-9 * # A-D", got: "\"\(other)\"")
        }),
    Rule(
        "VC-TEL-11", kinds: [.telephony], "All digits that the host sends reach the peer, in order.",
        because: "The agent dials an extension, and is put through to somebody else.",
        passing: "for (each digit) send(INFO);",
        failing: "send(INFO with digits[0]);",
        needs: ["VC-TEL-01"],
        skip: { $0.declares("dtmf") ? nil : "it does not declare `dtmf`" },
        check: .probe { bench in
            let call = try bench.call("incoming-keys-out")
            try call.answered().dial("12#")
            try call.dialogue.needEnd("dtmf(\"12#\")", expected: "1, 2 and # at the peer")
        }),
    Rule(
        "VC-TEL-12", kinds: [.telephony], "A transfer that works is TRANSFERRED.",
        because: "The agent waits to hear whether it may say goodbye.",
        passing: "on_notify(200) { emit(TRANSFERRED with succeeded = 1);  end(call); }",
        failing: "on_notify(200) { end(call); }",
        needs: ["VC-TEL-01", "VC-TEL-49"],
        skip: needsTransfer,
        check: .probe { bench in
            guard try transferred(bench, "incoming-transfer").succeeded == nil else { return }
            throw Violation("a transfer that the peer makes", expected: "TRANSFERRED", got: "none")
        }),
    Rule(
        "VC-TEL-82", kinds: [.telephony], "A transfer that works ends the call.",
        because: "The caller talks to a colleague, and the agent goes on listening at the expense of both.",
        passing: "on_notify(200) { emit(TRANSFERRED with succeeded = 1);  end(call); }",
        failing: "on_notify(200) { emit(TRANSFERRED with succeeded = 1); }",
        needs: ["VC-TEL-01", "VC-TEL-49"],
        skip: needsTransfer,
        check: .probe { bench in
            _ = try transferred(bench, "incoming-transfer").session.needHangup("a transfer that the peer makes")
        }),
    Rule(
        "VC-TEL-55", kinds: [.telephony], "A transfer that failed is not said to have worked.",
        because: "The agent says goodbye to a caller who is still there.",
        passing: "event.succeeded = code >= 200 && code < 300;",
        failing: "event.succeeded = 1;        // the peer took the request",
        needs: ["VC-TEL-01", "VC-TEL-49"],
        skip: needsTransfer,
        check: .probe { bench in
            guard try transferred(bench, "incoming-transfer-refused").succeeded == true else { return }
            throw Violation("a transfer that the peer refuses", expected: "succeeded = 0", got: "succeeded = 1")
        }),
    Rule(
        "VC-TEL-56", kinds: [.telephony], "A call survives a transfer that failed.",
        because: "The caller was promised a colleague, and gets a dead line.",
        passing: "if (code >= 300) emit(TRANSFERRED with succeeded = 0);",
        failing: "if (code >= 300) end(call, VC_HANGUP_FAILED);",
        needs: ["VC-TEL-01", "VC-TEL-49"],
        skip: needsTransfer,
        check: .probe { bench in
            let session = try transferred(bench, "incoming-transfer-refused").session
            bench.pass()
            guard !session.events(VC_EVENT_HANGUP).isEmpty else { return }
            throw Violation("a transfer that the peer refuses", expected: "the call goes on", got: "HANGUP")
        }),
    Rule(
        "VC-TEL-13", kinds: [.telephony], "`hold` reaches the peer.",
        because: "The caller is to hear the music, and hears the room.",
        passing: "hold(self, on) { send(INVITE with a=sendonly); }",
        failing: "hold(self, on) { self->is_held = on; }",
        needs: ["VC-TEL-01"],
        skip: { $0.declares("hold") ? nil : "it does not declare `hold`" },
        check: .probe { bench in
            let call = try bench.call("incoming-hold")
            try call.answered().hold(true)
            try call.dialogue.needEnd("hold(1)", expected: "the peer is told")
        }),
    Rule(
        "VC-TEL-81", kinds: [.telephony], "`hold` with 0 takes the caller back.",
        because: "The agent speaks again, and the caller hears music.",
        passing: "send(INVITE with on ? \"a=sendonly\" : \"a=sendrecv\");",
        failing: "if (on) send(INVITE with a=sendonly);",
        needs: ["VC-TEL-13"],
        skip: { $0.declares("hold") ? nil : "it does not declare `hold`" },
        check: .probe { bench in
            let call = try bench.call("incoming-resume")
            let session = try call.answered()
            session.hold(true)
            // One after the other, as an agent does: the second may not overtake the first.
            bench.pass(ms: 200)
            session.hold(false)
            try call.dialogue.needEnd("hold(1), and then hold(0)", expected: "the peer is told of both")
        }),
    Rule(
        "VC-TEL-57", kinds: [.telephony], "HELD says when the peer takes the call back.",
        because: "An agent that believes it is held is silent for the rest of the call.",
        passing: "event.on = direction(body) == SENDONLY || direction(body) == INACTIVE;",
        failing: "event.on = 1;",
        needs: ["VC-TEL-01"],
        check: .probe { bench in
            let session = try bench.call("incoming-held").answered()
            _ = bench.wait(ms: 2_000) { session.events(VC_EVENT_HELD).count >= 2 }
            guard let last = session.events(VC_EVENT_HELD).last else {
                throw Violation("the peer holds the call, and takes it back", expected: "HELD twice", got: "none")
            }
            guard case .held(true) = last.body else { return }
            throw Violation("the peer takes the call back", expected: "HELD with on = 0", got: "on = 1")
        }),
]

private let needsOutbound: @Sendable (Subject) -> String? = {
    $0.declares("outbound") ? nil : "it does not declare `outbound`"
}

private let needsTransfer: @Sendable (Subject) -> String? = {
    $0.declares("transfer") ? nil : "it does not declare `transfer`"
}

extension Subject {
    /// A flag among the provider's capabilities.
    func declares(_ name: String) -> Bool { provider?.capabilities.all[name]?.bool ?? false }
}

/// What came of the keys that the peer presses.
private func digits(_ bench: Bench) throws -> String {
    let session = try bench.call("incoming-keys").answered()
    func pressed() -> String {
        session.events.map { event in
            guard case .dtmf(let digits, _) = event.body else { return "" }
            return digits
        }.joined()
    }
    _ = bench.wait(ms: 1_000) { pressed().count >= 3 }
    bench.pass()
    return pressed()
}

/// A transfer on a call that is up; `succeeded` is nil when TRANSFERRED did not come.
private func transferred(_ bench: Bench, _ dialogue: String) throws -> (session: BenchSession, succeeded: Bool?) {
    let session = try bench.call(dialogue).answered()
    let status = session.transfer("4930333")
    guard status == VC_OK else { throw Violation("transfer", expected: "VC_OK", got: statusName(status)) }
    guard case .transferred(let succeeded, _, _) = session.waitForAny(VC_EVENT_TRANSFERRED, ms: 2_000)?.body else {
        return (session, nil)
    }
    return (session, succeeded)
}
