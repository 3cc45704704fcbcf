// Between a stream of the media engine and a plugin whose transport carries the audio (profile `frames`): the caller's
// frames go into the stream as they come, the agent's come out of it at most 200 ms before they are due.
//
// The engine has the clock, and looks ahead in the playout; here is only carried. A transport that is behind keeps its
// frame waiting here, the ring behind it fills, and the engine stops playing: nothing counts as heard that is still on
// this side. Marks are not needed, since the engine's position is what the caller has heard.

import Calls
import Media
import Providers
import Synchronization

/// What a telephony session is to the audio of its call.
protocol FrameCarrier: Sendable {
    func play(
        _ samples: UnsafeBufferPointer<Int16>, rateHz: Int, sequence: UInt64, position: UInt64, epoch: UInt64
    ) -> Handover
    func flush()
}

extension TelephonySession: FrameCarrier {}

final class FrameTransport: Sendable {
    private struct Waiting {
        var frame: OutboundFrame?
        /// Its `flush` was asked for already.
        var isFlushed = false
        var position: UInt64 = 0
    }

    private let stream: MediaStream
    private let carrier: any FrameCarrier
    /// Only the pump's thread takes it, but for the end of the call.
    private let waiting = Mutex(Waiting())

    init(_ stream: MediaStream, session: any FrameCarrier) {
        self.stream = stream
        carrier = session
    }

    /// From the plugin, within `emit`. What does not fit has come in a burst of more than half a second and is lost.
    func received(_ samples: [Int16]) {
        _ = samples.withUnsafeBufferPointer { stream.deliver($0) }
    }

    /// Hands over what is due, on the pump's thread.
    func send() {
        waiting.withLock { waiting in
            while let frame = waiting.frame ?? stream.takeOutbound() {
                if frame.clearsTransport, !waiting.isFlushed { carrier.flush() }
                let position = waiting.position
                let handover = frame.withSamples {
                    carrier.play(
                        $0, rateHz: Int(frame.sampleRateHz), sequence: frame.number, position: position,
                        epoch: frame.epoch)
                }
                guard handover == .accepted else {
                    waiting.frame = frame
                    waiting.isFlushed = true
                    return
                }
                waiting.frame = nil
                waiting.isFlushed = false
                waiting.position += UInt64(frame.sampleCount)
            }
        }
    }

    func close() { stream.close() }
}
