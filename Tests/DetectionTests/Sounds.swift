// Sounds that a telephone line makes, from formulas and a seed.

import Glibc

enum Sounds {
    static func noise(dBFS: Double, count: Int, seed: UInt64 = 1) -> [Double] {
        var random = SplitMix(state: seed)
        // Evenly distributed: its root mean square is the amplitude over the root of three.
        let amplitude = 32768 * pow(10, dBFS / 20) * 3.0.squareRoot()
        return (0..<count).map { _ in amplitude * (Double(random.next() % 2_000_001) / 1_000_000 - 1) }
    }

    static func tones(_ frequencies: [Double], dBFS: Double, count: Int, rateHz: Int = 8000) -> [Double] {
        let amplitude = 32768 * pow(10, dBFS / 20) * 2.0.squareRoot()
        return (0..<count).map { index in
            frequencies.reduce(0) { $0 + amplitude * sin(2 * Double.pi * $1 * Double(index) / Double(rateHz)) }
        }
    }

    /// Something with the energy and the pitch of a voice: a pulse train through two resonances, in syllables of 200
    /// ms.
    static func babble(dBFS: Double, count: Int, rateHz: Int = 8000) -> [Double] {
        var output = [Double](repeating: 0, count: count)
        for formant in [600.0, 1400.0] {
            let radius = exp(-Double.pi * 120 / Double(rateHz))
            let a1 = 2 * radius * cos(2 * Double.pi * formant / Double(rateHz))
            let a2 = -radius * radius
            var (y1, y2) = (0.0, 0.0)
            for n in 0..<count {
                let y = (n % (rateHz / 120) == 0 ? 1 : 0) + a1 * y1 + a2 * y2
                (y2, y1) = (y1, y)
                let syllable = Double(n % (rateHz / 5)) / Double(rateHz / 5)
                output[n] += y * sin(Double.pi * syllable)
            }
        }
        let power = output.reduce(0) { $0 + $1 * $1 } / Double(count)
        let scale = 32768 * pow(10, dBFS / 20) / power.squareRoot()
        return output.map { $0 * scale }
    }

    static func samples(_ parts: [Double]...) -> [Int16] {
        let count = parts.map(\.count).max() ?? 0
        return (0..<count).map { index in
            let sum = parts.reduce(0.0) { $0 + (index < $1.count ? $1[index] : 0) }
            return Int16(max(-32768, min(32767, sum.rounded())))
        }
    }
}
