// What the kit does for recognisers and voices.

import PluginABI
import Testing

@testable import PluginKit

@Suite("The kit serves recognisers")
struct SpeechToTextKitTests {
    private func open() throws -> (ScriptedSession, HandSTTSession) {
        let session = try ScriptedProvider(handPlugin.get(), 0).open()
        return (session, try #require(Hands.session(session.object.handle)))
    }

    @Test("Frames arrive as samples, and a full session says so")
    func push() throws {
        let (session, author) = try open()
        #expect(session.push([1, 2, -3]) == vc_status(VC_OK))
        #expect(author.samples == [1, 2, -3])
        #expect(session.push([Int16](repeating: 0, count: 4000)) == vc_status(VC_E_AGAIN))
    }

    @Test("A frame in another format is refused")
    func format() throws {
        let (session, author) = try open()
        #expect(session.push([1, 2], format: Int(VC_FORMAT_PCMU)) == vc_status(VC_E_ARGUMENT))
        #expect(author.samples.isEmpty)
    }

    @Test("A finalization is answered once: its text, then FINALIZED, with its request")
    func finalize() throws {
        let (session, author) = try open()
        #expect(session.finalize(41, 160, tentative: true) == vc_status(VC_OK))
        let asked = author.finalizations[0]
        #expect(asked.isTentative && asked.position == 160)
        asked.emit(Transcript("hello", utterance: 3, start: 0, end: 160))
        asked.finish()
        asked.finish()
        #expect(asked.emit(Transcript("more", utterance: 3, start: 0, end: 160)) == .canceled)
        #expect(
            session.kinds == [
                .ready, .transcript("hello", utterance: 3, start: 0, end: 160, isFinal: true, confidence: -1),
                .finalized,
            ])
        #expect(session.object.events.dropFirst().allSatisfy { $0.request == 41 })
    }

    @Test("A finalization that fails costs neither the session nor its answer")
    func failure() throws {
        let (session, author) = try open()
        #expect(session.finalize(41, 160) == vc_status(VC_OK))
        author.finalizations[0].fail(PluginError(.network, "no answer"))
        guard case .error(_, _, let isFatal, _, _, _) = session.kinds[1] else { Issue.record("no error"); return }
        #expect(!isFatal)
        #expect(session.kinds.last == .finalized)
        #expect(session.push([1]) == vc_status(VC_OK))
    }

    @Test("A recogniser may speak without being asked")
    func partials() throws {
        let (session, author) = try open()
        author.host.emit(.partial(Transcript("hel", utterance: 0, start: 0, end: 80, stability: 0.5)))
        author.host.emit(.turn(RecogniserTurn(.end, utterance: 0, position: 80)))
        #expect(
            session.kinds.dropFirst() == [
                .transcript("hel", utterance: 0, start: 0, end: 80, isFinal: false, confidence: -1),
                .other(UInt32(VC_EVENT_STT_TURN)),
            ])
    }

    @Test("After a cancel nobody waits for a finalization")
    func cancel() throws {
        let (session, author) = try open()
        #expect(session.finalize(41, 160) == vc_status(VC_OK))
        session.cancel(2)
        session.object.fireTimers()
        author.finalizations[0].finish()
        #expect(session.kinds == [.ready, .canceled])
    }
}

@Suite("The kit puts speech into the order of its text")
struct TextToSpeechKitTests {
    private func open() throws -> (ScriptedSession, HandTTSSession) {
        let session = try ScriptedProvider(handPlugin.get(), 2).open(rateHz: 0)
        return (session, try #require(Hands.session(session.object.handle)))
    }

    private func audio(_ session: ScriptedSession) -> [Int16] {
        session.kinds.reduce(into: []) { if case .audio(let samples, _, _) = $1 { $0 += samples } }
    }

    @Test("Audio is framed, counted and marked, and the request ends once")
    func oneRequest() throws {
        let (session, author) = try open()
        session.speak(7, "Grüß Gott.")
        session.speak(7, " Hallo.", last: true)
        author.clauses[0].emit([Int16](repeating: 5, count: 1000), rateHz: 8000)
        author.clauses[0].finish()
        author.clauses[1].emit([Int16](repeating: 6, count: 10), rateHz: 8000)
        author.clauses[1].finish()
        author.clauses[1].finish()
        let five = [Int16](repeating: 5, count: 800)
        #expect(
            session.kinds == [
                .ready, .audio(samples: five, rateHz: 8000, position: 0),
                .audio(samples: Array(five.prefix(200)), rateHz: 8000, position: 800),
                .mark(text: 0..<12, audio: 0..<1000),
                .audio(samples: [Int16](repeating: 6, count: 10), rateHz: 8000, position: 1000),
                .mark(text: 12..<19, audio: 1000..<1010), .spoken(reason: Int(VC_TTS_COMPLETE), samples: 1010),
            ])
        #expect(session.object.events.dropFirst().allSatisfy { $0.request == 7 })
    }

    @Test("A clause that is ready too early waits for those before it")
    func outOfOrder() throws {
        let (session, author) = try open()
        session.speak(1, "a.")
        session.speak(1, "b.", last: true)
        session.speak(2, "c.", last: true)
        author.clauses[2].emit([3], rateHz: 8000)
        author.clauses[2].finish()
        author.clauses[1].emit([2], rateHz: 8000)
        #expect(session.kinds == [.ready])
        author.clauses[0].emit([1], rateHz: 8000)
        author.clauses[0].finish()
        #expect(audio(session) == [1, 2])
        author.clauses[1].emit([2], rateHz: 8000)
        author.clauses[1].finish()
        #expect(audio(session) == [1, 2, 2, 3])
        #expect(
            session.object.events.filter { if case .spoken = $0.kind { true } else { false } }.map(\.request) == [1, 2])
    }

    @Test("Words that the author marks stand in place of the clause's mark, counted from the request's beginning")
    func words() throws {
        let (session, author) = try open()
        session.speak(1, "a b.")
        session.speak(1, "c d.", last: true)
        // Before its turn: kept in its place behind the audio.
        author.clauses[1].emit([3, 3], rateHz: 8000)
        author.clauses[1].mark(2..<4, samples: 1..<2)
        author.clauses[1].finish()
        author.clauses[0].emit([1, 1, 1], rateHz: 8000)
        author.clauses[0].mark(0..<1, samples: 0..<2)
        author.clauses[0].mark(2..<4, samples: 2..<3)
        author.clauses[0].finish()
        author.clauses[0].mark(2..<4, samples: 2..<3)
        #expect(
            session.kinds.dropFirst() == [
                .audio(samples: [1, 1, 1], rateHz: 8000, position: 0), .mark(text: 0..<1, audio: 0..<2),
                .mark(text: 2..<4, audio: 2..<3), .audio(samples: [3, 3], rateHz: 8000, position: 3),
                .mark(text: 6..<8, audio: 4..<5), .spoken(reason: Int(VC_TTS_COMPLETE), samples: 5),
            ])
    }

    @Test("Blank text is not spoken, and an empty last piece ends the request")
    func blank() throws {
        let (session, author) = try open()
        session.speak(1, "  \n", last: true)
        #expect(session.kinds == [.ready, .spoken(reason: Int(VC_TTS_COMPLETE), samples: 0)])
        session.speak(2, "a")
        session.speak(2, "", last: true)
        #expect(author.clauses.count == 1)
        author.clauses[0].emit([1], rateHz: 8000)
        author.clauses[0].finish()
        #expect(session.kinds.last == .spoken(reason: Int(VC_TTS_COMPLETE), samples: 1))
    }

    @Test("A cancel ends every request once, and what comes after it is complete")
    func cancel() throws {
        let (session, author) = try open()
        session.speak(1, "a.")
        session.speak(1, "b.", last: true)
        session.speak(2, "c.")
        author.clauses[0].emit([1, 1], rateHz: 8000)
        author.clauses[1].emit([2], rateHz: 8000)
        session.cancel(2)
        session.speak(3, "d.", epoch: 2, last: true)
        #expect(author.clauses.prefix(3).allSatisfy { $0.isFinished })
        author.clauses[3].emit([4], rateHz: 8000)
        author.clauses[3].finish()
        #expect(
            session.kinds == [
                .ready, .audio(samples: [1, 1], rateHz: 8000, position: 0),
                .spoken(reason: Int(VC_TTS_CANCELED), samples: 2), .spoken(reason: Int(VC_TTS_CANCELED), samples: 0),
                .canceled,
                .audio(samples: [4], rateHz: 8000, position: 0), .mark(text: 0..<2, audio: 0..<1),
                .spoken(reason: Int(VC_TTS_COMPLETE), samples: 1),
            ])
    }

    @Test("Audio without credit waits in order; the bound holds, and room is announced")
    func credit() throws {
        let (session, author) = try open()
        session.speak(1, "a.", last: true)
        session.object.credit = 1
        let second = (0..<8000).map { Int16($0) }
        author.clauses[0].emit(second, rateHz: 8000)
        #expect(audio(session) == Array(second.prefix(800)))
        var taken = 1
        while author.clauses[0].emit(second, rateHz: 8000) == .accepted { taken += 1 }
        #expect((4 << 20) / 16000...(4 << 20) / 16000 + 2 ~= taken)
        session.unlimitedCredit()
        #expect(author.credits == 1)
        author.clauses[0].finish()
        #expect(audio(session).count == taken * 8000)
        #expect(session.kinds.last == .spoken(reason: Int(VC_TTS_COMPLETE), samples: UInt64(taken * 8000)))
    }

    @Test("An outlet keeps what a vendor pushes, in order, with the end behind it, until there is room")
    func outlet() throws {
        let (session, author) = try open()
        session.speak(1, "a b.", last: true)
        let outlet = ClauseOutlet(author.clauses[0], samplesMax: 4_000_000)
        session.object.credit = 1
        // More than the kit's own outbox holds.
        let second = (0..<8000).map { Int16($0) }
        for _ in 0..<300 { #expect(outlet.say(second, rateHz: 8000) == .open) }
        #expect(outlet.mark(0..<1, samples: 0..<80) == .open)
        #expect(outlet.end() == .open)
        session.unlimitedCredit()
        while outlet.handOver() == .open {}
        #expect(audio(session).count == 300 * 8000)
        #expect(
            session.kinds.suffix(2) == [
                .mark(text: 0..<1, audio: 0..<80), .spoken(reason: Int(VC_TTS_COMPLETE), samples: 300 * 8000),
            ])
        session.speak(2, "c.", last: true)
        let endless = ClauseOutlet(author.clauses[1], samplesMax: 10)
        #expect(endless.say([1], rateHz: 8000) == .open)
        #expect(endless.say([Int16](repeating: 1, count: 10), rateHz: 8000) == .overflown)
        session.cancel(2)
        session.object.fireTimers()
        #expect(endless.say([], rateHz: 8000) == .overflown)
        let unwanted = ClauseOutlet(author.clauses[1])
        #expect(unwanted.say([1], rateHz: 8000) == .unwanted)
    }

    @Test("A clause that fails ends its request, and the voice says the next one")
    func failure() throws {
        let (session, author) = try open()
        session.speak(9, "a.")
        session.speak(9, "b.", last: true)
        session.speak(10, "c.", last: true)
        author.clauses[0].fail(PluginError(.vendor, "no voice"))
        guard case .error(_, "no voice", false, _, _, _) = session.kinds[1] else { Issue.record("no error"); return }
        #expect(session.object.events[1].request == 9)
        // The other clause of the failed request is not said any more.
        #expect(author.clauses[1].emit([1], rateHz: 8000) == .canceled)
        author.clauses[2].emit([1, 2], rateHz: 8000)
        author.clauses[2].finish()
        #expect(session.kinds.last == .spoken(reason: Int(VC_TTS_COMPLETE), samples: 2))
        #expect(session.object.events.last?.request == 10)
    }

    @Test("A request that the host left open ends when the next begins")
    func leftOpen() throws {
        let (session, author) = try open()
        session.speak(1, "a.")
        session.speak(2, "b.", last: true)
        author.clauses[0].finish()
        author.clauses[1].finish()
        #expect(session.object.events.dropFirst().map(\.request) == [1, 2])
        #expect(session.object.log.count == 1)
    }
}

@Suite("Events that wait for credit")
struct OutboxTests {
    @Test("Items come out in the order in which they went in, whatever is removed between")
    func order() {
        var outbox = Outbox<Int>()
        var next = 0
        var expected = 0
        for step in 0..<2000 {
            outbox.append(next, bytes: 1)
            next += 1
            if step % 3 != 0 {
                #expect(outbox.first == expected)
                outbox.removeFirst()
                expected += 1
            }
            #expect(outbox.count == next - expected && outbox.bytes == next - expected)
        }
        outbox.removeAll { $0 % 2 == 0 }
        #expect(outbox.count == (next - expected) / 2 || outbox.count == (next - expected + 1) / 2)
        #expect(outbox.first! % 2 == 1)
    }

    @Test("It is full at its bound of bytes and of items")
    func bounds() {
        var outbox = Outbox<Int>()
        outbox.append(0, bytes: Outbox<Int>.bytesMax - 1)
        #expect(!outbox.isFull)
        outbox.append(1, bytes: 1)
        #expect(outbox.isFull)
        outbox.removeFirst()
        for index in 0..<Outbox<Int>.itemsMax { outbox.append(index, bytes: 0) }
        #expect(outbox.isFull)
    }
}
