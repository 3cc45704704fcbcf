// The line brings frames of 20 ms and detectors want windows of 32, so that five windows are eight frames.
//
// The memory is taken once. What does not join on to what came before starts a new window, because a window made of two
// unconnected pieces of audio has a click in the middle that no detector can tell from a consonant.

/// Cuts a call's frames into a detector's windows, and knows where each stands in the call.
///
/// The value is a handle to its memory: it lives until `deallocate()`.
public struct Reframer {
    /// A window that is complete.
    public struct Window: Sendable, Equatable {
        public var start: UInt64
        public var end: UInt64
        /// Audio is missing before it.
        public var followsGap: Bool

        public init(start: UInt64, end: UInt64, followsGap: Bool) {
            self.start = start
            self.end = end
            self.followsGap = followsGap
        }
    }

    /// The longest frame that is taken: 60 ms at 16 kHz, the longest packet that a telephone sends.
    public static let frameSamplesMax = 960

    public let windowSamples: Int
    private let samples: UnsafeMutablePointer<Int16>
    private var count = 0
    /// Position of the first sample held; unknown until the first frame.
    private var start: UInt64?
    private var gapPending = false

    /// Gaps in the positions so far.
    public private(set) var gaps: UInt64 = 0
    /// Samples that came and went into no window: the rest before a gap, and what came twice.
    public private(set) var discardedSamples: UInt64 = 0

    public init(windowSamples: Int) {
        precondition(windowSamples > 0, "a detector's window has at least one sample, not \(windowSamples)")
        self.windowSamples = windowSamples
        samples = .allocate(capacity: windowSamples + Self.frameSamplesMax)
        samples.initialize(repeating: 0, count: windowSamples + Self.frameSamplesMax)
    }

    public func deallocate() { samples.deallocate() }

    /// Adds a frame whose first sample stands at `position`. All windows were taken out before.
    public mutating func append(_ frame: UnsafePointer<Int16>, count frameCount: Int, position: UInt64) {
        precondition(count < windowSamples, "windows are taken out before more comes in")
        precondition(
            frameCount <= Self.frameSamplesMax, "frames hold at most \(Self.frameSamplesMax) samples: \(frameCount)")
        guard let start else {
            self.start = position
            return store(frame, frameCount)
        }
        let expected = start + UInt64(count)
        if position > expected {
            gaps += 1
            discardedSamples += UInt64(count)
            gapPending = true
            count = 0
            self.start = position
            store(frame, frameCount)
        } else {
            // What overlaps was here already: a frame that came twice, or one cut anew after a change of the codec.
            let overlap = min(Int(clamping: expected - position), frameCount)
            discardedSamples += UInt64(overlap)
            store(frame + overlap, frameCount - overlap)
        }
    }

    private mutating func store(_ frame: UnsafePointer<Int16>, _ frameCount: Int) {
        (samples + count).update(from: frame, count: frameCount)
        count += frameCount
    }

    /// Copies the oldest complete window to `destination`, or returns nil when there is none.
    public mutating func nextWindow(into destination: UnsafeMutablePointer<Int16>) -> Window? {
        guard count >= windowSamples, let start else { return nil }
        destination.update(from: samples, count: windowSamples)
        count -= windowSamples
        samples.update(from: samples + windowSamples, count: count)
        let end = start + UInt64(windowSamples)
        self.start = end
        defer { gapPending = false }
        return Window(start: start, end: end, followsGap: gapPending)
    }
}
