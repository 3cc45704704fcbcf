// The load of N calls: each gives a frame of 20 ms fifty times a second, on phases of their own, as the media engine
// has them. In a worker the plugin notes how long each frame was on its way; what the isolation costs is the processor
// time of both processes, less that of the same load in process.

import Calls
import Glibc
import PluginABI
import Providers

/// The benchmark's plugin asks for no service.
struct NoServices: WorkerServiceChild {
    func install(_ line: any WorkerLine, logLevel: @escaping @Sendable () -> UInt32) {}
    func opened(_ object: PluginObject, context: String) {}
    func received(
        _ operation: UInt16, of object: PluginObject?, number: UInt64, _ body: inout WireReader
    ) throws(WireFault) {}
}

func ownProcessorMs() -> Double {
    var time = timespec()
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time)
    return Double(time.tv_sec) * 1_000 + Double(time.tv_nsec) / 1_000_000
}

func load(
    _ directory: String, _ cache: String, _ isolation: Manifest.Isolation, calls: Int, seconds: Int
) throws {
    var options = WorkerOptions()
    options.command = [CommandLine.arguments[0], "__worker"]
    let results = cache + "/ways"
    options.environment["VCHOST_LINE_RESULT"] = results
    let instance = try instance(of: directory, cache: cache, isolation: isolation, options: options)
    let sessions = try (0..<calls).map { try session(of: instance, call: "call-\($0)") }
    for session in sessions { session.begin(at: 0) }
    usleep(100_000)

    let frame = [Int16](repeating: 0, count: 160)
    let frames = calls * 50 * seconds
    let gapNs = 20_000_000 / calls
    let workerBefore = instance.workerUsage?.cpuMs ?? 0
    let before = ownProcessorMs()
    var spent = 0
    var due = timespec()
    clock_gettime(CLOCK_MONOTONIC, &due)
    for number in 0..<frames {
        due.tv_nsec += gapNs
        if due.tv_nsec >= 1_000_000_000 {
            due.tv_nsec -= 1_000_000_000
            due.tv_sec += 1
        }
        clock_nanosleep(CLOCK_MONOTONIC, 1, &due, nil)
        let began = processorNs()
        frame.withUnsafeBufferPointer { samples in
            _ = sessions[number % calls].push(samples, at: UInt64(number / calls) * 160)
        }
        spent += processorNs() - began
    }
    usleep(50_000)
    let host = ownProcessorMs() - before
    let worker = (instance.workerUsage?.cpuMs ?? 0) - workerBefore
    for session in sessions { session.close() }
    while instance.sessionCount > 0 { usleep(1_000) }
    instance.destroy()
    var ways = "0 0 0 0"
    if isolation == .worker {
        for _ in 0..<1_000 where access(results, R_OK) != 0 { usleep(1_000) }
        usleep(50_000)
        var bytes = [UInt8](repeating: 0, count: 200)
        let file = open(results, O_RDONLY)
        let count = read(file, &bytes, bytes.count)
        close(file)
        ways = String(decoding: bytes[..<max(0, count)], as: UTF8.self)
    }
    let numbers = ways.split(whereSeparator: \.isWhitespace).compactMap { Double($0) }
    guard numbers.count == 4 else { throw Failure(message: "the plugin wrote \(ways)") }
    print(
        "{\"frames\":\(frames),\"host_ms\":\(host),\"worker_ms\":\(worker),\"push_ns\":\(spent / frames),"
            + "\"arrived\":\(Int(numbers[0])),\"way_p50_us\":\(numbers[1] / 1_000),"
            + "\"way_p99_us\":\(numbers[2] / 1_000),\"way_max_us\":\(numbers[3] / 1_000),\"seconds\":\(seconds)}")
}
