import Glibc
import JSON
import Testing

@testable import Calls
@testable import Providers

@Suite("The example that authors copy") struct ExampleTTSTests {
    let workshop = Workshop()
    private static let folder = Workshop.repository + "/Plugins/ExampleTTS"

    /// As its README says, word for word but for the paths.
    private func build() throws {
        let status = run([
            "/usr/bin/cc", "-std=c11", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-shared", "-fPIC", "-O2",
            "-fvisibility=hidden",
            "-I", Workshop.headers, Self.folder + "/example_tts.c", "-o", workshop.plugins + "/example-tts.so",
        ])
        try #require(status == 0)
        chmod(workshop.plugins + "/example-tts.so", 0o755)
    }

    private func voice() throws -> (ProviderInstance, any TextToSpeechSession, Caller) {
        try build()
        let plugin = try #require(try workshop.registry().plugin(named: "example-tts"))
        let instance = try plugin.running("tts.example")
        let caller = Caller()
        guard case .textToSpeech(let session) = try instance.open(.textToSpeech, caller) else {
            throw Unexpected("another kind")
        }
        return (instance, session, caller)
    }

    @Test("Its manifest stands in the file and equals manifest.json")
    func manifest() throws {
        try build()
        let elf = try ELFFile(#require(readWholeFile(workshop.plugins + "/example-tts.so")))
        let inside = try JSONValue(parsing: String(decoding: #require(try elf.manifestText()), as: UTF8.self))
        let beside = try JSONValue(
            parsing: String(decoding: #require(readSmallFile(Self.folder + "/manifest.json")), as: UTF8.self))
        #expect(inside == beside)
    }

    @Test("A request is answered by audio, a mark for each word, and one end")
    func speaks() throws {
        let (instance, session, caller) = try voice()
        let ticket = Ticket(epoch: 0, request: 7)
        session.speak(ticket, text: "two words", last: true)
        try caller.wait("done") { caller in
            caller.events.contains { if case .speech(ticket, .done) = $0 { true } else { false } } ? true : nil
        }
        #expect(caller.audio.map(\.samples.count) == [2_000, 2_000])
        #expect(caller.audio.allSatisfy { $0.ticket == ticket && $0.samples.contains { abs($0) > 5_000 } })
        let marks = caller.events.compactMap { if case .speech(_, .mark(let mark)) = $0 { mark } else { nil } }
        #expect(
            marks == [
                SpeechMark(textStart: 0, textEnd: 3, position: 0, end: 2_000),
                SpeechMark(textStart: 4, textEnd: 9, position: 2_000, end: 4_000),
            ])
        session.close()
        try waitUntil("the session's end") { instance.sessionCount == 0 }
        #expect(instance.faults.total == 0)
        #expect(instance.destroy())
    }

    @Test("Without a call a text is heard whole, one that does not end is stopped, and the next one is heard again")
    func trial() throws {
        try build()
        let instance = try #require(try workshop.registry().plugin(named: "example-tts")).running("tts.example")
        let trial = try TextToSpeechTrial(instance, voice: "", language: "en")
        for text in ["two words", "two"] {
            let spoken = try trial.speak(text, timeoutMs: 5_000)
            #expect(spoken.sampleRateHz == 16_000)
            #expect(spoken.samples.count == 4_000 * text.split(separator: " ").count)
            #expect(spoken.samples.contains { abs($0) > 5_000 })
        }
        let endless = String(repeating: "a ", count: 300)
        #expect(throws: ProviderFailure.self) { try trial.speak(endless, timeoutMs: 5_000) }
        #expect(try trial.speak("again", timeoutMs: 5_000).samples.count == 4_000)
        trial.close()
        try waitUntil("the session's end") { instance.sessionCount == 0 }
        // The bells of a minute, rung within one call, may take longer than a call should.
        #expect(instance.faults.total == instance.faults.count(of: .slowCall))
        #expect(instance.destroy())
    }

    @Test("Two seconds ahead it stops, and credit lets it go on where it was")
    func credit() throws {
        let (instance, session, caller) = try voice()
        session.speak(Ticket(epoch: 0, request: 1), text: "a b c d e f g h i j k l", last: true)
        caller.take()
        #expect(caller.audio.count == 8)  // of 250 ms
        caller.mailbox.released(samples: 4_000)
        session.credit(samples: 4_000)
        caller.take()
        #expect(caller.audio.count == 10)
        caller.mailbox.released(samples: 16_000)
        session.credit(samples: 16_000)
        caller.take()
        #expect(caller.audio.count == 12)
        let marks = caller.events.compactMap { if case .speech(_, .mark(let mark)) = $0 { mark.position } else { nil } }
        #expect(marks == (0..<12).map { $0 * 2_000 })
        session.close()
        try waitUntil("the session's end") { instance.sessionCount == 0 }
        #expect(instance.faults.total == 0)
    }

    @Test("A new epoch ends the old request, and the next one speaks at once")
    func cancel() throws {
        let (instance, session, caller) = try voice()
        session.speak(Ticket(epoch: 0, request: 1), text: "a b c d e f g h i j k l", last: true)
        caller.take()
        caller.mailbox.advance(to: 1)
        session.cancel(olderThan: 1)
        session.speak(Ticket(epoch: 1, request: 2), text: "new", last: true)
        caller.take()
        #expect(caller.audio.last?.ticket == Ticket(epoch: 1, request: 2))
        #expect(
            !caller.events.contains {
                if case .speech(Ticket(epoch: 0, request: 1), .done) = $0 { true } else { false }
            })
        session.close()
        try waitUntil("the session's end") { instance.sessionCount == 0 }
        #expect(instance.faults.total == 0)
    }
}
