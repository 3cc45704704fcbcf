// TEL: the profile "frames", whose transport carries the audio.
//
// What a carrier's messages look like is the carrier's affair, so these rules read none of them: they count messages,
// look when they came, and have the caller's end send back what it hears.

import PluginABI
import Providers

let telephonyFramesRules: [Rule] = [
    Rule(
        "VC-TEL-76", .basic, .must, kinds: [.telephony], "The caller hears all that was played.",
        because: "An agent that stutters is not understood.",
        passing: "send(media, encode(frame));",
        failing: "if (self->is_busy) return VC_OK;        // and the frame is gone",
        needs: ["VC-TEL-01"], skip: onlyFrames,
        check: .probe { bench in
            let session = try bench.call("incoming-echo").answered()
            let played = bench.speech(rateHz: session.rateHz, ms: 1_000)
            session.playInTime(played)
            bench.advance(ms: 1_000)
            let heard = session.audio.reduce(0) { $0 + $1.samples.count }
            guard heard * 10 < played.count * 9 else { return }
            throw Violation(
                "1 s of audio, which the caller sends back", expected: "all of it",
                got: "\(heard) of \(played.count) samples")
        }),
    Rule(
        "VC-TEL-06", .realTime, kinds: [.telephony], "What is played is sent at once.",
        because: "The host paces the audio; what a plugin holds back is late for the rest of the call.",
        passing: "play(self, frame) { send(frame); }",
        failing: "play(self, frame) { queue(frame);  if (queued == 25) send_all(); }",
        needs: ["VC-TEL-01"], skip: onlyFrames,
        check: .probe { bench in
            let session = try bench.call("incoming").answered()
            session.playInTime(bench.speech(rateHz: session.rateHz, ms: 500))
            bench.advance(ms: 100)
            let inTime = bench.sentSizes.count
            bench.advance(ms: 2_000)
            let late = bench.sentSizes.count - inTime
            guard late == 0 else {
                throw Violation(
                    "500 ms of audio, in time", expected: "the last message within 100 ms of the last frame",
                    got: "\(late) messages later than that")
            }
        }),
    Rule(
        "VC-TEL-68", .resilient, kinds: [.telephony], "A transport that is behind gives AGAIN.",
        because: "Audio that is taken and not sent is either lost or heard a minute late.",
        passing: "return ws->send(self->socket, message, 0);",
        failing: "ws->send(self->socket, message, 0);  return VC_OK;",
        needs: ["VC-TEL-01"], skip: onlyFrames,
        check: .probe { bench in
            guard let services = VendorServices.current else { throw NotApplicable("the bench has no vendor") }
            services.arm(.slowReader(bytesPerS: 2_000))
            let session = try bench.call("incoming").answered()
            let frame = bench.silence(rateHz: session.rateHz, ms: 20)
            for _ in 0..<5_000 where session.play(frame) == VC_E_AGAIN { return }
            // The transport may take more than a hundred seconds of a dense codec; it holds no queue of its own then.
            guard services.openCount > 0 else { throw NotApplicable("it has no WebSocket") }
            throw Violation("100 s of audio to a carrier that hardly reads", expected: "VC_E_AGAIN", got: "VC_OK")
        }),
    Rule(
        "VC-TEL-05", kinds: [.telephony], "FRAME counts its samples from the call's beginning on.",
        because: "A gap in the positions is silence that is put in, and a position twice is audio thrown away.",
        passing: "frame.position = self->position;  self->position += frame.samples;",
        failing: "frame.position = 0;",
        needs: ["VC-TEL-76"], skip: onlyFrames,
        check: .probe { bench in
            let session = try bench.call("incoming-echo").answered()
            session.playInTime(bench.speech(rateHz: session.rateHz, ms: 500))
            bench.advance(ms: 500)
            for (one, next) in zip(session.audio, session.audio.dropFirst()) {
                let end = one.position + UInt64(one.declaredSamples)
                guard next.position < end else { continue }
                throw Violation(
                    "half a second from the caller", expected: "a position of \(end)", got: "\(next.position)")
            }
        }),
    Rule(
        "VC-TEL-66", kinds: [.telephony], "FRAME has the rate of the session.",
        because: "At twice the rate a caller is a child, and no recogniser understands it.",
        passing: "frame.rate_hz = request->rate_hz;",
        failing: "frame.rate_hz = 16000;        // and the samples are of 8000",
        needs: ["VC-TEL-76"], skip: onlyFrames,
        check: .probe { bench in
            let session = try bench.call("incoming-echo").answered()
            session.playInTime(bench.speech(rateHz: session.rateHz, ms: 200))
            bench.advance(ms: 500)
            guard let other = session.audio.first(where: { $0.rateHz != session.rateHz }) else { return }
            throw Violation(
                "open with rate_hz = \(session.rateHz)", expected: "FRAME of \(session.rateHz) Hz",
                got: "of \(other.rateHz) Hz")
        }),
    Rule(
        "VC-TEL-67", kinds: [.telephony], "No FRAME comes before ANSWERED.",
        because: "Nobody listens yet; the recogniser would begin in the middle of a ringing tone.",
        passing: "if (call->state == UP) emit(FRAME);",
        failing: "emit(FRAME);",
        skip: onlyFrames,
        check: .probe { bench in
            let session = try bench.call("incoming-early").taken()
            bench.advance(ms: 1_000)
            let answered = session.events(VC_EVENT_ANSWERED).first?.number ?? .max
            guard session.events(VC_EVENT_FRAME).contains(where: { $0.number < answered }) else { return }
            throw Violation("audio before the answer", expected: "no FRAME", got: "FRAME")
        }),
    Rule(
        "VC-TEL-21", kinds: [.telephony], "A caller's audio comes to the caller's session.",
        because: "Two strangers would hear each other's agent.",
        passing: "session = find(self, message.call)->session;",
        failing: "session = self->latest;",
        needs: ["VC-TEL-76"], skip: onlyFrames,
        check: .probe { bench in
            let call = try bench.call("incoming-echo")
            let one = try call.answered()
            let two = try call.provider.called("incoming-echo").answered()
            one.playInTime(bench.speech(rateHz: one.rateHz, ms: 300))
            bench.advance(ms: 500)
            guard two.audio.contains(where: { $0.samples.contains { abs(Int($0)) > 500 } }) else { return }
            throw Violation(
                "the first of two callers speaks", expected: "silence from the second", got: "the first's voice")
        }),
    Rule(
        "VC-TEL-07", .realTime, smoke: true, kinds: [.telephony], "`flush` empties the carrier's buffers too.",
        because: "The carrier plays for seconds what it has; a caller who interrupts is talked over.",
        passing: "send(\"clear\");",
        failing: "self->queued = 0;",
        needs: ["VC-TEL-01"], skip: onlyFrames,
        check: .probe { bench in
            let session = try bench.call("incoming").answered()
            session.play(of: 10)
            bench.advance(ms: 20)
            let before = bench.sentSizes.count
            session.flush()
            bench.advance(ms: 60)
            guard bench.sentSizes.count == before else { return }
            throw Violation("flush after 200 ms of audio", expected: "a word to the carrier within 60 ms", got: "none")
        }),
    Rule(
        "VC-TEL-75", .realTime, kinds: [.telephony], "What was played before `flush` is not sent after it.",
        because: "The carrier has just emptied its buffers, and begins again with the end of a sentence.",
        passing: "flush(self) { drop(self->queue);  send(\"clear\"); }",
        failing: "flush(self) { send(\"clear\"); }        // and the queue goes on",
        needs: ["VC-TEL-01"], skip: onlyFrames,
        check: .probe { bench in
            let session = try bench.call("incoming").answered()
            session.play(of: 10)
            try bench.settle()
            let before = bench.sentSizes
            session.flush()
            try bench.settle()
            let after = bench.sentSizes
            bench.advance(ms: 1_000)
            // Words may follow; what is as long as audio is audio.
            let audioBytes = max(before.max() ?? 0, bench.sentSizes.max() ?? 0) / 2
            guard let late = bench.sentSizes.dropFirst(after.count).first(where: { $0 >= max(audioBytes, 100) }) else {
                return
            }
            throw Violation(
                "flush after 200 ms of audio", expected: "no audio after it", got: "a message of \(late) bytes")
        }),
    Rule(
        "VC-TEL-08", kinds: [.telephony], "A mark is PLAYED once.",
        because: "By its marks the host knows what the caller heard; without them it repeats, or leaves out.",
        passing: "on_mark(self, name) { if (take(self->marks, name)) emit(PLAYED); }",
        failing: "on_mark(self, name) { emit(PLAYED);  emit(PLAYED); }",
        needs: ["VC-TEL-01"], skip: onlyFrames,
        check: .probe { bench in
            let count = try marked(bench).events(VC_EVENT_PLAYED).count
            guard count == 1 else { throw Violation("mark(7)", expected: "PLAYED once", got: "\(count) times") }
        }),
    Rule(
        "VC-TEL-69", kinds: [.telephony], "PLAYED carries its mark.",
        because: "The host asks for several, and each is another place in the sentence.",
        passing: "event.mark = strtoull(name, NULL, 10);",
        failing: "event.mark = 0;",
        needs: ["VC-TEL-01"], skip: onlyFrames,
        check: .probe { bench in
            for event in try marked(bench).events {
                guard case .played(let mark, _) = event.body, mark != 7 else { continue }
                throw Violation("mark(7)", expected: "PLAYED of the mark 7", got: "of \(mark)")
            }
        }),
    Rule(
        "VC-TEL-72", .realTime, kinds: [.telephony], "PLAYED waits until the caller heard what stands before it.",
        because: "A sentence would count as heard that the caller has just cut off.",
        passing: "mark(self, number) { send(\"mark\"); }  on_mark(…) { emit(PLAYED); }",
        failing: "mark(self, number) { emit(PLAYED); }",
        needs: ["VC-TEL-01"], skip: onlyFrames,
        check: .probe { bench in
            let session = try marked(bench)
            guard let early = session.events(VC_EVENT_PLAYED).first, early.during.hasPrefix("mark") else { return }
            throw Violation(
                "200 ms of audio, and mark(7)", expected: "PLAYED when it was heard", got: "PLAYED within `mark`")
        }),
    Rule(
        "VC-TEL-70", .realTime, kinds: [.telephony], "A mark that `flush` threw away is PLAYED with `cleared` set.",
        because: "The host would take for heard what nobody heard, and the agent leaves it out for ever.",
        passing: "flush(self) { for (each mark) emit(PLAYED with cleared = 1); }",
        failing: "flush(self) { for (each mark) emit(PLAYED with cleared = 0); }",
        needs: ["VC-TEL-01"], skip: onlyFrames,
        check: .probe { bench in
            let (session, before) = try flushed(bench)
            for event in session.events.dropFirst(before) {
                guard case .played(_, 0) = event.body else { continue }
                throw Violation("marks, and flush at once", expected: "PLAYED with cleared = 1", got: "cleared = 0")
            }
        }),
    Rule(
        "VC-TEL-71", .realTime, kinds: [.telephony], "`flush` answers every mark that is out.",
        because: "The host waits for the last one before it lets the agent go on.",
        passing: "for (i = 0; i < self->mark_count; i++) emit(PLAYED of marks[i]);",
        failing: "emit(PLAYED of marks[0]);",
        needs: ["VC-TEL-01"], skip: onlyFrames,
        check: .probe { bench in
            let count = try flushed(bench).session.events(VC_EVENT_PLAYED).count
            guard count >= 3 else {
                throw Violation("three marks, and flush", expected: "three times PLAYED", got: "\(count) times")
            }
        }),
    Rule(
        "VC-TEL-73", .resilient, kinds: [.telephony], "A call whose transport is lost ends.",
        because: "The agent talks to nobody, and the call is counted and billed until somebody looks.",
        passing: "on_closed(self) { for (each call) emit(HANGUP with VC_HANGUP_FAILED); }",
        failing: "on_closed(self) { self->socket = 0; }",
        needs: ["VC-TEL-01"], skip: onlyFrames,
        check: .probe { bench in
            let session = try bench.call("incoming-lost").answered()
            let isOver = bench.wait(ms: 10_000) {
                session.fatal != nil || !session.events(VC_EVENT_HANGUP).isEmpty
            }
            guard isOver else {
                throw Violation("the connection breaks during a call", expected: "HANGUP", got: "nothing for 10 s")
            }
        }),
    Rule(
        "VC-TEL-74", .resilient, kinds: [.telephony], "After a lost connection calls come in again.",
        because: "A carrier restarts at night; in the morning nobody can call.",
        passing: "on_closed(self) { arm(timer, backoff);  …  connect(self); }",
        failing: "on_closed(self) { self->socket = 0; }",
        needs: ["VC-TEL-01"], skip: onlyFrames,
        check: .probe { bench in
            let call = try bench.call("incoming-lost")
            _ = try call.answered()
            _ = bench.wait(ms: 10_000) { call.dialogue.hasPassed }
            bench.advance(ms: 500)
            let known = call.provider.count(VC_EVENT_INCOMING)
            var isThere = false
            _ = bench.wait(ms: 60_000) {
                isThere = isThere || VendorServices.current?.beginDialogue("incoming") != nil
                return isThere && call.provider.count(VC_EVENT_INCOMING) > known
            }
            guard call.provider.count(VC_EVENT_INCOMING) == known else { return }
            throw Violation(
                "the connection broke a minute ago", expected: "a new one, and calls on it",
                got: isThere ? "no INCOMING" : "no connection")
        }),
]

private let onlyFrames: @Sendable (Subject) -> String? = {
    $0.provider?.capabilities.profile == .frames ? nil : "it has the profile `signalling`"
}

/// Ten frames and a mark, and time enough to hear them.
private func marked(_ bench: Bench) throws -> BenchSession {
    let session = try bench.call("incoming").answered()
    session.play(of: 10)
    session.mark(7)
    bench.advance(ms: 3_000)
    return session
}

/// Ten frames, three marks among them, and a caller who interrupts.
private func flushed(_ bench: Bench) throws -> (session: BenchSession, eventsBefore: Int) {
    let session = try bench.call("incoming").answered()
    for mark in 1...3 {
        session.play(of: 3)
        session.mark(UInt64(mark))
    }
    let before = session.events.count
    session.flush()
    bench.advance(ms: 1_000)
    return (session, before)
}

extension BenchSession {
    /// What the caller said.
    fileprivate var audio: [RecordedEvent.Audio] { events(VC_EVENT_FRAME).compactMap(\.audio) }

    /// `count` frames at once, as the host plays ahead.
    fileprivate func play(of count: Int) {
        for frame in bench.speech(rateHz: rateHz, ms: count * 20).frames(of: rateHz / 50) { play(frame) }
    }

    /// A frame every 20 ms.
    fileprivate func playInTime(_ samples: [Int16]) {
        for frame in samples.frames(of: rateHz / 50) {
            play(frame)
            bench.advance(ms: 20)
        }
    }
}

extension Bench {
    /// Sizes of all that reached the carrier on WebSockets.
    fileprivate var sentSizes: [Int] {
        (VendorServices.current?.seen() ?? []).flatMap(\.messages).sorted { $0.atNs < $1.atNs }.map(\.bytes.count)
    }
}
