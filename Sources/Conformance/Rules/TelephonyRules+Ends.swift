// TEL: how a call ends, whoever ends it.

import PluginABI
import Providers

let telephonyEndRules: [Rule] = [
    Rule(
        "VC-TEL-04", kinds: [.telephony], "HANGUP comes once.",
        because: "The second is taken for the end of whatever the host does next.",
        passing: "if (!session->hung_up) { session->hung_up = 1;  emit(HANGUP); }",
        failing: "on_bye(call) { emit(HANGUP); }  on_closed(call) { emit(HANGUP); }",
        needs: ["VC-TEL-01"],
        check: .probe { bench in
            let session = try bench.call("incoming-bye").answered()
            _ = try session.needHangup("the caller hangs up")
            bench.pass()
            let count = session.events(VC_EVENT_HANGUP).count
            guard count == 1 else {
                throw Violation("the caller hangs up", expected: "HANGUP once", got: "\(count) times")
            }
        }),
    Rule(
        "VC-TEL-39", kinds: [.telephony], "A caller who hangs up ends the call with the cause CALLER.",
        because: "The record would call it our failure, and the operator would look for one.",
        passing: "on_bye(call) { end(call, VC_HANGUP_CALLER); }",
        failing: "on_bye(call) { end(call, VC_HANGUP_FAILED); }",
        needs: ["VC-TEL-01"],
        check: .probe { bench in
            try bench.call("incoming-bye").answered().needCause(VC_HANGUP_CALLER, "the caller hangs up")
        }),
    Rule(
        "VC-TEL-43", kinds: [.telephony], "After HANGUP nothing of the call comes.",
        because: "The call's record is closed; what still comes belongs to nobody.",
        passing: "end(call) { emit(HANGUP);  call->session = NULL; }",
        failing: "end(call) { emit(HANGUP);  emit(HELD with on = 0); }",
        needs: ["VC-TEL-01"],
        check: .probe { bench in
            let session = try bench.call("incoming-bye").answered()
            let end = try session.needHangup("the caller hangs up").event
            bench.pass()
            let ofTheCall = [
                VC_EVENT_RINGING, VC_EVENT_FRAME, VC_EVENT_DTMF, VC_EVENT_HELD, VC_EVENT_TRANSFERRED,
            ]
            if let late = session.events.first(where: { $0.number > end.number && ofTheCall.contains($0.type) }) {
                throw Violation("the caller hangs up", expected: "nothing after HANGUP", got: late.name)
            }
        }),
    Rule(
        "VC-TEL-19", kinds: [.telephony], "A caller who gives up before the answer gives the cause CANCELED.",
        because: "A caller who waited too long is another matter than one who talked, and is counted apart.",
        passing: "end(call, call->is_up ? VC_HANGUP_CALLER : VC_HANGUP_CANCELED);",
        failing: "end(call, VC_HANGUP_CALLER);",
        needs: ["VC-TEL-63"],
        check: .probe { bench in
            let session = try bench.call("incoming-ringing-cancel").taken()
            guard session.telephonyOps?.ringing != nil else { throw NotApplicable("it has no slot `ringing`") }
            session.ringing()
            try session.needCause(VC_HANGUP_CANCELED, "the caller gives up while it rings")
        }),
    Rule(
        "VC-TEL-40", kinds: [.telephony], "A call that the host ends has the cause AGENT.",
        because: "The record says who ended the call, and a caller who was cut off is not one who was served.",
        passing: "hangup(self, …) { end(call, VC_HANGUP_AGENT); }",
        failing: "hangup(self, …) { end(call, VC_HANGUP_CALLER); }",
        needs: ["VC-TEL-01"],
        check: .probe { bench in
            let session = try bench.call("incoming").answered()
            session.hangup()
            try session.needCause(VC_HANGUP_AGENT, "hangup")
        }),
    Rule(
        "VC-TEL-41", kinds: [.telephony], "`hangup` after HANGUP does nothing.",
        because: "The host and the caller may both end a call, and either may be later.",
        passing: "hangup(self, …) { if (self->call) end(self->call); return VC_OK; }",
        failing: "hangup(self, …) { emit(HANGUP); }",
        needs: ["VC-TEL-01"],
        check: .probe { bench in
            let session = try bench.call("incoming").answered()
            session.hangup()
            _ = try session.needHangup("hangup")
            bench.pass()
            let before = session.events(VC_EVENT_HANGUP).count
            session.hangup()
            bench.pass()
            let count = session.events(VC_EVENT_HANGUP).count - before
            guard count == 0 else { throw Violation("hangup after HANGUP", expected: "nothing", got: "HANGUP") }
        }),
    Rule(
        "VC-TEL-45", smoke: true, kinds: [.telephony], "`hangup` ends the call at the peer.",
        because: "The caller stays on a line that nobody is on, and pays for it.",
        passing: "hangup(self, …) { send(BYE);  emit(HANGUP); }",
        failing: "hangup(self, …) { emit(HANGUP); }",
        needs: ["VC-TEL-01"],
        check: .probe { bench in
            let call = try bench.call("incoming")
            try call.answered().hangup()
            try call.dialogue.needEnd("hangup of a call that is up", expected: "the peer is told that it is over")
        }),
    Rule(
        "VC-TEL-46", kinds: [.telephony], "`close` ends a call that is up.",
        because: "A host that shuts down closes sessions; their callers would stay on a dead line.",
        passing: "close(self) { if (self->call) send(BYE);  emit(CLOSED); }",
        failing: "close(self) { forget(self->call);  emit(CLOSED); }",
        needs: ["VC-TEL-01"],
        check: .probe { bench in
            let call = try bench.call("incoming")
            try call.answered().close()
            try call.dialogue.needEnd("close of a call that is up", expected: "the peer is told that it is over")
        }),
    Rule(
        "VC-TEL-18", .realTime, kinds: [.telephony], "A call that is hung up before the confirmation is not ANSWERED.",
        because: "The host has let go of the call; its agent would greet nobody.",
        passing: "on_ack(call) { if (call->state == ANSWERING) emit(ANSWERED); }",
        failing: "on_ack(call) { emit(ANSWERED); }",
        needs: ["VC-TEL-61"],
        check: .probe { bench in
            let call = try bench.call("incoming-unconfirmed")
            let session = try call.taken()
            session.answer()
            _ = bench.wait(ms: 2_000) { call.dialogue.hasPassed }
            session.hangup()
            let end = try session.needHangup("answer, and then hangup").event
            bench.pass()
            guard session.events(VC_EVENT_ANSWERED).contains(where: { $0.number > end.number }) else { return }
            throw Violation("answer, and then hangup", expected: "HANGUP, and nothing more", got: "ANSWERED after it")
        }),
    Rule(
        "VC-TEL-79", kinds: [.telephony], "A call that ends leaves all others alone.",
        because: "One caller hangs up, and everybody is cut off.",
        passing: "hangup(self, …) { end(self->call); }",
        failing: "hangup(self, …) { end(self->owner->calls); }",
        needs: ["VC-TEL-01"],
        check: .probe { bench in
            let call = try bench.call("incoming")
            let one = try call.answered()
            let two = try call.provider.called("incoming").answered()
            one.hangup()
            bench.pass(ms: 200)
            guard !two.events(VC_EVENT_HANGUP).isEmpty else { return }
            throw Violation("hangup of the first of two calls", expected: "nothing at the second", got: "HANGUP")
        }),
    Rule(
        "VC-TEL-32", .realTime, kinds: [.telephony], "A provider that drains announces no new call.",
        because: "It is being replaced; a call that it takes now keeps the old version alive for as long as it lasts.",
        passing: "if (self->is_draining) { respond(503); return; }",
        failing: "drain(self) { self->is_draining = 1; }        // and nobody looks at it",
        needs: ["VC-TEL-01"],
        check: .probe { bench in
            let call = try bench.call("incoming")
            _ = try call.answered()
            try drain(call.provider)
            bench.pass()
            let before = call.provider.count(VC_EVENT_INCOMING)
            _ = try bench.begin("incoming-declined")
            bench.pass(ms: 200)
            guard call.provider.count(VC_EVENT_INCOMING) > before else { return }
            throw Violation("a call while the provider drains", expected: "no INCOMING", got: "INCOMING")
        }),
    Rule(
        "VC-TEL-47", .realTime, kinds: [.telephony], "A call that is up goes on while its provider drains.",
        because: "An upgrade at noon would hang up on everybody.",
        passing: "drain(self) { self->takes_calls = 0; }",
        failing: "drain(self) { for (each call) end(call); }",
        needs: ["VC-TEL-01"],
        check: .probe { bench in
            let call = try bench.call("incoming")
            let session = try call.answered()
            try drain(call.provider)
            bench.pass(ms: 200)
            guard let end = session.events.first(where: { $0.type == VC_EVENT_HANGUP || $0.failure != nil }) else {
                return
            }
            throw Violation("drain with a call that is up", expected: "the call goes on", got: end.name)
        }),
]

private func drain(_ provider: BenchProvider) throws {
    guard provider.table.pointee.drain != nil else { throw NotApplicable("the provider has no `drain`") }
    provider.drain()
}
