import Testing

@testable import Calls

@Suite("Words are compared as the language spells them")
struct WordsTests {
    @Test("Turkish lower case keeps the two letters i apart")
    func turkishCase() {
        #expect(Words.lowercased("IŞIK İZMİR", .turkish) == "ışık izmir")
        #expect(Words.lowercased("IT IS", .english) == "it is")
    }

    @Test("Recognitions that differ in case and punctuation are equal")
    func normalised() {
        #expect(Words.normalised("Hello,  World!", .english) == Words.normalised("hello world", .english))
        #expect(Words.normalised("Ali'nin evi.", .turkish) == "alinin evi")
    }

    @Test("Only acknowledgements alone are backchannels", arguments: [
        ("hı hı", true), ("Evet.", true), ("tamam tamam", true), ("Tamam, anladım", true),
        ("evet ama fiyatı ne", false),
        ("", false), ("hayır", false),
    ])
    func backchannel(text: String, expected: Bool) {
        #expect(Words.isBackchannel(text, .turkish) == expected)
    }
}
