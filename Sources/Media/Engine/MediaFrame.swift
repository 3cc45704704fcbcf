// Twenty milliseconds of a caller's audio, as both readers of a stream get it. A value without references: it is
// copied out of a ring and belongs to whoever copied it.

/// 20 ms of inbound audio: 16 bit, one channel, at the stream's conversation rate.
public struct MediaFrame: Sendable, BitwiseCopyable {
    /// Room for 20 ms at 16 kHz.
    public static let sampleLimit = 320

    /// What is known about the audio beyond its samples.
    public struct Flags: OptionSet, Sendable, BitwiseCopyable {
        public let rawValue: UInt8
        public init(rawValue: UInt8) { self.rawValue = rawValue }
        /// At least a part was made up for a packet that did not come.
        public static let concealed = Flags(rawValue: 1)
        /// The sender's timeline was cut before this frame: another source, or a jump. `position` goes on without a
        /// gap.
        public static let discontinuity = Flags(rawValue: 2)
        /// Silence that we put here: the peer sent nothing (before its first packet, on hold, between talk spurts).
        public static let silenceFill = Flags(rawValue: 4)
    }

    /// The first sample, counted from 0 at the start of the stream. Frames follow each other without gaps, so only
    /// frames that a reader was too slow to take are ever missing from this count.
    public internal(set) var position: UInt64 = 0
    /// When the first sample arrived, on `MonotonicClock`: now, less the time that it was held back.
    public internal(set) var captureNs: Int64 = 0
    public internal(set) var sampleRateHz: Int32 = 8_000
    public internal(set) var sampleCount: Int32 = 160
    public internal(set) var flags: Flags = []
    var samples = InlineArray<320, Int16>(repeating: 0)

    /// Calls `body` with the frame's samples.
    public func withSamples<Result>(_ body: (UnsafeBufferPointer<Int16>) throws -> Result) rethrows -> Result {
        try withUnsafePointer(to: samples) { pointer in
            try pointer.withMemoryRebound(to: Int16.self, capacity: Self.sampleLimit) {
                try body(UnsafeBufferPointer(start: $0, count: Int(sampleCount)))
            }
        }
    }
}

extension UnsafeMutablePointer where Pointee == MediaFrame {
    /// The samples, for the one who fills the frame.
    @inline(__always)
    var samples: UnsafeMutablePointer<Int16> {
        let offset = MemoryLayout<MediaFrame>.offset(of: \MediaFrame.samples)!
        return (UnsafeMutableRawPointer(self) + offset).assumingMemoryBound(to: Int16.self)
    }

    /// Copies a frame without the room behind its samples. A thousand rings are larger than any cache, so every line of
    /// memory that is not touched counts.
    @inline(__always)
    func copy(from frame: UnsafeMutablePointer<MediaFrame>) {
        let header = MemoryLayout<MediaFrame>.offset(of: \MediaFrame.samples)!
        UnsafeMutableRawPointer(self).copyMemory(
            from: UnsafeRawPointer(frame), byteCount: header + Int(frame.pointee.sampleCount) * 2)
    }
}
