// Batches for a detector, as the host's detection thread makes them.

import Glibc
import PluginABI

/// One call's window.
typealias DetectorRow = (session: BenchSession, samples: [Int16], reset: Bool)

struct DetectorBatch {
    /// Of the rows, in order.
    let probabilities: [Float]
    /// Whether the memory after the last row is as it was.
    let isRestUntouched: Bool
    /// CPU time of the process, in `process` alone.
    let cpuNs: UInt64
}

extension BenchProvider {
    /// A batch of windows; the rows' probabilities, in order.
    func process(_ rows: [DetectorRow]) throws -> [Float] { try processBatch(rows).probabilities }

    /// The same, with rows `stride` bytes apart. `around` is called with the plugin's call alone in it.
    func processBatch(
        _ rows: [DetectorRow], stride: Int = MemoryLayout<vc_vad_row>.stride, deadlineMs: Int = 100,
        around: (() -> vc_status) -> vc_status = { $0() }
    ) throws -> DetectorBatch {
        guard let first = rows.first, let process = try first.session.detector().ops.process else {
            return DetectorBatch(probabilities: [], isRestUntouched: true, cpuNs: 0)
        }
        let lender = bench.lender
        // Rows that no batch names: what is written there would be another call's.
        let restCount = 8
        let count = (rows.count + restCount) * stride
        let memory = UnsafeMutableRawPointer.allocate(byteCount: count, alignment: 8)
        defer { memory.deallocate() }
        memset(memory, 0x5a, count)
        for (index, row) in rows.enumerated() {
            let data = row.samples.withUnsafeBytes { lender.lend($0, "samples") }
            memory.storeBytes(
                of: vc_vad_row(
                    session: row.session.theirs, samples: data.assumingMemoryBound(to: Int16.self),
                    probability: -1, flags: row.reset ? UInt32(VC_VAD_ROW_RESET) : 0),
                toByteOffset: index * stride, as: vc_vad_row.self)
        }
        let batch = lender.lend(
            vc_vad_batch(
                size: UInt32(MemoryLayout<vc_vad_batch>.size), rate_hz: UInt32(first.session.rateHz),
                samples: UInt32(first.samples.count), row_count: UInt32(rows.count), row_stride: UInt32(stride),
                reserved: 0, rows: memory.assumingMemoryBound(to: vc_vad_row.self),
                deadline_ns: bench.nowNs + UInt64(deadlineMs) * 1_000_000), "vc_vad_batch")
        let began = processCPUNs()
        let status = bench.world.call("process rows=\(rows.count)") { around { process(theirs, batch) } }
        let cpuNs = processCPUNs() - began
        lender.takeBack()
        guard status == VC_OK else { throw Violation("process", expected: "VC_OK", got: statusName(status)) }
        return DetectorBatch(
            probabilities: rows.indices.map { memory.load(fromByteOffset: $0 * stride + 16, as: Float.self) },
            isRestUntouched: (rows.count * stride..<count).allSatisfy {
                memory.load(fromByteOffset: $0, as: UInt8.self) == 0x5a
            }, cpuNs: cpuNs)
    }
}

extension BenchSession {
    /// The probabilities of all whole windows of `audio`, one after another.
    func detect(_ audio: [Int16], resetFirst: Bool = false) throws -> [Float] {
        try windows(audio).enumerated().map { try probability($1, reset: resetFirst && $0 == 0) }
    }

    func windows(_ audio: [Int16]) throws -> [[Int16]] { audio.frames(of: try detector().window(rateHz)) }
}

/// CPU time of all threads: a detector that computes elsewhere costs as much.
func processCPUNs() -> UInt64 {
    var time = timespec()
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time)
    return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
}
