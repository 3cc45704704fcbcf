// Between 8 and 16 kHz, on the media thread: a call that began with Opus at 16 kHz keeps that rate for its whole life,
// even when a re-INVITE moves it to G.711, because its recogniser and voice were opened for it.
//
// A half-band filter of 31 taps (windowed sinc), every second of which is zero: 55 dB down from 4.6 kHz on, which is
// more than G.711's own noise leaves to be heard. Everything else (a voice at 22.05 kHz, say) goes through
// `Resampler`, on other threads.

import Glibc

/// Doubles or halves the sample rate of a stream of 16 bit samples.
struct HalfBandFilter: BitwiseCopyable {
    /// The odd taps of one side, in 1/32768: the middle one is a half, the even ones are zero.
    private static let taps: InlineArray<8, Int32> = {
        var taps = InlineArray<8, Int32>(repeating: 0)
        var sum = 0.0
        for index in 0..<8 {
            let x = Double(2 * index + 1)
            let window = 0.54 + 0.46 * cos(.pi * x / 16)
            let value = sin(.pi * x / 2) / (.pi * x) * window
            taps[index] = Int32((value * 32_768).rounded())
            sum += value
        }
        // The two sides and the middle must add up to one, or silence would not be the only thing at the right level.
        let scale = 0.25 / sum
        for index in 0..<8 { taps[index] = Int32((Double(taps[index]) * scale).rounded()) }
        return taps
    }()

    private let taps = HalfBandFilter.taps
    private var history = InlineArray<32, Int32>(repeating: 0)

    init() {}

    /// Writes `2 * count` samples.
    mutating func double(_ input: UnsafePointer<Int16>, count: Int, into output: UnsafeMutablePointer<Int16>) {
        for index in 0..<count {
            for place in 0..<15 { history[place] = history[place + 1] }
            history[15] = Int32(input[index])
            var sum: Int32 = 0
            for tap in 0..<8 { sum &+= taps[tap] &* (history[7 - tap] &+ history[8 + tap]) }
            output[2 * index] = Int16(clamping: history[7])
            output[2 * index + 1] = Int16(clamping: sum >> 14)
        }
    }

    /// Writes `count / 2` samples.
    mutating func halve(_ input: UnsafePointer<Int16>, count: Int, into output: UnsafeMutablePointer<Int16>) {
        for index in 0..<count / 2 {
            for place in 0..<29 { history[place] = history[place + 2] }
            history[29] = Int32(input[2 * index])
            history[30] = Int32(input[2 * index + 1])
            var sum: Int32 = history[15] &* 16_384
            for tap in 0..<8 { sum &+= taps[tap] &* (history[14 - 2 * tap] &+ history[16 + 2 * tap]) }
            output[index] = Int16(clamping: sum >> 15)
        }
    }
}
