// TEL: the profile "signalling", whose media is the host's.

import PluginABI
import Providers

let telephonySignallingRules: [Rule] = [
    Rule(
        "VC-TEL-60", kinds: [.telephony], "The peer's description reaches the media service whole.",
        because: "What is missing in it is missing in the call: a codec, the digits, the address.",
        passing: "media->answer(self->media, body_of(message), &ours, error);",
        failing: "char offer[512];  snprintf(offer, sizeof offer, \"%s\", body);",
        needs: ["VC-TEL-01"], skip: onlySignalling,
        check: .probe { bench in
            let session = try bench.call("incoming").answered()
            let heard = bench.world.monitor.locked {
                bench.world.media.values.filter { $0.session == session.handle }.flatMap(\.heard)
            }
            guard let offer = heard.first else { throw NotApplicable("the call has no description from its peer") }
            guard !offer.contains("m=audio") else { return }
            throw Violation(
                "an offer with m=audio", expected: "the whole of it in answer()", got: "\(offer.utf8.count) bytes")
        }),
    Rule(
        "VC-TEL-14", kinds: [.telephony], "A call without a common codec is refused with 488.",
        because: "A peer that reads 488 offers another codec; one that reads 480 waits for somebody to come home.",
        passing: "if (status == VC_E_UNSUPPORTED) respond(call, 488);",
        failing: "if (status != VC_OK) respond(call, 480);",
        skip: onlySignalling,
        check: .probe { bench in
            let call = try bench.call("incoming-mismatch")
            bench.world.monitor.locked { bench.world.refusesCodecs = true }
            try call.taken().answer()
            try call.dialogue.needEnd("answer() says VC_E_UNSUPPORTED", expected: "the peer is refused with 488")
        }),
    Rule(
        "VC-TEL-59", .resilient, kinds: [.telephony], "A call for which no media port is free is refused with 503.",
        because: "A trunk that reads 503 tries its next route at once.",
        passing: "if (media->open(session, &self->media) == VC_E_AGAIN) respond(call, 503);",
        failing: "media->open(session, &self->media);        // whatever it says",
        skip: onlySignalling,
        check: .probe { bench in
            let call = try bench.call("incoming-declined")
            bench.world.monitor.locked { bench.world.refusesMedia = true }
            try call.taken().answer()
            try call.dialogue.needEnd("vc.media open says VC_E_AGAIN", expected: "the peer is refused with 503")
        }),
    Rule(
        "VC-TEL-65", kinds: [.telephony], "A call that cannot be answered ends with HANGUP.",
        because: "The host waits for ANSWERED or HANGUP, and holds the agent's place until one of them comes.",
        passing: "respond(call, 488);  emit(HANGUP with VC_HANGUP_FAILED);",
        failing: "respond(call, 488);  free(call);",
        skip: onlySignalling,
        check: .probe { bench in
            let call = try bench.call("incoming-mismatch")
            bench.world.monitor.locked { bench.world.refusesCodecs = true }
            let session = try call.taken()
            session.answer()
            guard !bench.wait(ms: 1_000, until: { session.fatal != nil || !session.events(VC_EVENT_HANGUP).isEmpty })
            else { return }
            throw Violation("answer() says VC_E_UNSUPPORTED", expected: "HANGUP", got: "none for a second")
        }),
    Rule(
        "VC-TEL-20", kinds: [.telephony], "A new description of the peer is answered with ours.",
        because: "A peer that moves, or changes its codec, is heard no more.",
        passing: "media->answer(self->media, body, &ours, error);  respond(call, 200, ours);",
        failing: "respond(call, 200, \"\");",
        needs: ["VC-TEL-01"], skip: onlySignalling,
        check: .probe { bench in
            let call = try bench.call("incoming-change")
            _ = try call.answered()
            try call.dialogue.needEnd("a second offer within the call", expected: "an answer with our description")
        }),
    Rule(
        "VC-TEL-64", kinds: [.telephony], "A call has one media session from its answer to its end.",
        because: "Each takes a pair of ports; the first is deaf from then on, and free only when the call ends.",
        passing: "media->answer(self->media, …);        // again, with the same handle",
        failing: "media->open(session, &self->media);  media->answer(self->media, …);",
        needs: ["VC-TEL-01"], skip: onlySignalling,
        check: .probe { bench in
            let call = try bench.call("incoming-change")
            let session = try call.answered()
            _ = bench.wait(ms: 2_000) { call.dialogue.hasPassed }
            let count = bench.world.monitor.locked {
                bench.world.media.values.filter { $0.session == session.handle }.count
            }
            guard count <= 1 else {
                throw Violation("a second offer within the call", expected: "one media session", got: "\(count)")
            }
        }),
    Rule(
        "VC-TEL-62", kinds: [.telephony], "A port that is taken fails `start`, with a reason.",
        because: "A provider that is READY on a port that is another's waits for calls that never come.",
        passing: "if (bind(…) != 0) return fail(error, VC_E_NETWORK, \"the port 5060 is taken\");",
        failing: "bind(…);        // whatever it says",
        skip: onlySignalling,
        check: .probe { bench in
            // Who has the port is the plugin itself, under the same settings.
            _ = try bench.provider()
            guard let second = try bench.create(name: "conform.second").provider else { return }
            let (status, error) = second.callStart()
            if status != VC_OK {
                guard error.message.isEmpty else { return }
                throw Violation("start on a port that is taken", expected: "a message", got: "none")
            }
            _ = bench.wait(ms: 2_000) {
                second.events.contains { $0.type == VC_EVENT_READY || $0.failure?.isFatal ?? false }
            }
            guard second.events.contains(where: { $0.type == VC_EVENT_READY }) else { return }
            throw Violation("start on a port that is taken", expected: "an error", got: "READY")
        }),
]

private let onlySignalling: @Sendable (Subject) -> String? = {
    $0.provider?.capabilities.profile == .frames ? "it has the profile `frames`" : nil
}
