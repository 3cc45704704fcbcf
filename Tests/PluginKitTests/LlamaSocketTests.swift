// The pure half of LLMLlama.

import JSON
import LlamaSocket
import Testing

@Suite("The connections of the llama service")
struct LlamaPoolTests {
    @Test("A call begins with one connection; from the first question on there is a spare")
    func spare() {
        var pool = LlamaPool()
        #expect(pool.begin() == [.connect(1)])
        #expect(pool.opened(1) == [])
        #expect(pool.ask(7) == [.send(question: 7, on: 1), .connect(2)])
        #expect(pool.opened(2) == [])
        #expect(pool.finished(1) == [])
        #expect(pool.ask(8) == [.send(question: 8, on: 1)])
    }

    @Test("A barge-in closes the busy connection, and the next question goes out on the spare at once")
    func bargeIn() {
        var pool = LlamaPool()
        _ = pool.begin() + pool.opened(1) + pool.ask(1) + pool.opened(2)
        #expect(pool.abandon(1) == [.close(1)])
        #expect(pool.question(on: 1) == nil, "late chunks are nobody's")
        #expect(pool.ask(2) == [.send(question: 2, on: 2), .connect(3)])
    }

    @Test("A question waits for a connection that is being made, and fails with the last that cannot be")
    func refusal() {
        var pool = LlamaPool()
        _ = pool.begin()
        #expect(pool.ask(1) == [.connect(2)])
        #expect(pool.closed(1).actions == [])
        #expect(pool.closed(2).actions == [.fail(question: 1), .wait(ms: 500)])
        #expect(pool.reconnect() == [.connect(3)])
        #expect(pool.closed(3).actions == [.wait(ms: 1_000)])
        #expect(pool.ask(2) == [.connect(4), .connect(5)], "whoever waits for words is worth an attempt at once")
        #expect(pool.opened(4) == [.send(question: 2, on: 4)])
    }

    @Test("A connection that breaks under an answer gives its question back")
    func broken() {
        var pool = LlamaPool()
        _ = pool.begin() + pool.opened(1) + pool.ask(1) + pool.opened(2)
        let (lost, actions) = pool.closed(1)
        #expect(lost == 1 && actions == [])
        #expect(pool.ask(1) == [.send(question: 1, on: 2), .connect(3)])
    }

    @Test("There are never more than four connections, and every question is sent once")
    func bounds() {
        var pool = LlamaPool()
        var open: Set<Int> = []
        var sent: [UInt64] = []
        func follow(_ actions: [LlamaPool.Action]) {
            for action in actions {
                switch action {
                case .connect(let connection): open.insert(connection)
                case .close(let connection): open.remove(connection)
                case .send(let question, _): sent.append(question)
                case .wait, .fail: break
                }
            }
            #expect(open.count <= 4)
        }
        follow(pool.begin())
        for question in 1...6 as ClosedRange<UInt64> { follow(pool.ask(question)) }
        for connection in open.sorted() { follow(pool.opened(connection)) }
        #expect(sent == [1, 2, 3, 4])
        follow(pool.finished(1))
        follow(pool.abandon(2))
        for connection in open.sorted() { follow(pool.opened(connection)) }
        #expect(sent == [1, 2, 3, 4, 5, 6])
    }
}

@Suite("What is said to the llama service and heard from it")
struct LlamaWordsTests {
    private let talk: [JSONValue] = [
        ["role": "system", "content": "Kısa konuş."], ["role": "user", "content": "Bir"],
        ["role": "assistant", "content": "İki"], ["role": "tool", "content": "{}", "tool_call_id": "x"],
        ["role": "user", "content": "Üç"],
    ]
    private func request(_ history: LlamaRequest.History, _ form: LlamaRequest.Form = .messages, count: Int = 9)
        -> LlamaRequest
    {
        LlamaRequest(
            form: form, history: history, historyMessages: count, phrases: .init(language: "en-GB"),
            fixed: ["use_rag": true])
    }

    @Test("What was said before goes into the caller's message, or as messages, or nowhere")
    func history() {
        let inside = "The conversation so far:\\nCaller: Bir\\nYou: İki\\n\\nThe caller now says: Üç"
        let system = #"{"content":"Kısa konuş.","role":"system"}"#
        func last(_ words: String) -> String { #"{"content":"\#(words)","role":"user"}],"stream":true,"use_rag":true}"# }
        #expect(request(.inside).frame(messages: talk, options: [:]) == #"{"messages":[\#(system),"# + last(inside))
        #expect(request(.none).frame(messages: talk, options: [:]) == #"{"messages":[\#(system),"# + last("Üç"))
        #expect(
            request(.messages, count: 1).frame(messages: talk, options: [:])
                == #"{"messages":[\#(system),{"content":"İki","role":"assistant"},"# + last("Üç"))
        #expect(
            request(.none, .prompt).frame(messages: talk, options: ["max_tokens": 9, "seed": 1])
                == #"{"max_tokens":9,"prompt":"Üç","system_prompt":"Kısa konuş.","use_rag":true}"#)
        #expect(request(.inside).frame(messages: [talk[0]], options: [:]) == nil, "nobody has said anything")
    }

    @Test("Frames are told apart by their members")
    func frames() {
        #expect(LlamaFrame(#"{"chunk":" ğ "}"#) == .chunk(" ğ "))
        #expect(LlamaFrame(#"{"done":true}"#) == .done)
        #expect(LlamaFrame(#"{"error":"Processing error: x"}"#) == .error("Processing error: x"))
        #expect(LlamaFrame(#"{"rag_context":"x","context_length":12}"#) == .context(characters: 12))
        for text in ["", "[]", "{}", #"{"done":false}"#, #"{"chunk":1}"#] { #expect(LlamaFrame(text) == .nonsense) }
    }
}
