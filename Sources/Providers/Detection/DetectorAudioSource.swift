// What the detection thread needs of a call's audio, so that it knows neither rings nor media.

/// A frame of inbound audio as the source hands it over.
public struct DetectorFrame: Sendable, Equatable {
    /// Samples written, at most `Reframer.frameSamplesMax`.
    public var count: Int
    /// Of the first sample, in samples of the call's inbound audio.
    public var position: UInt64

    public init(count: Int, position: UInt64) {
        self.count = count
        self.position = position
    }
}

/// The inbound audio of one call, as the reading end of a ring.
///
/// Called on the detection thread only, some 200 times a second: it must not wait, and takes no lock that a media
/// thread takes.
public protocol DetectorAudioSource: AnyObject {
    /// Takes the oldest frame, writing its samples to `samples`, which has room for `Reframer.frameSamplesMax`. Nil
    /// when there is none yet.
    func nextFrame(into samples: UnsafeMutablePointer<Int16>) -> DetectorFrame?
}
