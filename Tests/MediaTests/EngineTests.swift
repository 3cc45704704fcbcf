// The engine as a whole, on loopback sockets and in real time. Short, and generous with time: what matters is order and
// content; how exact the pacing is, is measured by `Benchmarks/media-engine`.

import Glibc
import Testing

@testable import Media

@Suite("Media engine", .serialized)
struct EngineTests {
    private func makeEngine() throws -> MediaEngine {
        var configuration = MediaConfiguration()
        configuration.portRange = nil
        configuration.maximumStreams = 16
        let engine = try MediaEngine(configuration: configuration)
        try engine.start()
        return engine
    }

    private func connect(_ engine: MediaEngine, _ peer: LoopbackPeer) throws -> MediaStream {
        let stream = try engine.openStream()
        _ = try stream.answer(to: peer.offer())
        peer.destination = stream.localAddress!
        return stream
    }

    /// Runs `frames` frames of 20 ms.
    private func run(_ frames: Int, _ body: (Int) -> Void) {
        let start = MonotonicClock.now
        for frame in 0..<frames {
            body(frame)
            MonotonicClock.sleep(untilNs: start + Int64(frame + 1) * 20_000_000)
        }
    }

    @Test("A PCMU call is heard on both sides, sample by sample")
    func audioBothWays() throws {
        let engine = try makeEngine()
        defer { engine.stop() }
        let peer = LoopbackPeer()
        let stream = try connect(engine, peer)

        let speech = tone(hertz: 440, count: 8_000)
        let answer = tone(hertz: 300, count: 4_000)
        #expect(withSamples(answer) { stream.write($0, epoch: 1) } == .accepted(4_000))
        #expect(stream.finish(epoch: 1))
        run(50) { frame in
            peer.send(speech[frame * 160..<(frame + 1) * 160].map { G711.mu.encode($0) }, marker: frame == 0)
        }
        let packets = peer.receive().filter { !$0.isRTCP }
        #expect(packets.count >= 45)
        let sequences = packets.map(\.header.sequence)
        #expect(zip(sequences, sequences.dropFirst()).allSatisfy { $1 == $0 &+ 1 })
        let stamps = packets.map(\.header.timestamp)
        #expect(zip(stamps, stamps.dropFirst()).allSatisfy { $1 == $0 &+ 160 })
        let sent = packets.flatMap(\.payload)
        let expected = answer.map { G711.mu.encode($0) }
        let begin = try #require(sent.firstIndex { $0 != 0xFF })
        // The tone's first sample is zero, which silence is too.
        #expect(Array(sent[(begin - 1)...].prefix(4_000)) == expected)
        #expect(stream.playedPosition == PlayedPosition(epoch: 1, samples: 4_000))

        var position: UInt64 = 0
        var heard: [Int16] = []
        while let frame = stream.inboundForCall.next() {
            #expect(frame.position == position)
            position += UInt64(frame.sampleCount)
            frame.withSamples { heard += $0 }
        }
        #expect(stream.inboundForDetector.count > 40)
        let decoded = speech.map { G711.mu.decode(G711.mu.encode($0)) }
        let first = try #require(heard.firstIndex { $0 != 0 })
        let count = min(4_000, heard.count - first)
        #expect(count > 3_000)
        #expect(Array(heard[first..<first + count]) == Array(decoded.drop { $0 == 0 }.prefix(count)))

        var events: [MediaEvent] = []
        while let event = stream.nextEvent() { events.append(event) }
        #expect(events.contains(.firstPacket))
        #expect(events.contains(.playoutDrained(epoch: 1, samples: 4_000)))
        #expect((30...50).contains(stream.statistics.packetsReceived))
        #expect(stream.memoryByteCount <= 150_000)
    }

    @Test("A pause is silence within a frame, a resume goes on where it was, a flush is final")
    func pauseResumeFlush() throws {
        let engine = try makeEngine()
        defer { engine.stop() }
        let peer = LoopbackPeer()
        let stream = try connect(engine, peer)
        // A ramp in steps of one packet: each packet's loudness says which it was.
        let audio = (0..<100).flatMap { packet in [Int16](repeating: Int16(300 * (packet + 1)), count: 160) }
        #expect(withSamples(audio) { stream.write($0, epoch: 1) } == .accepted(16_000))

        run(10) { _ in }
        stream.pause()
        run(1) { _ in }
        let pausedAt = stream.playedPosition
        run(10) { _ in }
        #expect(stream.playedPosition == pausedAt)
        #expect(pausedAt.samples % 160 == 0 && pausedAt.samples >= 6 * 160)
        #expect(stream.statistics.pauseLatencyMs <= 25)
        stream.resume()
        run(5) { _ in }
        #expect(stream.playedPosition.samples >= pausedAt.samples + 2 * 160)
        stream.flush(before: 2)
        run(2) { _ in }
        let end = stream.playedPosition
        #expect(withSamples(audio) { stream.write($0, epoch: 1) } == .stale)
        var events: [MediaEvent] = []
        while let event = stream.nextEvent() { events.append(event) }
        #expect(events == [.playoutFlushed(epoch: 1, samples: end.samples)])

        // What the peer heard in full frames is what was counted, each once and in order.
        let codes = peer.receive().filter { !$0.isRTCP && Set($0.payload).count == 1 }.map { $0.payload[0] }
        let heard = codes.filter { $0 != 0xFF }
        let expected = (1...Int(end.samples / 160)).map { G711.mu.encode(Int16(300 * $0)) }
        // The frame after the resume fades in, so it is no frame of one value.
        let faded = Int(pausedAt.samples / 160)
        #expect(heard == Array(expected[..<faded] + expected[(faded + 1)...]))
    }

    @Test("Digits go out as telephone events and come in as events, while the voice waits")
    func digits() throws {
        let engine = try makeEngine()
        defer { engine.stop() }
        let peer = LoopbackPeer()
        let stream = try connect(engine, peer)
        #expect(stream.sendDTMF("1#"))
        #expect(!stream.sendDTMF("x"))
        let start = peer.timestamp
        run(40) { frame in
            guard (5..<12).contains(frame) else {
                peer.send([UInt8](repeating: 0xFF, count: 160), marker: frame == 0)
                return
            }
            let duration = UInt16(min(frame - 4, 5) * 160)
            let header = RTPPacket(
                payloadType: 101, marker: frame == 5, sequence: peer.sequence, timestamp: start &+ 800, ssrc: peer.ssrc)
            peer.send(header: header, [9, frame >= 9 ? 0x8A : 0x0A, UInt8(duration >> 8), UInt8(duration & 255)])
            peer.sequence &+= 1
            peer.timestamp &+= 160
        }
        var events: [MediaEvent] = []
        while let event = stream.nextEvent() { events.append(event) }
        #expect(events.filter { $0 == .digit(.nine) }.count == 1)
        #expect(events.contains(.digitsSent))
        let sent = peer.receive().filter { $0.header.payloadType == 101 }
        #expect(sent.count == 14)
        #expect(Set(sent.map(\.header.timestamp)).count == 2)
        #expect(sent.filter { $0.payload[1] & 0x80 != 0 }.count == 6)
        #expect(sent.map { $0.payload[0] } == [UInt8](repeating: 1, count: 7) + [UInt8](repeating: 11, count: 7))
    }

    @Test("A packet from elsewhere is counted and not heard, and nothing is sent to it")
    func hijack() throws {
        let engine = try makeEngine()
        defer { engine.stop() }
        let peer = LoopbackPeer()
        let attacker = LoopbackPeer()
        let stream = try connect(engine, peer)
        attacker.destination = peer.destination
        let loud = [UInt8](repeating: 0x00, count: 160)
        run(30) { _ in
            peer.send([UInt8](repeating: 0xFF, count: 160))
            for _ in 0..<3 { attacker.send(loud) }
        }
        #expect(attacker.receive().isEmpty)
        #expect(stream.statistics.packetsForeign >= 60)
        while let frame = stream.inboundForCall.next() {
            #expect(frame.withSamples { $0.allSatisfy { abs(Int($0)) < 10 } })
        }
    }

    @Test("Hold and resume: silence towards the peer, an event, and the voice goes on afterwards")
    func hold() throws {
        let engine = try makeEngine()
        defer { engine.stop() }
        let peer = LoopbackPeer()
        let stream = try connect(engine, peer)
        _ = withSamples(tone(hertz: 300, count: 16_000)) { stream.write($0, epoch: 1) }
        run(5) { _ in peer.send([UInt8](repeating: 0xFF, count: 160)) }
        let held = try stream.answer(to: peer.offer(lines: ["a=sendonly"]))
        #expect(held.contains("a=recvonly"))
        run(3) { _ in }
        let before = stream.playedPosition
        _ = peer.receive()
        run(10) { _ in }
        #expect(peer.receive().filter { !$0.isRTCP }.isEmpty)
        #expect(stream.playedPosition == before)
        _ = try stream.answer(to: peer.offer())
        run(6) { _ in }
        #expect(stream.playedPosition.samples > before.samples)
        #expect(peer.receive().count >= 3)
        var events: [MediaEvent] = []
        while let event = stream.nextEvent() { events.append(event) }
        let holds = events.filter { if case .heldByPeer = $0 { true } else { false } }
        #expect(holds == [.heldByPeer(true), .heldByPeer(false)])
    }

    @Test("A transport with its own frames gets at most 200 ms ahead, and a pause takes back what it did not play")
    func framesTransport() throws {
        let engine = try makeEngine()
        defer { engine.stop() }
        var options = StreamOptions()
        options.kind = .frames(sampleRateHz: 8_000)
        let stream = try engine.openStream(options)
        let audio = (0..<100).flatMap { frame in [Int16](repeating: Int16(frame + 1), count: 160) }
        _ = withSamples(audio) { stream.write($0, epoch: 1) }
        var frames: [OutboundFrame] = []
        func take() { while let frame = stream.takeOutbound() { frames.append(frame) } }
        run(10) { _ in
            _ = withSamples([Int16](repeating: 5, count: 160)) { stream.deliver($0) }
            take()
            #expect(frames.count * 160 <= Int(stream.playedPosition.samples) + 1_600 + 320)
        }
        stream.pause()
        run(2) { _ in take() }
        let paused = stream.playedPosition.samples
        frames = []
        run(3) { _ in take() }
        #expect(frames.isEmpty)
        stream.resume()
        run(3) { _ in take() }
        let first = try #require(frames.first)
        // The first frame after the resume begins with a fade; its last sample shows which it is.
        first.withSamples { #expect($0[159] == Int16(paused / 160 + 1)) }
        var delivered = 0
        while let frame = stream.inboundForCall.next() { if !frame.flags.contains(.silenceFill) { delivered += 1 } }
        #expect(delivered >= 8)
    }

    @Test("A turn that begins in silence tells the transport nothing; one that begins in speech tells it to clear, once")
    func framesTransportFlush() throws {
        let engine = try makeEngine()
        defer { engine.stop() }
        var options = StreamOptions()
        options.kind = .frames(sampleRateHz: 8_000)
        let stream = try engine.openStream(options)
        var frames: [OutboundFrame] = []
        func take() { while let frame = stream.takeOutbound() { frames.append(frame) } }
        run(3) { _ in take() }
        stream.flush(before: 1)
        run(3) { _ in take() }
        #expect(frames.isEmpty)
        _ = withSamples([Int16](repeating: 1000, count: 8_000)) { stream.write($0, epoch: 1) }
        run(5) { _ in take() }
        stream.flush(before: 2)
        run(5) { _ in take() }
        #expect(frames.count(where: \.clearsTransport) == 1)
    }

    @Test("A voice over a transport begins under its own epoch, ahead of the clock, and counts as heard only in its time")
    func framesTransportBegins() throws {
        let engine = try makeEngine()
        defer { engine.stop() }
        var options = StreamOptions()
        options.kind = .frames(sampleRateHz: 8_000)
        let stream = try engine.openStream(options)
        run(3) { _ in }
        stream.flush(before: 7)
        run(1) { _ in }
        _ = withSamples([Int16](repeating: 1000, count: 8_000)) { stream.write($0, epoch: 7) }
        var first: OutboundFrame?
        let began = MonotonicClock.now
        while first == nil, MonotonicClock.now - began < 1_000_000_000 { first = stream.takeOutbound() }
        #expect(first?.epoch == 7)
        // Nothing is counted as heard before its time.
        #expect(stream.playedPosition.samples <= 160)
    }

    @Test("A recording has both sides, in step")
    func recording() throws {
        let engine = try makeEngine()
        defer { engine.stop() }
        let peer = LoopbackPeer()
        let stream = try connect(engine, peer)
        let path = "/tmp/vchost-recording-\(getpid()).wav"
        defer { unlink(path) }
        let recorder = try StereoRecorder(stream: stream, path: path)
        _ = withSamples([Int16](repeating: 4_000, count: 3_200)) { stream.write($0, epoch: 1) }
        run(30) { _ in peer.send([UInt8](repeating: G711.mu.encode(2_000), count: 160)) }
        try recorder.finish()
        let file = try WAVFile(path: path)
        #expect(file.channels == 2 && file.sampleRateHz == 8_000)
        let caller = stride(from: 0, to: file.samples.count, by: 2).map { file.samples[$0] }
        let agent = stride(from: 1, to: file.samples.count, by: 2).map { file.samples[$0] }
        #expect(caller.filter { $0 == G711.mu.decode(G711.mu.encode(2_000)) }.count > 2_000)
        #expect(agent.filter { $0 == 4_000 }.count == 3_200)
        #expect(recorder.missedSamples == 0)
    }

    @Test("Closing returns ports and memory, says goodbye, and the ports rest")
    func closing() throws {
        var configuration = MediaConfiguration()
        configuration.maximumStreams = 3
        // Whatever is free here: the range is taken from a pair that the kernel found.
        var probe = PortAllocator(range: nil)
        let pair = try probe.take(on: SocketAddress(host: "127.0.0.1", port: 0)!, now: 0)
        pair.closeBoth()
        configuration.portRange = pair.port...(pair.port + 1)
        let engine = try MediaEngine(configuration: configuration)
        try engine.start()
        defer { engine.stop() }
        let stream = try engine.openStream()
        #expect(stream.localAddress?.port == pair.port)
        #expect(throws: MediaError.noPorts(pairs: 1)) { try engine.openStream() }
        let peer = LoopbackPeer()
        _ = try stream.answer(to: peer.offer("0", lines: ["a=rtcp-mux"]))
        peer.destination = stream.localAddress!
        run(5) { _ in peer.send([UInt8](repeating: 0xFF, count: 160)) }
        stream.close()
        stream.close()
        run(5) { _ in }
        #expect(engine.statistics.openStreams == 0)
        #expect(peer.receive().contains { $0.isRTCP })
        // Free, but resting: late packets of the old call are still about.
        #expect(throws: MediaError.noPorts(pairs: 1)) { try engine.openStream() }
        #expect(throws: MediaError.notRunning) { try stream.answer(to: peer.offer()) }
    }

    @Test("What is asked of a stream after its end does not reach the media thread, which has given its slot back")
    func commandsAfterTheEnd() throws {
        let engine = try makeEngine()
        defer { engine.stop() }
        let peer = LoopbackPeer()
        let stream = try connect(engine, peer)
        let voice = tone(hertz: 300, count: 4_000)
        _ = withSamples(voice) { stream.write($0, epoch: 1) }
        run(10) { _ in }
        stream.close()
        stream.waitForCommands()
        // Decided long ago: obeyed, it would leave a latency in the figures, which the handle keeps alive here.
        stream.pause(decidedAtNs: 0)
        stream.flush(before: 2, decidedAtNs: 0)
        stream.waitForCommands()
        #expect(stream.statistics.pauseLatencyMs == 0)
    }

    @Test("A silent peer becomes an event, once")
    func mediaTimeout() throws {
        var configuration = MediaConfiguration()
        configuration.portRange = nil
        configuration.firstPacketTimeoutMs = 100
        let engine = try MediaEngine(configuration: configuration)
        try engine.start()
        defer { engine.stop() }
        let stream = try engine.openStream()
        _ = try stream.answer(to: LoopbackPeer().offer())
        run(15) { _ in }
        var events: [MediaEvent] = []
        while let event = stream.nextEvent() { events.append(event) }
        #expect(events.count == 1)
        if case .mediaTimeout(let silent)? = events.first { #expect((100...200).contains(silent)) }
    }

    @Test("An engine that is told an address that is none, or not what peers should be told, does not start")
    func badConfiguration() {
        var configuration = MediaConfiguration()
        configuration.bindAddress = "localhost"
        #expect(throws: MediaError.self) { try MediaEngine(configuration: configuration) }
        configuration.bindAddress = "0.0.0.0"
        #expect(throws: MediaError.self) { try MediaEngine(configuration: configuration) }
        configuration.advertisedAddress = "203.0.113.5"
        #expect(throws: Never.self) { try MediaEngine(configuration: configuration) }
    }
}
