import Glibc

/// What is played where even the clip is missing: two soft tones, so that the caller knows the line is alive.
enum FallbackTone {
    private static let toneHz = [440.0, 330.0]
    private static let toneMs = 250
    /// A sixteenth of full scale: heard, and not startling.
    private static let amplitude = 2_048.0

    static func samples(rateHz: Int) -> [Int16] {
        let count = rateHz * toneMs / 1000
        return toneHz.flatMap { frequency in
            (0..<count).map { index in
                // Faded at both ends: a tone that starts at full strength clicks.
                let fade = min(1, Double(min(index, count - index)) / Double(max(1, rateHz / 100)))
                return Int16(amplitude * fade * sin(2 * .pi * frequency * Double(index) / Double(rateHz)))
            }
        }
    }
}
