// A recording of both sides of a call: the caller on the left, the agent on the right, sample by sample as the
// engine's clock had them. The media thread puts both frames of a tick into a ring; the housekeeper empties it into a
// file. A disk that is too slow costs frames of the recording, which are counted and left silent, and never a frame of
// the call.

import Glibc
import Synchronization

/// Writes a stream's two sides to a WAV file.
public final class StereoRecorder: @unchecked Sendable {
    /// 1.28 s, of which the housekeeper empties a fifth of a second at a time.
    private static let ringCapacity = 64

    private struct File {
        var descriptor: Int32
        var sampleRateHz = 0
        var nextPosition: UInt64?
        var dataBytes = 0
        var isFinished = false
    }

    public let path: String
    private let ring = LockFreeRing<RecordedFrame>(capacity: StereoRecorder.ringCapacity)
    private let file: Mutex<File>
    private let stream: MediaStream
    private let gaps = Atomic<Int>(0)

    /// Samples of each side that are missing, because the disk was too slow; silent in the file.
    public var missedSamples: Int { gaps.load(ordering: .relaxed) }

    /// Begins to record.
    public init(stream: MediaStream, path: String) throws(WAVError) {
        let descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw .cannotWrite(path, errno: errno) }
        self.path = path
        self.stream = stream
        file = Mutex(File(descriptor: descriptor))
        stream.ownEngine.add(self)
        stream.record(into: ring)
    }

    deinit { ring.deallocate() }

    /// Ends the recording and completes the file. Waits a few milliseconds for the media thread.
    public func finish() throws(WAVError) {
        stream.record(into: nil)
        stream.waitForCommands()
        stream.ownEngine.remove(self)
        drain()
        let path = path
        try file.withLock { (file: inout File) throws(WAVError) in
            guard !file.isFinished else { return }
            file.isFinished = true
            let rate = file.sampleRateHz == 0 ? 8_000 : file.sampleRateHz
            let header = WAVFile.header(sampleRateHz: rate, channels: 2, dataBytes: file.dataBytes)
            let wrote = pwrite(file.descriptor, header, header.count, 0)
            close(file.descriptor)
            guard wrote == header.count else { throw .cannotWrite(path, errno: errno) }
        }
    }

    /// Empties the ring into the file. Not for media threads.
    func drain() {
        file.withLock { file in
            guard !file.isFinished else { return }
            while let frame = ring.pop() { append(frame, &file) }
        }
    }

    private func append(_ frame: RecordedFrame, _ file: inout File) {
        let count = Int(frame.sampleCount)
        var bytes: [UInt8] = []
        if file.nextPosition == nil {
            file.sampleRateHz = Int(frame.sampleRateHz)
            bytes = WAVFile.header(sampleRateHz: file.sampleRateHz, channels: 2, dataBytes: 0)
        }
        // What is missing is silent, so that both sides stay in step with the clock. Bounded: a minute at most.
        let missing = min(Int(frame.position &- (file.nextPosition ?? frame.position)), 60 * file.sampleRateHz)
        if missing > 0 {
            gaps.wrappingAdd(missing, ordering: .relaxed)
            bytes += [UInt8](repeating: 0, count: missing * 4)
        }
        let headerBytes = file.nextPosition == nil ? bytes.count : 0
        for index in 0..<count {
            for sample in [frame.caller[index], frame.agent[index]] {
                bytes.append(UInt8(truncatingIfNeeded: sample))
                bytes.append(UInt8(truncatingIfNeeded: sample >> 8))
            }
        }
        file.nextPosition = frame.position + UInt64(count)
        file.dataBytes += bytes.count - headerBytes
        var written = 0
        while written < bytes.count {
            let count = bytes.withUnsafeBytes {
                write(file.descriptor, $0.baseAddress! + written, bytes.count - written)
            }
            guard count > 0 else { return }
            written += count
        }
    }
}
