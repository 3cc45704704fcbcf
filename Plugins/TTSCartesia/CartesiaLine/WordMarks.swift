// From the vendor's word times to marks: which bytes of the clause are said by which samples.
//
// The vendor sends each word as it stands in the text, but not where, and counts time from the beginning of the
// context. So the words are looked for one behind the other. A word that is not found costs its own mark and no
// other: too few marks make the host believe that less was heard than was, which is the safe side. A mark is given out
// when its audio is there, so that it never points behind the end.

/// The marks of one clause.
struct WordMarks: Sendable, Equatable {
    struct Mark: Sendable, Equatable {
        var text: Range<Int>
        var samples: Range<Int>
    }

    private let text: [UInt8]
    /// Everything before it is marked or passed over.
    private var cursor = 0
    private var lastStart = 0
    private var waiting: [Mark] = []

    init(_ text: String) { self.text = Array(text.utf8) }

    /// Takes a word that is said in these samples of the clause. False: the clause has no such word.
    mutating func add(_ word: String, samples: Range<Int>) -> Bool {
        guard let found = find(Array(word.utf8)) else { return false }
        // Marks run forward, whatever the vendor's clock does.
        let start = max(samples.lowerBound, lastStart)
        waiting.append(Mark(text: found, samples: start..<max(start, samples.upperBound)))
        lastStart = start
        cursor = found.upperBound
        return true
    }

    /// The marks whose audio is there. `isWhole`: no more audio comes, and what points behind it is cut.
    mutating func due(samples: Int, isWhole: Bool = false) -> [Mark] {
        if isWhole {
            defer { waiting = [] }
            return waiting.map { mark in
                let start = min(mark.samples.lowerBound, samples)
                return Mark(text: mark.text, samples: start..<min(mark.samples.upperBound, samples))
            }
        }
        let count = waiting.prefix { $0.samples.upperBound <= samples }.count
        defer { waiting.removeFirst(count) }
        return Array(waiting.prefix(count))
    }

    private func find(_ word: [UInt8]) -> Range<Int>? {
        guard !word.isEmpty, text.count - cursor >= word.count else { return nil }
        for start in cursor...(text.count - word.count) where text[start..<start + word.count].elementsEqual(word) {
            // Not within another word; but scripts without spaces have one word right behind the other.
            if start == cursor || !isLetter(text[start - 1]) { return start..<start + word.count }
        }
        return nil
    }

    private func isLetter(_ byte: UInt8) -> Bool {
        byte >= 0x80 || (byte | 0x20 >= UInt8(ascii: "a") && byte | 0x20 <= UInt8(ascii: "z"))
            || (byte >= UInt8(ascii: "0") && byte <= UInt8(ascii: "9"))
    }
}
