// TEL: how a call comes in, and how it is answered or refused.
//
// How it ends: `TelephonyRules+Ends.swift`; what can be asked of it meanwhile: `TelephonyRules+Calls.swift`; the two
// profiles: `TelephonyRules+Signalling.swift`, `TelephonyRules+Frames.swift`.

import PluginABI
import Providers

let telephonyRules: [Rule] = [
    Rule(
        "VC-TEL-01", smoke: true, kinds: [.telephony], "A call that the host answers is ANSWERED.",
        because: "The agent says its first word at ANSWERED; without it the caller listens to silence.",
        passing: "on_confirmed(call) { emit(ANSWERED); }",
        failing: "on_confirmed(call) { call->state = UP; }",
        check: .probe { bench in _ = try bench.call("incoming").answered() }),
    Rule(
        "VC-TEL-33", kinds: [.telephony], "Two calls at once have two keys.",
        because: "The key is all by which the host names a call that it has no session for.",
        passing: "snprintf(call->key, sizeof call->key, \"%u\", ++self->latest);",
        failing: "strcpy(call->key, \"call\");",
        check: .probe { bench in
            let one = try bench.call("incoming")
            bench.pass()
            let two = try one.provider.called("incoming")
            guard one.key != two.key else {
                throw Violation("two calls come in", expected: "two keys", got: "\"\(one.key)\" twice")
            }
        }),
    Rule(
        "VC-TEL-34", kinds: [.telephony], "A call is announced once.",
        because: "The host would open a second session for it, and answer twice.",
        passing: "if (!find(self, id)) emit(INCOMING);",
        failing: "on_message(self) { emit(INCOMING); }        // and the peer repeats what is not answered yet",
        check: .probe { bench in
            let call = try bench.call("incoming")
            bench.pass()
            let count = call.provider.count(VC_EVENT_INCOMING)
            guard count == 1 else {
                throw Violation("a call comes in", expected: "INCOMING once", got: "\(count) times")
            }
        }),
    Rule(
        "VC-TEL-35", kinds: [.telephony], "INCOMING says whom the caller called.",
        because: "The number that was called chooses the agent; without it every caller meets the same one.",
        passing: "event.to = request_uri(message);",
        failing: "event.to = (vc_str){0};",
        check: .probe { bench in
            let call = try bench.call("incoming")
            guard case .incoming(_, _, _, let to, _, _, _) = call.event.body, to.isEmpty else { return }
            throw Violation("a call comes in", expected: "an address in `to`", got: "an empty text")
        }),
    Rule(
        "VC-TEL-23", .resilient, kinds: [.telephony], "No text of INCOMING has control characters.",
        because: "They are the caller's choice, and end in logs, in headers and on screens.",
        passing: "if ((unsigned char)*at >= ' ' && *at != 0x7f) *out++ = *at;",
        failing: "memcpy(display, header.data, header.length);",
        check: .probe { bench in
            let provider = try bench.provider()
            _ = try bench.begin("incoming-hostile")
            // A plugin that refuses such a call has kept the rule as well.
            guard let event = provider.waitForIncoming(ms: 500),
                case .incoming(let key, let from, let display, let to, let peer, let call, let headers) = event.body
            else { return }
            let texts = [("key", key), ("from", from), ("display", display), ("to", to), ("peer", peer)]
                + [("protocol_call", call)] + headers
            for (name, text) in texts where text.utf8.contains(where: { $0 < 0x20 || $0 == 0x7f }) {
                throw Violation(
                    "a call with control characters in it", expected: "none in INCOMING", got: "some in `\(name)`")
            }
        }),
    Rule(
        "VC-TEL-24", .resilient, kinds: [.telephony], "After nonsense from the peer the next call comes in.",
        because: "Whoever finds the port can send nonsense to it.",
        passing: "if (!parse(text, &message)) { count(NONSENSE); return; }",
        failing: "if (!parse(text, &message)) self->has_failed = 1;",
        check: .probe { bench in
            let provider = try bench.provider()
            _ = try bench.begin("incoming-nonsense")
            guard provider.waitForIncoming(ms: 3_000) == nil else { return }
            throw Violation("nonsense, and then a call", expected: "INCOMING within 3 s", got: "none")
        }),
    Rule(
        "VC-TEL-36", kinds: [.telephony], "A caller who gives up before there is a session is WITHDRAWN.",
        because: "The host would open a session for a call that nobody makes any more, and hold a place for it.",
        passing: "if (!call->session) emit(WITHDRAWN of call->key);",
        failing: "if (!call->session) forget(call);",
        check: .probe { bench in
            let call = try bench.call("incoming-cancel")
            guard !bench.wait(ms: 2_000, until: { call.provider.count(VC_EVENT_WITHDRAWN) > 0 }) else { return }
            throw Violation("the caller gives up before `open`", expected: "WITHDRAWN", got: "none for 2 s")
        }),
    Rule(
        "VC-TEL-37", kinds: [.telephony], "WITHDRAWN names the key of its INCOMING.",
        because: "The host looks for the call that it waits with by that key, and finds none.",
        passing: "event.key = call->key;",
        failing: "event.key = call->id;",
        needs: ["VC-TEL-36"],
        check: .probe { bench in
            let call = try bench.call("incoming-cancel")
            _ = bench.wait(ms: 2_000) { call.provider.count(VC_EVENT_WITHDRAWN) > 0 }
            for event in call.provider.events {
                guard case .withdrawn(let key) = event.body, key != call.key else { continue }
                throw Violation("the caller gives up", expected: "WITHDRAWN of \"\(call.key)\"", got: "of \"\(key)\"")
            }
        }),
    Rule(
        "VC-TEL-77", kinds: [.telephony], "A call that has a session is not WITHDRAWN.",
        because: "The session tells its end; the host would end one call twice, the second time by a key of the past.",
        passing: "if (call->session) emit(HANGUP); else emit(WITHDRAWN);",
        failing: "emit(WITHDRAWN);  if (call->session) emit(HANGUP);",
        needs: ["VC-TEL-63"],
        check: .probe { bench in
            let call = try bench.call("incoming-ringing-cancel")
            let session = try call.taken()
            guard session.telephonyOps?.ringing != nil else { throw NotApplicable("it has no slot `ringing`") }
            session.ringing()
            _ = try session.needHangup("the caller gives up while it rings")
            bench.pass()
            guard call.provider.count(VC_EVENT_WITHDRAWN) > 0 else { return }
            throw Violation("the caller gives up while it rings", expected: "HANGUP alone", got: "WITHDRAWN as well")
        }),
    Rule(
        "VC-TEL-80", kinds: [.telephony], "The fortieth call comes in like the first.",
        because: "A place that is not given back is missing until the next restart; a line is full after a day.",
        passing: "end(call) { self->call_count--; }",
        failing: "refuse(call) { respond(486); free(call); }        // and the count stays",
        needs: ["VC-LIFE-02", "VC-TEL-02"],
        check: .probe { bench in
            let provider = try bench.provider()
            for number in 1...40 {
                let known = provider.count(VC_EVENT_INCOMING)
                let dialogue = try bench.begin("incoming-refused")
                guard let event = provider.waitForIncoming(ms: 3_000, after: known) else {
                    throw Violation("call after call", expected: "INCOMING of call \(number)", got: "none for 3 s")
                }
                try IncomingCall(provider: provider, dialogue: dialogue, event: event).taken().hangup(486)
                _ = bench.wait(ms: 500) { dialogue.hasPassed }
            }
        }),
    Rule(
        "VC-TEL-38", kinds: [.telephony], "A session for a call that is gone ends by itself.",
        because: "A caller may give up while the host opens the session; an agent would sit in it for ever.",
        passing: "if (!(call = find(self, key))) emit(ERROR with fatal = 1);",
        failing: "session->call = find(self, key);  emit(READY);        // and call is NULL",
        check: .probe { bench in
            let provider = try bench.provider()
            var options = SessionOptions()
            options.key = "conform-nobody"
            let opened = try provider.open(options)
            guard let session = opened.session else { return }
            if bench.wait(ms: 1_000, until: { session.fatal != nil || !session.events(VC_EVENT_HANGUP).isEmpty }) {
                return
            }
            throw Violation(
                "open with a key that no call has", expected: "an error, or HANGUP",
                got: "a session that waits: \(session.events.map(\.name).joined(separator: ", "))")
        }),
    Rule(
        "VC-TEL-42", kinds: [.telephony], "`answer` twice is ANSWERED once.",
        because: "The agent greets at ANSWERED, and would greet the caller twice.",
        passing: "if (call->state == RINGING) accept(call);",
        failing: "if (call->state == UP) emit(ANSWERED);",
        needs: ["VC-TEL-01"],
        check: .probe { bench in
            let session = try bench.call("incoming").answered()
            session.answer()
            bench.pass()
            let count = session.events(VC_EVENT_ANSWERED).count
            guard count == 1 else { throw Violation("answer twice", expected: "ANSWERED once", got: "\(count) times") }
        }),
    Rule(
        "VC-TEL-61", .realTime, kinds: [.telephony], "ANSWERED waits for the peer's confirmation.",
        because: "Until then nobody may listen, and the agent's first word is lost.",
        passing: "on_ack(call) { emit(ANSWERED); }",
        failing: "answer(self) { send(OK);  emit(ANSWERED); }",
        check: .probe { bench in
            let call = try bench.call("incoming-unconfirmed")
            let session = try call.taken()
            session.answer()
            _ = bench.wait(ms: 2_000) { call.dialogue.hasPassed }
            bench.pass()
            guard !session.events(VC_EVENT_ANSWERED).isEmpty else { return }
            throw Violation("an answer that the peer never confirms", expected: "no ANSWERED", got: "ANSWERED")
        }),
    Rule(
        "VC-TEL-63", kinds: [.telephony], "`ringing` reaches the caller.",
        because: "The caller hears nothing at all until the answer, and hangs up.",
        passing: "ringing(self) { send(180); }",
        failing: "ringing(self) { return VC_OK; }",
        check: .probe { bench in
            let call = try bench.call("incoming-ringing")
            let session = try call.taken()
            guard session.telephonyOps?.ringing != nil else { throw NotApplicable("it has no slot `ringing`") }
            session.ringing()
            try call.dialogue.needEnd("ringing", expected: "the peer is told")
        }),
    Rule(
        "VC-TEL-02", kinds: [.telephony], "A call that is refused before the answer is refused with the host's code.",
        because: "A trunk that reads 486 tells the caller that we are busy; for 480 it tries us again elsewhere.",
        passing: "respond(call, code ? code : 480);",
        failing: "respond(call, 480);",
        check: .probe { bench in
            let call = try bench.call("incoming-refused")
            try call.taken().hangup(486, reason: "Busy Here")
            try call.dialogue.needEnd("hangup(486) before the answer", expected: "the peer is refused with 486")
        }),
    Rule(
        "VC-TEL-44", .realTime, kinds: [.telephony], "`decline` refuses the call with the host's code.",
        because: "A host that is full says so at once; a caller who is not told waits until the trunk gives up.",
        passing: "decline(self, key, code, …) { respond(find(self, key), code); }",
        failing: "decline(self, key, code, …) { forget(find(self, key)); }",
        check: .probe { bench in
            let call = try bench.call("incoming-declined")
            guard let status = call.provider.decline(call.key, 503, retryAfterS: 5) else {
                throw NotApplicable("it has no slot `decline`")
            }
            guard status == VC_OK else { throw Violation("decline", expected: "VC_OK", got: statusName(status)) }
            try call.dialogue.needEnd("decline(503)", expected: "the peer is refused with 503")
        }),
]
