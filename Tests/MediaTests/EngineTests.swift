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
        #expect(stream.statistics.packetsReceived == 50 || stream.statistics.packetsReceived == 40)
        #expect(stream.memoryByteCount <= 150_000)
    }
}
