// STTFasterWhisper, LLMOpenAI and TTSPiper, loaded from their libraries, against a scripted server.

import PluginABI
import Testing

@Suite("LLMOpenAI against a scripted server")
struct LLMOpenAITests {
    private let question = #"[{"role":"user","content":"hi"}]"#
    private func open(_ config: String = "{}") throws -> ScriptedSession {
        try ScriptedProvider(LoadedPlugin(library: "LLMOpenAI"), config: config).open(rateHz: 0)
    }

    @Test("It warms its connection, asks once, and streams the answer")
    func answer() throws {
        let session = try open(
            #"{"url":"http://127.0.0.1:1/v1/","model":"m","api_key":"${secret:LLM_API_KEY}","max_tokens":9}"#)
        #expect(session.object.prewarmedURLs == ["http://127.0.0.1:1/v1/chat/completions"])
        session.ask(5, question)
        let exchange = session.object.exchanges[0]
        #expect(exchange.headers["authorization"] == "Bearer ${secret:LLM_API_KEY}")
        #expect(
            exchange.bodyText
                == #"{"max_tokens":9,"model":"m","stream":true,"stream_options":{"include_usage":true},"messages":\#(question)}"#
        )
        exchange.respond(200, [("content-type", "text/event-stream")])
        // A character of two bytes, cut in the middle.
        let stream = Array("data: {\"choices\":[{\"delta\":{\"content\":\"ğü\"}}]}\n\ndata: [DONE]\n\n".utf8)
        let cut = stream.firstIndex(of: 0xC4)! + 1
        exchange.data(Array(stream[..<cut]))
        #expect(session.kinds == [.ready])
        exchange.data(Array(stream[cut...]))
        exchange.done()
        #expect(session.kinds == [.ready, .delta("ğü"), .answered(Int(VC_LLM_STOP))])
        #expect(session.object.events.last?.request == 5)
    }

    @Test("A refusal keeps the vendor's words, and costs the request and not the session")
    func refusal() throws {
        let session = try open(#"{"url":"https://api.example.com/v1","retries":0}"#)
        session.ask(5, question)
        session.object.exchanges[0].answer(
            429, #"{"error":{"message":"slow down","code":"rate_limit_exceeded"}}"#, [("Retry-After", "7")])
        #expect(
            session.kinds.last
                == .error(
                    code: vc_status(VC_E_QUOTA), message: "api.example.com answered 429: slow down", isFatal: false,
                    retryAfterMs: 7000, status: 429, vendorCode: "rate_limit_exceeded"))
    }

    @Test("It tries once more before the first word, and never after it")
    func retries() throws {
        let session = try open()
        session.ask(1, question)
        session.object.exchanges[0].answer(503, "busy")
        #expect(session.object.exchanges.count == 1)
        session.object.fireTimers()
        #expect(session.object.exchanges.count == 2)
        session.object.exchanges[1].respond(200)
        session.object.exchanges[1].data("data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n")
        session.object.exchanges[1].fail(Int(VC_E_NETWORK), "reset")
        session.object.fireTimers()
        #expect(session.object.exchanges.count == 2)
        guard case .error(vc_status(VC_E_NETWORK), _, false, _, _, _)? = session.kinds.last else {
            Issue.record("\(session.kinds)"); return
        }
    }

    @Test("A cancel closes the connection, and the next question has its own")
    func cancel() throws {
        let session = try open()
        session.ask(1, question)
        session.object.exchanges[0].respond(200)
        session.object.exchanges[0].data("data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n")
        session.cancel(2)
        session.object.exchanges[0].data("data: {\"choices\":[{\"delta\":{\"content\":\"b\"}}]}\n\n")
        #expect(session.object.exchanges[0].isCanceled)
        session.ask(2, question, epoch: 2)
        session.object.exchanges[1].answer(
            200, "data: {\"choices\":[{\"delta\":{\"content\":\"c\"},\"finish_reason\":\"stop\"}]}\n\n")
        #expect(
            session.kinds == [
                .ready, .delta("a"), .answered(Int(VC_LLM_CANCELED)), .canceled, .delta("c"),
                .answered(Int(VC_LLM_STOP)),
            ])
    }

    @Test("A wrong setting is refused with its mend")
    func settings() throws {
        let plugin = try LoadedPlugin(library: "LLMOpenAI")
        #expect(throws: Refusal.self) { try ScriptedProvider(plugin, config: #"{"url":"ftp://x"}"#) }
        #expect(throws: Refusal.self) { try ScriptedProvider(plugin, config: #"{"extra":"[1]"}"#) }
    }
}

@Suite("STTFasterWhisper against a scripted server")
struct STTFasterWhisperTests {
    private let speech = (0..<1600).map { Int16($0 % 2 == 0 ? 6000 : -6000) }
    private let silence = [Int16](repeating: 3, count: 1600)
    private func open(_ config: String = "{}", language: String = "en-US") throws -> ScriptedSession {
        try ScriptedProvider(LoadedPlugin(library: "STTFasterWhisper"), config: config).open(language: language)
    }

    @Test("It sends the samples of the utterance, bare, and answers with what the server heard")
    func raw() throws {
        let session = try open()
        session.push(silence)
        session.push(speech)
        _ = session.begin(3, 1600)
        _ = session.finalize(8, 3200)
        let exchange = session.object.exchanges[0]
        #expect(exchange.url == "http://127.0.0.1:8101/v1/audio/transcriptions?language=en")
        #expect(exchange.headers["content-type"] == "audio/L16;rate=8000;channels=1")
        #expect(
            exchange.body == speech.flatMap { [UInt8(truncatingIfNeeded: $0), UInt8(truncatingIfNeeded: $0 >> 8)] })
        exchange.answer(200, #"{"text":" Good day. ","language":"en","confidence":0.75}"#)
        #expect(
            session.kinds == [
                .ready, .transcript("Good day.", utterance: 3, start: 1600, end: 3200, isFinal: true, confidence: 0.75),
                .finalized,
            ])
    }

    @Test("Other servers get a form with a WAV file")
    func form() throws {
        let session = try open(
            #"{"form":"openai","model":"small","language":"tr","url":"http://127.0.0.1:1/v1/audio/transcriptions"}"#)
        session.push(speech)
        _ = session.finalize(8, 1600)
        let body = session.object.exchanges[0].bodyText
        #expect(body.contains("name=\"model\"\r\n\r\nsmall\r\n") && body.contains("name=\"language\"\r\n\r\ntr\r\n"))
        #expect(body.contains("RIFF") && session.object.exchanges[0].url.hasSuffix("transcriptions"))
    }

    @Test("A tentative answer serves the final question when only silence was added")
    func reuse() throws {
        let session = try open()
        _ = session.begin(1, 0)
        session.push(speech)
        _ = session.finalize(1, 1600, tentative: true)
        session.push(silence)
        // Once while the answer is on its way, and once when it is there.
        _ = session.finalize(2, 3200, tentative: true)
        session.object.exchanges[0].answer(200, #"{"text":"yes"}"#)
        _ = session.finalize(3, 3200)
        #expect(session.object.exchanges.count == 1)
        #expect(session.object.events.filter { $0.kind == .finalized }.map(\.request) == [1, 2, 3])
        #expect(session.kinds.count == 7)
    }

    @Test("A tentative question is superseded when the caller went on")
    func superseded() throws {
        let session = try open()
        _ = session.begin(1, 0)
        session.push(speech)
        _ = session.finalize(1, 1600, tentative: true)
        session.push(speech)
        _ = session.finalize(2, 3200)
        #expect(session.object.exchanges.map(\.isCanceled) == [true, false])
        #expect(session.object.exchanges[1].body.count == 6400)
        session.object.exchanges[1].answer(200, #"{"text":"yes yes"}"#)
        #expect(
            session.kinds == [
                .ready, .finalized,
                .transcript("yes yes", utterance: 1, start: 0, end: 3200, isFinal: true, confidence: -1),
                .finalized,
            ])
    }

    @Test("Silence is not sent, and is no words")
    func silent() throws {
        let session = try open()
        session.push(silence)
        _ = session.finalize(1, 1600)
        #expect(session.object.exchanges.isEmpty)
        #expect(session.kinds == [.ready, .finalized])
    }

    @Test("A broken connection is tried again, a refusal is reported, and the session goes on")
    func failures() throws {
        let session = try open()
        session.push(speech)
        _ = session.finalize(1, 1600)
        session.object.exchanges[0].fail(Int(VC_E_NETWORK), "reset")
        session.object.exchanges[1].answer(
            503, #"{"error":{"code":"busy","message":"the queue is full"}}"#, [("Retry-After", "1")])
        guard case .error(vc_status(VC_E_VENDOR), let message, false, 1000, 503, "busy") = session.kinds[1] else {
            Issue.record("\(session.kinds)"); return
        }
        #expect(message.hasSuffix("answered 503: the queue is full"))
        #expect(session.kinds.last == .finalized)
        session.push(speech)
        _ = session.finalize(2, 3200)
        session.object.exchanges[2].answer(200, #"{"text":""}"#)
        #expect(session.object.events.suffix(1).map(\.request) == [2])
    }
}

@Suite("TTSPiper against a scripted server")
struct TTSPiperTests {
    private func open(_ config: String = "{}") throws -> ScriptedSession {
        try ScriptedProvider(LoadedPlugin(library: "TTSPiper"), config: config).open(rateHz: 0)
    }
    private let headers = [("Content-Type", "audio/L16;rate=16000;channels=1"), ("X-Sample-Rate", "16000")]

    @Test("Two clauses are under way at a time, and are said in their order")
    func pipeline() throws {
        let session = try open(#"{"length_scale":0.9}"#)
        session.speak(1, "One.")
        session.speak(1, "Two.")
        session.speak(1, "Three.", last: true)
        #expect(
            session.object.exchanges.map(\.bodyText) == [
                #"{"length_scale":0.9,"text":"One."}"#, #"{"length_scale":0.9,"text":"Two."}"#,
            ])
        #expect(session.object.exchanges[0].url == "http://127.0.0.1:8103/synthesize?stream=1")
        let (one, two) = (session.object.exchanges[0], session.object.exchanges[1])
        two.answer(200, "cc", headers)
        one.respond(200, headers)
        one.data("aab")
        one.data("b")
        one.done()
        session.object.exchanges[2].answer(200, "dd", headers)
        #expect(
            session.kinds == [
                .ready, .audio(samples: [0x6161], rateHz: 16000, position: 0),
                .audio(samples: [0x6262], rateHz: 16000, position: 1), .mark(text: 0..<4, audio: 0..<2),
                .audio(samples: [0x6363], rateHz: 16000, position: 2), .mark(text: 4..<8, audio: 2..<3),
                .audio(samples: [0x6464], rateHz: 16000, position: 3), .mark(text: 8..<14, audio: 3..<4),
                .spoken(reason: Int(VC_TTS_COMPLETE), samples: 4),
            ])
    }

    @Test("A voice that is chosen for the call is asked for in place of the provider's")
    func chosenVoice() throws {
        let provider = try ScriptedProvider(LoadedPlugin(library: "TTSPiper"), config: #"{"voice":"amy"}"#)
        for (config, voice) in [("{}", "amy"), (#"{"voice":"tr_TR-dfki-medium"}"#, "tr_TR-dfki-medium")] {
            let session = try provider.open(rateHz: 0, config: config)
            session.speak(1, "One.", last: true)
            #expect(session.object.exchanges[0].bodyText == #"{"text":"One.","voice":"\#(voice)"}"#)
        }
    }

    @Test("A cancel closes both connections, and the next clause is complete")
    func cancel() throws {
        let session = try open()
        session.speak(1, "One.")
        session.speak(1, "Two.", last: true)
        session.object.exchanges[0].respond(200, headers)
        session.cancel(2)
        session.speak(2, "New.", epoch: 2, last: true)
        #expect(session.object.exchanges.map(\.isCanceled) == [true, true, false])
        session.object.exchanges[2].answer(200, "aa", headers)
        #expect(session.kinds.last == .spoken(reason: Int(VC_TTS_COMPLETE), samples: 1))
    }

    @Test("CANCELED in answer to audio closes the connection at once, before any cancel comes")
    func canceledByEmit() throws {
        let session = try open()
        session.speak(1, "One.", last: true)
        let exchange = session.object.exchanges[0]
        exchange.respond(200, headers)
        exchange.data("aa")
        session.object.answer = vc_status(VC_E_CANCELED)
        exchange.data("bb")
        #expect(exchange.isCanceled)
        session.object.answer = nil
        session.cancel(2)
        session.object.fireTimers()
        #expect(session.kinds.last == .canceled)
        session.speak(2, "New.", epoch: 2, last: true)
        session.object.exchanges[1].answer(200, "aa", headers)
        #expect(session.kinds.last == .spoken(reason: Int(VC_TTS_COMPLETE), samples: 1))
    }

    @Test("A text with nothing to say in it is skipped; a refusal says what to do")
    func refusals() throws {
        let session = try open(#"{"retries":0}"#)
        session.speak(1, "—", last: true)
        session.object.exchanges[0].answer(400, #"{"error":{"code":"empty_text","message":"nothing to say"}}"#)
        #expect(session.kinds == [.ready, .spoken(reason: Int(VC_TTS_COMPLETE), samples: 0)])
        session.speak(2, "Hello.", last: true)
        session.object.exchanges[1].answer(404, "<html>")
        guard case .error(vc_status(VC_E_CONFIG), let message, false, _, 404, _)? = session.kinds.last else {
            Issue.record("\(session.kinds)"); return
        }
        #expect(message.hasSuffix("older servers of Piper take requests at / instead of /synthesize"))
    }

    @Test("It asks again before the first sample, and not after it")
    func retries() throws {
        let session = try open()
        session.speak(1, "Hello.", last: true)
        session.object.exchanges[0].fail(Int(VC_E_NETWORK), "reset")
        session.object.exchanges[1].respond(200, headers)
        session.object.exchanges[1].data("aa")
        session.object.exchanges[1].fail(Int(VC_E_NETWORK), "reset")
        #expect(session.object.exchanges.count == 2)
        guard case .error? = session.kinds.last else { Issue.record("\(session.kinds)"); return }
    }

    @Test("A long text is asked for in pieces")
    func pieces() throws {
        let session = try open()
        session.speak(1, String(repeating: "word ", count: 400), last: true)
        session.object.exchanges[0].answer(200, "aa", headers)
        session.object.exchanges[1].answer(200, "bb", headers)
        #expect(session.object.exchanges.count == 2)
        #expect(session.kinds.last == .spoken(reason: Int(VC_TTS_COMPLETE), samples: 2))
    }
}
