import Glibc
import Synchronization
import Testing

@testable import Media

@Suite("Lock-free ring")
struct LockFreeRingTests {
    @Test("It is first in, first out, and refuses what does not fit")
    func bounded() {
        let ring = LockFreeRing<Int>(capacity: 4)
        defer { ring.deallocate() }
        for round in 0..<10 {
            for value in 0..<4 { #expect(ring.push(round * 4 + value)) }
            #expect(!ring.push(-1))
            #expect(ring.freeCount == 0)
            for value in 0..<4 { #expect(ring.pop() == round * 4 + value) }
            #expect(ring.pop() == nil)
        }
    }

    @Test("Many elements at once go round the end of the buffer")
    func bulk() {
        let ring = LockFreeRing<Int16>(capacity: 8)
        defer { ring.deallocate() }
        var out = [Int16](repeating: 0, count: 8)
        for round in 0..<20 {
            let values = (0..<5).map { Int16(round * 5 + $0) }
            #expect(values.withUnsafeBufferPointer { ring.push(contentsOf: $0) } == 5)
            #expect(values.withUnsafeBufferPointer { ring.push(contentsOf: $0) } == 3)
            #expect(ring.peek(into: &out, count: 3, offset: 2) == 3)
            #expect(Array(out[..<3]) == Array(values[2...]))
            #expect(ring.peek(into: &out, count: 8) == 8)
            #expect(Array(out[..<5]) == values)
            ring.discard(8)
            #expect(ring.peek(into: &out, count: 8) == 0)
        }
    }

    @Test("A reader that is too slow loses the oldest, the other reader nothing")
    func dropsOldest() {
        let ring = LockFreeRing<Int>(capacity: 4, readers: 2)
        defer { ring.deallocate() }
        for value in 0..<6 {
            let outcome = ring.pushLive { $0.pointee = value }
            #expect(outcome == (value < 4 ? .stored : .droppedOldest))
            #expect(ring.pop(reader: 1) == value)
        }
        #expect(ring.count(reader: 0) == 4)
        #expect((0..<4).map { _ in ring.pop(reader: 0) } == [2, 3, 4, 5])
        #expect(ring.pop(reader: 0) == nil)
    }

    /// Two words that must always be equal: half an element shows.
    private struct Pair: BitwiseCopyable {
        var first = 0
        var filling = InlineArray<30, Int>(repeating: 0)
        var second = 0
    }

    private struct Job: @unchecked Sendable {
        var body: () -> Void
    }

    private func onThread(_ body: @escaping () -> Void) -> pthread_t {
        var thread = pthread_t()
        let context = Unmanaged.passRetained(Box(Job(body: body))).toOpaque()
        pthread_create(&thread, nil, runJob, context)
        return thread
    }

    private final class Box {
        let job: Job
        init(_ job: Job) { self.job = job }
    }

    private let runJob: @convention(c) (UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? = { context in
        Unmanaged<Box>.fromOpaque(context!).takeRetainedValue().job.body()
        return nil
    }

    @Test("Between two threads nothing is lost, doubled or torn")
    func twoThreads() {
        let ring = LockFreeRing<Pair>(capacity: 16)
        defer { ring.deallocate() }
        let count = 50_000
        let producer = onThread {
            var value = 1
            while value <= count {
                if ring.push(Pair(first: value, second: value)) { value += 1 } else { sched_yield() }
            }
        }
        var expected = 1
        var isGood = true
        while expected <= count {
            guard let pair = ring.pop() else { sched_yield(); continue }
            isGood = isGood && pair.first == expected && pair.second == expected
            expected += 1
        }
        pthread_join(producer, nil)
        #expect(isGood)
    }

    @Test("A live ring that is overrun from another thread gives whole elements in rising order")
    func overrun() {
        let ring = LockFreeRing<Pair>(capacity: 4, readers: 2)
        defer { ring.deallocate() }
        let isDone = Atomic<Bool>(false)
        let count = 200_000
        let dropped = Atomic<Int>(0)
        withUnsafePointer(to: isDone) { done in
            withUnsafePointer(to: dropped) { dropped in
                let producer = onThread {
                    for value in 1...count {
                        let outcome = ring.pushLive { $0.pointee = Pair(first: value, second: value) }
                        if outcome != .stored { dropped.pointee.wrappingAdd(1, ordering: .relaxed) }
                        // On one processor the reader would otherwise never meet a full ring halfway.
                        if value % 64 == 0 { sched_yield() }
                    }
                    done.pointee.store(true, ordering: .releasing)
                }
                var last = [0, 0]
                var isGood = true
                var reads = 0
                while !done.pointee.load(ordering: .acquiring) || ring.count(reader: 0) + ring.count(reader: 1) > 0 {
                    for reader in 0..<2 {
                        guard let pair = ring.pop(reader: reader) else { continue }
                        reads += 1
                        isGood = isGood && pair.first == pair.second && pair.first > last[reader]
                        last[reader] = pair.first
                    }
                }
                pthread_join(producer, nil)
                #expect(isGood)
                #expect(reads > 0)
                #expect(dropped.pointee.load(ordering: .relaxed) > 0)
                #expect(last.max() == count || dropped.pointee.load(ordering: .relaxed) > 0)
            }
        }
    }
}
