// Streams whose transport carries the audio itself (a media stream over WebSocket). The clock is the same: one inbound
// frame and one played frame every 20 ms. Only the wire is missing, and in its place are two rings.
//
// Such a transport wants audio a little early, because TCP is not regular. So up to 200 ms are handed over before they
// are played, by looking ahead in the playout, whose own position goes on by the clock. A pause then is: tell the
// transport to clear, and forget that anything was handed over. A resume hands it over again, from the exact sample.
//
// Neither the beginning of a voice nor a clear waits for the call's place in the 20 ms: the transport has no clock of
// ours to keep, and a caller would wait for both.

extension StreamSlot {
    static let aheadMs = 200
    /// Delivered audio is buffered this far before it is used, and cut when it piles up beyond the other.
    private static let deliveryBeginFrames = 2
    private static let deliveryLimitFrames = 15

    /// The inbound frame out of what the transport delivered.
    mutating func takeDelivered(into frame: UnsafeMutablePointer<MediaFrame>, now: Int64) {
        guard let rings = frames else { return }
        let count = frameSamples
        let waiting = rings.inbound.count()
        frame.pointee.captureNs = now &- Int64(waiting) &* 1_000_000_000 / Int64(sampleRateHz)
        guard waiting >= (isDelivering ? count : Self.deliveryBeginFrames * count) else {
            isDelivering = false
            frame.samples.update(repeating: 0, count: count)
            return
        }
        frame.pointee.flags = isDelivering ? [] : .discontinuity
        if waiting > Self.deliveryLimitFrames * count {
            // A burst after a stall: what is older than the usual delay helps nobody any more.
            rings.inbound.discard(waiting - 3 * count)
            frame.pointee.flags.insert(.discontinuity)
            figures.add(.restarts)
        }
        isDelivering = true
        lastPacketNs = now
        _ = rings.inbound.peek(into: frame.samples, count: count)
        rings.inbound.discard(count)
    }

    /// Plays a frame, and hands over what the transport may have ahead of time.
    mutating func sendToTransport(now: Int64, _ thread: MediaThreadScratch) {
        guard let rings = frames else { return }
        let count = frameSamples
        // The transport does not take what it has: playing on would count as heard what it still holds.
        guard rings.outbound.freeCount > 0 else { return }

        let isAudible = playout.pull(count, into: outbound) { Self.note($0, thread) }
        emitNotes(thread)
        if recording != nil { thread.keepAgentFrame(outbound, count: count) }
        if isAudible { lastAudibleNs = now &+ 20_000_000 }
        if aheadSamples >= count {
            aheadSamples -= count
        } else if isAudible || mustClearTransport {
            hand(over: outbound, count: count, rings)
        }
        lookAhead(rings)
        thread.wake(wakes.events)
    }

    /// Hands over, between two frames, what should not wait for the next: a clear, and the beginning of a voice.
    mutating func sendToTransportEarly(_ thread: MediaThreadScratch) {
        guard let rings = frames, mustClearTransport || (aheadSamples == 0 && playout.hasAudio),
            rings.outbound.freeCount > 0
        else { return }
        if mustClearTransport {
            outbound.update(repeating: 0, count: frameSamples)
            hand(over: outbound, count: frameSamples, rings)
            thread.wake(wakes.events)
        }
        guard aheadSamples == 0, playout.begin({ Self.note($0, thread) }) else { return emitNotes(thread) }
        emitNotes(thread)
        lookAhead(rings)
        if aheadSamples > 0 { thread.wake(wakes.events) }
    }

    private static func note(_ notice: PlayoutNotice, _ thread: MediaThreadScratch) {
        switch notice {
        case .drained(let epoch, let played):
            thread.note(.playoutDrained(epoch: UInt64(epoch), samples: played))
        case .flushed(let epoch, let played):
            thread.note(.playoutFlushed(epoch: UInt64(epoch), samples: played))
        }
    }

    private mutating func lookAhead(_ rings: FrameTransportRings) {
        let count = frameSamples
        while aheadSamples < sampleRateHz * Self.aheadMs / 1_000,
            rings.outbound.freeCount > 0,
            playout.peek(count, offset: aheadSamples, into: outbound)
        {
            hand(over: outbound, count: count, rings)
            aheadSamples += count
        }
    }

    private mutating func hand(over samples: UnsafePointer<Int16>, count: Int, _ rings: FrameTransportRings) {
        var frame = OutboundFrame()
        frame.number = nextFrameNumber
        frame.epoch = UInt64(playout.currentEpoch)
        frame.sampleRateHz = Int32(sampleRateHz)
        frame.sampleCount = Int32(count)
        frame.clearsTransport = mustClearTransport
        for index in 0..<count { frame.samples[index] = samples[index] }
        guard rings.outbound.push(frame) else { return }
        nextFrameNumber += 1
        mustClearTransport = false
        sentPackets &+= 1
    }

    /// What was handed over and not yet played is void. A transport that holds nothing is not told to clear: that would
    /// be a message, and a frame of silence to carry it, before every answer.
    mutating func voidHandedOver() {
        guard frames != nil, aheadSamples > 0 else { return }
        aheadSamples = 0
        mustClearTransport = true
    }
}
