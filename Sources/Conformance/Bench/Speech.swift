// What the caller says in a rule.
//
// A recording where there is one (`job.speech`, made by the build with a voice). Without it, something with the
// loudness and the rhythm of speech: enough for every recogniser whose words come from a scripted vendor, and not for a
// detector, whose rules are skipped then.

import Glibc

extension Bench {
    /// Whether there is a recording of speech.
    public var hasRecording: Bool { !job.speech.isEmpty }

    /// `ms` of speech at `rateHz`.
    public func speech(rateHz: Int, ms: Int) -> [Int16] {
        let count = rateHz * ms / 1_000
        if let recorded = recording(rateHz: rateHz), !recorded.isEmpty {
            return (0..<count).map { recorded[$0 % recorded.count] }
        }
        // Syllables of 200 ms: a buzz of 120 Hz with its harmonics, rising and falling.
        return (0..<count).map { index in
            let seconds = Double(index) / Double(rateHz)
            let syllable = abs(sin(.pi * seconds / 0.2))
            let buzz = (1...8).reduce(0.0) { $0 + sin(2 * .pi * 120 * Double($1) * seconds) / Double($1) }
            return Int16(4_000 * syllable * buzz / 2)
        }
    }

    /// Digital silence.
    public func silence(rateHz: Int, ms: Int) -> [Int16] { [Int16](repeating: 0, count: rateHz * ms / 1_000) }

    private func recording(rateHz: Int) -> [Int16]? {
        guard hasRecording, let file = fopen(job.speech, "rb") else { return nil }
        defer { fclose(file) }
        var bytes = [UInt8](repeating: 0, count: 1 << 21)
        let count = fread(&bytes, 1, bytes.count, file)
        guard count > 44 else { return nil }
        let rate = Int(bytes[24]) | Int(bytes[25]) << 8 | Int(bytes[26]) << 16
        let samples = stride(from: 44, to: count - 1, by: 2).map {
            Int16(bitPattern: UInt16(bytes[$0]) | UInt16(bytes[$0 + 1]) << 8)
        }
        guard rate > 0, rate != rateHz else { return samples }
        // Nearest neighbour with a mean over the samples between: plain, and plenty for a detector.
        let ratio = Double(rate) / Double(rateHz)
        return (0..<Int(Double(samples.count) / ratio)).map { index in
            let from = Int(Double(index) * ratio)
            let to = max(from + 1, min(samples.count, Int(Double(index + 1) * ratio)))
            return Int16(samples[from..<to].reduce(0) { $0 + Int($1) } / (to - from))
        }
    }
}
