// A call's audio is a stream of the media engine: the two say the same in different words.

import Calls
import Media
import Synchronization

final class StreamAudio: CallAudio {
    private let stream: MediaStream
    private let whenClosed: @Sendable () -> Void

    init(_ stream: MediaStream, whenClosed: @escaping @Sendable () -> Void) {
        self.stream = stream
        self.whenClosed = whenClosed
    }

    var inboundRateHz: Int { stream.sampleRateHz }
    var outboundRateHz: Int { stream.sampleRateHz }

    func write(_ samples: UnsafeBufferPointer<Int16>, epoch: UInt64) -> Int {
        switch stream.write(samples, epoch: epoch) {
        case .accepted(let count): count
        case .stale: samples.count  // taken and dropped, as the call's side has it
        }
    }

    func pausePlayout() { stream.pause() }
    func resumePlayout() { stream.resume() }
    func flush(olderThan epoch: UInt64) { stream.flush(before: epoch) }

    func progress() -> PlayoutProgress {
        let played = stream.playedPosition
        return PlayoutProgress(
            epoch: played.epoch, playedSamples: played.samples, queuedSamples: UInt64(stream.playoutBacklog))
    }

    func drainInbound(_ body: (_ samples: UnsafeBufferPointer<Int16>, _ position: UInt64) -> Void) {
        while let frame = stream.inboundForCall.next() {
            frame.withSamples { body($0, frame.position) }
        }
    }

    func close() { whenClosed() }
}
