import Glibc
import JSON
import PluginABI
import Synchronization
import Testing

@testable import Calls
@testable import Providers

@Suite("A worker that fails", .serialized) struct WorkerCrashTests {
    let workshop = Workshop()
    let log = LogList()

    private func voice(
        _ options: WorkerOptions = .forTests, mood: String = "calm"
    ) throws -> ProviderInstance {
        try Mischief.plugin(workshop).working("tts.mischief", settings: ["mood": mood], options: options, log: log)
    }

    private func session(_ instance: ProviderInstance) throws -> (any TextToSpeechSession, Caller) {
        let caller = Caller()
        guard case .textToSpeech(let session) = try instance.open(.textToSpeech, caller) else {
            throw Unexpected("another kind")
        }
        return (session, caller)
    }

    /// Has the voice do `what`, and gives the failure that the call hears of.
    private func say(_ what: String, _ instance: ProviderInstance) throws -> ProviderFailure {
        let (session, caller) = try self.session(instance)
        session.speak(Ticket(epoch: 0, request: 1), text: what, last: true)
        // A hang takes three heartbeats, and the machine may be busy.
        for _ in 0..<4 where caller.failures.isEmpty { _ = try? caller.wait("a failure") { $0.failures.first } }
        let failure = try #require(caller.failures.first)
        session.close()
        try waitUntil("the session's end") { instance.sessionCount == 0 }
        return failure
    }

    /// Another session speaks, in whatever process there is then.
    private func speaksAgain(_ instance: ProviderInstance) throws {
        try waitForProcess("the restart") { log.lines.contains { $0.message.contains("runs again") } }
        let (session, caller) = try self.session(instance)
        session.speak(Ticket(epoch: 0, request: 2), text: "fine", last: true)
        try caller.wait("the end") { caller in
            caller.events.contains { if case .speech(_, .done) = $0 { true } else { false } } ? true : nil
        }
        session.close()
        try waitUntil("the session's end") { instance.sessionCount == 0 }
    }

    private func crashes(_ body: () throws -> Void) rethrows -> [WorkerCrash] {
        let list = CrashList()
        var reports = WorkerReports()
        reports.crashed = { list.add($0) }
        WorkerReports.current = reports
        defer { WorkerReports.current = WorkerReports() }
        try body()
        // Suites beside this one kill workers, too.
        return list.crashes.filter { $0.provider == "tts.mischief" }
    }

    @Test(
        "A crash ends its sessions with what happened and where, and the next process speaks",
        arguments: [
            ("segv", "SIGSEGV"), ("abort", "SIGABRT"), ("exit", "exit(0)"), ("overflow", "SIGSEGV"),
        ])
    func crash(_ what: String, _ signal: String) throws {
        let instance = try voice()
        let before = try #require(instance.workerUsage).process
        let crashes = try crashes {
            let failure = try say(what, instance)
            #expect(failure.code == .crashed)
            #expect(failure.message == "the worker of tts.mischief ended: \(signal) in speak, session of call call-1")
            try speaksAgain(instance)
        }
        let crash = try #require(crashes.first)
        #expect(crashes.count == 1)
        #expect(crash.signal == signal)
        #expect(crash.breadcrumb == "speak, session of call call-1")
        #expect(crash.plugin == "org.test.mischief")
        #expect(crash.provider == "tts.mischief")
        #expect(crash.sha256 == instance.plugin.sha256)
        #expect(!crash.isTooMany)
        if what == "segv" || what == "abort" { #expect(crash.backtrace.contains("mischief.so")) }
        let usage = try #require(instance.workerUsage)
        #expect(usage.process != before)
        #expect(usage.crashes == 1)
        #expect(usage.restarts == 1)
        #expect(instance.faults.total == instance.faults.count(of: .slowCall))
        if what == "segv" {
            #expect(log.lines.contains { $0.message == "the worker wrote: about to crash" })
        }
        #expect(instance.destroy())
    }

    @Test("An endless loop is found by the heartbeat, killed, and told apart from a crash")
    func hang() throws {
        let instance = try voice()
        let crashes = try crashes {
            let began = hostClockNs()
            let failure = try say("loop", instance)
            // Three heartbeats are 900 ms; a busy machine gets the rest.
            #expect(hostClockNs() - began < 5_000_000_000)
            #expect(failure.code == .crashed)
            #expect(failure.message.contains("hung in speak, session of call call-1"))
            try speaksAgain(instance)
        }
        #expect(crashes.first?.signal == "hung")
        #expect(instance.destroy())
    }

    @Test("A memory hog meets its limit and dies alone")
    func hog() throws {
        var options = WorkerOptions.forTests
        options.memoryBytes = 1 << 30
        let instance = try voice(options)
        let failure = try say("hog", instance)
        #expect(failure.message.contains("SIGSEGV in speak"))
        try speaksAgain(instance)
        #expect(instance.destroy())
    }

    @Test("kill -9 of the worker and kill -9 of its guardian both end as a crash, and leave nothing")
    func killed() throws {
        let instance = try voice()
        let (session, caller) = try self.session(instance)
        kill(pid_t(try #require(instance.workerUsage).process), SIGKILL)
        let failure = try caller.wait("the failure") { $0.failures.first }
        #expect(failure.message == "the worker of tts.mischief ended: SIGKILL between calls")
        session.close()
        try speaksAgain(instance)

        let worker = try #require(instance.workerUsage).process
        let (second, other) = try self.session(instance)
        kill(try parent(of: worker), SIGKILL)
        try other.wait("the failure") { $0.failures.first }
        second.close()
        try waitForProcess("the end of the worker") { !isRunning(worker) }
        try waitUntil("the session's end") { instance.sessionCount == 0 }
        #expect(instance.destroy())
    }

    @Test("Processes that left the worker's group end with it: after a crash, and after its guardian was killed")
    func strays() throws {
        let instance = try voice()
        for how in ["crash", "guardian", "goodbye"] {
            try waitForProcess("a worker") { (instance.workerUsage?.process ?? 0) > 0 }
            try waitUntil("a provider that serves") { (try? self.session(instance).0.close()) != nil }
            let (session, caller) = try self.session(instance)
            session.speak(Ticket(epoch: 0, request: 1), text: "stray", last: true)
            try caller.wait("the end") { caller in
                caller.events.contains { if case .speech(_, .done) = $0 { true } else { false } } ? true : nil
            }
            try waitForProcess("four strays") { Mischief.strays().count == 4 }
            switch how {
            case "crash":
                session.speak(Ticket(epoch: 0, request: 2), text: "segv", last: true)
                session.close()
            case "guardian":
                kill(try parent(of: try #require(instance.workerUsage).process), SIGKILL)
                session.close()
            default:
                session.close()
                try waitUntil("the sessions' end") { instance.sessionCount == 0 }
                #expect(instance.destroy())
            }
            try waitForProcess("the end of the strays after \(how)") { Mischief.strays().isEmpty }
        }
    }

    @Test("The third crash in ten minutes is one too many: no process, and whoever opens a session is told why")
    func quarantine() throws {
        let instance = try voice()
        let crashes = try crashes {
            for _ in 0..<3 {
                try waitForProcess("a worker that serves") { (try? self.session(instance).0.close()) != nil }
                _ = try say("abort", instance)
            }
            try waitForProcess("the decision") { instance.workerUsage?.isQuarantined ?? false }
        }
        #expect(crashes.map(\.isTooMany) == [false, false, true])
        usleep(500_000)
        #expect(instance.workerUsage?.process == 0)
        do {
            _ = try self.session(instance)
            Issue.record("a session opened")
        } catch {
            #expect("\(error)".contains("is not started any more"))
        }
        // Whoever hears of crashes says them; the worker does not say them again.
        #expect(!log.lines.contains { $0.message.contains("SIGABRT") })
        #expect(instance.destroy())
    }

    @Test("A file that is quarantined is not started, and the reason is told")
    func forbidden() throws {
        var reports = WorkerReports()
        reports.quarantineReason = { _ in "it crashed three times on Tuesday" }
        WorkerReports.current = reports
        defer { WorkerReports.current = WorkerReports() }
        do {
            _ = try voice()
            Issue.record("it started")
        } catch let failure as ProviderFailure {
            #expect(failure.message == "org.test.mischief is quarantined: it crashed three times on Tuesday")
        }
    }

    @Test("A plugin that refuses its settings, crashes in create, or never answers, fails its provider and nothing else")
    func create() throws {
        func failure(_ mood: String, _ options: WorkerOptions = .forTests) throws -> ProviderFailure {
            do {
                _ = try voice(options, mood: mood)
            } catch let failure as ProviderFailure {
                return failure
            }
            throw Unexpected("\(mood) was created")
        }
        #expect(try failure("refuse").message == "the voice `refuse` does not exist; choose another")
        #expect(try failure("refuse").code == .configuration)
        let crash = try failure("crash")
        #expect(crash.code == .crashed)
        #expect(crash.message == "the worker of tts.mischief ended: SIGABRT in create")
        var options = WorkerOptions.forTests
        options.createMs = 300
        #expect(try failure("slow", options).code == .timeout)
    }

    @Test("A crash in open fails that session, which is tried elsewhere")
    func openCrashes() throws {
        let instance = try voice()
        var request = SessionRequest()
        request.language = "xx"
        do {
            _ = try PluginSession.open(instance, request, delegate: Nobody())
            Issue.record("it opened")
        } catch {
            #expect(error.code == .crashed)
            #expect(error.retryable)
            #expect(error.message.contains("SIGABRT in open"))
        }
        #expect(instance.sessionCount == 0)
        try speaksAgain(instance)
        #expect(instance.destroy())
    }

    @Test("A program that is no worker is given up after the handshake's deadline")
    func noHandshake() throws {
        var options = WorkerOptions.forTests
        options.command = ["/bin/sh", "-c", "exec sleep 60"]
        options.handshakeMs = 300
        do {
            _ = try voice(options)
            Issue.record("it started")
        } catch let failure as ProviderFailure {
            #expect(failure.message.contains("did not start within 300 ms") || failure.message.contains("no handshake"))
        }
    }

    @Test("A plugin that writes over the shared memory ends its worker, never the host")
    func scribble() throws {
        let instance = try voice()
        let failure = try say("scribble", instance)
        #expect(failure.code == .crashed)
        #expect(failure.message.contains("it sent a message that cannot be"))
        try speaksAgain(instance)
        #expect(instance.destroy())
    }

    @Test("A plugin that emits without end is told AGAIN when its half second of credit is used")
    func flood() throws {
        let instance = try voice()
        let (session, caller) = try self.session(instance)
        session.speak(Ticket(epoch: 0, request: 1), text: "flood", last: true)
        try waitForProcess("the count") { log.lines.contains { $0.message.contains("taken ") } }
        let line = try #require(log.lines.first { $0.message.contains("taken ") })
        let taken = try #require(Int(line.message.split(separator: " ").last ?? ""))
        // 100 ms each: two seconds in the mailbox, half of one on the line, and what went through while it ran.
        #expect(taken >= 5)
        #expect(taken <= 30)
        caller.take()
        #expect(caller.audio.count <= 20)
        #expect(instance.faults.total == instance.faults.count(of: .slowCall))
        session.close()
        try waitUntil("the session's end") { instance.sessionCount == 0 }
        #expect(instance.destroy())
    }

    @Test("What a plugin refuses after it was posted fails that request, and the session goes on")
    func refusal() throws {
        let instance = try voice()
        let (session, caller) = try self.session(instance)
        session.speak(Ticket(epoch: 0, request: 4), text: "refuse", last: true)
        let failure = try caller.wait("the failure") { $0.failures.first }
        #expect(failure.code == .quota)
        session.speak(Ticket(epoch: 0, request: 5), text: "fine", last: true)
        try caller.wait("the end") { caller in
            caller.events.contains { if case .speech(_, .done) = $0 { true } else { false } } ? true : nil
        }
        session.close()
        try waitUntil("the session's end") { instance.sessionCount == 0 }
        #expect(instance.destroy())
    }

    @Test("A worker has no LD_ variables, no secrets, no core files, its limits, and none of the host's descriptors")
    func surroundings() throws {
        setenv("LD_VCHOST_TEST", "1", 1)
        setenv("VCHOST_TEST_KEY", "secret", 1)
        defer {
            unsetenv("LD_VCHOST_TEST")
            unsetenv("VCHOST_TEST_KEY")
        }
        // One that no exec closes.
        let leak = dup(STDERR_FILENO)
        defer { close(leak) }
        var options = WorkerOptions.forTests
        options.withheldVariables = ["VCHOST_TEST_KEY"]
        options.memoryBytes = 2 << 30
        options.filesMax = 256
        let instance = try voice(options)
        let (session, _) = try self.session(instance)
        session.speak(Ticket(epoch: 0, request: 1), text: "environment", last: true)
        try waitForProcess("the line") { log.lines.contains { $0.message.contains("ld=") } }
        let line = try #require(log.lines.first { $0.message.contains("ld=") }).message
        #expect(line.contains("ld=none key=none home=kept core=0 files=256 memory=2048 "))
        // Standard streams, the control line, the shared memory, and what the log's and timers' threads need.
        let open = try #require(Int(line.split(separator: "=").last ?? ""))
        #expect(open <= 8)
        session.close()
        try waitUntil("the session's end") { instance.sessionCount == 0 }
        #expect(instance.destroy())
    }

    @Test("A worker that prints without end fills neither the log nor a pipe")
    func chatter() throws {
        let instance = try voice()
        let (session, caller) = try self.session(instance)
        session.speak(Ticket(epoch: 0, request: 1), text: "chatter", last: true)
        try caller.wait("the end") { caller in
            caller.events.contains { if case .speech(_, .done) = $0 { true } else { false } } ? true : nil
        }
        let lines = log.lines.filter { $0.message.contains("the worker wrote: line ") }
        #expect(lines.count <= 50)
        try waitForProcess("the remark") { log.lines.contains { $0.message.contains("the rest is dropped") } }
        session.close()
        try waitUntil("the session's end") { instance.sessionCount == 0 }
        #expect(instance.destroy())
    }
}

private func parent(of process: Int) throws -> pid_t {
    let status = String(decoding: try #require(readSmallFile("/proc/\(process)/status")), as: UTF8.self)
    let line = try #require(status.split(separator: "\n").first { $0.hasPrefix("PPid:") })
    return try #require(pid_t(line.dropFirst(6)))
}

private final class Nobody: PluginSessionDelegate {
    func receive(_ event: UnsafePointer<vc_event>, _ type: Int) -> vc_status { vc_status(VC_OK) }
    func requestFailed(_ request: UInt64, epoch: UInt64, _ failure: ProviderFailure) {}
    func lost(_ failure: ProviderFailure) {}
}

private final class CrashList: Sendable {
    private let list = Mutex<[WorkerCrash]>([])
    func add(_ crash: WorkerCrash) { list.withLock { $0.append(crash) } }
    var crashes: [WorkerCrash] { list.withLock { $0 } }
}
