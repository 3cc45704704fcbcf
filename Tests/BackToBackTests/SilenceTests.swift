import JSON
import PluginKit
import Testing

@testable import BackToBack

@Suite("What OpenSIPS does not say")
struct SilenceTests {
    @Test("Subscribed at once, every second or more until granted, and every 30 s for ever")
    func subscription() {
        var line = Line()
        line.answers = false
        line.pass(0.1)
        #expect(line.last.method == "event_subscribe" && line.last.params == ["E_UA_SESSION", "udp:127.0.0.1:50060", 120])
        line.pass(20)
        #expect((4...8).contains(line.commands.count) && !line.board.isSubscribed)
        line.answers = true
        line.pass(7)
        #expect(line.board.isSubscribed)
        line.clear()
        line.pass(65)
        #expect(line.commands.count == 2)
        line.perform(line.board.stop(nowNs: line.nowNs))
        #expect(line.last.params == ["E_UA_SESSION", "udp:127.0.0.1:50060", 0])
    }

    @Test("A command that is not answered is repeated with its number, and then given up; it is reason to subscribe again")
    func repeated() {
        var line = Line()
        line.pass(0.1)
        line.taken()
        line.answers = false
        line.order(.answer)
        line.pass(3)
        let answers = line.commands.filter { $0.method == "ua_session_reply" }
        #expect(answers.count == 4 && Set(answers.map(\.id)).count == 1)
        line.pass(3)
        #expect(line.events == [.hangup(.failed, code: 408, reason: "OpenSIPS did not answer")])
        #expect(line.commands.contains { $0.method == "ua_session_terminate" } && line.commands.contains { $0.method == "event_subscribe" })
    }

    @Test("A refusal of the repetition means that the first one was carried out")
    func lostAnswer() {
        var line = Line()
        line.taken()
        line.answers = false
        line.order(.answer)
        line.pass(0.3)
        line.refuse(line.last.id, 500, "Failed to send reply")
        #expect(line.events == [.answered])

        var gone = Line()
        gone.taken()
        gone.answers = false
        gone.order(.answer)
        gone.refuse(gone.last.id, 500, "Failed to send reply")
        #expect(gone.events == [.hangup(.failed, code: 500, reason: "Failed to send reply")])
    }

    @Test("A digit and a call out are said once: twice they would be two")
    func once() {
        var line = Line()
        line.up()
        line.answers = false
        line.order(.dtmf("1"))
        line.pass(5)
        #expect(line.commands.filter { $0.method == "ua_session_update" }.count == 1)
        guard case .refused = line.events.last else {
            Issue.record("\(line.events)")
            return
        }
    }

    @Test("A session that OpenSIPS does not know any more is over: a lost BYE, its own timeout, a restart")
    func lostSession() {
        var line = Line()
        line.up()
        line.answers = false
        line.pass(31)
        let check = line.commands.last { $0.method == "ua_session_list" }!
        line.refuse(check.id, 404, "Entity not found")
        #expect(line.events == [.hangup(.failed, code: 481, reason: "OpenSIPS does not know the call any more")])
    }

    @Test("After a time without OpenSIPS all calls are asked after at once")
    func restarted() {
        var line = Line()
        line.pass(0.1)
        line.up()
        line.answers = false
        line.pass(35)
        #expect(!line.board.isSubscribed)
        line.answers = true
        line.clear()
        line.pass(7)
        let methods = line.commands.map(\.method)
        #expect(methods.contains("event_subscribe") && methods.contains("ua_session_list"))
    }

    @Test("An answer that nobody confirms is ended after 32 s: by the missing ACK, or by the state of the session")
    func unconfirmed() {
        var line = Line { $0.reportsACK = true }
        line.taken()
        line.order(.answer)
        line.pass(33)
        #expect(line.events == [.hangup(.failed, code: 408, reason: "The caller never confirmed the answer")])

        var asked = Line { $0.checkS = 100 }
        asked.up()
        asked.answers = false
        for seconds in [33, 2.2] {
            #expect(asked.events == [])
            asked.pass(seconds)
            let check = asked.commands.last { $0.method == "ua_session_list" }!
            asked.answer(check.id, #"{"state":4}"#)
        }
        #expect(asked.events == [.hangup(.failed, code: 408, reason: "The caller never confirmed the answer")])
    }

    @Test("Nobody opens a session, nobody answers, nobody picks up")
    func deadlines() {
        var line = Line()
        line.receive(Capture.new)
        line.pass(4.1)
        #expect(line.codes == [503] && line.others == [.withdrawn(key: Capture.key)])

        var ringing = Line { $0.checkS = 1000 }
        ringing.taken()
        ringing.pass(181)
        #expect(ringing.codes == [480])
        #expect(ringing.events == [.hangup(.noAnswer, code: 480, reason: "Not answered in time")])

        var out = Line()
        out.order(.open, .outbound(.init(to: "sip:bob@127.0.0.1", ringTimeoutMs: 100)))
        out.pass(0.2)
        #expect(out.events.last == .hangup(.noAnswer, code: 408, reason: "No answer within the ring timeout"))
    }

    @Test("Events of sessions that are not ours: in a dialogue they get 481, others nothing")
    func unknown() {
        var line = Line()
        line.receive(Capture.info)
        #expect(line.codes == [481])
        line.clear()
        for event in [Capture.bye, Capture.ack, Capture.cancel] { line.receive(event) }
        #expect(line.commands == [])
    }

    @Test("Commands of one call wait for each other, and for no other call")
    func inOrder() {
        var line = Line()
        line.taken()
        line.answers = false
        line.order(.ringing)
        line.order(.answer)
        #expect(line.codes == [180])
        line.receive(Capture.new.replacing(Capture.key, with: "B2B.1.1.1.1"))
        line.perform(line.board.declined(key: "B2B.1.1.1.1", code: 486, retryAfterS: 0, nowNs: 0))
        #expect(line.codes == [180, 486])
        line.answer(line.commands[0].id)
        #expect(line.codes == [180, 486, 200])
    }

    @Test("A flood of sessions that are not ours does not make commands without end")
    func flood() {
        var line = Line()
        line.answers = false
        for number in 0..<1000 { line.receive(Capture.info.replacing(Capture.key, with: "B2B.\(number).1.1.1")) }
        #expect(line.commands.count == ManagementClient.strayMax)
    }

    @Test("A drain takes no new calls, and is over when the last one is")
    func drain() {
        var line = Line()
        line.up()
        line.perform(line.board.drain(nowNs: 0))
        line.receive(Capture.new.replacing(Capture.key, with: "B2B.1.1.1.1"))
        #expect(line.codes == [503] && line.others == [])
        line.receive(Capture.bye)
        #expect(line.others.contains(.drained))
    }
}
