import Calls
import Glibc
import Media
import Synchronization
import Testing

@testable import Host

/// A plugin's transport that remembers what it was given, and takes it or not.
private final class Carrier: FrameCarrier {
    enum Word: Equatable {
        case flush
        case frame(first: Int16, position: UInt64)
    }

    let words = Mutex<[Word]>([])
    let takes = Atomic<Bool>(true)

    func play(
        _ samples: UnsafeBufferPointer<Int16>, rateHz: Int, sequence: UInt64, position: UInt64, epoch: UInt64
    ) -> Handover {
        guard takes.load(ordering: .relaxed) else { return .full }
        words.withLock { $0.append(.frame(first: samples[0], position: position)) }
        return .accepted
    }

    func flush() { words.withLock { $0.append(.flush) } }

    var frames: [Word] { words.withLock { $0.filter { $0 != .flush } } }
    var flushes: Int { words.withLock { $0.count { $0 == .flush } } }
}

@Suite("A plugin that carries the audio itself")
struct FrameTransportTests {
    private func running(_ body: (MediaStream, Carrier, FrameTransport) throws -> Void) throws {
        var configuration = MediaConfiguration()
        configuration.realtimePriority = 0
        configuration.maximumStreams = 4
        let engine = try MediaEngine(configuration: configuration)
        try engine.start()
        defer { engine.stop() }
        var options = StreamOptions()
        options.kind = .frames(sampleRateHz: 8_000)
        let stream = try engine.openStream(options)
        let carrier = Carrier()
        let transport = FrameTransport(stream, session: carrier)
        try body(stream, carrier, transport)
        transport.close()
    }

    /// Turns the pump until something is so; a busy machine may take its time.
    private func pump(_ transport: FrameTransport, until isSo: () -> Bool) -> Bool {
        for _ in 0..<500 {
            transport.send()
            if isSo() { return true }
            usleep(4_000)
        }
        return false
    }

    private func write(_ stream: MediaStream, frames: Int) {
        let audio = (0..<frames).flatMap { [Int16](repeating: Int16($0 + 1), count: 160) }
        _ = audio.withUnsafeBufferPointer { stream.write($0, epoch: 1) }
    }

    /// What the carrier hears of `write`.
    private func words(_ count: Int) -> [Carrier.Word] {
        (0..<count).map { number in Carrier.Word.frame(first: Int16(number + 1), position: UInt64(number) * 160) }
    }

    @Test("Gets every frame once and in order")
    func order() throws {
        try running { stream, carrier, transport in
            write(stream, frames: 12)
            #expect(pump(transport) { carrier.frames.count >= 12 })
            #expect(Array(carrier.frames.prefix(12)) == words(12))
        }
    }

    @Test("Is behind, and gets the frame that it did not take again")
    func behind() throws {
        try running { stream, carrier, transport in
            carrier.takes.store(false, ordering: .relaxed)
            write(stream, frames: 40)
            #expect(!pump(transport) { !carrier.frames.isEmpty || stream.playedPosition.samples > 40 * 160 })
            // The clock stood still meanwhile: what was not handed over does not count as heard.
            #expect(stream.playedPosition.samples < 40 * 160)
            carrier.takes.store(true, ordering: .relaxed)
            #expect(pump(transport) { carrier.frames.count >= 40 })
            #expect(Array(carrier.frames.prefix(40)) == words(40))
        }
    }

    @Test("Is told to drop what it holds when the agent pauses, and once")
    func pause() throws {
        try running { stream, carrier, transport in
            write(stream, frames: 100)
            #expect(pump(transport) { carrier.frames.count >= 20 })
            let before = carrier.flushes
            stream.pause()
            #expect(pump(transport) { carrier.flushes == before + 1 })
            let told = carrier.frames.count
            for _ in 0..<10 {
                transport.send()
                usleep(4_000)
            }
            // The frame that came with the flush has the end of the voice, faded out.
            #expect(carrier.frames.count <= told + 1 && carrier.flushes == before + 1)
        }
    }

    @Test("Brings the caller's audio into the stream")
    func received() throws {
        try running { stream, carrier, transport in
            for _ in 0..<10 { transport.received([Int16](repeating: 500, count: 160)) }
            var heard = 0
            _ = pump(transport) {
                while let frame = stream.inboundForCall.next() { frame.withSamples { heard += $0.count { $0 == 500 } } }
                return heard >= 1_280
            }
            #expect(heard >= 1_280)
        }
    }
}
