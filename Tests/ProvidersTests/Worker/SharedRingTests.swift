import CPlatform
import Glibc
import PluginABI
import Synchronization
import Testing

@testable import Providers

@Suite("A ring between two processes") struct SharedRingTests {
    private func ring(_ capacity: Int = 1 << 18) -> RingMemory {
        let base = UnsafeMutableRawPointer.allocate(byteCount: RingMemory.headBytes + capacity, alignment: 64)
        base.initializeMemory(as: UInt8.self, repeating: 0, count: RingMemory.headBytes + capacity)
        return RingMemory(base: base, data: base + RingMemory.headBytes, capacity: capacity)
    }

    @Test("Messages of every length come out whole and in order, round and round")
    func order() throws {
        let memory = ring()
        defer { memory.base.deallocate() }
        let writer = RingWriter(memory)
        let reader = RingReader(memory)
        var generator = SystemRandomNumberGenerator()
        var expected: [(UInt64, [UInt8])] = []
        for number in 0..<5_000 {
            let bytes = (0..<Int.random(in: 0...500, using: &generator)).map { UInt8(truncatingIfNeeded: $0 &+ number) }
            let outcome = writer.send(7, object: UInt64(number), number: 3) { writer in
                bytes.withUnsafeBytes { writer.put(raw: $0) }
            }
            try #require(outcome == .sent)
            expected.append((UInt64(number), bytes))
            if expected.count > 100 {
                for (object, bytes) in expected {
                    let (head, contents) = try #require(try reader.next())
                    var body = WireReader(contents)
                    #expect(head.object == object && head.kind == 7 && head.number == 3)
                    #expect(try body.takeBytes() == bytes)
                }
                expected = []
            }
        }
    }

    @Test("A full ring refuses, keeps room for what is urgent, and takes more once it was read")
    func full() throws {
        let memory = ring()
        defer { memory.base.deallocate() }
        let writer = RingWriter(memory)
        let kilobyte = [UInt8](repeating: 1, count: 1_000)
        func send(urgent: Bool) -> RingWriter.Outcome {
            writer.send(1, object: 1, urgent: urgent) { writer in kilobyte.withUnsafeBytes { writer.put(raw: $0) } }
        }
        var sent = 0
        while send(urgent: false) == .sent { sent += 1 }
        #expect(sent == ((1 << 18) - RingWriter.reserveBytes) / 1_032)
        var urgent = 0
        while send(urgent: true) == .sent { urgent += 1 }
        #expect(urgent >= RingWriter.reserveBytes / 1_032)
        let reader = RingReader(memory)
        for _ in 0..<(sent + urgent) { _ = try #require(try reader.next()) }
        #expect(try reader.next() == nil)
        #expect(send(urgent: false) == .sent)
        #expect(writer.send(1, object: 1) { $0.put(raw: UnsafeRawBufferPointer(start: memory.data, count: 1 << 18)) } == .full)
    }

    @Test("Counters and lengths that cannot be are refused on both sides")
    func nonsense() throws {
        func written(_ value: UInt64, _ length: UInt32 = 24) -> WireFault? {
            let memory = ring()
            defer { memory.base.deallocate() }
            memory.data.storeBytes(of: length, as: UInt32.self)
            memory.written = value
            do throws(WireFault) {
                _ = try RingReader(memory).next()
                return nil
            } catch {
                return error
            }
        }
        #expect(written(24) == nil)
        #expect(written(.max / 2)?.problem == "\(UInt64.max / 2) bytes in a ring of 262144")
        #expect(written(8)?.problem == "8 bytes in a ring of 262144")
        #expect(written(32, 40)?.problem == "a message of 40 bytes, and 32 are there")
        #expect(written(32, 25)?.problem == "a message of 25 bytes, and 32 are there")
        #expect(written(32, 8)?.problem == "a message of 8 bytes, and 32 are there")
        let memory = ring()
        defer { memory.base.deallocate() }
        memory.read = 99
        #expect(RingWriter(memory).send(1, object: 1) { _ in } == .broken)
    }

    @Test("Who sleeps is woken by what is written, from any thread, and nothing is lost")
    func wake() throws {
        let memory = ring()
        defer { memory.base.deallocate() }
        let work = Work(memory)
        var threads = [pthread_t(), pthread_t()]
        for index in threads.indices {
            #expect(pthread_create(&threads[index], nil, writeThousands, Unmanaged.passUnretained(work).toOpaque()) == 0)
        }
        let reader = RingReader(memory)
        var count = 0
        let end = hostClockNs() + 20_000_000_000
        while count < 20_000, hostClockNs() < end {
            while try reader.next() != nil { count += 1 }
            reader.wait(timeoutNs: 5_000_000_000)
            // A wake-up that was lost would show as one of the five seconds.
        }
        for thread in threads { pthread_join(thread, nil) }
        while try reader.next() != nil { count += 1 }
        #expect(count == 20_000)
    }

    @Test("Any bytes at all as an event are refused or read within their bounds")
    func fuzz() {
        var generator = SystemRandomNumberGenerator()
        let types = [1, 2, 3, 4, 100, 101, 104, 105, 107, 109, 200, 202, 300, 400, 401, 500, 501, 502, 9_999]
        var faults = 0
        for round in 0..<20_000 {
            var writer = WireWriter()
            writer.put(UInt32(types[round % types.count]))
            for _ in 0..<2 { writer.put(UInt32(0)) }
            writer.put(UInt32.random(in: 0...400, using: &generator))
            writer.put(UInt64(0))
            writer.put(UInt64(1))
            writer.put(UInt32(round % 5 == 0 ? 0 : 1))
            for _ in 0..<Int.random(in: 0...120, using: &generator) {
                // Small numbers often, so that lengths are believed now and then.
                writer.put(Bool.random(using: &generator) ? UInt8.random(in: 0...255, using: &generator) : 0)
            }
            writer.bytes.withUnsafeBytes { bytes in
                var reader = WireReader(bytes)
                do throws(WireFault) {
                    _ = try reader.withEvent { event in
                        // Everything that the host would read of it.
                        var copy = WireWriter()
                        copy.put(event: event)
                        return vc_status(VC_OK)
                    }
                } catch {
                    faults += 1
                }
            }
        }
        #expect(faults > 1_000)
        #expect(faults < 19_000)
    }
}

private final class Work: Sendable {
    let writer: RingWriter
    init(_ memory: RingMemory) { writer = RingWriter(memory) }
}

private func writeThousands(_ context: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? {
    let work = Unmanaged<Work>.fromOpaque(context!).takeUnretainedValue()
    for number in 0..<10_000 {
        while work.writer.send(1, object: UInt64(number), { $0.put(UInt64(number)) }) != .sent { usleep(100) }
        if number % 64 == 0 { usleep(50) }
    }
    return nil
}
