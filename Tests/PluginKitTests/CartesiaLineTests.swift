// The part of TTSCartesia that decides: contexts, cancels, second attempts, word times.

import Glibc
import JSON
import PluginKit
import Testing

@testable import CartesiaLine

@Suite("A session's conversation with Cartesia")
struct CartesiaLineTests {
    private static let request = CartesiaRequest(
        model: "sonic-3", voice: "v", language: "tr", format: CartesiaFormat(.linear, rateHz: 1000))
    /// "abcd" as samples: 0x6261 and 0x6463.
    private let audio = "YWJjZA=="

    private func open(_ change: (inout LineLimits) -> Void = { _ in }) -> CartesiaLine {
        var limits = LineLimits()
        change(&limits)
        var line = CartesiaLine(Self.request, limits)
        #expect(line.prewarm() == [.connect])
        #expect(line.opened(nowMs: 0) == [])
        return line
    }
    private func text(_ transcript: String, _ context: String = "turn-1", more: Bool = true) -> LineAction {
        .send(Self.request.generation(transcript, in: context, isContinued: more))
    }
    private func cancel(_ context: String) -> LineAction { .send(#"{"cancel":true,"context_id":"\#(context)"}"#) }
    private func chunk(_ context: String = "turn-1") -> String {
        #"{"type":"chunk","data":"\#(audio)","done":false,"status_code":206,"context_id":"\#(context)"}"#
    }
    private func flushed(_ context: String = "turn-1") -> String {
        #"{"type":"flush_done","flush_id":1,"context_id":"\#(context)"}"#
    }
    private let samples: [Int16] = [0x6261, 0x6463]

    @Test("The clauses of a turn share a context, two are under way at a time, and idleness ends it")
    func turn() {
        var line = open()
        #expect(line.speak("Bir.", clause: 1, request: 1, epoch: 1, nowMs: 0) == [text("Bir.")])
        #expect(line.speak("İki.", clause: 2, request: 2, epoch: 1, nowMs: 0) == [text(" İki.")])
        #expect(line.speak(" Üç.", clause: 3, request: 3, epoch: 1, nowMs: 0) == [])
        #expect(line.received(chunk(), nowMs: 100) == [.audio(clause: 1, samples)])
        #expect(line.received(flushed(), nowMs: 110) == [.finish(clause: 1), text(" Üç.")])
        #expect(line.received(chunk(), nowMs: 120) == [.audio(clause: 2, samples)])
        #expect(line.received(flushed(), nowMs: 130) == [.finish(clause: 2)])
        #expect(line.received(flushed(), nowMs: 140) == [.finish(clause: 3)])
        #expect(line.nextDeadlineMs == 740)
        #expect(line.tick(nowMs: 739) == [])
        #expect(line.tick(nowMs: 740) == [text("", more: false)])
        #expect(line.nextDeadlineMs == nil)
        #expect(line.received(#"{"type":"done","done":true,"context_id":"turn-1"}"#, nowMs: 800) == [])
        #expect(line.speak("Dört.", clause: 4, request: 4, epoch: 1, nowMs: 900) == [text("Dört.", "turn-2")])
    }

    @Test("Pieces of one request are joined as they are")
    func pieces() {
        var line = open()
        #expect(line.speak("a", clause: 1, request: 1, epoch: 1, nowMs: 0) == [text("a")])
        #expect(line.speak("b", clause: 2, request: 1, epoch: 1, nowMs: 0) == [text("b")])
    }

    @Test("A cancel is one message; chunks that come after it are late; the next turn has its own context")
    func barge() {
        var line = open()
        _ = line.speak("One.", clause: 1, request: 1, epoch: 1, nowMs: 0)
        _ = line.received(chunk(), nowMs: 100)
        #expect(line.cancel(olderThan: 2, nowMs: 110) == [cancel("turn-1")])
        #expect(line.received(chunk(), nowMs: 120) == [.late])
        #expect(line.received(flushed(), nowMs: 120) == [])
        #expect(line.cancel(olderThan: 3, nowMs: 130) == [])
        #expect(line.speak("Two.", clause: 2, request: 2, epoch: 3, nowMs: 140) == [text("Two.", "turn-2")])
        #expect(line.received(chunk("turn-2"), nowMs: 150) == [.audio(clause: 2, samples)])
    }

    @Test("What the host does not want is canceled")
    func unwanted() {
        var line = open()
        _ = line.speak("One.", clause: 1, request: 1, epoch: 1, nowMs: 0)
        #expect(line.unwanted(clause: 1, nowMs: 10) == [cancel("turn-1")])
        #expect(line.unwanted(clause: 1, nowMs: 10) == [])
    }

    @Test("A connection that breaks before the first audio is made anew, and only before it")
    func reconnect() {
        let broken = PluginError(.network, "broken", isRetryable: true)
        var line = open()
        _ = line.speak("One.", clause: 1, request: 1, epoch: 1, nowMs: 0)
        #expect(line.closed(broken, nowMs: 10) == [.connect])
        #expect(line.opened(nowMs: 20) == [text("One.", "turn-2")])
        _ = line.received(chunk("turn-2"), nowMs: 30)
        _ = line.speak("Two.", clause: 2, request: 2, epoch: 1, nowMs: 30)
        // The first was begun; of the second nothing was heard.
        #expect(line.closed(broken, nowMs: 40) == [.fail(clause: 1, broken), .connect])
        #expect(line.opened(nowMs: 50) == [text("Two.", "turn-3")])
    }

    @Test("A peer that is not there is called twice, and not for ever")
    func unreachable() {
        let refused = PluginError(.network, "nobody there", isRetryable: true)
        var line = CartesiaLine(Self.request, LineLimits())
        #expect(line.prewarm() == [.connect])
        // Nobody waits: it is told, and tried again by whoever speaks.
        #expect(line.closed(refused, nowMs: 1) == [.warn(refused)])
        #expect(line.speak("One.", clause: 1, request: 1, epoch: 1, nowMs: 2) == [.connect])
        #expect(line.closed(refused, nowMs: 3) == [.connect])
        #expect(line.closed(refused, nowMs: 4) == [.fail(clause: 1, refused)])
        #expect(line.speak("Two.", clause: 2, request: 2, epoch: 1, nowMs: 5) == [.connect])
    }

    @Test("A refused key is not tried again", arguments: [PluginError.Code.authentication, .quota])
    func hopeless(code: PluginError.Code) {
        let refused = PluginError(code, "no", isRetryable: code == .quota, protocolStatus: 401)
        var line = CartesiaLine(Self.request, LineLimits())
        _ = line.prewarm()
        #expect(line.speak("One.", clause: 1, request: 1, epoch: 1, nowMs: 2) == [])
        #expect(line.closed(refused, nowMs: 3) == [.fail(clause: 1, refused)])
    }

    @Test("An idle connection that the vendor closes is nothing to tell")
    func idle() {
        var line = open()
        #expect(line.closed(nil, nowMs: 300_000) == [])
        #expect(line.speak("One.", clause: 1, request: 1, epoch: 1, nowMs: 300_001) == [.connect])
        #expect(line.opened(nowMs: 300_050) == [text("One.")])
        _ = line.received(chunk(), nowMs: 300_100)
        let away = PluginError(
            .network, "Cartesia closed the connection with 1012: restart", isRetryable: true, vendor: "cartesia",
            vendorCode: "1012")
        #expect(line.closed(nil, code: 1012, reason: "restart", nowMs: 300_110) == [.fail(clause: 1, away)])
    }

    @Test("A context that was refused for its age is begun anew; one that was refused at once is not")
    func expired() {
        func error(_ context: String) -> String {
            #"{"type":"error","done":true,"status_code":400,"title":"Bad","message":"over","#
                + #""error_code":"context_expired","request_id":"r","context_id":"\#(context)"}"#
        }
        var line = open()
        _ = line.speak("One.", clause: 1, request: 1, epoch: 1, nowMs: 0)
        _ = line.received(chunk(), nowMs: 100)
        _ = line.received(flushed(), nowMs: 110)
        _ = line.speak("Two.", clause: 2, request: 2, epoch: 1, nowMs: 600)
        #expect(line.received(error("turn-1"), nowMs: 610) == [text("Two.", "turn-2")])
        let expected = PluginError(
            .configuration, "Cartesia answered 400: Bad: over (request r)", protocolStatus: 400, vendor: "cartesia",
            vendorCode: "context_expired")
        #expect(line.received(error("turn-2"), nowMs: 620) == [.fail(clause: 2, expected)])
    }

    @Test("A context that ends while text is under way gives the text to a new one")
    func ended() {
        var line = open()
        _ = line.speak("One.", clause: 1, request: 1, epoch: 1, nowMs: 0)
        _ = line.received(chunk(), nowMs: 100)
        _ = line.speak("Two.", clause: 2, request: 2, epoch: 1, nowMs: 100)
        // The end of what was begun, and never of what was not.
        #expect(
            line.received(#"{"type":"done","context_id":"turn-1"}"#, nowMs: 110) == [
                .finish(clause: 1), text("Two.", "turn-2"),
            ])
    }

    @Test("An error without a context is the working one's")
    func nameless() {
        var line = open()
        _ = line.speak("One.", clause: 1, request: 1, epoch: 1, nowMs: 0)
        let actions = line.received(#"{"type":"error","status_code":402,"error":"no credits"}"#, nowMs: 5)
        guard case .fail(1, let error)? = actions.first else { Issue.record("\(actions)"); return }
        #expect(error.code == .quota && error.message == "Cartesia answered 402: no credits")
        guard case .warn? = line.received(#"{"type":"error","error":"?"}"#, nowMs: 6).first else {
            Issue.record("an error while nothing is asked is told"); return
        }
    }

    @Test("A vendor that is silent is given up: once more before the first audio, and not after it")
    func stall() {
        var line = open { $0.stallMs = 1000 }
        _ = line.speak("One.", clause: 1, request: 1, epoch: 1, nowMs: 0)
        #expect(line.tick(nowMs: 1000) == [cancel("turn-1"), text("One.", "turn-2")])
        _ = line.received(chunk("turn-2"), nowMs: 1500)
        #expect(line.nextDeadlineMs == 2500)
        let actions = line.tick(nowMs: 2500)
        #expect(actions.first == cancel("turn-2"))
        guard case .fail(1, let error)? = actions.last else { Issue.record("\(actions)"); return }
        #expect(error.code == .timeout)
    }

    @Test("With a context for each clause, `done` ends it")
    func clausewise() {
        var line = open { $0.isClausewise = true }
        #expect(line.speak("One.", clause: 1, request: 1, epoch: 1, nowMs: 0) == [text("One.", more: false)])
        #expect(line.speak("Two.", clause: 2, request: 2, epoch: 1, nowMs: 0) == [text("Two.", "turn-2", more: false)])
        #expect(line.received(chunk("turn-2"), nowMs: 1) == [.audio(clause: 2, samples)])
        #expect(line.received(#"{"type":"done","context_id":"turn-2"}"#, nowMs: 2) == [.finish(clause: 2)])
        // Nothing to say in it.
        #expect(line.received(#"{"type":"done","context_id":"turn-1"}"#, nowMs: 3) == [.finish(clause: 1)])
    }

    @Test("Word times become marks of bytes and samples, counted from the clause, when their audio is there")
    func marks() {
        func words(_ words: String, _ start: String, _ end: String) -> String {
            #"{"type":"timestamps","context_id":"turn-1","word_timestamps":{"words":\#(words),"start":\#(start),"end":\#(end)}}"#
        }
        var line = open()
        _ = line.speak("Işık o.", clause: 1, request: 1, epoch: 1, nowMs: 0)
        _ = line.speak("Var.", clause: 2, request: 2, epoch: 1, nowMs: 0)
        #expect(line.received(words(#"["Işık","o."]"#, "[0.0,0.001]", "[0.001,0.003]"), nowMs: 1) == [])
        #expect(
            line.received(chunk(), nowMs: 2) == [.audio(clause: 1, samples), .mark(clause: 1, text: 0..<6, samples: 0..<1)])
        // What points behind the end is cut there.
        #expect(
            line.received(flushed(), nowMs: 3) == [.mark(clause: 1, text: 7..<9, samples: 1..<2), .finish(clause: 1)])
        _ = line.received(chunk(), nowMs: 4)
        #expect(
            line.received(words(#"["Var."]"#, "[0.002]", "[0.004]"), nowMs: 5)
                == [.mark(clause: 2, text: 0..<4, samples: 0..<2)])
    }

    @Test("Nonsense ends the connection, and the text is said over a new one")
    func nonsense() {
        var line = open()
        _ = line.speak("One.", clause: 1, request: 1, epoch: 1, nowMs: 0)
        #expect(line.received("<html>", nowMs: 1) == [.disconnect, .connect])
        #expect(line.opened(nowMs: 2) == [text("One.", "turn-2")])
        let actions = line.received(#"{"type":"chunk","context_id":"turn-2","data":"%"}"#, nowMs: 3)
        guard case .fail(1, let error)? = actions.last else { Issue.record("\(actions)"); return }
        #expect(error.code == .vendor)
    }

    @Test("Whatever comes, in whatever order, each clause ends at most once")
    func fuzz() {
        var random = SplitMix(seed: 11)
        for _ in 0..<300 {
            var line = open()
            var (ended, count, epoch): (Set<Int>, Int, UInt64) = ([], 0, 1)
            for now in 0..<60 {
                let nowMs = UInt64(now) * 97
                let context = "turn-\(Int.random(in: 1...4, using: &random))"
                var actions: [LineAction]
                switch Int.random(in: 0..<10, using: &random) {
                case 0, 1:
                    count += 1
                    actions = line.speak("a b", clause: count, request: UInt64(count), epoch: epoch, nowMs: nowMs)
                case 2:
                    epoch += 1
                    actions = line.cancel(olderThan: epoch, nowMs: nowMs)
                case 3: actions = line.closed(PluginError(.network, "x", isRetryable: true), nowMs: nowMs)
                case 4: actions = line.opened(nowMs: nowMs)
                case 5: actions = line.received(chunk(context), nowMs: nowMs)
                case 6: actions = line.received(flushed(context), nowMs: nowMs)
                case 7: actions = line.received(#"{"type":"done","context_id":"\#(context)"}"#, nowMs: nowMs)
                case 8:
                    actions = line.received(
                        #"{"type":"error","status_code":\#([400, 401, 429, 500].randomElement(using: &random)!)}"#,
                        nowMs: nowMs)
                default: actions = line.tick(nowMs: nowMs)
                }
                for action in actions {
                    switch action {
                    case .finish(let clause), .fail(let clause, _):
                        #expect(ended.insert(clause).inserted, "clause \(clause) ended twice")
                    case .audio(let clause, _): #expect(!ended.contains(clause), "audio of clause \(clause) after its end")
                    default: break
                    }
                }
            }
        }
    }
}

@Suite("What Cartesia sends")
struct CartesiaAudioTests {
    @Test("Base64 is read with and without its padding, and anything else is refused")
    func base64() {
        // RFC 4648, section 10.
        let vectors = [
            ("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ]
        for (plain, coded) in vectors {
            #expect(decodeBase64(coded) == Array(plain.utf8))
            #expect(decodeBase64(coded.filter { $0 != "=" }) == Array(plain.utf8))
        }
        #expect(decodeBase64("+/+/") == [0xFB, 0xFF, 0xBF])
        for wrong in ["A", "AA=A", "AAA%", "AAAA====", "AAAA=", "ığ=="] { #expect(decodeBase64(wrong) == nil) }
    }

    @Test("A sample that is cut in two by a chunk is put together")
    func oddChunks() {
        let format = CartesiaFormat(.linear, rateHz: 8000)
        var rest: UInt8?
        #expect(format.samples(of: [1, 0, 2], rest: &rest) == [1])
        #expect(format.samples(of: [], rest: &rest) == [])
        #expect(format.samples(of: [0, 0xFF, 0xFF, 9], rest: &rest) == [2, -1])
        #expect(format.samples(of: [0], rest: &rest) == [9])
        #expect(rest == nil)
    }

    @Test("µ-law is expanded as G.711 says")
    func muLaw() {
        var rest: UInt8?
        let format = CartesiaFormat(.muLaw, rateHz: 8000)
        #expect(format.samples(of: [0xFF, 0x7F, 0x80, 0x00, 0xE0], rest: &rest) == [0, 0, 32124, -32124, 372])
    }

    @Test("The voices are those of the manifest, in its order, each with its language and gender")
    func voices() throws {
        let root = #filePath.split(separator: "/", omittingEmptySubsequences: false).dropLast(3).joined(separator: "/")
        let file = try #require(fopen("\(root)/Plugins/TTSCartesia/manifest.json", "r"))
        defer { fclose(file) }
        var bytes = [UInt8](repeating: 0, count: 1 << 16)
        bytes.removeLast(bytes.count - fread(&bytes, 1, bytes.count, file))
        let manifest = try JSONValue(parsing: String(decoding: bytes, as: UTF8.self))
        let listed = try #require(manifest["providers"]?.array?.first?["capabilities"]?["x-voices"]?.array)
        #expect(listed.map { $0["name"]?.string } == CartesiaVoices.known.map(\.name))
        #expect(listed.map { $0["id"]?.string } == CartesiaVoices.known.map(\.id))
        #expect(listed.allSatisfy { $0["language"]?.string == "en" && ["male", "female"].contains($0["gender"]?.string) })
        #expect(CartesiaVoices.id(of: "veda sky") == "5345cf08-6f37-424d-a5d9-8ae1c7f3e176")
        #expect(CartesiaVoices.id(of: "0000") == "0000")
    }

    @Test("The language of a call is sent as its two letters")
    func language() {
        #expect(["tr-TR", "en", "pt_BR", ""].map(CartesiaRequest.language) == ["tr", "en", "pt", ""])
    }
}

@Suite("Words in the text of a clause")
struct WordMarksTests {
    private func ranges(_ text: String, _ words: [String]) -> [Range<Int>] {
        var marks = WordMarks(text)
        for word in words { _ = marks.add(word, samples: 0..<1) }
        return marks.due(samples: 0, isWhole: true).map(\.text)
    }

    @Test("Words are found one behind the other, and not within another")
    func order() {
        #expect(ranges("a cat at a table", ["a", "at", "a"]) == [0..<1, 6..<8, 9..<10])
        #expect(ranges("çok güzel", ["çok", "güzel"]) == [0..<4, 5..<11])
        #expect(ranges("你好吗", ["你", "好", "吗"]) == [0..<3, 3..<6, 6..<9])
    }

    @Test("A word that is not there costs its own mark alone")
    func missing() {
        #expect(ranges("it costs $5 now", ["it", "costs", "five", "now"]) == [0..<2, 3..<8, 12..<15])
        #expect(ranges("", ["a"]) == [])
        #expect(ranges("a", ["", "aaa"]) == [])
    }

    @Test("Marks run forward, whatever the vendor's clock does, and wait for their audio")
    func clock() {
        var marks = WordMarks("a b c")
        let found = [("a", 100..<200), ("b", 50..<60), ("c", 300..<400)].map { marks.add($0.0, samples: $0.1) }
        #expect(found == [true, true, true])
        #expect(marks.due(samples: 99) == [])
        #expect(marks.due(samples: 200).map(\.samples) == [100..<200, 100..<100])
        #expect(marks.due(samples: 250, isWhole: true).map(\.samples) == [250..<250])
    }
}
