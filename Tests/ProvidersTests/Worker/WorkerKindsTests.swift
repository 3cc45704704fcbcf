import Glibc
import JSON
import PluginABI
import Synchronization
import Testing

@testable import Calls
@testable import Providers

/// A detector whose answer is the window's mean, and which hangs when its first sample says so.
private let detectorSource = """
    #include <stdlib.h>
    static vc_status process(vc_self self, const vc_vad_batch *b) {
        (void)self;
        for (uint32_t i = 0; i < b->row_count; i++) {
            vc_vad_row *row = (vc_vad_row *)((char *)b->rows + i * b->row_stride);
            if (row->samples[0] == 31000) for (;;) __asm__ volatile("");
            long sum = 0;
            for (uint32_t n = 0; n < b->samples; n++) sum += row->samples[n];
            row->probability = (float)sum / b->samples / 1000 + (row->flags & VC_VAD_ROW_RESET ? 0.5f : 0) + *(int *)row->session;
        }
        return VC_OK;
    }
    static const vc_vad_provider_ops vad = { .size = sizeof vad, .window_8k = 256, .window_16k = 512, .process = process };
    static const vc_session_ops ops = { .size = sizeof ops, .destroy = free };
    static int opened;
    static vc_status open_(vc_self p, const vc_open *r, vc_session *out, vc_error *e) {
        (void)p, (void)r, (void)e;
        int *number = malloc(sizeof(int));
        *number = ++opened * 10;
        out->state = number, out->ops = &ops;
        return VC_OK;
    }
    static vc_status create(const vc_create *r, vc_self *self, vc_error *e) { (void)r, (void)e; *self = 0; return VC_OK; }
    static void destroy(vc_self self) { (void)self; }
    static const vc_provider provider = { .size = sizeof provider, .kind = VC_STR("vc.vad/1"), .id = VC_STR("org.test.vad"),
        .create = create, .destroy = destroy, .open = open_, .kind_ops = &vad };
    static const vc_provider *const providers[] = { &provider };
    static const vc_module module_ = { sizeof(vc_module), VC_ABI_MINOR, 0, 1, providers };
    VC_EXPORT vc_status vc_plugin_entry_v1(const vc_host *host, const vc_module **module) {
        (void)host;
        *module = &module_;
        return VC_OK;
    }
    """

@Suite("The other kinds in a worker", .serialized) struct WorkerKindsTests {
    let workshop = Workshop()

    private final class List<Event: Sendable>: Sendable {
        private let list = Mutex<[Event]>([])
        func add(_ event: Event) { list.withLock { $0.append(event) } }
        var all: [Event] { list.withLock { $0 } }
    }

    private func phone(
        _ events: @escaping @Sendable (TelephonyProviderEvent) -> Void
    ) throws -> TelephonyProvider {
        let plugin = try workshop.load(
            "phone.so", phoneSource,
            manifest: Workshop.manifest(
                id: "org.test.phone", kind: "vc.telephony/1", capabilities: ["profile": "signalling"]))
        let instance = ProviderInstance(
            plugin: plugin, declaration: plugin.manifest.providers[0], name: "telephony.far", configuration: [:],
            isolation: .worker, workerOptions: .forTests, log: LogList())
        try instance.create()
        let provider = try TelephonyProvider(instance, events: events)
        try instance.start()
        try instance.waitUntilReady()
        return provider
    }

    @Test("A call comes in, is answered, transferred and hung up through the line")
    func inbound() throws {
        let announced = List<TelephonyProviderEvent>()
        let phone = try phone { announced.add($0) }
        try waitUntil("the call") { !announced.all.isEmpty }
        guard case .incoming(let call) = announced.all.first else { throw Unexpected("nothing announced") }
        #expect(call.key == "k1" && call.from == "sip:a@b" && call.to == "sip:c@d")
        #expect(call.headers == [TelephonyHeader(name: "X-Test", value: "yes")])
        let heard = List<TelephonyEvent>()
        let session = try phone.answerable(key: call.key, call: "c1") {
            heard.add($0)
            return .accepted
        }
        session.answer()
        session.transfer(to: "sip:x")
        session.sendDTMF("12#")
        session.hold(true)  // the plugin has no such slot
        session.hangUp(code: 0, reason: "bye")
        try waitUntil("all that happens") { heard.all.count == 5 }
        #expect(heard.all.contains(.answered))
        #expect(heard.all.contains(.transferred(succeeded: true, code: 202, reason: "sip:x")))
        #expect(heard.all.contains(.digits("12#", durationMs: 80)))
        #expect(heard.all.contains(.hungUp(.agent, code: 0, reason: "bye")))
        #expect(heard.all.count { if case .failed = $0 { true } else { false } } == 1)
        session.close()
        try waitUntil("the session's end") { phone.instance.sessionCount == 0 }
        phone.decline(key: "k1", code: 503, retryAfterSeconds: 5)
        try waitUntil("the withdrawal") { announced.all.last == .withdrawn(key: "k1") }
        #expect(phone.instance.destroy())
    }

    @Test("An outgoing call takes its headers along, and what comes while it opens is in order")
    func outbound() throws {
        let phone = try phone { _ in }
        let heard = List<TelephonyEvent>()
        let headers = [TelephonyHeader(name: "A", value: ""), TelephonyHeader(name: "B", value: "bbb")]
        let session = try phone.dial(to: "sip:x", headers: headers, ringTimeoutMs: 1_000, call: "c2") {
            heard.add($0)
            return .accepted
        }
        try waitUntil("both") { heard.all.count == 2 }
        #expect(heard.all == [.ringing, .hungUp(.refused, code: 486, reason: "bbb")])
        session.close()
        try waitUntil("the session's end") { phone.instance.sessionCount == 0 }
        #expect(phone.instance.destroy())
    }

    @Test("A telephony plugin that crashes hangs nobody up: its calls are lost to it, and the media is not")
    func telephonyCrash() throws {
        let announced = List<TelephonyProviderEvent>()
        let phone = try phone { announced.add($0) }
        try waitUntil("the call") { !announced.all.isEmpty }
        let heard = List<TelephonyEvent>()
        let session = try phone.answerable(key: "k1", call: "c1") {
            heard.add($0)
            return .accepted
        }
        session.answer()
        try waitUntil("the answer") { heard.all.contains(.answered) }
        kill(pid_t(try #require(phone.instance.workerUsage).process), SIGKILL)
        try waitForProcess("the loss") { heard.all.count == 2 }
        guard case .lost(let failure) = heard.all.last else { throw Unexpected("\(heard.all)") }
        #expect(failure.code == .crashed)
        #expect(heard.all.last?.callEvents.isEmpty == true)
        // The object lives on, and with it the stream that belongs to it, until the call's owner is done.
        #expect(HandleTable.shared.resolve(session.handle) != nil)
        session.close()
        try waitUntil("the session's end") { phone.instance.sessionCount == 0 }
        // A new process registers anew: the plugin announces its call again.
        try waitForProcess("the next call") { announced.all.count == 2 }
        #expect(phone.instance.destroy())
    }

    @Test("A detector in a worker answers batches, row for row, and one that hangs is left at its deadline")
    func detector() throws {
        let plugin = try workshop.load(
            "vad.so", detectorSource, manifest: Workshop.manifest(id: "org.test.vad", kind: "vc.vad/1"))
        let instance = try plugin.working("vad.far")
        let detector = try VoiceActivityProvider(instance)
        #expect(detector.windowSamples(rateHz: 8_000) == 256)
        #expect(detector.windowSamples(rateHz: 16_000) == 512)
        let lost = List<ProviderFailure>()
        let memories = try (0..<3).map { number in
            try detector.open(call: "c\(number)", rateHz: 8_000) { lost.add($0) }
        }
        func process(_ windows: [[Int16]], deadlineMs: Int = 5_000) -> (vc_status, [Float]) {
            var all = windows.flatMap { $0 }
            var rows = memories.enumerated().map { index, memory in
                vc_vad_row(
                    session: memory.state, samples: nil, probability: -1,
                    flags: index == 1 ? UInt32(VC_VAD_ROW_RESET) : 0)
            }
            let status = all.withUnsafeMutableBufferPointer { all in
                for index in rows.indices { rows[index].samples = UnsafePointer(all.baseAddress! + index * 256) }
                return rows.withUnsafeMutableBufferPointer { rows in
                    var batch = vc_vad_batch(
                        size: UInt32(MemoryLayout<vc_vad_batch>.size), rate_hz: 8_000, samples: 256, row_count: 3,
                        row_stride: UInt32(MemoryLayout<vc_vad_row>.stride), reserved: 0, rows: rows.baseAddress,
                        deadline_ns: hostClockNs() + UInt64(deadlineMs) * 1_000_000)
                    return detector.ops.pointee.process!(detector.state, &batch)
                }
            }
            return (status, rows.map(\.probability))
        }
        let windows = [100, 200, 300].map { [Int16](repeating: $0, count: 256) }
        for _ in 0..<3 {
            let (status, probabilities) = process(windows)
            #expect(status == vc_status(VC_OK))
            #expect(probabilities == [10.1, 20.7, 30.3])
        }
        let began = hostClockNs()
        let (status, probabilities) = process(
            [[Int16](repeating: 31_000, count: 256)] + windows.dropFirst(), deadlineMs: 30)
        #expect(status == vc_status(VC_E_TIMEOUT))
        #expect(probabilities == [-1, -1, -1])
        #expect(hostClockNs() - began < 2_000_000_000)
        // Found by the heartbeat, and every call's memory is lost with it.
        try waitForProcess("the losses") { lost.all.count == 3 }
        #expect(lost.all.allSatisfy { $0.code == .crashed && $0.message.contains("hung in process") })
        for memory in memories { memory.close() }
        try waitUntil("the sessions' end") { instance.sessionCount == 0 }
        #expect(instance.destroy())
    }
}

/// Not a test but a host that the test below kills: it starts a worker with a stray, says who they are, and waits.
@Test("A host with a worker waits to be killed", .enabled(if: getenv("VCHOST_TEST_HOST") != nil))
func workerHostChild() throws {
    let workshop = Workshop()
    let instance = try Mischief.plugin(workshop).working("tts.orphan")
    let caller = Caller()
    guard case .textToSpeech(let session) = try instance.open(.textToSpeech, caller) else { return }
    session.speak(Ticket(epoch: 0, request: 1), text: "stray", last: true)
    try caller.wait("the end") { caller in
        caller.events.contains { if case .speech(_, .done) = $0 { true } else { false } } ? true : nil
    }
    let line = "host \(getpid()) worker \(try #require(instance.workerUsage).process) root \(workshop.root)\n"
    let path = String(cString: getenv("VCHOST_TEST_HOST"))
    workshop.write(line, to: path + ".new")
    rename(path + ".new", path)
    while true { sleep(60) }
}

@Suite("A host that is killed", .serialized) struct WorkerOrphanTests {
    @Test("kill -9 of the host leaves no worker, no guardian, and no child that called setsid")
    func orphans() throws {
        let workshop = Workshop()
        let path = workshop.root + "/pids"
        setenv("VCHOST_TEST_HOST", path, 1)
        defer { unsetenv("VCHOST_TEST_HOST") }
        let words = ["/proc/self/exe", "--testing-library", "swift-testing", "--filter", "workerHostChild"]
        var arguments: [UnsafeMutablePointer<CChar>?] = words.map { strdup($0) } + [nil]
        defer { arguments.forEach { free($0) } }
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0)
        posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0)
        defer { posix_spawn_file_actions_destroy(&actions) }
        var host: pid_t = 0
        try #require(posix_spawn(&host, words[0], &actions, nil, &arguments, environ) == 0)
        defer {
            kill(host, SIGKILL)
            waitpid(host, nil, 0)
        }
        try waitForProcess("the host's worker") { access(path, R_OK) == 0 }
        let said = String(decoding: try #require(readSmallFile(path)), as: UTF8.self).split(separator: " ")
        let worker = try #require(Int(said[3]))
        let guardian = try parentOf(worker)
        #expect(isRunning(worker))
        #expect(isRunning(guardian))
        // Other suites may have strays of their own meanwhile: those of this host have its worker's tag.
        let tag = try #require(tagOf(worker))
        func tagged() -> [Int] { (directoryEntries("/proc") ?? []).compactMap { Int($0) }.filter { tagOf($0) == tag } }
        #expect(tagged().count >= 4)  // worker, guardian, two strays

        kill(host, SIGKILL)
        try waitForProcess("the end of all of them") { tagged().allSatisfy { !isRunning($0) } && !isRunning(guardian) }
        run(["/bin/rm", "-rf", String(said[5].dropLast())])
    }

    private func parentOf(_ process: Int) throws -> Int {
        let status = String(decoding: try #require(readSmallFile("/proc/\(process)/status")), as: UTF8.self)
        let line = try #require(status.split(separator: "\n").first { $0.hasPrefix("PPid:") })
        return try #require(Int(line.dropFirst(6)))
    }

    private func tagOf(_ process: Int) -> String? {
        readSmallFile("/proc/\(process)/environ")?.split(separator: 0).map { String(decoding: $0, as: UTF8.self) }
            .first { $0.hasPrefix("VCHOST_WORKER=") }
    }
}
