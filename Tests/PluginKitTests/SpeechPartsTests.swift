// The pure halves of STTFasterWhisper and TTSPiper.

import JSON
import PiperAudio
import PluginKit
import Testing
import UtteranceAudio

@Suite("The audio of an utterance")
struct UtteranceAudioTests {
    private func frame(_ value: Int16, _ count: Int = 160) -> [Int16] {
        (0..<count).map { $0 % 2 == 0 ? value : -value }
    }
    private func push(_ audio: inout UtteranceAudio, _ samples: [Int16], at position: UInt64? = nil) {
        audio.append(at: position ?? audio.end) { memory, offset in
            if offset < samples.count { memory += samples[offset...] }
        }
    }

    @Test("An utterance may begin in audio that was pushed already")
    func past() {
        var audio = UtteranceAudio(rateHz: 8000, secondsMax: 60)
        for index in 0..<500 { push(&audio, [Int16](repeating: Int16(index), count: 160)) }
        let position: UInt64 = 500 * 160 - 8000
        audio.begin(at: position)
        #expect(audio.range(upTo: 500 * 160) == position..<80000)
        #expect(audio[position..<position + 160] == [Int16](repeating: 450, count: 160))
        #expect(audio.range(upTo: .max).upperBound == 80000, "what did not come is not there")
    }

    @Test("A gap becomes silence, a long one a new beginning, and what came twice counts once")
    func gaps() {
        var audio = UtteranceAudio(rateHz: 8000, secondsMax: 60)
        push(&audio, [1, 1])
        push(&audio, [2], at: 4)
        push(&audio, [9, 9, 3], at: 3)
        #expect(audio[0..<6] == [1, 1, 0, 0, 2, 3])
        push(&audio, [5], at: 100_000)
        #expect(audio[0..<200_000] == [5])
    }

    @Test("Of an utterance that is too long the end is kept, and the rest is counted")
    func bound() {
        var audio = UtteranceAudio(rateHz: 8000, secondsMax: 5)
        audio.begin(at: 0)
        for _ in 0..<500 { push(&audio, frame(100)) }
        let range = audio.range(upTo: .max)
        #expect((40000...48160).contains(range.count))
        #expect(audio.droppedSamples == range.lowerBound)
    }

    @Test("After a close the next question is about what came since")
    func close() {
        var audio = UtteranceAudio(rateHz: 8000, secondsMax: 60)
        push(&audio, frame(1000))
        audio.begin(at: 0)
        audio.close(at: 160)
        #expect(audio.range(upTo: 160).isEmpty)
        push(&audio, frame(1000))
        #expect(audio.range(upTo: 320) == 160..<320)
    }

    @Test("Noise and a click are silence beside speech; a soft ending is speech")
    func energy() {
        var audio = UtteranceAudio(rateHz: 8000, secondsMax: 60)
        for _ in 0..<10 { push(&audio, frame(8000)) }
        for _ in 0..<10 { push(&audio, frame(120)) }
        push(&audio, frame(4000))
        for _ in 0..<10 { push(&audio, frame(120)) }
        #expect(!audio.isSpeech(in: 1600..<4960, comparedWith: 0..<1600))
        for _ in 0..<2 { push(&audio, frame(450)) }
        #expect(audio.isSpeech(in: 4960..<5280, comparedWith: 0..<1600))
        #expect(!audio.isSilent(in: 0..<1600))
        var offset = UtteranceAudio(rateHz: 8000, secondsMax: 60)
        push(&offset, [Int16](repeating: 3000, count: 8000))
        #expect(offset.isSilent(in: 0..<8000), "a constant offset is no sound")
    }

    @Test("A WAV file says what it holds")
    func wav() {
        let wav = Waveform.wav([1, -2], rateHz: 8000)
        #expect(wav.count == 48)
        #expect(Array(wav[24..<28]) == [0x40, 0x1F, 0, 0])
        #expect(Array(wav[44...]) == [1, 0, 0xFE, 0xFF])
    }
}

@Suite("What a transcription server says")
struct WhisperAnswerTests {
    private func answer(_ text: String) throws -> WhisperAnswer? { WhisperAnswer(try JSONValue(parsing: text)) }

    @Test("A text alone is the text, and what has none is no answer")
    func plain() throws {
        let answer = try #require(try answer(#"{"text":"  hello there \n","language":"en","confidence":1.4}"#))
        #expect(answer.text == "hello there" && answer.language == "en" && answer.confidence == 1)
        #expect(answer.words.isEmpty && answer.invented == 0)
        #expect(try self.answer(#"{"detail":"no"}"#) == nil)
        #expect(try self.answer(#"{"text":null}"#) == nil)
    }

    @Test("A segment that the model doubts twice is left out with its words, one that it doubts once is not")
    func invented() throws {
        let answer = try #require(
            try answer(
                #"""
                {"text":" Hi. Well. Bye.","segments":[
                {"start":0,"end":1,"text":" Hi.","avg_logprob":-0.5,"no_speech_prob":0.9},
                {"start":1,"end":2,"text":" Well.","avg_logprob":-1.5,"no_speech_prob":0.2},
                {"start":2,"end":3,"text":" Bye.","avg_logprob":-1.5,"no_speech_prob":0.9}],
                "words":[{"word":" Hi.","start":0.1,"end":0.6,"probability":0.8},{"word":" Well.","start":1.1,"end":1.6},
                {"word":" Bye.","start":2.1,"end":2.6},{"word":" ","start":0,"end":1},{"word":"x","start":3,"end":2}]}
                """#))
        #expect(answer.text == "Hi. Well." && answer.invented == 1)
        #expect(answer.words.map(\.text) == ["Hi.", "Well."])
        #expect(answer.words.map(\.confidence) == [0.8, nil])
        // e to the mean of -0.5 and -1.5.
        #expect(abs((answer.confidence ?? 0) - 0.368) < 0.001)
    }

    @Test("Numbers that a server writes as texts are no numbers, and no reason to leave anything out")
    func strange() throws {
        let answer = try #require(
            try answer(#"{"text":"hello","duration":"1.9","words":null,"segments":[{"text":"hello","avg_logprob":"-2"}]}"#))
        #expect(answer.text == "hello" && answer.confidence == nil)
    }
}

@Suite("The body of a voice's answer")
struct PiperAudioTests {
    private let samples = (0..<300).map { Int16($0 * 7 - 1000) }
    private func decode(_ bytes: [UInt8], by size: Int, announced: Int? = nil) throws -> ([Int16], Int) {
        var audio = PiperAudio(announcedRateHz: announced)
        var decoded: [Int16] = []
        for start in stride(from: 0, to: bytes.count, by: size) {
            decoded += try audio.feed(Array(bytes[start..<min(start + size, bytes.count)]))
        }
        return (try decoded + audio.end(), audio.rateHz)
    }

    @Test("An answer without a byte is no speech, also where the header announced samples")
    func nothing() {
        #expect(throws: PluginError.self) { try decode([], by: 1, announced: 16000) }
        #expect(throws: PluginError.self) { try decode([], by: 1) }
    }

    @Test("A WAV and bare samples give the same, however they are cut", arguments: [1, 2, 3, 7, 44, 45, 1000])
    func chunking(size: Int) throws {
        let wav = Waveform.wav(samples, rateHz: 22050)
        #expect(try decode(wav, by: size) == (samples, 22050))
        #expect(try decode(Array(wav[44...]), by: size, announced: 16000) == (samples, 16000))
        // A list of comments before and after the samples, and a size that the server did not know.
        var listed = Array(wav[..<36]) + Array("LIST".utf8) + [3, 0, 0, 0, 1, 2, 3, 0] + Array(wav[36...])
        #expect(try decode(listed + Array("id3 garbage".utf8), by: size) == (samples, 22050))
        listed.replaceSubrange(52..<56, with: [255, 255, 255, 255])
        #expect(try decode(listed, by: size) == (samples, 22050))
    }

    @Test("What is cut off, or is no speech, is an error")
    func errors() throws {
        let wav = Waveform.wav(samples, rateHz: 22050)
        #expect(throws: PluginError.self) { try decode(Array(wav.dropLast(2)), by: 100) }
        #expect(throws: PluginError.self) { try decode(Array(wav.prefix(20)), by: 100) }
        #expect(throws: PluginError.self) { try decode([1, 2, 3], by: 100, announced: 8000) }
        #expect(throws: PluginError.self) { try decode(Array("<html>not a voice</html>".utf8), by: 100) }
        var stereo = wav
        stereo[22] = 2
        #expect(throws: PluginError.self) { try decode(stereo, by: 100) }
    }

    @Test("The rate stands in the headers")
    func rate() {
        func rate(_ headers: [(String, String)]) -> Int? {
            PiperAudio.announcedRateHz(HTTPResponse(status: 200, headers: headers.map { (name: $0.0, value: $0.1) }))
        }
        #expect(rate([("Content-Type", "audio/L16; rate=22050; channels=1")]) == 22050)
        #expect(rate([("content-type", "audio/L16"), ("x-sample-rate", "16000")]) == 16000)
        #expect(rate([("content-type", "text/html; charset=utf-8")]) == nil)
        #expect(rate([("content-type", "audio/L16;rate=9999999")]) == nil)
    }

    @Test("No body makes it fail in another way than by its error")
    func fuzz() {
        var random = SplitMix(seed: 3)
        let wav = Waveform.wav(Array(samples.prefix(20)), rateHz: 22050)
        for _ in 0..<3000 {
            var bytes = Array(wav.prefix(Int.random(in: 0...wav.count, using: &random)))
            for _ in 0..<Int.random(in: 0...4, using: &random) where !bytes.isEmpty {
                bytes[Int.random(in: 0..<bytes.count, using: &random)] = UInt8.random(in: 0...255, using: &random)
            }
            let decoded = try? decode(bytes, by: 13, announced: Bool.random(using: &random) ? 8000 : nil)
            #expect((decoded?.0.count ?? 0) <= bytes.count / 2 + 1)
        }
    }
}
