import Glibc
import PluginABI
import Synchronization
import Testing

@Suite("flite")
struct FliteTests {
    private func withSession(
        speed: Double? = nil, _ body: (SessionUnderTest) throws -> Void
    ) throws {
        let plugin = try PluginUnderTest("TTSFlite")
        let provider = try plugin.makeProvider(numbers: ["speed": 1])
        defer { provider.destroy() }
        try provider.start()
        try #require(provider.object.wait(for: Int(VC_EVENT_READY)), "\(provider.object.events)")
        let session = try provider.openSession(rateHz: 8000, numbers: speed.map { ["speed": $0] } ?? [:])
        try body(session)
        session.close()
    }

    private func spoken(_ session: SessionUnderTest, request: UInt64 = 1) -> [Int16] {
        session.object.events.filter { $0.type == Int(VC_EVENT_AUDIO) && $0.request == request }.flatMap(\.audio)
    }

    private func done(_ session: SessionUnderTest, count: Int = 1) throws -> [RecordedEvent] {
        try #require(session.object.wait(for: Int(VC_EVENT_TTS_DONE), count: count), "\(session.object.events)")
        return session.object.events.filter { $0.type == Int(VC_EVENT_TTS_DONE) }
    }

    @Test("A request in pieces is spoken in order, with frames of 100 ms, a mark for each piece and one end")
    func piecesInOrder() throws {
        try withSession { session in
            #expect(session.speak("Good morning,", last: false) == vc_status(VC_OK))
            #expect(session.speak(" how can I help you?", last: false) == vc_status(VC_OK))
            #expect(session.speak("", last: true) == vc_status(VC_OK))
            let end = try done(session)
            #expect(end.map(\.reason) == [UInt32(VC_TTS_COMPLETE)])
            let events = session.object.events
            let marks = events.filter { $0.type == Int(VC_EVENT_MARK) }
            #expect(marks.map(\.textStart) == [0, 13] && marks.map(\.textEnd) == [13, 33])
            #expect(marks[0].position == 0 && marks[0].end == marks[1].position && marks[1].end == end[0].end)
            var position: UInt64 = 0
            for frame in events where frame.type == Int(VC_EVENT_AUDIO) {
                #expect(frame.position == position && frame.audio.count <= 800 && !frame.audio.isEmpty)
                position += UInt64(frame.audio.count)
            }
            #expect(position == end[0].end && position > 8000)
            #expect(spoken(session).contains { abs(Int($0)) > 2000 })
        }
    }

    @Test("Speech begins within 60 ms of the first sample, because the pause in front is cut")
    func beginsAtOnce() throws {
        try withSession { session in
            _ = session.speak("Hello.")
            _ = try done(session)
            let first = try #require(spoken(session).firstIndex { abs(Int($0)) > 300 })
            #expect(first < 480)
        }
    }

    @Test("Without credit nothing is lost, and it goes on with the event that was refused")
    func credit() throws {
        try withSession { session in
            _ = session.speak("One two three four five six seven.")
            let all = try done(session)[0].end
            session.object.state.withLock { $0.events = []; $0.credit = 3 }
            _ = session.speak("One two three four five six seven.", request: 2)
            #expect(session.object.wait(for: Int(VC_EVENT_AUDIO), count: 2))
            usleep(50_000)
            #expect(session.object.events.count == 3)
            session.credit(events: 2)
            #expect(session.object.wait(for: Int(VC_EVENT_AUDIO), count: 4))
            session.credit(events: 1000)
            _ = try done(session)
            #expect(UInt64(spoken(session, request: 2).count) == all)
        }
    }

    @Test("A cancel ends what is under way and what waits, and a new epoch speaks at once")
    func cancel() throws {
        try withSession { session in
            session.object.state.withLock { $0.credit = 2 }
            _ = session.speak("This is a long sentence that nobody wants to hear to its end.", request: 1, epoch: 1)
            _ = session.speak("Nor this one.", request: 2, epoch: 1)
            #expect(session.object.wait(for: Int(VC_EVENT_AUDIO)))
            session.cancel(epoch: 2)
            session.object.state.withLock { $0.credit = nil }
            #expect(session.object.wait(for: Int(VC_EVENT_CANCELED)))
            #expect(session.speak("Too late.", request: 3, epoch: 1) == vc_status(VC_E_CANCELED))
            #expect(session.speak("Hello.", request: 4, epoch: 2) == vc_status(VC_OK))
            _ = try done(session)
            let events = session.object.events
            let canceled = try #require(events.firstIndex { $0.type == Int(VC_EVENT_CANCELED) })
            #expect(events[canceled].epoch == 2)
            #expect(events[(canceled + 1)...].allSatisfy { $0.request == 4 && $0.epoch == 2 })
            #expect(events[..<canceled].filter { $0.type == Int(VC_EVENT_AUDIO) }.count == 1)
        }
    }

    @Test("A cancel of an idle session is answered, once for each epoch")
    func cancelIdle() throws {
        try withSession { session in
            session.cancel(epoch: 5)
            #expect(session.object.wait(for: Int(VC_EVENT_CANCELED)))
            session.cancel(epoch: 5)
            session.cancel(epoch: 4)
            usleep(20_000)
            #expect(session.object.events.map(\.type) == [VC_EVENT_READY, VC_EVENT_CANCELED])
            #expect(session.object.events.last?.epoch == 5)
        }
    }

    @Test("Turkish is spoken by the letters that sound like it, and another script is silence and no error")
    func otherLetters() throws {
        try withSession { session in
            _ = session.speak("Çağrınız için teşekkürler.", request: 1)
            _ = session.speak("Chaghriniz ichin teshekkurler.", request: 2)
            _ = session.speak("Спасибо", request: 3)
            _ = session.speak("\u{fffd}…", request: 4)
            let ends = try done(session, count: 4)
            #expect(ends[0].end > 8000 && ends[0].end == ends[1].end)
            #expect(ends[2].end == 0 && ends[3].end == 0)
            #expect(session.object.events.allSatisfy { $0.type != Int(VC_EVENT_ERROR) })
        }
    }

    @Test("Bytes that are not UTF-8 are passed over")
    func brokenText() throws {
        try withSession { session in
            let bytes: [CChar] = [72, 105, -1, -61, 32, -30, -126]  // "Hi", and characters that stop half-way
            let ops = session.session.kind_ops!.assumingMemoryBound(to: vc_tts_ops.self)
            let status = bytes.withUnsafeBufferPointer {
                ops.pointee.speak!(
                    session.session.state, 1, 0, vc_str(data: $0.baseAddress, length: 7), UInt32(VC_TTS_LAST))
            }
            #expect(status == vc_status(VC_OK))
            let end = try done(session)[0].end
            #expect(end > 1000)
        }
    }

    @Test("A text of many sentences is spoken clause by clause, and every byte of it is marked")
    func longText() throws {
        try withSession { session in
            let text = String(repeating: "The office is open from nine to five. ", count: 40)
            _ = session.speak(text)
            _ = try done(session)
            let marks = session.object.events.filter { $0.type == Int(VC_EVENT_MARK) }
            #expect(marks.count >= 5)
            #expect(marks.first?.textStart == 0 && marks.last?.textEnd == UInt64(text.utf8.count))
            for (mark, next) in zip(marks, marks.dropFirst()) {
                #expect(mark.textEnd == next.textStart && mark.end == next.position)
            }
        }
    }

    @Test("The speed of a session shortens or stretches its speech", arguments: [0.5, 2.0])
    func speed(speed: Double) throws {
        var normal: UInt64 = 0
        try withSession { session in
            _ = session.speak("The office is open from nine to five.")
            normal = try done(session)[0].end
        }
        try withSession(speed: speed) { session in
            _ = session.speak("The office is open from nine to five.")
            let ratio = Double(normal) / Double(try done(session)[0].end)
            #expect(abs(ratio / speed - 1) < 0.2)
        }
    }

    @Test("A speed that cannot be spoken, and a rate that the voice has not, are refused")
    func refuses() throws {
        let plugin = try PluginUnderTest("TTSFlite")
        #expect(throws: PluginRefusal(code: vc_status(VC_E_CONFIG), message: "`speed` must lie between 0.5 and 2")) {
            try plugin.makeProvider(numbers: ["speed": 3])
        }
        let provider = try plugin.makeProvider()
        defer { provider.destroy() }
        #expect(throws: PluginRefusal.self) { try provider.openSession(rateHz: 16000) }
    }

    @Test("More pieces than 64 are not taken, and those before are spoken")
    func bound() throws {
        try withSession { session in
            session.object.state.withLock { $0.credit = 0 }
            var taken = 0
            while taken < 100, session.speak("Yes.", request: UInt64(taken + 1)) == vc_status(VC_OK) { taken += 1 }
            #expect((64...66).contains(taken))
            session.credit(events: 10_000)
            let ends = try done(session, count: taken)
            #expect(ends.count == taken)
        }
    }

    @Test("Twenty calls at once each get the same speech")
    func manyCalls() throws {
        let plugin = try PluginUnderTest("TTSFlite")
        let provider = try plugin.makeProvider()
        defer { provider.destroy() }
        let sessions = try (0..<20).map { _ in try provider.openSession(rateHz: 8000) }
        for session in sessions {
            #expect(session.speak("Your call is important.", last: false) == vc_status(VC_OK))
            #expect(session.speak(" Please hold the line.") == vc_status(VC_OK))
        }
        for session in sessions { _ = try done(session) }
        #expect(Set(sessions.map { spoken($0) }).count == 1)
        for session in sessions { session.close() }
    }

    @Test("A close in the middle of a sentence ends with CLOSED and nothing after it")
    func closeWhileSpeaking() throws {
        for _ in 0..<5 {
            try withSession { session in
                for request in 1...10 { _ = session.speak("The office is open until five.", request: UInt64(request)) }
                usleep(3000)
            }
        }
    }
}
