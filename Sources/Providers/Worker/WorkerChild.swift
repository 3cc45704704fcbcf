// What `vchost __worker` is: a small host for one provider of one plugin, behind the rings of `WorkerChannel`.
//
// Three threads of its own: one calls the plugin's slots, in the order in which the host asked; one takes what must not
// wait for a slot to return (credit, epochs, the answers of services); one waits for the host's end. Slots of all
// sessions share a thread, because a slot answers at once, and a hop to another thread costs more than most of them
// take. One that does not answer at once holds the others up, is noticed by the heartbeat, and ends the process.

import CPlatform
import Glibc
import JSON
import PluginABI
import Synchronization

package enum WorkerChild {
    /// Ends the process. `words` are those of `WorkerProcess`.
    package static func run(_ words: [String], services: any WorkerServiceChild) -> Never {
        guard words.count == 5, let memory = UInt64(words[3]), let files = UInt64(words[4]) else {
            _ = "vchost: __worker is for vchost itself\n".utf8CString.withUnsafeBytes {
                write(STDERR_FILENO, $0.baseAddress!, $0.count - 1)
            }
            _exit(2)
        }
        // First of all, while there is one thread.
        guard vch_guard(WorkerProcess.lifeNumber) == 0 else { _exit(3) }
        vch_name_this_thread("vchost-worker")
        vch_close_from(WorkerProcess.memoryNumber + 1)
        for number in [WorkerProcess.controlNumber, WorkerProcess.memoryNumber] {
            _ = fcntl(number, F_SETFD, FD_CLOEXEC)
        }
        signal(SIGPIPE, SIG_IGN)
        vch_limit_this_process(memory, files)
        guard let channel = WorkerChannel(inherited: WorkerProcess.memoryNumber) else { _exit(3) }
        vch_leave_last_words(channel.page.lastWordsMemory, WorkerProcess.controlNumber)
        vch_use_alternate_stack()
        startThread(watchHost, nil)

        let child = WorkerChildProcess(channel, plugin: words[2], services: services)
        services.install(child) { channel.page.logLevel }
        do throws(PluginRefusal) {
            let file = String(words[0].split(separator: "/").last ?? "")
            let module = try child.inCall(.load, 0) { () throws(PluginRefusal) in
                try PluginLoader.open(words[0], file)
            }
            child.module = try child.inCall(.entry, 0) { () throws(PluginRefusal) in
                try PluginModule.enter(module, file: file)
            }
        } catch {
            tell(WorkerHandshake.refused("\(error)"))
            _exit(4)
        }
        startThread(runServices, Unmanaged.passRetained(child).toOpaque())
        tell(WorkerHandshake.accepted(sha256: words[1]))
        child.runCalls()
    }

    private static func tell(_ line: String) {
        let bytes = Array((line + "\n").utf8)
        _ = write(WorkerProcess.controlNumber, bytes, bytes.count)
    }

    private static func startThread(
        _ body: @escaping @convention(c) (UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer?,
        _ context: UnsafeMutableRawPointer?
    ) {
        var thread = pthread_t()
        guard pthread_create(&thread, nil, body, context) == 0 else { _exit(3) }
        pthread_detach(thread)
    }
}

/// The host's end closes with the host.
private func watchHost(_: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? {
    var end = pollfd(fd: WorkerProcess.controlNumber, events: Int16(POLLIN), revents: 0)
    while true {
        guard poll(&end, 1, -1) >= 0 || errno == EINTR else { break }
        var byte: UInt8 = 0
        if end.revents != 0, read(WorkerProcess.controlNumber, &byte, 1) <= 0, errno != EINTR { break }
    }
    // With everything that it started and that stayed in its group.
    kill(0, SIGKILL)
    _exit(0)
}

private func runServices(_ context: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? {
    Unmanaged<WorkerChildProcess>.fromOpaque(context!).takeRetainedValue().runServices()
}

/// The worker's end of the line.
final class WorkerChildProcess: WorkerLine, @unchecked Sendable {
    let plugin: String
    /// Set before the first call.
    var module: PluginModule!
    let page: WorkerPage
    let events: RingWriter
    private let channel: WorkerChannel
    private let calls: RingReader
    private let services: RingReader
    let serviceHalf: any WorkerServiceChild
    private let slowNs = UInt64(SessionLimits.standard.slowCallMs) * 1_000_000

    private struct Jobs: @unchecked Sendable {
        var waiting: [() -> Void] = []
        /// Sessions that could not emit because the ring was full: nobody else tells them when it is not.
        var starved: [vc_handle] = []
    }
    private let jobs = Mutex(Jobs())
    private let objects = Mutex<[vc_handle: ChildSession]>([:])
    // Of the thread that calls the slots.
    var provider: ChildProvider?

    init(_ channel: WorkerChannel, plugin: String, services: any WorkerServiceChild) {
        self.channel = channel
        self.plugin = plugin
        serviceHalf = services
        page = channel.page
        events = RingWriter(channel.events)
        calls = RingReader(channel.calls)
        self.services = RingReader(channel.services)
    }

    // MARK: WorkerLine

    func send(
        service operation: UInt16, object: vc_handle, number: UInt64, urgent: Bool, _ body: (inout WireWriter) -> Void
    ) -> Bool {
        events.send(WorkerMessage.request.rawValue, object: object, number: number, urgent: urgent) { writer in
            writer.put(operation)
            body(&writer)
        } == .sent
    }

    var messageBytesMax: Int { events.messageBytesMax - 64 }

    // MARK: Objects

    func add(_ session: ChildSession) { objects.withLock { $0[session.handle] = session } }
    func remove(_ handle: vc_handle) { objects.withLock { _ = $0.removeValue(forKey: handle) } }
    func session(_ handle: vc_handle) -> ChildSession? { objects.withLock { $0[handle] } }

    // MARK: Calls into the plugin

    /// Runs `body`, a call of the plugin on the thread of slots, and leaves word of it while it lasts.
    func inCall<Result, Failure: Error>(
        _ slot: WorkerSlot, _ object: vc_handle, _ body: () throws(Failure) -> Result
    ) throws(Failure) -> Result {
        vch_breadcrumb(slot.rawValue, object)
        page.callSlot = slot.rawValue
        page.callObject = object
        let begin = hostClockNs()
        page.callBegunNs = begin
        defer {
            page.callBegunNs = 0
            vch_breadcrumb(0, 0)
            page.calls &+= 1
            let tookNs = hostClockNs() &- begin
            page.callsNs &+= tookNs
            if tookNs > slowNs, slot.answersAtOnce { slow(slot, object, tookNs) }
        }
        return try body()
    }

    private func slow(_ slot: WorkerSlot, _ object: vc_handle, _ tookNs: UInt64) {
        _ = events.send(WorkerMessage.slow.rawValue, object: object, urgent: true) { writer in
            writer.put(slot.rawValue)
            writer.put(UInt32(clamping: tookNs / 1_000_000))
        }
    }

    /// Has `job` done on the thread of slots.
    func later(_ job: @escaping () -> Void) {
        jobs.withLock { $0.waiting.append(job) }
        channel.calls.ring()
    }

    /// Tells the session to go on when the ring has room.
    func starved(_ handle: vc_handle) { jobs.withLock { $0.starved.append(handle) } }

    func runCalls() -> Never {
        while true {
            do throws(WireFault) {
                while let (head, body) = try calls.next() {
                    try dispatch(head, body)
                    runJobs()
                }
            } catch {
                // The host is what wrote it: there is nobody who could be told.
                fatalError("the host sent a message that cannot be: \(error.problem)")
            }
            runJobs()
            let isStarved = jobs.withLock { !$0.starved.isEmpty }
            calls.wait(timeoutNs: isStarved ? 20_000_000 : 1_000_000_000)
            if isStarved { feed() }
        }
    }

    private func runJobs() {
        let waiting = jobs.withLock { jobs in
            defer { jobs.waiting = [] }
            return Jobs(waiting: jobs.waiting)
        }
        for job in waiting.waiting { job() }
    }

    private func feed() {
        let starved = jobs.withLock { jobs in
            defer { jobs.starved = [] }
            return jobs.starved
        }
        for handle in starved { session(handle)?.goOn() }
    }

    // MARK: What must not wait for a slot

    fileprivate func runServices() -> Never {
        while true {
            do throws(WireFault) {
                while let (head, body) = try services.next() { try serve(head, body) }
            } catch {
                fatalError("the host sent a message that cannot be: \(error.problem)")
            }
            services.wait(timeoutNs: 1_000_000_000)
        }
    }

    private func serve(_ head: RingHead, _ body: UnsafeRawBufferPointer) throws(WireFault) {
        var body = WireReader(body)
        switch WorkerMessage(rawValue: head.kind) {
        case .epoch: session(head.object)?.raise(to: try body.take())
        case .credit:
            let credit = EventWeight(events: try body.take(), bytes: try body.take(), audioUs: try body.take())
            session(head.object)?.credited(credit)
        case .service:
            let operation = try body.take(UInt16.self)
            try serviceHalf.received(
                operation, of: HandleTable.shared.resolve(head.object), number: head.number, &body)
        default: throw WireFault(problem: "kind \(head.kind) on the ring of services")
        }
    }

    // MARK: Answers

    /// Says what a call gave. There is always room in the end, or the host is gone.
    func answer(_ number: UInt64, _ error: vc_error, mask: SlotMask = SlotMask(), bytes: [UInt8] = []) {
        must(.answer, 0, number) { writer in
            writer.put(error)
            writer.put(mask.bits)
            bytes.withUnsafeBytes { writer.put(raw: $0) }
        }
    }

    func answer(_ number: UInt64, _ status: vc_status, bytes: [UInt8] = []) {
        var error = emptyError()
        error.code = status
        answer(number, error, bytes: bytes)
    }

    /// Sends what may not get lost. On the thread of slots, which may wait: the host reads on.
    func must(_ kind: WorkerMessage, _ object: vc_handle, _ number: UInt64, _ body: (inout WireWriter) -> Void) {
        while events.send(kind.rawValue, object: object, number: number, urgent: true, body) == .full { usleep(500) }
    }
}
