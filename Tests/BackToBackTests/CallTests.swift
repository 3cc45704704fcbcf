import JSON
import PluginKit
import Testing

@testable import BackToBack

@Suite("Calls through OpenSIPS")
struct CallTests {
    @Test("A call is announced, answered with the description, and ends with the caller's BYE, which nobody answers")
    func answered() {
        var line = Line()
        line.receive(Capture.new)
        #expect(line.announced == [
            IncomingCall(
                key: Capture.key, from: "sip:alice@127.0.0.1:15070", display: "Caller", to: "sip:plain@127.0.0.1:15060",
                peer: "127.0.0.1:50890", protocolCall: "1-27299@127.0.0.1", headers: [.init(name: "User-Agent", value: "sipp")])
        ])
        line.order(.open)
        line.order(.ringing)
        line.order(.ringing)
        line.order(.answer)
        #expect(line.questions == [.answer(Capture.sdp)])
        #expect(line.codes == [180, 200] && line.last.params == Capture.command("answer"))
        line.order(.answer)
        line.clear()
        line.receive(Capture.bye)
        #expect(line.commands == [] && line.events == [.hangup(.caller, code: 0, reason: "")])
        line.order(.hangup(code: 0, reason: ""))
        #expect(line.commands == [] && line.events.count == 1)
    }

    @Test("ANSWERED comes with the answer to the command, and with the flag a with the ACK")
    func confirmation() {
        var line = Line()
        line.taken()
        line.answers = false
        line.order(.answer)
        #expect(line.events == [])
        line.answer(line.last.id)
        #expect(line.events == [.answered])

        var careful = Line { $0.reportsACK = true }
        careful.taken()
        careful.order(.answer)
        #expect(careful.events == [])
        careful.receive(Capture.ack)
        #expect(careful.events == [.answered])
    }

    @Test("The caller's ACK, and even the BYE, may overtake the answer to the command")
    func overtaken() {
        var line = Line()
        line.taken()
        line.answers = false
        line.order(.answer)
        line.receive(Capture.bye)
        #expect(line.events == [.answered, .hangup(.caller, code: 0, reason: "")])
    }

    @Test("CANCEL before the answer: 487 to the INVITE, by method INVITE")
    func cancel() {
        var line = Line()
        line.taken()
        line.receive(Capture.cancel)
        #expect(line.last.method == "ua_session_reply" && line.last.params["method"] == "INVITE" && line.codes == [487])
        #expect(line.events == [.hangup(.canceled, code: 487, reason: "Cancelled by the caller")])
        // It is raised again when the CANCEL is repeated; the session is gone.
        line.clear()
        line.receive(Capture.cancel)
        #expect(line.commands == [] && line.events == [])
    }

    @Test("CANCEL that crosses our 200: the call is up at OpenSIPS, so it gets a BYE, after the 200")
    func crossed() {
        var line = Line()
        line.taken()
        line.answers = false
        line.order(.answer)
        line.receive(Capture.cancel)
        #expect(line.commands.count == 1 && line.events == [.hangup(.canceled, code: 487, reason: "Cancelled by the caller")])
        line.answer(line.last.id)
        #expect(line.last.method == "ua_session_terminate")
    }

    @Test("CANCEL whose event overtakes its INVITE's")
    func reordered() {
        var line = Line()
        line.receive(Capture.cancel)
        line.receive(Capture.new)
        #expect(line.announced == [] && line.codes == [487])
    }

    @Test("Before there is a session a CANCEL withdraws the call, and a session for it ends at once")
    func withdrawn() {
        var line = Line()
        line.receive(Capture.new)
        line.receive(Capture.cancel)
        #expect(line.others == [.withdrawn(key: Capture.key)])
        line.order(.open)
        #expect(line.events == [.ready, .hangup(.canceled, code: 487, reason: "Gone before the session was open")])
    }

    @Test("Refusals: the host's code, Retry-After with its empty body, and no codec in common")
    func refusals() {
        var line = Line()
        line.taken()
        line.order(.hangup(code: 486, reason: ""))
        #expect(line.last.params["reason"] == "Busy Here" && line.last.params["body"] == nil)

        var full = Line()
        full.receive(Capture.new)
        full.perform(full.board.declined(key: Capture.key, code: 503, retryAfterS: 0, nowNs: 0))
        #expect(full.last.params["extra_headers"] == "Retry-After: 5\r\n" && full.last.params["body"] == "")

        for (answer, code) in [(MediaAnswer.mismatch, 488), (.nonsense, 400), (.failed, 500), (.noPort, 503)] {
            var line = Line()
            line.taken()
            line.mediaAnswer = answer
            line.order(.answer)
            #expect(line.codes == [Int64(code)])
            #expect(line.events.last == .hangup(.failed, code: code, reason: answer == .noPort ? "No media port is free" : "The description was refused"))
        }
    }

    @Test("A call without headers or body is refused, and so is one without a description")
    func flags() {
        var line = Line()
        line.receive(Capture.new.replacing(#""headers":"Via"#, with: #""headers":null,"was":"Via"#))
        #expect(line.codes == [500] && line.announced == [])
        line.receive(Capture.event("NEW", "INVITE"))
        #expect(line.codes == [500, 415] && line.announced == [])
    }

    @Test("With the flag a an INVITE without a description gets our offer, and its answer is in the ACK")
    func lateOffer() {
        for (answer, end) in [
            (MediaAnswer.text(""), TelephonyEvent.answered),
            (.nonsense, .hangup(.failed, code: 488, reason: "No usable answer to our offer")),
        ] {
            var line = Line { $0.reportsACK = true }
            line.receive(Capture.event("NEW", "INVITE"))
            line.order(.open)
            line.order(.answer)
            #expect(line.questions == [.offer] && line.last.params["body"] == "v=0\r\nours\r\n")
            line.mediaAnswer = answer
            line.receive(Capture.event("UPDATED", "ACK", body: Capture.sdp))
            #expect(line.questions == [.offer, .accept(Capture.sdp)] && line.events == [.ready, end])
        }
    }

    @Test("The same INVITE twice is one call")
    func twice() {
        var line = Line()
        line.receive(Capture.new)
        line.receive(Capture.new)
        #expect(line.announced.count == 1)
    }

    @Test("Requests within a call are each answered by their method")
    func within() {
        var line = Line()
        line.up()
        for (event, method, code) in [
            (Capture.info, "INFO", 200), (Capture.options, "OPTIONS", 200), (Capture.update, "UPDATE", 200), (Capture.message, "MESSAGE", 405),
        ] {
            line.receive(event)
            #expect(line.last.params["method"]?.string == method && line.last.params["code"]?.integer == Int64(code))
        }
        #expect(line.events == [.dtmf("5", durationMs: 160)])
    }

    @Test("Hold and resume by re-INVITE, answered with the description")
    func held() {
        var line = Line()
        line.up()
        line.receive(Capture.hold)
        #expect(line.last.params == Capture.command("answer"))
        line.receive(Capture.hold)
        line.receive(Capture.resume)
        #expect(line.events == [.held(true), .held(false)])
        line.mediaAnswer = .mismatch
        line.receive(Capture.hold)
        #expect(line.last.params["code"] == 488 && line.events.count == 2)
    }

    @Test("Our hold: an offer that only sends, an ACK of our own with the flag d, and the other direction back")
    func hold() {
        var line = Line()
        line.up()
        line.order(.hold(true))
        #expect(line.last.method == "ua_session_update" && line.last.params["body"] == "v=0\r\nours\r\na=sendonly\r\n")
        line.receive(Capture.answered("INVITE", body: Capture.sdp))
        #expect(line.last.params["method"] == "ACK" && line.questions.last == .accept(Capture.sdp))
        line.order(.hold(false))
        #expect(line.last.params["body"] == "v=0\r\nours\r\n")

        var automatic = Line { $0.leavesACK = false }
        automatic.up()
        automatic.order(.hold(true))
        automatic.receive(Capture.answered("INVITE", body: Capture.sdp))
        #expect(automatic.commands.count == 1)
    }

    @Test("Digits go one at a time, each when the one before is answered")
    func digits() {
        var line = Line()
        line.up()
        line.order(.dtmf("12"))
        #expect(line.commands.count == 1 && line.last.params == Capture.command("digit"))
        line.receive(Capture.answered("INFO", 200, "OK"))
        #expect(line.commands.count == 2 && line.last.params["body"] == "Signal=2\r\nDuration=160\r\n")
    }

    @Test("A transfer that works: REFER with an empty body, NOTIFY, and the call ends")
    func transfer() {
        var line = Line()
        line.up()
        line.order(.transfer("sip:bob@127.0.0.1:15999"))
        #expect(line.last.params == Capture.command("refer"))
        line.receive(Capture.answered("REFER", 202, "Accepted"))
        line.receive(Capture.event("UPDATED", "NOTIFY", body: "SIP/2.0 100 Trying\r\n"))
        #expect(line.events == [])
        line.receive(Capture.event("UPDATED", "NOTIFY", body: "SIP/2.0 200 OK\r\n"))
        #expect(line.events == [.transferred(succeeded: true, code: 200, reason: "OK"), .hangup(.agent, code: 0, reason: "Transferred")])
        #expect(line.last.method == "ua_session_terminate")
    }

    @Test("A transfer that is refused, or of which nothing is heard for a minute, leaves the call")
    func transferFails() {
        var line = Line()
        line.up()
        line.order(.transfer("100"))
        #expect(line.last.params["extra_headers"]?.string?.hasPrefix("Refer-To: <sip:100@127.0.0.1:15070>\r\n") == true)
        line.receive(Capture.answered("REFER", 603, "Declined"))
        #expect(line.events == [.transferred(succeeded: false, code: 603, reason: "Declined")])
        line.clear()
        line.order(.transfer("100"))
        line.receive(Capture.answered("REFER", 202, "Accepted"))
        line.pass(61)
        #expect(line.events == [.transferred(succeeded: false, code: 408, reason: "No result of the transfer in time")])
    }

    @Test("A call out: events may come before the key, and the callee's description is accepted")
    func outbound() {
        var line = Line()
        line.answers = false
        let call = TelephonyCall.outbound(.init(to: "sip:bob@127.0.0.1:15080", from: "sip:vc@127.0.0.1"))
        line.order(.open, call)
        #expect(line.last.params == Capture.command("start"))
        line.receive(Capture.ringing)
        #expect(line.events == [.ready])
        line.answer(line.last.id, #""B2B.160.144133.1795249790.723708560""#)
        #expect(line.events == [.ready, .ringing])
        line.receive(
            Capture.event(
                "ANSWERED", "INVITE", body: Capture.sdp, status: 200, reason: "OK", entity: "UAC",
                key: "B2B.160.144133.1795249790.723708560"))
        #expect(line.events.last == .answered)
    }

    @Test("A call out to nobody, to a number without a domain, and to a server that cannot call")
    func outboundFails() {
        var line = Line()
        line.answers = false
        line.order(.open, .outbound(.init(to: "sip:bob@127.0.0.1:15999", from: "sip:vc@127.0.0.1")))
        line.answer(line.last.id, #""B2B.160.657915.1795249793.1136237339""#)
        line.receive(Capture.deadTarget)
        #expect(line.events.last == .hangup(.noAnswer, code: 408, reason: "Timeout"))
        line.order(.open, .outbound(.init(to: "4930123")))
        #expect(line.events.last == .hangup(.failed, code: 404, reason: "A number needs outbound_domain, and an address no comma"))
        line.order(.open, .outbound(.init(to: "sip:bob@127.0.0.1")))
        line.refuse(line.last.id, 500, "Failed to start session")
        #expect(line.events.last == .hangup(.failed, code: 500, reason: "Failed to start session"))
    }

    @Test("Hung up before OpenSIPS said the key, a call out is ended as soon as there is one")
    func hungUpEarly() {
        var line = Line()
        line.answers = false
        line.order(.open, .outbound(.init(to: "sip:bob@127.0.0.1:15080")))
        let start = line.last.id
        line.order(.hangup(code: 0, reason: ""))
        line.answer(start, #""B2B.1.2.3.4""#)
        #expect(line.last.method == "ua_session_terminate" && line.last.params["key"] == "B2B.1.2.3.4")
    }
}
