// What a call through the plugin line costs in process, with everything that guards it.
//
// push: a frame of 20 ms to a recogniser, through the adapter, the session's lock and phase, the frame's description
// and the watch on slow calls. emit: an event from the plugin, through the handle table and the checks of its type,
// size and epoch, to where the session would act on it; CANCELED, because it is the one event behind which nothing is
// done. The bare call, the same C function through a pointer in a loop of C, is the floor of the machine in the same
// minute.
//
// usage: PluginLineBenchmark PLUGIN-DIRECTORY CACHE RUNS CALLS-IN-A-RUN      prints one line of JSON
//        PluginLineBenchmark PLUGIN-DIRECTORY CACHE worker|inprocess CALLS SECONDS     50 frames a second of each call

import Calls
import Glibc
import JSON
import Providers

func complain(_ text: String) {
    _ = "\(text)\n".utf8CString.withUnsafeBytes { write(2, $0.baseAddress!, $0.count - 1) }
}

struct StandardError: ProviderLog {
    func write(_ line: ProviderLogLine) {
        if line.level == .error { complain(line.message) }
    }
}

struct Failure: Error { let message: String }

/// Processor time of this thread: on a shared machine the clock on the wall counts the neighbours too.
func processorNs() -> Int {
    var time = timespec()
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
    return time.tv_sec * 1_000_000_000 + time.tv_nsec
}

/// Nanoseconds for each of `calls` calls that `body` makes.
func timed(_ calls: Int, _ body: () -> Void) -> Double {
    let began = processorNs()
    body()
    return Double(processorNs() - began) / Double(calls)
}

func instance(
    of directory: String, cache: String, isolation: Manifest.Isolation, options: WorkerOptions = .current
) throws -> ProviderInstance {
    let log = StandardError()
    let probe = PluginProbe(command: [CommandLine.arguments[0], "__probe"])
    let loader = try PluginLoader(cacheDirectory: cache, probe: probe, log: log)
    let registry = PluginRegistry(directory: directory, loader: loader, log: log)
    guard let plugin = registry.plugin(named: "line"), let declaration = plugin.provider(.speechToText) else {
        throw Failure(message: "no plugin: \(registry.entries.map { "\($0.state)" })")
    }
    let instance = ProviderInstance(
        plugin: plugin, declaration: declaration, name: "stt.line",
        configuration: try declaration.configuration.apply(to: [:]), isolation: isolation, workerOptions: options,
        log: log)
    try instance.create()
    try instance.start()
    try instance.waitUntilReady()
    return instance
}

func session(of instance: ProviderInstance, call: String = "benchmark") throws -> any SpeechToTextSession {
    let sessions = ProviderSessions(
        chains: { _ in ProviderChains(speechToText: [], languageModel: [], textToSpeech: []) },
        instance: { _ in instance })
    let opened = try sessions.make(
        Provider(kind: .speechToText, index: 0, name: "stt.line"),
        CallIdentity(id: call, profile: "", caller: "", callee: ""), 8_000, 8_000, CallMailbox(outboundRateHz: 8_000))
    guard case .speechToText(let session) = opened else { throw Failure(message: "not a recogniser") }
    return session
}

func run() throws {
    let arguments = CommandLine.arguments
    if arguments.count > 2, arguments[1] == "__probe" { PluginProbe.child(path: arguments[2]) }
    if arguments.count > 2, arguments[1] == "__worker" {
        WorkerChild.run(Array(arguments.dropFirst(2)), services: NoServices())
    }
    if arguments.count == 6, let isolation = Manifest.Isolation(rawValue: arguments[3]), let calls = Int(arguments[4]),
        let seconds = Int(arguments[5])
    {
        return try load(arguments[1], arguments[2], isolation, calls: calls, seconds: seconds)
    }
    guard arguments.count == 5, let runs = Int(arguments[3]), let calls = Int(arguments[4]) else {
        throw Failure(message: "usage: PluginLineBenchmark PLUGIN-DIRECTORY CACHE RUNS CALLS-IN-A-RUN")
    }
    let session = try session(of: instance(of: arguments[1], cache: arguments[2], isolation: .inprocess))
    usleep(50_000)
    let frame = [Int16](repeating: 0, count: 160)
    var position: UInt64 = 0
    session.begin(at: 0)
    var pushes: [Double] = []
    var emits: [Double] = []
    var bare: [Double] = []
    // Shorter than what is logged as a slow call.
    let batch = 10_000
    frame.withUnsafeBufferPointer { samples in
        for run in 0...runs {
            let push = timed(calls) {
                for _ in 0..<calls {
                    _ = session.push(samples, at: position)
                    position += 160
                }
            }
            let emit = timed(calls) {
                for _ in 0..<calls / batch { session.finalize(request: UInt64(batch), tentative: false) }
            }
            let floor = timed(calls) {
                for _ in 0..<calls / batch { session.finalize(request: UInt64(batch), tentative: true) }
            }
            // The first run warms the caches up.
            guard run > 0 else { continue }
            pushes.append(push)
            emits.append(emit)
            bare.append(floor)
        }
    }
    print("{\"push_ns\":\(pushes),\"emit_ns\":\(emits),\"bare_ns\":\(bare)}")
    session.close()
}

do {
    try run()
} catch {
    complain("PluginLineBenchmark: \(error)")
    exit(1)
}
