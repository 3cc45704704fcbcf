// What the kit promises the host for every session, whatever an author writes.

import PluginABI
import Testing

@testable import PluginKit

@Suite("The kit keeps the contract of a session")
struct ContractTests {
    private func llm(epoch: UInt64 = 1, config: String = "{}") throws -> (ScriptedSession, HandLLMSession) {
        let session = try ScriptedProvider(handPlugin.get(), 1).open(rateHz: 0, epoch: epoch, config: config)
        return (session, try #require(Hands.session(session.object.handle)))
    }

    @Test("A host older than the first version is refused")
    func oldHost() {
        var module: UnsafePointer<vc_module>?
        #expect(Plugin.export(HandLLM.self, ScriptedHost.tooOld, &module) == vc_status(VC_E_UNSUPPORTED))
        #expect(module == nil)
    }

    @Test("A plugin hands out its providers in their order, with kind and id")
    func providers() throws {
        let providers = try handPlugin.get().providers
        #expect(providers.map { text($0.kind) } == [VC_KIND_STT, VC_KIND_LLM, VC_KIND_TTS])
        #expect(providers.map { text($0.id) } == ["test.stt", "test.llm", "test.tts"])
    }

    @Test("A wrong setting refuses the provider, in the author's words")
    func wrongSetting() throws {
        let plugin = try handPlugin.get()
        #expect {
            try ScriptedProvider(plugin, 0, config: #"{"url":"bad"}"#)
        } throws: {
            $0 as? Refusal
                == Refusal(
                    status: vc_status(VC_E_CONFIG),
                    message: "`url` is \"bad\", which is no address; write http://host:port")
        }
    }

    @Test("A configuration that is no JSON is refused and not trusted")
    func brokenConfiguration() throws {
        let plugin = try handPlugin.get()
        #expect(throws: Refusal.self) { try ScriptedProvider(plugin, 1, config: "{") }
        #expect(throws: Refusal.self) { try ScriptedProvider(plugin, 1, config: "[]") }
    }

    @Test("READY comes once, and later when the author says so")
    func ready() throws {
        let (session, author) = try llm()
        author.host.ready()
        #expect(session.kinds == [.ready])
        let (late, lateAuthor) = try llm(config: #"{"late":true}"#)
        #expect(late.kinds == [])
        lateAuthor.host.ready()
        #expect(late.kinds == [.ready])
    }

    @Test("CLOSED is the last event, exactly once, and ends what is under way")
    func closed() throws {
        let (session, author) = try llm()
        session.ask(1, "[]")
        let exchange = try author.host.http.start(HTTPRequest("GET", "http://127.0.0.1/")) { _ in
            Issue.record("called back")
        }
        author.host.timers.after(10) { Issue.record("fired") }
        session.close()
        session.close()
        #expect(session.kinds == [.ready, .closed])
        #expect(!exchange.isUnderWay)
        #expect(session.object.exchanges[0].isCanceled)
        // Nothing that comes late is heard, on either side.
        session.object.exchanges[0].answer(200, "late")
        session.object.fireTimers()
        #expect(author.questions[0].emit(.delta("late")) == .canceled)
        author.host.fail(PluginError(.internal, "late"))
        session.cancel(9)
        session.object.fireTimers()
        #expect(session.ask(2, "[]") == vc_status(VC_E_CLOSED))
        #expect(session.kinds == [.ready, .closed])
    }

    @Test("destroy frees the author's session, also one that was never closed")
    func destroyed() throws {
        let provider = try ScriptedProvider(handPlugin.get(), 1)
        for isClosed in [true, false] {
            let session = try provider.open()
            let handle = session.object.handle
            do {
                let author: HandLLMSession = try #require(Hands.session(handle))
                session.ask(1, "[]")
                // A cycle, as authors write them.
                try author.host.http.start(HTTPRequest("GET", "http://127.0.0.1/")) { _ in author.cancels += 1 }
                author.host.timers.after(10) { author.cancels += 1 }
            }
            if isClosed { session.close() }
            session.destroy()
            #expect(Hands.session(handle) as HandLLMSession? == nil)
            session.object.exchanges[0].answer(200, "late")
            session.object.fireTimers()
        }
        provider.destroy()
    }

    @Test("A cancel is acknowledged once, after the answers that it ends")
    func canceled() throws {
        let (session, author) = try llm()
        session.ask(1, "[]")
        session.cancel(5)
        session.cancel(5)
        session.cancel(3)
        #expect(author.cancels == 0, "the author is not called in the middle of something else")
        session.object.fireTimers()
        #expect(session.object.events.map(\.kind) == [.ready, .answered(Int(VC_LLM_CANCELED)), .canceled])
        #expect(session.object.events.last?.epoch == 5)
        #expect(author.cancels == 1)
        #expect(author.questions[0].emit(.delta("late")) == .canceled)
        session.object.fireTimers()
        #expect(session.kinds.count == 3)
    }

    @Test("A cancel is carried out before the next request, also when no timer has fired")
    func cancelThenAsk() throws {
        let (session, author) = try llm()
        session.cancel(2)
        #expect(session.ask(7, "[]", epoch: 1) == vc_status(VC_E_CANCELED))
        #expect(session.ask(8, "[]", epoch: 2) == vc_status(VC_OK))
        author.questions[0].finish(.stop)
        #expect(session.kinds == [.ready, .canceled, .answered(Int(VC_LLM_STOP))])
        session.object.fireTimers()
        #expect(session.kinds.count == 3)
    }

    @Test("A cancel ends the HTTP exchanges of older epochs, and not one that survives it")
    func cancelEndsExchanges() throws {
        let (session, author) = try llm()
        let mortal = try author.host.http.start(HTTPRequest("GET", "http://127.0.0.1/a")) { _ in
            Issue.record("called back")
        }
        var request = HTTPRequest("GET", "http://127.0.0.1/b")
        request.survivesCancel = true
        var heard = 0
        let survivor = try author.host.http.start(request) { _ in heard += 1 }
        #expect(session.object.exchanges.map(\.epoch) == [1, .max])
        session.cancel(2)
        // The answer arrives before the timer: the cancel is carried out first, all the same.
        session.object.exchanges[0].respond(200)
        #expect(!mortal.isUnderWay && survivor.isUnderWay)
        session.object.exchanges[1].answer(200, "x")
        #expect(heard == 3)
        #expect(session.kinds == [.ready, .canceled])
    }

    @Test("A cancel that comes in the middle of a call stops the very next event")
    func canceledInTheMiddle() throws {
        let (session, author) = try llm()
        session.ask(1, "[]")
        #expect(author.questions[0].emit(.delta("a")) == .accepted)
        session.cancel(2)
        #expect(author.questions[0].emit(.delta("b")) == .canceled)
        #expect(session.kinds == [.ready, .delta("a")])
    }

    @Test("A host that answers CANCELED is heard without any cancel")
    func canceledByAnswer() throws {
        let (session, author) = try llm()
        session.ask(1, "[]")
        session.object.answer = vc_status(VC_E_CANCELED)
        #expect(author.questions[0].emit(.delta("a")) == .canceled)
    }

    @Test("A host that answers STALE is not called again")
    func stale() throws {
        let (session, author) = try llm()
        session.ask(1, "[]")
        session.object.answer = vc_status(VC_E_STALE)
        #expect(author.questions[0].emit(.delta("a")) == .gone)
        session.object.answer = nil
        #expect(author.questions[0].emit(.delta("b")) == .gone)
        session.close()
        #expect(session.kinds == [.ready])
    }

    @Test("After a fatal error there is nothing but CLOSED")
    func fatal() throws {
        let (session, author) = try llm()
        author.host.fail(PluginError(.vendor, "it broke", retryAfterMs: 70, protocolStatus: 503, vendorCode: "x1"))
        author.host.fail(PluginError(.vendor, "again"))
        author.host.ready()
        session.cancel(2)
        session.object.fireTimers()
        session.close()
        #expect(
            session.kinds == [
                .ready,
                .error(
                    code: vc_status(VC_E_VENDOR), message: "it broke", isFatal: true, retryAfterMs: 70, status: 503,
                    vendorCode: "x1"),
                .canceled, .closed,
            ])
    }

    @Test("Without credit events wait in order, and go out when there is room")
    func credit() throws {
        let (session, author) = try llm()
        session.ask(1, "[]")
        session.object.credit = 1
        for word in ["a", "b", "c"] { #expect(author.questions[0].emit(.delta(word)) == .accepted) }
        author.questions[0].finish(.stop)
        #expect(session.kinds == [.ready, .delta("a")])
        session.credit(1)
        #expect(session.kinds == [.ready, .delta("a"), .delta("b")])
        session.unlimitedCredit()
        #expect(session.kinds.suffix(2) == [.delta("c"), .answered(Int(VC_LLM_STOP))])
        #expect(author.credits == 0, "the author was never told that there is no room")
    }

    @Test("A stream without end is refused at the bound, and the author hears when there is room")
    func bound() throws {
        let (session, author) = try llm()
        session.ask(1, "[]")
        session.object.credit = 0
        let megabyte = String(repeating: "x", count: 1 << 20)
        var taken = 0
        while author.questions[0].emit(.delta(megabyte)) == .accepted { taken += 1 }
        #expect(taken == 4)
        #expect(author.credits == 0)
        session.unlimitedCredit()
        #expect(author.credits == 1)
        #expect(session.kinds.count == 1 + taken)
    }

    @Test("What waits for credit is dropped by a cancel")
    func canceledWhileStarved() throws {
        let (session, author) = try llm()
        session.ask(1, "[]")
        session.object.credit = 0
        author.questions[0].emit(.delta("old"))
        session.cancel(2)
        session.unlimitedCredit()
        #expect(session.kinds == [.ready, .answered(Int(VC_LLM_CANCELED)), .canceled])
    }

    @Test("Declined after a delta is the plugin's fault, and ends the answer as it is")
    func declinedTooLate() throws {
        let (session, author) = try llm()
        session.ask(1, "[]")
        author.questions[0].emit(.delta("a"))
        author.questions[0].emit(.delta(""))
        author.questions[0].finish(.declined)
        author.questions[0].finish(.stop)
        #expect(session.kinds == [.ready, .delta("a"), .answered(Int(VC_LLM_STOP))])
        #expect(session.object.log.contains { $0.hasPrefix("declined after the first delta") })
    }

    @Test("Questions past the bound are answered AGAIN")
    func tooManyQuestions() throws {
        let (session, _) = try llm()
        let answers = (1...9).map { session.ask($0, "[]") }
        #expect(answers == Array(repeating: vc_status(VC_OK), count: 8) + [vc_status(VC_E_AGAIN)])
    }

    @Test("A task's result comes back on the session's own turn")
    func task() throws {
        let (session, author) = try llm()
        var result = 0
        try author.host.tasks.run({ 6 * 7 }, then: { result = $0 })
        #expect(result == 0)
        session.object.fireTimers()
        #expect(result == 42)
    }

    @Test("A timer fires once, and not when it was canceled; 64 are too many")
    func timers() throws {
        let (session, author) = try llm()
        var fired: [Int] = []
        author.host.timers.after(20) { fired.append(20) }
        author.host.timers.after(10) { fired.append(10) }
        author.host.timers.after(15) { fired.append(15) }?.cancel()
        #expect(session.object.timers.map(\.atNs) == [1_020_000_000, 1_010_000_000, 1_015_000_000])
        session.object.fireTimers()
        session.object.fireTimers()
        #expect(fired == [10, 20])
        let armed = (0..<70).map { _ in author.host.timers.after(1) {} }
        #expect(armed.count { $0 != nil } == 63)
    }

    @Test("A secret is lent, and a missing one is said to be missing")
    func secrets() throws {
        let (_, author) = try llm()
        var length = 0
        #expect(author.host.secrets.with("KEY") { length = $0.count })
        #expect(length == 11)
        #expect(!author.host.secrets.with("OTHER") { _ in Issue.record("lent") })
    }
}
