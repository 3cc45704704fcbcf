import Testing

@testable import Calls

@Suite("Heard text")
struct HeardTextTests {
    private func mark(_ heard: inout HeardText, _ request: UInt64, _ mark: SpeechMark) -> Bool {
        heard.mark(request, mark)
    }

    @Test("Without marks it is proportional and cut back to a whole word")
    func proportional() {
        var heard = HeardText(rateHz: 8_000, earDelayMs: 0)
        heard.begin(1, text: "one two three four")
        heard.audio(1, samples: 18_000)
        heard.done(1)
        heard.played(9_999)
        #expect(heard.heard == "one two")
        #expect(heard.unheard == "three four")
        heard.played(17_999)
        #expect(heard.heard == "one two three")
        heard.played(18_000)
        #expect(heard.heard == "one two three four")
    }

    @Test("A marked word counts when the next has begun")
    func marks() {
        var heard = HeardText(rateHz: 8_000, earDelayMs: 0)
        heard.begin(1, text: "one two three")
        heard.audio(1, samples: 10_000)
        #expect(mark(&heard, 1, SpeechMark(textStart: 0, textEnd: 3, position: 0)))
        #expect(mark(&heard, 1, SpeechMark(textStart: 4, textEnd: 7, position: 1_000)))
        #expect(mark(&heard, 1, SpeechMark(textStart: 8, textEnd: 13, position: 9_000)))
        heard.played(999)
        #expect(heard.heard == "")
        heard.played(1_000)
        #expect(heard.heard == "one")
        heard.played(9_500)
        #expect(heard.heard == "one two")
    }

    @Test("Within a mark of a whole clause it is proportional, and ends with the mark's end")
    func clauseMarks() {
        var heard = HeardText(rateHz: 8_000, earDelayMs: 0)
        heard.begin(1, text: "one two three four, and five")
        heard.audio(1, samples: 26_000)
        #expect(mark(&heard, 1, SpeechMark(textStart: 0, textEnd: 20, position: 0, end: 20_000)))
        #expect(mark(&heard, 1, SpeechMark(textStart: 20, textEnd: 28, position: 22_000, end: 26_000)))
        heard.played(3_999)
        #expect(heard.heard == "")
        heard.played(8_000)
        #expect(heard.heard == "one two")
        // The pause behind the clause credits nothing of the next.
        heard.played(21_999)
        #expect(heard.heard == "one two three four,")
        heard.played(24_000)
        #expect(heard.heard == "one two three four, and")
    }

    @Test("Marks of words that an abandoned voice did not say to the end are gone with their text")
    func marksBehindAnAbandonedEnd() {
        var heard = HeardText(rateHz: 8_000, earDelayMs: 0)
        heard.begin(1, text: "one two three four")
        heard.audio(1, samples: 2_500)
        for (number, (start, end)) in [(0, 3), (4, 7), (8, 13)].enumerated() {
            let position = UInt64(number) * 1_000
            #expect(mark(&heard, 1, SpeechMark(textStart: start, textEnd: end, position: position, end: position + 900)))
        }
        #expect(heard.abandon(1) == " three four")
        // Within the audio of the third word, whose text is another request's by now.
        heard.played(2_400)
        #expect(heard.heard == "one")
        heard.played(2_500)
        #expect(heard.heard == "one two")
    }

    @Test("Marks that run backwards or leave the text are refused")
    func badMarks() {
        var heard = HeardText(rateHz: 8_000, earDelayMs: 0)
        heard.begin(1, text: "one two")
        #expect(mark(&heard, 1, SpeechMark(textStart: 4, textEnd: 7, position: 100)))
        #expect(!mark(&heard, 1, SpeechMark(textStart: 0, textEnd: 3, position: 200)))
        #expect(!mark(&heard, 1, SpeechMark(textStart: 7, textEnd: 9, position: 300)))
        #expect(!mark(&heard, 2, SpeechMark(textStart: 0, textEnd: 1, position: 300)))
    }

    @Test("A clip is no part of what was said")
    func clip() {
        var heard = HeardText(rateHz: 8_000, earDelayMs: 0)
        heard.begin(1, text: "One moment.", isRemembered: false)
        heard.audio(1, samples: 8_000)
        heard.done(1)
        heard.begin(2, text: "Hello.")
        heard.audio(2, samples: 8_000)
        heard.done(2)
        heard.played(8_000)
        #expect(heard.heard == "")
        heard.finish()
        #expect(heard.heard == "Hello.")
    }

    @Test("More time never credits less text, and marks never credit a word that has not ended")
    func property() {
        for seed in UInt64(1)...3_000 {
            var random = SeededRandom(seed: seed)
            var heard = HeardText(rateHz: 8_000, earDelayMs: random.chance(50) ? 150 : 0)
            var ends: [(word: Int, end: UInt64)] = []
            var offset: UInt64 = 0
            var before = 0
            var total = 0
            var spokenWords = 0
            for request in UInt64(1)...UInt64.random(in: 1...4, using: &random) {
                let words = (0..<Int.random(in: 1...8, using: &random)).map { _ in
                    String(repeating: "w", count: Int.random(in: 1...9, using: &random))
                }
                let text = words.joined(separator: " ") + " "
                heard.begin(request, text: text)
                var inRequest: UInt64 = 0
                var byte = 0
                for word in words {
                    let length = UInt64.random(in: 200...9_000, using: &random)
                    heard.audio(request, samples: Int(length))
                    if seed % 2 == 0 {
                        let mark = SpeechMark(textStart: byte, textEnd: byte + word.utf8.count, position: inRequest)
                        let isTaken = heard.mark(request, mark)
                        #expect(isTaken, "seed \(seed)")
                    }
                    inRequest += length
                    byte += word.utf8.count + 1
                    spokenWords += 1
                    ends.append((spokenWords, offset + inRequest))
                    if random.chance(20) { heard.played(UInt64.random(in: 0...(offset + inRequest), using: &random)) }
                    // More audio than was thought to come must take nothing back.
                    #expect(heard.heard.utf8.count >= before, "seed \(seed)")
                    before = heard.heard.utf8.count
                }
                offset += inRequest
                total += Int(inRequest)
                if random.chance(90) { heard.done(request) }
            }
            var position: UInt64 = heard.playedSamples
            while position < offset + 2_000 {
                position += UInt64.random(in: 1...2_500, using: &random)
                heard.played(position)
                let words = heard.heard.split(separator: " ").count
                #expect(heard.heard.utf8.count >= before, "seed \(seed)")
                before = heard.heard.utf8.count
                if seed % 2 == 0 {
                    let truth = ends.last { $0.end <= position }?.word ?? 0
                    #expect(words <= truth, "seed \(seed): \(words) words credited, \(truth) were heard")
                }
            }
        }
    }
}
