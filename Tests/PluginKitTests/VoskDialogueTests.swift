// The pure half of STTVosk.

import Testing
import VoskDialogue

@Suite("vosk-server's messages")
struct VoskMessageTests {
    @Test("The end and the reset are spelt as the server compares them")
    func orders() {
        #expect(Array(VoskSettings.end.utf8) == [123, 34, 101, 111, 102, 34, 32, 58, 32, 49, 125])
        #expect(VoskSettings.reset == "{\"reset\" : 1}")
    }

    @Test("The configuration says the rate, and only what was set besides")
    func configuration() {
        var settings = VoskSettings()
        #expect(
            settings.configuration(rateHz: 8000)
                == #"{"config":{"max_alternatives":0,"sample_rate":8000,"words":1}}"#)
        settings.words = false
        settings.phrases = ["evet", "[unk]"]
        settings.model = "/opt/model-tr"
        #expect(
            settings.configuration(rateHz: 16000)
                == #"{"config":{"max_alternatives":0,"model":"/opt/model-tr","phrase_list":["evet","[unk]"],"#
                + #""sample_rate":16000,"words":0}}"#)
    }

    @Test("Answers are read however they are spaced, with alternatives and without words")
    func replies() {
        #expect(VoskReply("{\n  \"partial\" : \"merhaba dün\"\n}") == .partial("merhaba dün"))
        #expect(VoskReply(#"{"partial" : ""}"#) == .partial(""))
        #expect(VoskReply(#"{"text":" hello "}"#) == .result("hello", []))
        #expect(
            VoskReply(#"{"result":[{"conf":0.99,"start":0.24,"end":0.51,"word":"hello"}],"text":"hello"}"#)
                == .result("hello", [.init(text: "hello", start: 0.24, end: 0.51, confidence: 0.99)]))
        #expect(
            VoskReply(
                #"{"alternatives":[{"confidence":291.2,"text":"a","result":[{"start":0,"end":1,"word":"a"}]},{"text":"b"}]}"#
            ) == .result("a", [.init(text: "a", start: 0, end: 1, confidence: nil)]))
        #expect(VoskReply(#"{"status":"ok"}"#) == .other)
        #expect(VoskReply("Traceback") == nil)
        #expect(VoskReply("[]") == nil)
    }
}

@Suite("A telephone's rate doubled")
struct RateDoublerTests {
    @Test("A tone stays that tone, whatever the chunks")
    func tone() {
        // 1 kHz: eight samples at 8 kHz, sixteen at 16 kHz.
        let wave: [Int16] = [0, 7071, 10000, 7071, 0, -7071, -10000, -7071]
        let tone = (0..<400).map { wave[$0 % 8] }
        var whole = RateDoubler()
        var pieces = RateDoubler()
        let doubled = whole.doubled(tone)
        #expect(doubled.count == 800)
        #expect(pieces.doubled(Array(tone[..<7])) + pieces.doubled(Array(tone[7...])) == doubled)
        // Delayed by four samples; between 0 and 7071 lies 3827, 10000 times the sine of an eighth of a turn's half.
        #expect(Array(doubled[16 + 8..<16 + 8 + 3]).first == 0)
        #expect(abs(Int(doubled[16 + 9]) - 3827) < 60)
        #expect(abs(Int(doubled[16 + 11]) - 9239) < 100)
    }

    @Test("Full scale does not wrap around")
    func fullScale() {
        var doubler = RateDoubler()
        let loud = doubler.doubled((0..<100).map { $0 / 4 % 2 == 0 ? .max : .min })
        #expect(loud.allSatisfy { $0 > 20000 || $0 < -20000 || abs(Int($0)) < 32768 })
        #expect(loud.max() == .max && loud.min() == .min)
    }
}
