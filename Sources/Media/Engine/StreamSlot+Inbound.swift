// From datagrams to inbound frames.

import Glibc

extension StreamSlot {
    /// Takes a datagram from the RTP socket.
    mutating func receiveRTP(
        _ datagram: UnsafeRawBufferPointer, from source: SocketAddress, now: Int64, _ thread: MediaThreadScratch
    ) {
        guard isNegotiated else { return }
        if parameters.usesRTCPMux, RTPPacket.isRTCP(datagram) {
            receiveRTCP(datagram, from: source, now: now, thread)
            return
        }
        let packet: RTPPacket
        do {
            packet = try RTPPacket(parsing: datagram)
        } catch {
            figures.add(.malformed)
            return
        }
        let codec = parameters.codec(ofPayloadType: packet.payloadType)
        let isEvent = packet.payloadType == parameters.receiveEventPayloadType
        let isComfortNoise = packet.payloadType == MediaParameters.comfortNoisePayloadType
        guard codec != nil || isEvent || isComfortNoise else {
            figures.add(.unusable)
            return
        }
        switch latch.judge(source, ssrc: packet.ssrc, now: now) {
        case .accept: break
        case .acceptNewSource: if hasRemoteSSRC { changeSource(to: packet.ssrc, thread) }
        case .onProbation, .ignore:
            figures.add(.foreign)
            return
        }
        guard isFromSender(packet, thread) else { return }
        lastPacketNs = now
        hasTimedOut = false
        if reception.packetCount == 0 { emit(.firstPacket, thread) }
        reception.receive(packet, clockRateHz: parameters.codec.clockRateHz, now: now)

        let payload = UnsafeRawBufferPointer(rebasing: datagram[packet.payloadOffset...].prefix(packet.payloadCount))
        if isEvent {
            receiver?.pointee.noteTelephoneEvent(now: now)
            let digits = eventReceiver.receive(payload, timestamp: packet.timestamp, marker: packet.marker, now: now)
            if let digit = digits.0 { emit(.digit(digit), thread) }
            if let digit = digits.1 { emit(.digit(digit), thread) }
        } else if isComfortNoise {
            receiver?.pointee.noteComfortNoise()
        } else if let codec, parameters.direction.receives {
            // Two clocks cannot share a timeline; a peer that changes clocks has to say so.
            guard codec.clockRateHz == receiver?.pointee.clockRateHz else {
                figures.add(.unusable)
                return
            }
            receiver?.pointee.receive(packet, codec: codec, payload: payload, now: now)
        }
    }

    /// Whether a packet belongs to the sender that we hear. A new SSRC has to show up twice: one stray packet shall
    /// not cut the audio, and a gateway that changed its source sends the second 20 ms later.
    private mutating func isFromSender(_ packet: RTPPacket, _ thread: MediaThreadScratch) -> Bool {
        if !hasRemoteSSRC {
            hasRemoteSSRC = true
            remoteSSRC = packet.ssrc
        }
        guard packet.ssrc != remoteSSRC else {
            newSSRCCount = 0
            return true
        }
        newSSRCCount = packet.ssrc == newSSRC ? newSSRCCount + 1 : 1
        newSSRC = packet.ssrc
        guard newSSRCCount >= 2 else { return false }
        changeSource(to: packet.ssrc, thread)
        return true
    }

    private mutating func changeSource(to ssrc: UInt32, _ thread: MediaThreadScratch) {
        remoteSSRC = ssrc
        newSSRCCount = 0
        reception.restart()
        eventReceiver = TelephoneEventReceiver()
        receiver?.pointee.restart()
        emit(.sourceChanged, thread)
    }

    /// Takes a datagram from the RTCP socket.
    mutating func receiveRTCP(
        _ datagram: UnsafeRawBufferPointer, from source: SocketAddress, now: Int64, _ thread: MediaThreadScratch
    ) {
        guard isNegotiated else { return }
        guard let reception = RTCPReception(parsing: datagram, about: localSSRC) else {
            figures.add(.malformed)
            return
        }
        // Only from the peer's host: a forged goodbye or report must not reach the call.
        guard source.hasHost(of: latch.locked.isKnown ? latch.locked : parameters.remote) else {
            figures.add(.foreign)
            return
        }
        reporter.note(reception, now: now)
        if let block = reception.block {
            latch.prove(from: source)
            figures.set(.peerFractionLost, UInt64(block.fractionLost))
            // Shifted by one, so that 0 can mean "unknown".
            if let roundTrip = reception.roundTrip(now: NTPClock.now) { figures.set(.roundTrip, UInt64(roundTrip) + 1) }
        }
        if reception.isGoodbye { emit(.peerLeft, thread) }
    }

    /// Makes the inbound frame that is due at `now`, and sees to what depends on time.
    mutating func produce(now: Int64, _ thread: MediaThreadScratch) {
        guard isNegotiated else { return }
        let count = frameSamples
        let position = position
        let frame = thread.frame
        frame.pointee.flags = .silenceFill
        if frames != nil {
            takeDelivered(into: frame, now: now)
        } else if let receiver, parameters.direction.receives {
            receiver.pointee.produce(into: frame, now: now)
        } else {
            frame.samples.update(repeating: 0, count: count)
            frame.pointee.captureNs = now
        }
        heldNs = now &- frame.pointee.captureNs
        frame.pointee.position = position
        frame.pointee.sampleRateHz = Int32(sampleRateHz)
        frame.pointee.sampleCount = Int32(count)
        self.position += UInt64(count)
        if case .stored = inbound.pushLive({ $0.copy(from: frame) }) {} else { figures.add(.framesDropped) }
        thread.wake(wakes.callFrames)
        thread.wake(wakes.detectorFrames)
        record(frame, now: now, thread)
        if let digit = eventReceiver.poll(now: now) { emit(.digit(digit), thread) }
        watchForSilence(now: now, thread)
        frameCount &+= 1
        if frameCount % 10 == 0 { publish(now: now) }
    }

    private func record(_ frame: UnsafeMutablePointer<MediaFrame>, now: Int64, _ thread: MediaThreadScratch) {
        guard let recording else { return }
        let agent = thread.agentFrame
        _ = recording.pushLive { recorded in
            recorded.pointee.sampleCount = Int32(frameSamples)
            recorded.pointee.sampleRateHz = Int32(sampleRateHz)
            recorded.pointee.position = frame.pointee.position
            recorded.pointee.caller = frame.pointee.samples
            recorded.pointee.agent = agent.pointee
        }
    }

    private mutating func watchForSilence(now: Int64, _ thread: MediaThreadScratch) {
        guard parameters.direction.receives, !hasTimedOut, frames == nil else { return }
        let limit = reception.packetCount == 0 ? timeouts.firstPacketNs : timeouts.laterPacketsNs
        let silent = now &- lastPacketNs
        guard limit > 0, silent > limit else { return }
        hasTimedOut = true
        emit(.mediaTimeout(silentForMs: Int32(clamping: silent / 1_000_000)), thread)
    }

    /// Puts the figures where others can read them.
    mutating func publish(now: Int64) {
        figures.set(.packetsReceived, reception.packetCount)
        figures.set(.lost, reception.lost)
        figures.set(.jitterTicks, UInt64(reception.jitter))
        figures.set(.clockRateHz, UInt64(parameters.codec.clockRateHz))
        figures.set(.packetsSent, UInt64(sentPackets))
        figures.set(.underruns, playout.underrunCount)
        guard let receiver else { return }
        figures.set(.late, receiver.pointee.lateCount)
        figures.set(.duplicate, receiver.pointee.duplicateCount)
        figures.set(.concealedSamples, receiver.pointee.concealedSampleCount)
        figures.set(.corrections, receiver.pointee.correctionCount)
        figures.set(.restarts, receiver.pointee.restartCount)
        figures.set(.overflows, receiver.pointee.jitter.overflowCount)
        figures.set(.driftPPM, Int64(receiver.pointee.jitter.delay.driftPPM))
        figures.set(.bufferedNs, heldNs)
        figures.set(.targetNs, receiver.pointee.jitter.delay.targetNs)
    }
}
