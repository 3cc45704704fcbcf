/// Which of the known words was probably meant.
public enum Spelling {
    /// The closest word at an edit distance of at most a third of its length, or nil.
    public static func nearest(to word: String, among words: [String]) -> String? {
        let ranked = words.map { (word: $0, distance: distance(word, $0)) }.min { $0.distance < $1.distance }
        guard let ranked, ranked.distance <= max(1, ranked.word.count / 3) else { return nil }
        return ranked.word
    }

    /// Levenshtein's distance, one row at a time.
    static func distance(_ one: String, _ other: String) -> Int {
        let other = Array(other)
        var row = Array(0...other.count)
        for (index, character) in one.enumerated() {
            var diagonal = row[0]
            row[0] = index + 1
            for column in other.indices {
                let substituted = diagonal + (character == other[column] ? 0 : 1)
                diagonal = row[column + 1]
                row[column + 1] = min(substituted, diagonal + 1, row[column] + 1)
            }
        }
        return row[other.count]
    }
}
