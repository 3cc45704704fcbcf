import Testing

@testable import Calls

@Suite("The clause chunker")
struct ClauseChunkerTests {
    private func pieces(_ text: String, _ language: Language, by size: Int = 1) -> [String] {
        var chunker = ClauseChunker(language: language)
        var pieces: [String] = []
        var rest = Array(text)[...]
        while !rest.isEmpty {
            pieces += chunker.append(String(rest.prefix(size)))
            rest = rest.dropFirst(size)
        }
        if let last = chunker.finish() { pieces.append(last) }
        return pieces
    }

    @Test("The first clause ends at a comma, later ones at the end of a sentence")
    func firstClause() {
        let text = "Sure, I can help you with that, of course. We open at nine, and close at six. Anything else?"
        #expect(
            pieces(text, .english) == [
                "Sure, I can help you with that, ", "of course. ", "We open at nine, and close at six. ",
                "Anything else?",
            ])
    }

    @Test("Dots that end no sentence do not cut", arguments: [
        "Version 3.5 is out now.", "Ask Dr. Smith or Mr. Jones today.", "It opens at 14.30 on Mondays.",
        "Write to J. R. R. Tolkien please.", "Go to www.example.com today.", "Use e.g. the front door.",
        "The fee is approx. 5 dollars.", "It is no. 5 on the list.",
    ])
    func english(text: String) {
        #expect(pieces(text, .english) == [text])
    }

    @Test("Turkish abbreviations, ordinals and times do not cut", arguments: [
        "Dr. Ayşe Hanım sizi bekliyor.", "Fatura, makbuz vb. belgeleri getirin.", "Ofisimiz 3. katta bulunuyor.",
        "Randevunuz saat 14.30 için uygun.", "Doç. Dr. Işık Bey geldi.", "Atatürk Cad. No. 5 adresine gelin.",
        "İstanbul 1. Bölge Müdürlüğü burası.",
    ])
    func turkish(text: String) {
        #expect(pieces(text, .turkish).joined() == text)
        #expect(pieces(text, .turkish).count <= (text.contains(",") ? 2 : 1))
    }

    @Test("Turkish sentences are cut where they end")
    func turkishSentences() {
        #expect(
            pieces("Merhaba! Size nasıl yardımcı olabilirim? IŞIK açık.", .turkish)
                == ["Merhaba! ", "Size nasıl yardımcı olabilirim? ", "IŞIK açık."])
    }

    @Test("\"No.\" ends a sentence unless a number follows")
    func no() {
        #expect(pieces("No. We are closed.", .english) == ["No. ", "We are closed."])
    }

    @Test("Whatever the deltas, the pieces are the same, bounded, and together the text")
    func property() {
        let parts = [
            "Dr. ", "3.5 ", "a", "ı", "İ", " ", "\n", ", ", ". ", "? ", "… ", "word ", "vb. ", "1. ", "é", "e\u{301}",
            "👩‍👩‍👧",
            "https://a.b/c?d=e ", "\"Yes.\" ", "(no) ", "—", "。", "supercalifragilistic", "U.S. ", "\u{301}", "\r\n",
        ]
        for seed in UInt64(1)...2_000 {
            var random = SeededRandom(seed: seed)
            var text = ""
            for _ in 0..<Int.random(in: 0...220, using: &random) { text += parts.randomElement(using: &random)! }
            let language = random.chance(50) ? Language.turkish : .english
            func run() -> [String] {
                var chunker = ClauseChunker(language: language)
                var pieces: [String] = []
                let scalars = Array(text.unicodeScalars)
                var at = 0
                while at < scalars.count {
                    let count = min(Int.random(in: 1...9, using: &random), scalars.count - at)
                    var view = String.UnicodeScalarView()
                    view.append(contentsOf: scalars[at..<at + count])
                    pieces += chunker.append(String(view))
                    at += count
                }
                if let last = chunker.finish() { pieces.append(last) }
                return pieces
            }
            let (one, other) = (run(), run())
            #expect(one.flatMap { Array($0.utf8) } == Array(text.utf8), "seed \(seed)")
            #expect(one.map { Array($0.utf8) } == other.map { Array($0.utf8) }, "seed \(seed)")
            #expect(one.allSatisfy { $0.utf8.count <= CallLimits.clauseBytesMax + 4 }, "seed \(seed)")
            #expect(!one.contains(""), "seed \(seed)")
        }
    }
}
