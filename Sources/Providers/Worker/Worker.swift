// One provider's worker, over all its processes: started, watched, ended, started again.
//
// Two threads meet here: whoever creates, starts and destroys the provider, and the watch (`WorkerWatch`), which hears
// of the process's end and makes the decisions of `WorkerSupervision` come true. What a new process needs to know
// (`create`, `start`) is kept, so that a restart is nobody else's affair: the provider stays, its sessions are lost.

import CPlatform
import Glibc
import PluginABI
import Synchronization

final class Worker: @unchecked Sendable {
    let plan: WorkerPlan
    private let state: Waiting<State>

    struct State {
        var supervision: WorkerSupervision
        var liveness = WorkerLiveness()
        var link: WorkerLink?
        var process: WorkerProcess?
        var isHandshaken = false
        /// Takes sessions.
        var isServing = false
        /// Why it does not run: for whoever asked for it.
        var failure: String?
        /// Why it was killed by us.
        var killedFor: String?
        var stopAtNs: UInt64?
        /// Processes that ended and wait for the kernel.
        var ended: [WorkerProcess] = []
        var restarts: UInt64 = 0
        var crashes: UInt64 = 0
        var output = WorkerOutput()
        /// Runs a new process up to READY.
        var revive: (@Sendable (WorkerLink) -> Void)?
        /// Of processes that ended.
        var pastEvents: UInt64 = 0
        var pastCalls: UInt64 = 0
        var pastCallsNs: UInt64 = 0
    }

    init(_ plan: WorkerPlan) {
        self.plan = plan
        state = Waiting(State(supervision: WorkerSupervision(plan.options.supervision)))
    }

    // MARK: Whoever uses it

    /// Starts the first process and waits for its handshake.
    func start() throws(WorkerFault) -> WorkerLink {
        if let reason = WorkerReports.current.quarantineReason(plan.sha256) {
            throw WorkerFault("\(plan.plugin) is quarantined: \(reason)")
        }
        WorkerWatch.shared.add(self)
        let now = hostClockNs()
        let actions = state.withLock { $0.supervision.start(now: now) }
        carryOut(actions)
        let end = now + UInt64(plan.options.handshakeMs + 500) * 1_000_000
        let outcome: Result<WorkerLink, WorkerFault>? = state.wait(until: { _ in end }) { state in
            if state.isHandshaken, let link = state.link { return .success(link) }
            if let failure = state.failure { return .failure(WorkerFault(failure)) }
            return nil
        }
        switch outcome {
        case .success(let link): return link
        case .failure(let fault): throw fault
        case nil: throw WorkerFault("the worker of \(plan.name) did not start within \(plan.options.handshakeMs) ms")
        }
    }

    /// The line to the process that takes sessions; nil while there is none.
    var serving: WorkerLink? { state.withLock { $0.isServing ? $0.link : nil } }

    /// The line to the process that runs, serving or not.
    var running: WorkerLink? { state.withLock { $0.link } }

    /// The provider is created, or READY again: sessions may come. What makes a new process so is kept.
    func serve(_ link: WorkerLink, revive: (@Sendable (WorkerLink) -> Void)? = nil) {
        state.change { state in
            guard state.link === link else { return }
            state.isServing = true
            if let revive { state.revive = revive }
        }
    }

    var failure: String {
        state.withLock { state in
            switch state.supervision.phase {
            case .quarantined: "\(plan.name) is not started any more: \(state.failure ?? "it crashed too often")"
            default: "the worker of \(plan.name) is being started again: \(state.failure ?? "it ended")"
            }
        }
    }

    /// kill -9 of the process behind `link`; its end is then dealt with as any other.
    func kill(_ link: WorkerLink?, _ reason: String) {
        let process: WorkerProcess? = state.withLock { state in
            guard link == nil || state.link === link, state.killedFor == nil else { return nil }
            state.killedFor = reason
            return state.process
        }
        process?.kill()
    }

    /// No process after this one, which has been told to end.
    func stop() {
        state.change { state in
            state.supervision.stop()
            state.isServing = false
            state.failure = state.failure ?? "the provider was destroyed"
            state.stopAtNs = hostClockNs() + UInt64(plan.options.goodbyeMs) * 1_000_000
        }
        WorkerWatch.shared.wake()
    }

    // MARK: The watch

    /// What the watch polls.
    var descriptors: [Int32] {
        state.withLock { state in state.process?.openDescriptors ?? [] }
    }

    /// Reads what the process said, and acts on the time. False when there is nothing more to watch.
    func look(now: UInt64) -> Bool {
        if let process = state.withLock({ $0.process }) {
            write(process.readOutput())
            process.readControl()
            if !state.withLock({ $0.isHandshaken }) { readHandshake(process) }
            if process.readLife() { ended(process, now: now) }
        }
        let (actions, late) = state.withLock { state in
            let late = state.stopAtNs.map { now >= $0 } ?? false
            return (state.supervision.tick(now: now), late)
        }
        if late { kill(nil, "it did not end within \(plan.options.goodbyeMs) ms") }
        carryOut(actions)
        return state.withLock { state in
            state.ended.removeAll { $0.reap() }
            return state.process != nil || !state.ended.isEmpty || !state.supervision.isOver
        }
    }

    /// Once in each heartbeat.
    func beat() {
        let (verdict, link): (WorkerLiveness.Verdict?, WorkerLink?) = state.withLock { state in
            guard state.isHandshaken, let link = state.link, state.killedFor == nil else { return (nil, nil) }
            let page = link.channel.page
            return (
                state.liveness.tick(
                    answered: page.beat, callBegunNs: page.callBegunNs,
                    slot: WorkerSlot(rawValue: page.callSlot) ?? .none, periodMs: plan.options.heartbeatMs), link
            )
        }
        guard let verdict, let link else { return }
        switch verdict {
        case .alive(let beat): _ = link.post(.heartbeat, 0, number: beat)
        case .hung(let how): kill(link, "it hung: \(how)")
        }
    }

    private func carryOut(_ actions: [WorkerSupervision.Action]) {
        for action in actions {
            switch action {
            case .spawn: spawn()
            case .kill(let reason): kill(nil, reason)
            case .report: break
            }
        }
    }

    private func spawn() {
        if let reason = WorkerReports.current.quarantineReason(plan.sha256) {
            state.change { state in
                state.supervision.forbid()
                state.failure = "\(plan.plugin) is quarantined: \(reason)"
            }
            return
        }
        do throws(WorkerFault) {
            guard let link = WorkerLink(self) else { throw WorkerFault("there is no memory to share with a worker") }
            let process = try WorkerProcess(plan, memory: link.channel.descriptor)
            link.begin()
            state.change { state in
                state.link = link
                state.process = process
                state.isHandshaken = false
                state.killedFor = nil
                state.failure = nil
                state.liveness = WorkerLiveness()
            }
            WorkerWatch.shared.wake()
        } catch {
            log(.error, error.message)
            let now = hostClockNs()
            state.change { state in
                state.failure = error.message
                _ = state.supervision.ended(isCrash: false, now: now)
            }
        }
    }

    private func readHandshake(_ process: WorkerProcess) {
        guard let end = process.controlText.firstIndex(of: UInt8(ascii: "\n")) else { return }
        let line = String(decoding: process.controlText[..<end], as: UTF8.self)
        let expected = WorkerHandshake.accepted(sha256: plan.sha256)
        guard line == expected else {
            let why = WorkerHandshake.refusal(line) ?? "it said \"\(line.prefix(120))\" instead of \"\(expected)\""
            state.change { if $0.failure == nil { $0.failure = why } }
            // A refusal ends by itself; a stranger does not.
            if WorkerHandshake.refusal(line) == nil { kill(nil, why) }
            return
        }
        let (link, revive) = state.withLock { state -> (WorkerLink?, (@Sendable (WorkerLink) -> Void)?) in
            state.supervision.handshook(now: hostClockNs())
            return (state.link, state.revive)
        }
        if let link, let revive {
            state.withLock { $0.restarts += 1 }
            // `create` may take its two seconds; the watch has other workers to look after.
            let job = Job { revive(link) }
            var thread = pthread_t()
            if pthread_create(&thread, nil, runWorkerJob, Unmanaged.passRetained(job).toOpaque()) == 0 {
                pthread_detach(thread)
            }
        }
        state.change { $0.isHandshaken = true }
    }

    private func ended(_ process: WorkerProcess, now: UInt64) {
        // The last words of its output, which came before its end.
        write(process.readOutput())
        process.readControl()
        guard let link = state.withLock({ $0.link }) else { return }
        let words = link.channel.page.lastWords
        let (killedFor, wasAsked, refusal) = state.withLock { state in
            (state.killedFor, state.supervision.phase == .stopped, state.isHandshaken ? nil : state.failure)
        }
        if process.ending == .unknown { process.endStrays() }
        let crash = WorkerObituary(
            words: words, ending: process.ending ?? .unknown, killedFor: killedFor,
            memory: Self.memory(process.memoryKiB, of: plan.options.memoryBytes), page: link.channel.page
        ) { [link] in link.owns($0) ? HandleTable.shared.resolve($0) : nil }
        let message = "the worker of \(plan.name) ended: \(crash.sentence)"
        let sessions = link.sessionCount
        let actions = state.withLock { state in
            state.process = nil
            state.link = nil
            state.isServing = false
            state.isHandshaken = false
            state.ended.append(process)
            state.failure = refusal ?? message
            state.pastEvents += link.eventCount.load(ordering: .relaxed)
            state.pastCalls += link.channel.page.calls
            state.pastCallsNs += link.channel.page.callsNs
            return state.supervision.ended(isCrash: refusal == nil, now: now)
        }
        state.change { _ in }
        link.close(message)
        process.closeDescriptors()
        for case .report(let isTooMany) in actions where !wasAsked {
            state.withLock { $0.crashes += 1 }
            let backtrace = crash.backtrace(process.controlText)
            if let report = WorkerReports.current.crashed {
                report(
                    WorkerCrash(
                        plugin: plan.plugin, sha256: plan.sha256, provider: plan.name, signal: crash.signal,
                        breadcrumb: crash.place, backtrace: backtrace, reason: crash.reason, sessions: sessions,
                        isTooMany: isTooMany))
            } else {
                let count = plan.options.crashesMax
                let then = isTooMany ? "; it is not started again: \(count) crashes were too many" : ""
                log(.error, message + then)
            }
        }
        if let refusal, !wasAsked { log(.error, "the worker of \(plan.name) did not start: \(refusal)") }
    }

    /// Said of a worker that came near its limit: then that is likely why it ended.
    private static func memory(_ usedKiB: UInt64, of limitBytes: UInt64) -> String? {
        guard limitBytes > 0, usedKiB << 10 > limitBytes / 2 else { return nil }
        return "it had \(usedKiB >> 10) MiB of memory, and \(limitBytes >> 20) MiB of addresses are its limit"
    }

    private func write(_ bytes: [UInt8]) {
        guard !bytes.isEmpty else { return }
        let lines = state.withLock { $0.output.take(bytes, now: hostClockNs()) }
        for line in lines { log(.info, "the worker wrote: \(line)") }
    }

    func log(_ level: ProviderLogLine.Level, _ message: String) {
        plan.log.write(ProviderLogLine(level, message, plugin: plan.plugin, provider: plan.name))
    }

    // MARK: What it uses

    var usage: WorkerUsage {
        state.withLock { state in
            let page = state.link?.channel.page
            let process = state.process?.worker ?? 0
            let used = WorkerProcess.usage(of: process)
            return WorkerUsage(
                process: Int(process), cpuMs: used?.cpuMs ?? 0, residentBytes: used?.residentBytes ?? 0,
                calls: state.pastCalls &+ (page?.calls ?? 0), callsNs: state.pastCallsNs &+ (page?.callsNs ?? 0),
                events: state.pastEvents &+ (state.link?.eventCount.load(ordering: .relaxed) ?? 0),
                restarts: state.restarts, crashes: state.crashes,
                isQuarantined: state.supervision.phase == .quarantined)
        }
    }

    fileprivate final class Job: Sendable {
        let work: @Sendable () -> Void
        init(_ work: @escaping @Sendable () -> Void) { self.work = work }
    }
}

private func runWorkerJob(_ context: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? {
    Unmanaged<Worker.Job>.fromOpaque(context!).takeRetainedValue().work()
    return nil
}

extension WorkerSupervision {
    /// Nothing will happen any more by itself.
    var isOver: Bool { phase == .stopped || phase == .quarantined }
}
