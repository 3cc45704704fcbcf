// From the playout to packets.

import Glibc

extension StreamSlot {
    /// Sends what is due in this tick: voice, silence, a digit, and now and then a report.
    mutating func send(now: Int64, _ thread: MediaThreadScratch) {
        guard isNegotiated else { return }
        if recording != nil { thread.clearAgentFrame() }
        if frames != nil {
            sendToTransport(now: now, thread)
            return
        }
        sendAudio(now: now, thread)
        if reporter.isDue(now: now) { sendReport(goodbye: false, now: now, thread) }
    }

    private mutating func sendAudio(now: Int64, _ thread: MediaThreadScratch) {
        let count = frameSamples
        let ticks = UInt32(parameters.codec.clockRateHz / 50)
        // The voice is only taken when it is really sent: what nobody can hear shall not count as heard.
        guard parameters.direction.sends, let destination = latch.destination() else {
            outboundCount = 0
            wasAudible = false
            timestamp &+= ticks
            return
        }
        if eventSender.isBusy {
            sendEvent(to: destination, ticks: ticks, thread)
            wasSendingEvents = true
            return
        }
        if wasSendingEvents {
            wasSendingEvents = false
            emit(.digitsSent, thread)
        }
        let target = outbound + outboundCount
        let isAudible = playout.pull(count, into: target) { notice in
            switch notice {
            case .drained(let epoch, let played):
                thread.note(.playoutDrained(epoch: UInt64(epoch), samples: played))
            case .flushed(let epoch, let played):
                thread.note(.playoutFlushed(epoch: UInt64(epoch), samples: played))
            }
        }
        emitNotes(thread)
        if recording != nil { thread.keepAgentFrame(target, count: count) }
        outboundIsAudible = outboundIsAudible || isAudible
        if isAudible { lastAudibleNs = now &+ 20_000_000 }
        outboundCount += count
        guard outboundCount * 50 >= sampleRateHz * Int(parameters.packetMs) / 20 else { return }
        sendPacket(to: destination, thread)
    }

    private mutating func sendPacket(to destination: SocketAddress, _ thread: MediaThreadScratch) {
        let payload = thread.packet + RTPPacket.headerByteCount
        let clockTicks = UInt32(outboundCount * (parameters.codec.clockRateHz / 1_000) / (sampleRateHz / 1_000))
        var bytes = 0
        switch parameters.codec {
        case .opus:
            bytes = encoder?.pointee.encode(
                outbound, count: outboundCount, into: payload, limit: MediaThreadScratch.payloadLimit) ?? 0
        case .pcmu, .pcma:
            if sampleRateHz == 16_000 { halver.halve(outbound, count: outboundCount, into: outbound) }
            bytes = Int(clockTicks)
            (parameters.codec == .pcmu ? mu : a).encode(outbound, count: bytes, into: payload)
        }
        if bytes > 0 {
            // RFC 3551 section 4.1: the marker says that a talk spurt begins.
            let header = RTPPacket(
                payloadType: parameters.sendPayloadType, marker: outboundIsAudible && !wasAudible, sequence: sequence,
                timestamp: timestamp, ssrc: localSSRC)
            transmit(header, payloadCount: bytes, to: destination, thread)
        }
        wasAudible = outboundIsAudible
        outboundIsAudible = false
        timestamp &+= clockTicks
        outboundCount = 0
    }

    private mutating func sendEvent(to destination: SocketAddress, ticks: UInt32, _ thread: MediaThreadScratch) {
        outboundCount = 0
        if let event = eventSender.next(timestamp: timestamp, frameTicks: Int(ticks)), parameters.canSendDTMF {
            TelephoneEventSender.write(event, to: thread.packet + RTPPacket.headerByteCount)
            let header = RTPPacket(
                payloadType: parameters.sendEventPayloadType, marker: event.marker, sequence: sequence,
                timestamp: event.timestamp, ssrc: localSSRC)
            transmit(header, payloadCount: 4, to: destination, thread)
        }
        wasAudible = false
        timestamp &+= ticks
    }

    private mutating func transmit(
        _ header: RTPPacket, payloadCount: Int, to destination: SocketAddress, _ thread: MediaThreadScratch
    ) {
        header.write(to: thread.packet)
        let sent = destination.withPointer {
            sendto(rtpSocket, thread.packet, RTPPacket.headerByteCount + payloadCount, 0, $0, $1)
        }
        // The sequence moves on all the same: to the peer a packet that the kernel refused is a lost one.
        if sent < 0 { figures.add(.sendErrors) }
        sequence &+= 1
        sentPackets &+= 1
        sentOctets &+= UInt32(payloadCount)
    }

    /// Sends a compound RTCP packet.
    mutating func sendReport(goodbye: Bool, now: Int64, _ thread: MediaThreadScratch) {
        guard frames == nil, isNegotiated, sentPackets > 0 || reception.packetCount > 0 else { return }
        var block: RTCPReportBlock?
        if reception.isStarted {
            block = RTCPReportBlock(
                ssrc: remoteSSRC, fractionLost: reception.takeFractionLost(),
                cumulativeLost: Int32(clamping: min(max(reception.lost, -0x80_0000), 0x7F_FFFF)),
                extendedHighestSequence: reception.extendedHighestSequence, jitter: reception.jitter,
                lastReport: 0, delaySinceLastReport: 0)
        }
        let bytes = reporter.write(
            to: thread.packet, ssrc: localSSRC,
            sent: sentPackets > 0 ? (sentPackets, sentOctets, timestamp) : nil, block: block, goodbye: goodbye,
            ntp: NTPClock.now, now: now)
        // A learnt peer is not where the SDP says: its RTCP is next to its RTP then.
        var destination = parameters.usesRTCPMux ? parameters.remote : parameters.remoteRTCP
        if latch.locked.isKnown, latch.locked != parameters.remote {
            destination = latch.locked
            if !parameters.usesRTCPMux { destination.port &+= 1 }
        }
        guard destination.isKnown, !destination.isUnspecified else { return }
        let socket = parameters.usesRTCPMux ? rtpSocket : rtcpSocket
        _ = destination.withPointer { sendto(socket, thread.packet, bytes, 0, $0, $1) }
    }

    /// The media thread stood still for so many frames: the timelines go on, the audio does not catch up.
    mutating func skip(frames: Int64) {
        timestamp &+= UInt32(truncatingIfNeeded: frames) &* UInt32(parameters.codec.clockRateHz / 50)
        position &+= UInt64(frames) * UInt64(frameSamples)
        figures.add(.skippedFrames, UInt64(frames))
    }

    mutating func emitNotes(_ thread: MediaThreadScratch) {
        thread.takeNotes { emit($0, thread) }
    }
}
