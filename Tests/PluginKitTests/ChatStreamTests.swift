// The pure half of LLMOpenAI.

import ChatStream
import JSON
import PluginKit
import Testing

@Suite("Server-sent events")
struct ServerSentEventsTests {
    private static let stream =
        "\u{FEFF}: ping\r\ndata: {\"a\":1}\r\n\r\nevent: error\ndata:ğ\ndata:  ü\n\n\n:x\rdata: 3\r\rid: 7\nretry\n\ndata\n\ndata: cut off"
    private static let events: [ServerSentEvents.Event] = [
        .init(data: "{\"a\":1}"), .init(name: "error", data: "ğ\n ü"), .init(data: "3"), .init(data: ""),
    ]

    @Test("Any chunking gives the same events", arguments: 1...40)
    func chunking(size: Int) {
        let bytes = Array(Self.stream.utf8)
        var parser = ServerSentEvents()
        var events: [ServerSentEvents.Event] = []
        for start in stride(from: 0, to: bytes.count, by: size) {
            events += parser.feed(bytes[start..<min(start + size, bytes.count)])
        }
        #expect(events == Self.events)
    }

    @Test("A stream cut in two at any byte gives the same events")
    func everyCut() {
        let bytes = Array(Self.stream.utf8)
        for cut in 0...bytes.count {
            var parser = ServerSentEvents()
            let first = parser.feed(bytes[..<cut])
            #expect(first + parser.feed(bytes[cut...]) == Self.events)
        }
    }

    @Test("An event without end is given up at its bound")
    func bound() {
        var parser = ServerSentEvents()
        _ = parser.feed(Array("data: ".utf8))
        _ = parser.feed(repeatElement(UInt8(ascii: "x"), count: ServerSentEvents.bytesMax))
        #expect(parser.isOverflown)
        #expect(parser.feed(Array("\n\n".utf8)) == [])
    }
}

@Suite("A streamed chat completion")
struct ChatAnswerTests {
    private func take(_ chunks: [String]) -> [ChatStep] {
        var answer = ChatAnswer()
        return chunks.flatMap { answer.take(.init(data: $0)) } + answer.end()
    }
    private func content(_ text: String) -> String {
        #"{"choices":[{"delta":{"content":\#(JSONValue.string(text).text)}}]}"#
    }

    @Test("Deltas, usage and the end come out once, in order")
    func plain() {
        let steps = take([
            #"{"choices":[{"delta":{"role":"assistant","content":""}}],"usage":null}"#, content("Hel"), content("lo"),
            #"{"choices":[{"delta":{"content":null},"finish_reason":"stop"}]}"#,
            #"{"choices":[],"usage":{"prompt_tokens":20,"completion_tokens":9,"prompt_tokens_details":{"cached_tokens":4}}}"#,
            "[DONE]", content("late"),
        ])
        #expect(
            steps == [
                .emit(.delta("Hel")), .emit(.delta("lo")),
                .emit(.usage(TokenUsage(inputTokens: 20, cachedTokens: 4, outputTokens: 9))), .finish(.stop),
            ])
    }

    @Test("Parallel tool calls are put together from their pieces, by index")
    func toolCalls() {
        let steps = take([
            #"{"choices":[{"delta":{"tool_calls":[{"index":0,"id":"a","function":{"name":"time","arguments":""}}]}}]}"#,
            #"{"choices":[{"delta":{"tool_calls":[{"index":1,"id":"b","function":{"name":"end","arguments":""}}]}}]}"#,
            #"{"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{\"tz\":"}}]}}]}"#,
            #"{"choices":[{"delta":{"tool_calls":[{"index":0,"id":"a","function":{"arguments":"\"UTC\"}"}}]}}]}"#,
            #"{"choices":[{"delta":{},"finish_reason":"tool_calls"}]}"#, "[DONE]",
        ])
        #expect(
            steps == [
                .emit(.toolCall(ToolCall(id: "a", name: "time", arguments: #"{"tz":"UTC"}"#))),
                .emit(.toolCall(ToolCall(id: "b", name: "end", arguments: "{}"))), .finish(.toolCalls),
            ])
    }

    @Test("A whole call in one chunk, without index or id and with \"stop\", is a call")
    func toolCallOfASmallServer() {
        let steps = take([
            #"{"choices":[{"delta":{"tool_calls":[{"function":{"name":"end","arguments":{"a":1}}}]},"finish_reason":"stop"}]}"#
        ])
        #expect(
            steps == [
                .emit(.toolCall(ToolCall(id: "call_1", name: "end", arguments: #"{"a":1}"#))), .finish(.toolCalls),
            ])
    }

    @Test("Broken arguments, a broken chunk, a broken connection and an error in the stream are failures")
    func failures() {
        for chunks in [
            [
                #"{"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"name":"x","arguments":"{"}}]},"finish_reason":"tool_calls"}]}"#
            ],
            ["{nonsense"], [content("Hel")], [#"{"error":{"message":"too many","code":"rate_limit_exceeded"}}"#],
            [#"{"choices":[{"delta":{},"finish_reason":"content_filter"}]}"#],
        ] {
            guard case .fail? = take(chunks).last else { Issue.record("no failure for \(chunks)"); continue }
        }
        guard case .fail(let error)? = take([content("Hel")]).last else { return }
        #expect(error.code == .network && !error.isRetryable, "something was said already")
    }

    @Test("The token limit is told from an end; a missing [DONE] is one")
    func length() {
        #expect(take([#"{"choices":[{"delta":{"content":"a"},"finish_reason":"length"}]}"#]).last == .finish(.length))
    }

    @Test("Thoughts are not said, however they are cut")
    func thoughts() {
        let text = "<think>The caller wants </thin> tea.</think>\n\nGood day, a < b."
        for size in 1...text.count {
            var chunks: [String] = []
            var rest = text[...]
            while !rest.isEmpty {
                chunks.append(content(String(rest.prefix(size))))
                rest = rest.dropFirst(size)
            }
            let words = take(chunks + ["[DONE]"]).reduce(into: "") {
                if case .emit(.delta(let text)) = $1 { $0 += text }
            }
            #expect(words == "Good day, a < b.")
        }
        #expect(take([content("<thi"), "[DONE]"]) == [.emit(.delta("<thi")), .finish(.stop)])
    }

    @Test("Whatever arrives, an answer ends exactly once")
    func fuzz() {
        var random = SplitMix(seed: 7)
        let pieces = [
            "data: ", "{", "}", "\"choices\":", "[", "]", "\n\n", "\r\n", "null", "\"delta\":", "\"content\":", "\"x\"",
            ",",
            "\"tool_calls\":", "\"index\":0", "[DONE]", ":", "\"finish_reason\":\"stop\"", "\u{FFFD}", "\"error\":",
        ]
        for _ in 0..<2000 {
            var events = ServerSentEvents()
            var answer = ChatAnswer()
            let text = (0..<Int.random(in: 1...40, using: &random)).map { _ in pieces.randomElement(using: &random)! }
                .joined()
            let steps = events.feed(Array(text.utf8)).flatMap { answer.take($0) } + answer.end() + answer.end()
            let ends = steps.count { if case .emit = $0 { false } else { true } }
            #expect(ends == 1, "\(text)")
        }
    }

    @Test("Refusals keep the vendor's words in every shape")
    func refusals() {
        func error(_ status: Int, _ body: String) -> PluginError {
            VendorError(body: Array(body.utf8)).pluginError(status: status, vendor: "v", retryAfterMs: 0)
        }
        let quota = error(429, #"{"error":{"message":"m","type":"t","code":"insufficient_quota"}}"#)
        #expect(quota.code == .quota && !quota.isRetryable && quota.vendorCode == "insufficient_quota")
        #expect(error(429, "").isRetryable)
        #expect(error(401, #"{"error":"bad key"}"#).code == .authentication)
        #expect(
            error(503, #"{"error":{"code":503,"message":"Loading model","type":"unavailable_error"}}"#).vendorCode
                == "503")
        #expect(error(422, #"{"detail":[{"loc":["body"]}]}"#).message.contains("loc"))
        #expect(error(400, #"{"object":"error","message":"old","type":"x"}"#).message == "v answered 400: old")
        #expect(error(502, "<html>\nBad</html>").message == "v answered 502: <html> Bad</html>")
    }

    @Test("A refusal is said, an older server's function call is one, and usage counts once")
    func dialects() {
        #expect(
            take([#"{"choices":[{"delta":{"refusal":"I cannot."},"finish_reason":"stop"}]}"#])
                == [.emit(.delta("I cannot.")), .finish(.stop)])
        #expect(
            take([
                #"{"choices":[{"delta":{"function_call":{"name":"end","arguments":"{"}}}]}"#,
                #"{"choices":[{"delta":{"function_call":{"arguments":"}"}},"finish_reason":"function_call"}]}"#,
            ]) == [.emit(.toolCall(ToolCall(id: "call_1", name: "end", arguments: "{}"))), .finish(.toolCalls)])
        let usage = #""usage":{"prompt_tokens":2,"completion_tokens":1}"#
        #expect(
            take([
                #"{"choices":[{"delta":{"content":"a"},"finish_reason":"stop"}],"usage":null,"x_groq":{\#(usage)}}"#,
                #"{"choices":[],\#(usage)}"#, "[DONE]",
            ]) == [
                .emit(.delta("a")), .emit(.usage(TokenUsage(inputTokens: 2, outputTokens: 1))), .finish(.stop),
            ])
        var answer = ChatAnswer()
        guard case .fail? = answer.take(.init(name: "error", data: #"{"message":"bare"}"#)).last else {
            Issue.record("an event named error is one"); return
        }
    }

    @Test("A server's wish is read in milliseconds, in seconds and as a date, and bounded")
    func retryAfter() {
        func ms(_ name: String, _ value: String) -> Int {
            RetryAfter.ms(HTTPResponse(status: 429, headers: [(name, value)]), nowMs: 784_111_770_000)
        }
        #expect(ms("Retry-After-Ms", "412.5") == 413)
        #expect(ms("retry-after", "7") == 7_000)
        #expect(ms("Retry-After", "Sun, 06 Nov 1994 08:49:37 GMT") == 7_000)
        #expect(ms("Retry-After", "Sun, 06 Nov 1994 08:49:00 GMT") == 0, "that is over")
        #expect(ms("Retry-After", "Thu, 29 Feb 2024 00:00:00 GMT") == 3_600_000)
        for nonsense in ["-1", "soon", "nan", "Sun, 06 Foo 1994 08:49:37 GMT"] { #expect(ms("Retry-After", nonsense) == 0) }
        #expect(RetryAfter.advice(HTTPResponse(status: 503, headers: [("X-Should-Retry", "false")])) == false)
    }

    @Test("Sentences are counted, whatever the chunks are; 14.30, 2. kat and Dr. are no ends", arguments: 1...9)
    func sentences(size: Int) {
        let text = "Dr. Işık 14.30'da, 2. katta. \"Tamam mı?\" Evet! Sonra görüşürüz."
        for (sentencesMax, expected) in [
            (1, "Dr. Işık 14.30'da, 2. katta."), (2, "Dr. Işık 14.30'da, 2. katta. \"Tamam mı?\""), (0, text), (9, text),
        ] {
            var limit = SentenceLimit(sentencesMax: sentencesMax)
            var words = ""
            var rest = text[...]
            while !rest.isEmpty {
                words += limit.pass(String(rest.prefix(size))).words
                rest = rest.dropFirst(size)
            }
            #expect(words == expected)
        }
    }

    @Test("A request carries the host's JSON unchanged, and its options win")
    func request() throws {
        let request = ChatRequest(fixed: ["model": "m", "max_tokens": 5], tokenLimitName: "max_tokens")
        let body = request.body(
            messages: #"[{"role":"user", "content":"ğ"}]"#, tools: "[]",
            options: ["max_completion_tokens": 9, "stop": nil])
        #expect(body == #"{"max_tokens":9,"model":"m","stream":true,"messages":[{"role":"user", "content":"ğ"}]}"#)
        #expect(request.body(messages: "[]", tools: #"[{}]"#, options: [:]).hasSuffix(#","messages":[],"tools":[{}]}"#))

        let other = ChatRequest(
            fixed: ["tool_choice": "auto"], tokenLimitName: "max_tokens", systemRole: "developer", hasTools: false)
        #expect(
            other.body(messages: #"[{"role":"system","content":"a"},{"role":"user","content":"system"}]"#, tools: "[{}]", options: [:])
                == #"{"stream":true,"messages":[{"content":"a","role":"developer"},{"content":"system","role":"user"}]}"#)
    }
}

/// Reproducible numbers.
struct SplitMix: RandomNumberGenerator {
    private var state: UInt64
    init(seed: UInt64) { state = seed }
    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }
}
