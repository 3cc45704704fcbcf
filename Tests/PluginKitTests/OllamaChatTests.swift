// The pure half of LLMOllama.

import ChatStream
import JSON
import OllamaChat
import PluginKit
import Testing

@Suite("Ollama's chat")
struct OllamaChatTests {
    private func line(_ content: String, done: Bool = false, more: String = "") -> String {
        #"{"message":{"role":"assistant","content":\#(JSONValue.string(content).text)},"done":\#(done)\#(more)}"# + "\n"
    }
    private let end =
        #"{"message":{"content":""},"done":true,"done_reason":"stop","prompt_eval_count":7,"eval_count":2}"# + "\n"

    @Test("Any chunking of the lines gives the same answer", arguments: [1, 2, 3, 7, 50, 1000])
    func chunking(size: Int) {
        let bytes = Array((line("İyi") + "\r\n" + line(" günler 🙂") + end).utf8)
        var answer = OllamaAnswer()
        var steps: [ChatStep] = []
        for start in stride(from: 0, to: bytes.count, by: size) {
            steps += answer.feed(Array(bytes[start..<min(start + size, bytes.count)]))
        }
        #expect(
            steps + answer.end() == [
                .emit(.delta("İyi")), .emit(.delta(" günler 🙂")),
                .emit(.usage(TokenUsage(inputTokens: 7, outputTokens: 2))), .finish(.stop),
            ])
    }

    @Test("A last line without its end of line counts")
    func lastLine() {
        var answer = OllamaAnswer()
        #expect(answer.feed(Array(end.dropLast().utf8)) == [])
        #expect(answer.end().last == .finish(.stop))
    }

    @Test("A stream without done, a line that is no JSON and an error in the stream are failures")
    func failures() {
        for text in [line("Hel"), "<html>\n", #"{"error":"unexpected EOF"}"# + "\n", ""] {
            var answer = OllamaAnswer()
            let steps = answer.feed(Array(text.utf8)) + answer.end() + answer.end()
            let failures = steps.count { if case .fail = $0 { true } else { false } }
            #expect(failures == 1, "\(text)")
        }
        var answer = OllamaAnswer()
        _ = answer.feed(Array(line("Hel").utf8))
        guard case .fail(let error)? = answer.end().last else { Issue.record("no failure"); return }
        #expect(!error.isRetryable, "something was said already")
    }

    @Test("Calls get ids that are new in the conversation, and their arguments may be a text")
    func calls() {
        let text =
            #"{"message":{"tool_calls":[{"function":{"name":"a","arguments":{"x":1}}},"#
            + #"{"id":"own","function":{"name":"b","arguments":"{}"}}]},"done":false}"# + "\n" + end
        var answer = OllamaAnswer(callsBefore: 2)
        let steps = answer.feed(Array(text.utf8))
        #expect(steps[0] == .emit(.toolCall(ToolCall(id: "call_3", name: "a", arguments: #"{"x":1}"#))))
        #expect(steps[1] == .emit(.toolCall(ToolCall(id: "own", name: "b", arguments: "{}"))))
        #expect(steps.last == .finish(.toolCalls))
    }

    @Test("Thoughts are not said, as a field or between tags")
    func thoughts() {
        let text =
            #"{"message":{"thinking":"Hm.","content":""},"done":false}"# + "\n" + line("<think>a") + line("b</think>\n\nEvet.")
            + end
        var answer = OllamaAnswer()
        #expect(answer.feed(Array(text.utf8)).first == .emit(.delta("Evet.")))
    }

    @Test("Wishes of the host win and get Ollama's names; what Ollama does not know stays away")
    func request() {
        let request = OllamaRequest(
            model: "m", think: OllamaRequest.think("off"), keepAlive: OllamaRequest.duration("-1"),
            options: ["num_ctx": 2048, "num_predict": 200])
        let body = request.body(
            messages: [["role": "user", "content": "ı"]], tools: "[]",
            wishes: ["max_tokens": 9, "stop": "x", "response_format": ["type": "text"], "num_ctx": 1], hasTools: true)
        #expect(
            body
                == #"{"keep_alive":-1,"messages":[{"content":"ı","role":"user"}],"model":"m","#
                + #""options":{"num_ctx":2048,"num_predict":9,"stop":["x"]},"stream":true,"think":false}"#)
        #expect(OllamaRequest.think("server") == nil && OllamaRequest.think("low") == "low")
        #expect(OllamaRequest.duration("24h") == "24h" && OllamaRequest.duration("0") == 0)
    }

    @Test("Functions are told only to a model that can call them, and only where one is wanted")
    func tools() {
        let request = OllamaRequest(model: "m", think: nil, keepAlive: -1, options: [:])
        func body(_ wishes: JSONValue, _ hasTools: Bool) -> Bool {
            request.body(messages: [], tools: #"[{"type":"function"}]"#, wishes: wishes, hasTools: hasTools)
                .contains("\"tools\"")
        }
        #expect(body([:], true))
        #expect(!body([:], false))
        #expect(!body(["tool_choice": "none"], true))
    }

    @Test("A download is told in steps of ten percent, and never backwards")
    func pull() {
        var pull = ModelPull(model: "m")
        func feed(_ text: String) -> [ModelPull.Step] { pull.feed(Array((text + "\n").utf8)) }
        #expect(feed(#"{"status":"pulling manifest"}"#) == [])
        #expect(feed(#"{"digest":"a","total":1000000000}"#) == [.progress(percent: 0, megabytes: 1000)])
        #expect(feed(#"{"digest":"a","total":1000000000,"completed":90000000}"#) == [])
        #expect(
            feed(#"{"digest":"a","total":1000000000,"completed":500000000}"#)
                == [.progress(percent: 50, megabytes: 1000)])
        #expect(feed(#"{"digest":"b","total":1000000000}"#) == [], "25 percent of what is known now")
        #expect(feed(#"{"status":"success"}"#) == [.done])
        #expect(pull.end() == [])

        var broken = ModelPull(model: "m")
        _ = broken.feed(Array(#"{"status":"pulling manifest"}"#.utf8))
        guard case .failed? = broken.end().last else { Issue.record("an end without success is none"); return }
    }
}
