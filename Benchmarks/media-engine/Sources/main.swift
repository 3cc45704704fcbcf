// The engine under test: N calls negotiated by SDP, each of which speaks back what it hears. The echo runs on a thread
// of its own, as a call would; what is measured is the media thread, whose processor time and allocations are read
// from the kernel and from `malloc_count.c`.
//
// With `pause` every stream plays a tone instead of the echo, and each is paused and resumed again and again at moments
// that have nothing to do with its 20 ms; then the time from a decision to the last audible frame is told too.
//
// usage: MediaBenchmark STREAMS SECONDS OWN-PORTS-FILE THEIR-PORTS-FILE [pause]      prints one line of JSON

import Glibc
import Media

func fail(_ text: String) -> Never {
    _ = "\(text)\n".utf8CString.withUnsafeBytes { write(2, $0.baseAddress!, $0.count - 1) }
    exit(1)
}

func text(of path: String) -> String? {
    guard let file = fopen(path, "r") else { return nil }
    defer { fclose(file) }
    var bytes = [UInt8](repeating: 0, count: 1 << 16)
    let count = fread(&bytes, 1, bytes.count, file)
    return String(decoding: bytes[..<count], as: UTF8.self)
}

/// The thread of the engine, by its name.
func mediaThread() -> Int? {
    guard let directory = opendir("/proc/self/task") else { return nil }
    defer { closedir(directory) }
    while let entry = readdir(directory) {
        let name = withUnsafePointer(to: entry.pointee.d_name) {
            $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
        }
        guard let id = Int(name), let comm = text(of: "/proc/self/task/\(id)/comm") else { continue }
        if comm.hasPrefix("vchost-media-0") { return id }
    }
    return nil
}

/// Nanoseconds of processor time that a thread has used.
func processorNs(of thread: Int) -> Int {
    text(of: "/proc/self/task/\(thread)/schedstat").flatMap { $0.split(separator: " ").first }.flatMap { Int($0) } ?? 0
}

func allocations(of thread: Int) -> Int {
    typealias Count = @convention(c) (Int) -> UInt64
    guard let symbol = dlsym(nil, "malloc_count_of") else { return -1 }
    return Int(unsafeBitCast(symbol, to: Count.self)(thread))
}

func residentKB() -> Int {
    guard let status = text(of: "/proc/self/status"),
        let line = status.split(separator: "\n").first(where: { $0.hasPrefix("VmRSS:") })
    else { return 0 }
    return Int(line.filter(\.isNumber)) ?? 0
}

func run() throws {
    let arguments = CommandLine.arguments
    let isPausing = arguments.last == "pause"
    guard arguments.count == (isPausing ? 6 : 5), let streamCount = Int(arguments[1]), let seconds = Int(arguments[2]) else {
        fail("usage: MediaBenchmark STREAMS SECONDS OWN-PORTS-FILE THEIR-PORTS-FILE [pause]")
    }
    var peers: [String] = []
    for _ in 0..<1_000 where peers.count < streamCount {
        peers = text(of: arguments[4]).map { $0.split(separator: "\n").map(String.init) } ?? []
        usleep(10_000)
    }
    guard peers.count == streamCount else { fail("no ports of the callers") }

    var configuration = MediaConfiguration()
    configuration.maximumStreams = streamCount
    let engine = try MediaEngine(configuration: configuration)
    try engine.start()
    let idleKB = residentKB()
    var streams: [MediaStream] = []
    for peer in peers {
        let stream = try engine.openStream()
        _ = try stream.answer(
            to: "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
                + "m=audio \(peer) RTP/AVP 0\r\n")
        streams.append(stream)
    }
    let ports = streams.map { "\($0.localAddress!.port)\n" }.joined()
    guard let file = fopen(arguments[3] + ".part", "w") else { fail("cannot write \(arguments[3])") }
    fputs(ports, file)
    fclose(file)
    rename(arguments[3] + ".part", arguments[3])

    guard let thread = mediaThread() else { fail("no media thread") }
    let start = MonotonicClock.now
    let warm = start + 2_000_000_000
    let cool = start + Int64(seconds + 2) * 1_000_000_000
    // The callers are served to their end, which is a little after ours.
    let end = cool + 1_000_000_000
    var processor = 0
    var allocated = 0
    var measuredFrom: Int64 = 0
    var used = 0
    var wall: Int64 = 0
    var pauses = Pauses(streams: isPausing ? streamCount : 0)
    while MonotonicClock.now < end {
        if isPausing { pauses.step(streams) }
        for stream in streams {
            while let frame = stream.inboundForCall.next() {
                if !isPausing { _ = frame.withSamples { stream.write($0, epoch: 1) } }
            }
            _ = stream.inboundForDetector.next()
        }
        usleep(isPausing ? 1_300 : 10_000)
        if wall == 0, MonotonicClock.now > cool {
            used = processorNs(of: thread) - processor
            wall = MonotonicClock.now - measuredFrom
        }
        if measuredFrom == 0, MonotonicClock.now > warm {
            measuredFrom = MonotonicClock.now
            processor = processorNs(of: thread)
            allocated = allocations(of: thread)
        }
    }
    let news = allocations(of: thread) - allocated
    let statistics = engine.statistics
    let pacing = statistics.pacing
    let underruns = streams.reduce(0) { $0 + $1.statistics.playoutUnderruns }
    let dropped = streams.reduce(0) { $0 + $1.statistics.framesDropped }
    print(
        """
        {"media_cpu_ns":\(used),"wall_ns":\(wall),"media_thread_allocations":\(news),\
        "realtime_errno":\(statistics.realtimeErrors[0]),"late_ticks":\(statistics.lateTicks),\
        "send_lateness_us":{"p50":\(pacing.quantileUs(0.5) ?? -1),"p99":\(pacing.quantileUs(0.99) ?? -1),\
        "p999":\(pacing.quantileUs(0.999) ?? -1)},"playout_underruns":\(underruns),"frames_dropped":\(dropped),\
        "kb_per_stream":\((residentKB() - idleKB) / streamCount),"bytes_of_a_slot":\(streams[0].memoryByteCount),\
        "pauses_us":\(pauses.latenciesUs)}
        """)
    fflush(nil)
    for stream in streams { stream.close() }
    engine.stop()
}

do {
    try run()
} catch {
    fail("\(error)")
}
