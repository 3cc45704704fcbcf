import Glibc
import JSON
import PluginABI
import Testing

@testable import Calls
@testable import Providers

@Suite("A plugin in a worker", .serialized) struct WorkerLineTests {
    let workshop = Workshop()

    private func voice(_ product: String = "ExampleTTS") throws -> (ProviderInstance, any TextToSpeechSession, Caller) {
        let instance = try workshop.foreign(product).working("tts.far")
        let caller = Caller()
        guard case .textToSpeech(let session) = try instance.open(.textToSpeech, caller) else {
            throw Unexpected("another kind")
        }
        return (instance, session, caller)
    }

    private func end(_ instance: ProviderInstance) throws {
        try waitUntil("the session's end") { instance.sessionCount == 0 }
        let process = try #require(instance.workerUsage).process
        #expect(isRunning(process))
        #expect(instance.faults.total == instance.faults.count(of: .slowCall))
        #expect(instance.destroy())
        try waitForProcess("the end of the worker") { !isRunning(process) }
    }

    @Test("A voice speaks from another process: audio, marks and one end, in order")
    func voiceSpeaks() throws {
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
        try end(instance)
    }

    @Test("The host takes two seconds ahead, the line half of one more, and credit lets it all come in order")
    func credit() throws {
        let (instance, session, caller) = try voice()
        session.speak(Ticket(epoch: 0, request: 1), text: "a b c d e f g h i j k l", last: true)
        try caller.wait("two seconds") { $0.audio.count >= 8 ? true : nil }
        usleep(50_000)
        caller.take()
        #expect(caller.audio.count == 8)  // of 250 ms: what the mailbox holds, whatever waits in the line
        caller.mailbox.released(samples: 16_000)
        session.credit(samples: 16_000)
        try caller.wait("the rest") { $0.audio.count == 12 ? true : nil }
        let marks = caller.events.compactMap { if case .speech(_, .mark(let mark)) = $0 { mark.position } else { nil } }
        #expect(marks == (0..<12).map { $0 * 2_000 })
        session.close()
        try end(instance)
    }

    @Test("A new epoch silences the old request at once, and the next one speaks")
    func cancel() throws {
        let (instance, session, caller) = try voice()
        session.speak(Ticket(epoch: 0, request: 1), text: "a b c d e f g h i j k l", last: true)
        try caller.wait("audio") { $0.audio.count >= 4 ? true : nil }
        caller.mailbox.advance(to: 1)
        session.cancel(olderThan: 1)
        session.speak(Ticket(epoch: 1, request: 2), text: "new", last: true)
        try caller.wait("the new request") { caller in
            caller.events.contains { if case .speech(Ticket(epoch: 1, request: 2), .done) = $0 { true } else { false } }
                ? true : nil
        }
        #expect(caller.audio.last?.ticket == Ticket(epoch: 1, request: 2))
        #expect(
            !caller.events.contains {
                if case .speech(Ticket(epoch: 0, request: 1), .done) = $0 { true } else { false }
            })
        session.close()
        try end(instance)
    }

    @Test("A recogniser written in Swift hears through the line and answers")
    func recogniser() throws {
        let instance = try workshop.foreign("InstantSTT").working("stt.far", settings: ["text": "hello there"])
        let caller = Caller()
        guard case .speechToText(let session) = try instance.open(.speechToText, caller) else {
            throw Unexpected("another kind")
        }
        session.begin(at: 1_000)
        let frame = [Int16](repeating: 3_000, count: 160)
        for index in 0..<50 {
            _ = frame.withUnsafeBufferPointer { session.push($0, at: 1_000 + UInt64(index) * 160) }
        }
        session.finalize(request: 9, tentative: false)
        try caller.wait("the end") { caller in
            caller.events.contains { if case .finalized(9) = $0 { true } else { false } } ? true : nil
        }
        let words = caller.events.compactMap { if case .transcript(let words) = $0 { words } else { nil } }
        #expect(words.last?.text == "hello there")
        #expect(words.last?.isFinal == true)
        #expect(words.last?.start == 1_000)
        #expect(words.last?.end == 9_000)
        session.close()
        try end(instance)
    }

    @Test("A language model written in Swift is asked and answers through the line")
    func languageModel() throws {
        let instance = try workshop.foreign("InstantLLM").working("llm.far", settings: ["reply": "Fine, thank you."])
        let caller = Caller()
        guard case .languageModel(let session) = try instance.open(.languageModel, caller) else {
            throw Unexpected("another kind")
        }
        let ticket = Ticket(epoch: 0, request: 3)
        session.request(
            LanguageModelRequest(ticket: ticket, messages: [Message(.caller, "How are you?")], speculative: false))
        try caller.wait("the end") { caller in
            caller.events.contains { if case .languageModel(ticket, .done(.stop)) = $0 { true } else { false } }
                ? true : nil
        }
        let text = caller.events.compactMap { if case .languageModel(_, .delta(let text)) = $0 { text } else { nil } }
        #expect(text.joined() == "Fine, thank you.")
        session.close()
        try end(instance)
    }

    @Test("What was dropped in is never opened by the host, and what an operator wants in process is")
    func isolation() throws {
        func isMapped(_ path: String) -> Bool {
            String(decoding: readSmallFile("/proc/self/maps") ?? [], as: UTF8.self).contains(path)
        }
        let plugin = try workshop.foreign("ExampleTTS")
        #expect(!plugin.isShipped)
        #expect(plugin.defaultIsolation == .worker)
        let far = try plugin.working("tts.far")
        #expect(!isMapped(plugin.loadedPath))
        let process = try #require(far.workerUsage).process
        let theirs = String(decoding: readSmallFile("/proc/\(process)/maps") ?? [], as: UTF8.self)
        #expect(theirs.contains(plugin.loadedPath))
        let near = try plugin.running("tts.near")
        #expect(isMapped(plugin.loadedPath))
        #expect(near.workerUsage == nil)
        #expect(far.destroy())
        #expect(near.destroy())
    }
}
