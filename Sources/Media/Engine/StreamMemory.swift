// The memory of one stream, owned by whoever still needs it: the engine while the media thread has it, and the
// stream's handle while somebody may read its rings. Plain reference counting, far from the media thread, which only
// sees the slot.

import Synchronization

/// The rings, boards and slot of one stream.
final class StreamMemory: @unchecked Sendable {
    let inbound = LockFreeRing<MediaFrame>(capacity: StreamSlot.inboundFrameCapacity, readers: 2)
    let events = LockFreeRing<MediaEvent>(capacity: StreamSlot.eventCapacity)
    let samples = LockFreeRing<Int16>(capacity: Playout.sampleCapacity)
    let marks = LockFreeRing<PlayoutMark>(capacity: Playout.markCapacity)
    let figures = StatisticsBoard<StreamFigure>()
    let position: UnsafeMutablePointer<Atomic<UInt64>>
    let frames: FrameTransportRings?
    let slot: UnsafeMutablePointer<StreamSlot>
    let sockets: SocketPair?

    init(sockets: SocketPair?, sampleRateHz: Int, hasFrames: Bool, timeouts: MediaTimeouts, wakes: WakeDescriptors) {
        self.sockets = sockets
        position = .allocate(capacity: 1)
        position.initialize(to: Atomic(0))
        frames =
            hasFrames
            ? FrameTransportRings(
                inbound: LockFreeRing(capacity: FrameTransportRings.inboundCapacity),
                outbound: LockFreeRing(capacity: FrameTransportRings.outboundCapacity))
            : nil
        slot = MediaMemory.allocate(StreamSlot.self, count: 1)
        slot.initialize(
            to: StreamSlot(
                inbound: inbound, events: events, figures: figures, frames: frames,
                playout: Playout(samples: samples, marks: marks, position: position, sampleRateHz: sampleRateHz),
                sockets: sockets, sampleRateHz: sampleRateHz, timeouts: timeouts, wakes: wakes))
    }

    deinit {
        slot.deinitialize(count: 1)
        MediaMemory.deallocate(slot, count: 1)
        inbound.deallocate()
        events.deallocate()
        samples.deallocate()
        marks.deallocate()
        figures.deallocate()
        position.deallocate()
        frames?.inbound.deallocate()
        frames?.outbound.deallocate()
    }

    /// Bytes that a stream of this kind takes, with its receiver, without codec states of Opus.
    var byteCount: Int {
        let packet = JitterBuffer.payloadLimit + MemoryLayout<JitterBuffer.Slot>.stride
        let receiver = JitterBuffer.capacity * packet + 8_192
        return inbound.byteCount + events.byteCount + samples.byteCount + marks.byteCount + receiver
            + MemoryLayout<StreamSlot>.stride + (frames.map { $0.inbound.byteCount + $0.outbound.byteCount } ?? 0)
    }
}
