// Audio on its way in.

import PluginABI

/// A few milliseconds of the caller's audio, lent for the duration of one call.
///
/// It cannot be copied or kept, so its memory cannot be used too late; what is needed longer is appended to an array.
public struct AudioFrame: ~Copyable {
    /// Samples a second.
    public let rateHz: Int
    /// The first sample, counted in samples at `rateHz` since the session opened.
    public let position: UInt64
    /// When it arrived, on the host's clock, or 0.
    public let capturedNs: UInt64
    /// Audio is missing before this frame; `position` says how much.
    public let isDiscontinuity: Bool
    /// Made up by the jitter buffer for a packet that did not come.
    public let isConcealed: Bool

    private let memory: UnsafeBufferPointer<Int16>

    public var count: Int { memory.count }
    /// Position after the last sample.
    public var end: UInt64 { position + UInt64(memory.count) }

    /// Reads the samples where they lie.
    public borrowing func withSamples<Result, Failure>(
        _ body: (Span<Int16>) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        try body(memory.span)
    }

    /// Copies the samples from the `offset`th on to the end of `samples`.
    public borrowing func append(to samples: inout [Int16], from offset: Int = 0) {
        guard offset < memory.count else { return }
        samples.append(contentsOf: memory[max(0, offset)...])
    }

    /// nil: the frame breaks the contract, or is in a format that a Swift plugin does not take.
    init?(_ frame: UnsafePointer<vc_frame>) {
        let frame = frame.pointee
        guard frame.size >= UInt32(MemoryLayout<vc_frame>.size), frame.format == UInt32(VC_FORMAT_S16),
            frame.channels == 1,
            frame.bytes == 2 * UInt64(frame.samples), frame.samples == 0 || frame.data != nil,
            UInt(bitPattern: frame.data) % 2 == 0
        else { return nil }
        rateHz = Int(frame.rate_hz)
        position = frame.position
        capturedNs = frame.captured_ns
        isDiscontinuity = frame.flags & UInt32(VC_FRAME_DISCONTINUITY) != 0
        isConcealed = frame.flags & UInt32(VC_FRAME_CONCEALED) != 0
        memory = UnsafeBufferPointer(start: frame.data?.assumingMemoryBound(to: Int16.self), count: Int(frame.samples))
    }
}
