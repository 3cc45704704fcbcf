// Where the memory of streams comes from. A thousand streams are 140 MB that a media thread walks through fifty times
// a second, a few cache lines here and there; with pages of 4 kB every such step is a walk through the page tables
// too. So stream memory is cut from chunks of 2 MB that the kernel may back by one large page.
//
// What is given back is kept for the next stream of the same shape: there are a dozen shapes, and a host that had a
// thousand calls at noon has them again. Nothing is returned to the system, so memory is flat and never fragmented.
// For the host's threads only; a media thread neither takes nor gives.

import Glibc
import Synchronization

/// A pool of zeroed memory on large pages, for blocks that live as long as a stream.
enum MediaMemory {
    private static let chunkBytes = 1 << 21
    /// Blocks begin on a cache line, so that two threads' indices never share one.
    private static let alignment = 64
    /// `MADV_HUGEPAGE` of <sys/mman.h>; where it is refused, small pages serve.
    private static let adviseHugePage: Int32 = 14

    private struct Pool: @unchecked Sendable {
        var next: UnsafeMutableRawPointer?
        var left = 0
        /// Returned blocks by their size.
        var free: [Int: [UnsafeMutableRawPointer]] = [:]
    }

    private static let pool = Mutex(Pool())

    /// Zeroed memory for `count` values.
    static func allocate<Value: ~Copyable>(_ type: Value.Type, count: Int) -> UnsafeMutablePointer<Value> {
        let bytes = rounded(count * MemoryLayout<Value>.stride)
        let block = pool.withLock { pool -> UInt in
            if let returned = pool.free[bytes]?.popLast() { return UInt(bitPattern: returned) }
            if bytes > pool.left {
                pool.next = newChunk()
                pool.left = chunkBytes
            }
            let block = pool.next!
            pool.next = block + bytes
            pool.left -= bytes
            return UInt(bitPattern: block)
        }
        let memory = UnsafeMutableRawPointer(bitPattern: block)!
        memory.initializeMemory(as: UInt8.self, repeating: 0, count: bytes)
        return memory.bindMemory(to: type, capacity: count)
    }

    /// Takes back what `allocate` gave for the same type and count.
    static func deallocate<Value: ~Copyable>(_ pointer: UnsafeMutablePointer<Value>, count: Int) {
        let bytes = rounded(count * MemoryLayout<Value>.stride)
        let block = UInt(bitPattern: pointer)
        pool.withLock { $0.free[bytes, default: []].append(UnsafeMutableRawPointer(bitPattern: block)!) }
    }

    private static func rounded(_ bytes: Int) -> Int {
        let bytes = (bytes + alignment - 1) & ~(alignment - 1)
        precondition(bytes <= chunkBytes, "a block of \(bytes) bytes is larger than a chunk")
        return bytes
    }

    /// An aligned chunk, cut out of a mapping of twice its size.
    private static func newChunk() -> UnsafeMutableRawPointer {
        let mapping = mmap(nil, 2 * chunkBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
        guard let mapping, mapping != MAP_FAILED else { fatalError("no memory for media streams: error \(errno)") }
        let before = (chunkBytes - Int(bitPattern: mapping) & (chunkBytes - 1)) & (chunkBytes - 1)
        let chunk = mapping + before
        if before > 0 { munmap(mapping, before) }
        munmap(chunk + chunkBytes, chunkBytes - before)
        madvise(chunk, chunkBytes, adviseHugePage)
        return chunk
    }
}
