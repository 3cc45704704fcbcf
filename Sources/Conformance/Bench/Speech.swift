// What the caller says in a rule.
//
// A recording where there is one (`job.speech`: the operator's, or `SyntheticSpeech`). Without it, something with the
// loudness and the rhythm of speech: enough for every recogniser whose words come from a scripted vendor, and not for a
// detector, whose rules are skipped then.

import Glibc

extension Bench {
    /// Whether there is a recording of speech.
    public var hasRecording: Bool { !job.speech.isEmpty }

    /// Thrown by rules that need one.
    static let noRecording = NotApplicable(
        "there is no recording of speech: name one with --speech FILE.wav, or install flite")

    /// `ms` of speech at `rateHz`.
    public func speech(rateHz: Int, ms: Int) -> [Int16] {
        let count = rateHz * ms / 1_000
        if let recorded = recording(rateHz: rateHz), !recorded.isEmpty {
            return (0..<count).map { recorded[$0 % recorded.count] }
        }
        if buzz[rateHz] == nil { buzz[rateHz] = Self.makeBuzz(rateHz: rateHz) }
        let period = buzz[rateHz]!
        return (0..<count).map { period[$0 % period.count] }
    }

    /// A syllable of 200 ms: 120 Hz with its harmonics, rising and falling. The next one continues it without a step.
    private static func makeBuzz(rateHz: Int) -> [Int16] {
        (0..<rateHz / 5).map { index in
            let seconds = Double(index) / Double(rateHz)
            let syllable = sin(.pi * seconds / 0.2)
            let buzz = (1...8).reduce(0.0) { $0 + sin(2 * .pi * 120 * Double($1) * seconds) / Double($1) }
            return Int16(4_000 * syllable * buzz / 2)
        }
    }

    /// Digital silence.
    public func silence(rateHz: Int, ms: Int) -> [Int16] { [Int16](repeating: 0, count: rateHz * ms / 1_000) }

    /// White noise of that level, the same in every run of the rule.
    public func noise(rateHz: Int, ms: Int, levelDBFS: Double) -> [Int16] {
        var numbers = SeededRandom(seed: job.seed)
        // Of evenly spread numbers the root of the mean square is the largest one over the root of three.
        let peak = min(32_767, 32_768 * pow(10, levelDBFS / 20) * 3.0.squareRoot())
        return (0..<rateHz * ms / 1_000).map { _ in Int16(Double.random(in: -peak...peak, using: &numbers)) }
    }

    /// A tone.
    public func tone(rateHz: Int, ms: Int, hertz: Double, amplitude: Double = 8_000) -> [Int16] {
        (0..<rateHz * ms / 1_000).map { Int16(amplitude * sin(2 * .pi * hertz * Double($0) / Double(rateHz))) }
    }

    /// Read once for each rate: a rule that speaks a thousand times measures the plugin and not the disk.
    private func recording(rateHz: Int) -> [Int16]? {
        guard hasRecording else { return nil }
        if let known = recorded[rateHz] { return known }
        let samples = (try? SpeechRecording(path: job.speech))?.resampled(to: rateHz) ?? []
        recorded[rateHz] = samples
        return samples
    }
}
