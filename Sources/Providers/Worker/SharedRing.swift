// A ring of bytes in memory that two processes share: one writes, the other reads, and neither waits for a lock of the
// other.
//
// Each side keeps its own count in its own memory and only publishes it. What the other side published is a claim: a
// count that cannot be ends the ring as broken. A message is copied out whole before anybody looks into it, so what was
// checked cannot change afterwards.
//
//     0    bytes written, ever      64   bytes read, ever      128  a word to sleep on      132  somebody sleeps
//
// Who has nothing to read says so in memory and sleeps on the word (futex); who writes wakes only who said so, which
// spares a system call for every message of a burst.

import CPlatform
import Glibc
import Synchronization

/// Where a ring lies.
struct RingMemory: @unchecked Sendable {
    static let headBytes = 192
    private static let writtenAt = 0
    private static let readAt = 64
    private static let wordAt = 128
    private static let sleepingAt = 132

    let base: UnsafeMutableRawPointer
    let data: UnsafeMutableRawPointer
    /// A power of two.
    let capacity: Int

    var written: UInt64 {
        get { vch_load64(base + Self.writtenAt) }
        nonmutating set { vch_store64(base + Self.writtenAt, newValue) }
    }
    var read: UInt64 {
        get { vch_load64(base + Self.readAt) }
        nonmutating set { vch_store64(base + Self.readAt, newValue) }
    }
    var word: UnsafeMutableRawPointer { base + Self.wordAt }
    var sleeping: UnsafeMutableRawPointer { base + Self.sleepingAt }

    /// Wakes the reader if it sleeps, and keeps it awake if it is about to.
    func ring() {
        _ = vch_add32(word, 1)
        vch_fence()
        if vch_load32(sleeping) != 0, vch_exchange32(sleeping, 0) != 0 { vch_futex_wake(word) }
    }
}

/// What a message begins with. Its length, a multiple of 8, counts this head too.
struct RingHead {
    static let bytes = 24
    var length: UInt32
    var kind: UInt16
    var reserved: UInt16 = 0
    var object: UInt64
    var number: UInt64
}

final class RingWriter: @unchecked Sendable {
    enum Outcome { case sent, full, broken }

    /// Kept for what must not be refused: the end of a session, the last word of a request.
    static let reserveBytes = 64 << 10
    /// What one message may have; longer contents are sent in pieces.
    let messageBytesMax: Int

    private struct State {
        var written: UInt64 = 0
        var scratch = WireWriter()
    }

    private let memory: RingMemory
    private let state = Mutex(State())

    init(_ memory: RingMemory) {
        self.memory = memory
        messageBytesMax = memory.capacity / 2 - RingHead.bytes
    }

    /// Appends one message, whose contents `body` writes. Any thread.
    func send(
        _ kind: UInt16, object: UInt64, number: UInt64 = 0, urgent: Bool = false, _ body: (inout WireWriter) -> Void
    ) -> Outcome {
        let outcome: Outcome = state.withLock { state in
            state.scratch.clear()
            body(&state.scratch)
            let count = state.scratch.bytes.count
            guard count <= messageBytesMax else { return .full }
            let length = (RingHead.bytes + count + 7) & ~7
            let used = state.written &- memory.read
            guard used <= UInt64(memory.capacity) else { return .broken }
            let room = memory.capacity - Int(used) - (urgent ? 0 : Self.reserveBytes)
            guard length <= room else { return .full }
            var head = RingHead(length: UInt32(length), kind: kind, object: object, number: number)
            withUnsafeBytes(of: &head) { place($0, at: state.written) }
            state.scratch.bytes.withUnsafeBytes { place($0, at: state.written + UInt64(RingHead.bytes)) }
            state.written += UInt64(length)
            memory.written = state.written
            return .sent
        }
        if outcome == .sent { memory.ring() }
        return outcome
    }

    private func place(_ bytes: UnsafeRawBufferPointer, at position: UInt64) {
        guard let from = bytes.baseAddress else { return }
        let start = Int(position & UInt64(memory.capacity - 1))
        let first = min(bytes.count, memory.capacity - start)
        memcpy(memory.data + start, from, first)
        if first < bytes.count { memcpy(memory.data, from + first, bytes.count - first) }
    }
}

/// The reading end: of one thread.
final class RingReader: @unchecked Sendable {
    private let memory: RingMemory
    private var position: UInt64 = 0
    private var buffer: UnsafeMutableRawPointer
    private var room = 4_096

    init(_ memory: RingMemory) {
        self.memory = memory
        buffer = .allocate(byteCount: room, alignment: 16)
    }

    deinit { buffer.deallocate() }

    /// The next message, or nil when there is none. Its contents live until the next call.
    func next() throws(WireFault) -> (head: RingHead, body: UnsafeRawBufferPointer)? {
        let available = memory.written &- position
        guard available > 0 else { return nil }
        guard available <= UInt64(memory.capacity), available >= UInt64(RingHead.bytes) else {
            throw WireFault(problem: "\(available) bytes in a ring of \(memory.capacity)")
        }
        var head = RingHead(length: 0, kind: 0, object: 0, number: 0)
        withUnsafeMutableBytes(of: &head) { copy($0.baseAddress!, RingHead.bytes, from: position) }
        let length = Int(head.length)
        guard length >= RingHead.bytes, length & 7 == 0, UInt64(length) <= available else {
            throw WireFault(problem: "a message of \(length) bytes, and \(available) are there")
        }
        let count = length - RingHead.bytes
        if count > room {
            buffer.deallocate()
            room = count
            buffer = .allocate(byteCount: room, alignment: 16)
        }
        copy(buffer, count, from: position + UInt64(RingHead.bytes))
        position += UInt64(length)
        memory.read = position
        return (head, UnsafeRawBufferPointer(start: buffer, count: count))
    }

    /// Sleeps until something was written or `wake` was called, at most so long.
    func wait(timeoutNs: Int64) {
        let seen = vch_load32(memory.word)
        guard memory.written == position else { return }
        _ = vch_exchange32(memory.sleeping, 1)
        vch_fence()
        if memory.written == position, vch_load32(memory.word) == seen {
            vch_futex_wait(memory.word, seen, timeoutNs)
        }
        _ = vch_exchange32(memory.sleeping, 0)
    }

    /// Overwrites what the last message left behind: it was a secret.
    func forget(_ length: Int) {
        let start = position - UInt64(length)
        for offset in 0..<UInt64(length) {
            (memory.data + Int((start + offset) & UInt64(memory.capacity - 1))).storeBytes(of: 0, as: UInt8.self)
        }
        explicit_bzero(buffer, min(room, length))
    }

    private func copy(_ to: UnsafeMutableRawPointer, _ count: Int, from position: UInt64) {
        let start = Int(position & UInt64(memory.capacity - 1))
        let first = min(count, memory.capacity - start)
        memcpy(to, memory.data + start, first)
        if first < count { memcpy(to + first, memory.data, count - first) }
    }
}
