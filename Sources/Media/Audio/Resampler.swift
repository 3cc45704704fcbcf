// Any rate of a voice or a file to the rate of a call, by speexdsp: a windowed sinc with a state, so that a stream cut
// into arbitrary pieces comes out as if it had not been cut. For the host's threads; the media thread only ever halves
// and doubles (`HalfBandFilter`).

import Cspeexdsp

/// A streaming converter of sample rates, for one channel.
///
/// Not for two threads at once.
public final class Resampler {
    /// speexdsp's scale. 3 suits speech; 0 is fastest, 10 is best.
    public struct Quality: Sendable {
        let level: Int32
        public static let fast = Quality(level: 1)
        public static let speech = Quality(level: 3)
        public static let best = Quality(level: 8)
    }

    public let fromHz: Int
    public let toHz: Int
    private let state: OpaquePointer?

    /// Any two rates between 4 and 192 kHz; equal ones copy. Nil for others, or without memory.
    public init?(from fromHz: Int, to toHz: Int, quality: Quality = .speech) {
        guard (4_000...192_000).contains(fromHz), (4_000...192_000).contains(toHz) else { return nil }
        self.fromHz = fromHz
        self.toHz = toHz
        guard fromHz != toHz else {
            state = nil
            return
        }
        var error: Int32 = 0
        state = speex_resampler_init(1, UInt32(fromHz), UInt32(toHz), quality.level, &error)
        guard state != nil else { return nil }
        // The filter would begin with its own delay as silence: dropped, the output begins where the input does.
        speex_resampler_skip_zeros(state)
    }

    deinit { if let state { speex_resampler_destroy(state) } }

    /// Converts `input` and appends the result to `output`.
    public func process(_ input: UnsafeBufferPointer<Int16>, into output: inout [Int16]) {
        guard let state else {
            output.append(contentsOf: input)
            return
        }
        guard var source = input.baseAddress else { return }
        var left = UInt32(input.count)
        while left > 0 {
            let room = Int(left) * toHz / fromHz + 64
            withUnsafeTemporaryAllocation(of: Int16.self, capacity: room) { buffer in
                var consumed = left
                var produced = UInt32(room)
                speex_resampler_process_int(state, 0, source, &consumed, buffer.baseAddress, &produced)
                output.append(contentsOf: buffer[..<Int(produced)])
                source += Int(consumed)
                left -= consumed
            }
        }
    }

    /// Appends what is still in the filter, and makes ready for another stream.
    public func flush(into output: inout [Int16]) {
        guard let state else { return }
        let silence = [Int16](repeating: 0, count: Int(speex_resampler_get_input_latency(state)))
        silence.withUnsafeBufferPointer { process($0, into: &output) }
        speex_resampler_reset_mem(state)
        speex_resampler_skip_zeros(state)
    }

    /// A whole signal at once.
    public static func convert(
        _ samples: [Int16], from fromHz: Int, to toHz: Int, quality: Quality = .best
    ) -> [Int16]? {
        guard let resampler = Resampler(from: fromHz, to: toHz, quality: quality) else { return nil }
        var output: [Int16] = []
        output.reserveCapacity(samples.count * toHz / fromHz + 64)
        samples.withUnsafeBufferPointer { resampler.process($0, into: &output) }
        resampler.flush(into: &output)
        return output
    }
}
