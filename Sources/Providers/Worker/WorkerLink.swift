// The host's end of the line to one process: what is sent, who waits for an answer, and the thread that reads.
//
// A link lives as long as its process; the next process of the same provider gets a new one. Everything that arrives is
// a stranger's: a handle that is not one of this worker's objects is counted and dropped, a message that makes no sense
// ends the worker.

import Glibc
import PluginABI
import Synchronization

/// A provider or a session, as the reader of a link knows it.
protocol WorkerTarget: AnyObject, Sendable {
    func received(_ kind: WorkerMessage, _ body: UnsafeRawBufferPointer) throws(WireFault)
    /// The process is gone. Once, and after the last `received`.
    func died(_ failure: String)
}

/// What a call gave that waits for the worker.
struct WorkerAnswer: Sendable {
    struct Error: Sendable {
        var retryable: UInt32 = 0
        var retryAfterMs: UInt32 = 0
        var protocolStatus: UInt32 = 0
        var message = ""
        var vendor = ""
        var vendorCode = ""
    }

    var status: vc_status
    var error = Error()
    var mask = SlotMask()
    var bytes: [UInt8] = []

    static func failed(_ status: Int, _ message: String) -> WorkerAnswer {
        var answer = WorkerAnswer(status: vc_status(status))
        answer.error.message = message
        answer.error.retryable = 1
        return answer
    }
}

final class WorkerLink: WorkerLine, @unchecked Sendable {
    let channel: WorkerChannel
    let calls: RingWriter
    private let services: RingWriter
    private let reader: RingReader
    /// Broken when the process is gone, which is how the two let go of each other.
    private let worker: Worker

    /// A call that waits; nil until the answer is there.
    private struct Waiter { var answer: WorkerAnswer? }

    private struct Replies {
        var next: UInt64 = 1
        var waiting: [UInt64: Waiter] = [:]
        var isOver = false
    }

    private let replies = Waiting(Replies())
    private let targets = Mutex<[vc_handle: any WorkerTarget]>([:])
    private let isGone = Atomic<Bool>(false)
    private let isBroken = Atomic<Bool>(false)
    private let deathMessage = Mutex("the worker ended")

    /// Events that came, and messages about objects that are over.
    let eventCount = Atomic<UInt64>(0)
    let strayCount = Atomic<UInt64>(0)

    init?(_ worker: Worker) {
        guard let channel = WorkerChannel() else { return nil }
        self.channel = channel
        self.worker = worker
        calls = RingWriter(channel.calls)
        services = RingWriter(channel.services)
        reader = RingReader(channel.events)
        channel.page.logLevel = WorkerServices.host?.logLevel ?? 2
    }

    /// Starts the thread that reads.
    func begin() {
        var thread = pthread_t()
        let created = pthread_create(&thread, nil, runWorkerLink, Unmanaged.passRetained(self).toOpaque())
        precondition(created == 0, "no thread for a worker's line: error \(created)")
        pthread_detach(thread)
    }

    var isAlive: Bool { !isGone.load(ordering: .acquiring) }

    // MARK: Sending

    /// Posts a call. VC_E_AGAIN: the worker is behind, and nothing was taken.
    func post(
        _ kind: WorkerMessage, _ object: vc_handle, number: UInt64 = 0, urgent: Bool = false,
        _ body: (inout WireWriter) -> Void = { _ in }
    ) -> vc_status {
        guard isAlive else { return vc_status(VC_E_CRASHED) }
        return status(calls.send(kind.rawValue, object: object, number: number, urgent: urgent, body), urgent)
    }

    /// Posts to the thread that answers while the plugin is in a slot.
    func postAside(
        _ kind: WorkerMessage, _ object: vc_handle, number: UInt64 = 0, _ body: (inout WireWriter) -> Void
    ) {
        guard isAlive else { return }
        _ = status(services.send(kind.rawValue, object: object, number: number, urgent: true, body), true)
    }

    func send(
        service operation: UInt16, object: vc_handle, number: UInt64, urgent: Bool,
        _ body: (inout WireWriter) -> Void
    ) -> Bool {
        guard isAlive else { return false }
        return services.send(WorkerMessage.service.rawValue, object: object, number: number, urgent: urgent) { writer in
            writer.put(operation)
            body(&writer)
        } == .sent
    }

    var messageBytesMax: Int { services.messageBytesMax - 64 }

    private func status(_ outcome: RingWriter.Outcome, _ urgent: Bool) -> vc_status {
        switch outcome {
        case .sent: return vc_status(VC_OK)
        case .full where !urgent: return vc_status(VC_E_AGAIN)
        case .full:
            // It did not even take what was kept for the end of sessions.
            worker.kill(self, "it does not take what it is sent")
        case .broken: worker.kill(self, "it wrote nonsense into its line")
        }
        return vc_status(VC_E_CRASHED)
    }

    /// Posts a call and waits for its answer.
    func ask(
        _ kind: WorkerMessage, _ object: vc_handle, deadlineNs: UInt64, _ body: (inout WireWriter) -> Void
    ) -> WorkerAnswer {
        let number: UInt64? = replies.withLock { replies in
            guard !replies.isOver else { return nil }
            replies.next += 1
            replies.waiting[replies.next] = Waiter()
            return replies.next
        }
        guard let number else { return .failed(VC_E_CRASHED, deathMessage.withLock { $0 }) }
        let posted = post(kind, object, number: number, body)
        guard posted == VC_OK else {
            replies.withLock { _ = $0.waiting.removeValue(forKey: number) }
            return .failed(Int(posted), "the worker takes nothing now")
        }
        let answer: WorkerAnswer? = replies.wait(until: { _ in deadlineNs }) { replies in
            replies.waiting[number]?.answer
        }
        replies.withLock { _ = $0.waiting.removeValue(forKey: number) }
        return answer ?? .failed(VC_E_TIMEOUT, "the worker did not answer in time")
    }

    // MARK: Objects

    func add(_ target: any WorkerTarget, _ handle: vc_handle) { targets.withLock { $0[handle] = target } }

    func remove(_ handle: vc_handle) {
        targets.withLock { _ = $0.removeValue(forKey: handle) }
        WorkerServices.host?.ended(handle)
    }

    /// Whether `handle` is one of this worker's objects.
    func owns(_ handle: vc_handle) -> Bool { targets.withLock { $0[handle] != nil } }

    /// Open sessions. The provider is an object too.
    var sessionCount: Int { targets.withLock { $0.values.count { $0 is ProxySession } } }

    // MARK: Its end

    /// The process is gone: the reader takes what it still said, tells everybody, and ends.
    func close(_ message: String) {
        deathMessage.withLock { $0 = message }
        isGone.store(true, ordering: .releasing)
        channel.events.ring()
    }

    // MARK: Reading

    fileprivate func run() {
        while true {
            let isLast = isGone.load(ordering: .acquiring)
            readAll()
            if isLast { break }
            reader.wait(timeoutNs: 1_000_000_000)
        }
        let message = deathMessage.withLock { $0 }
        replies.change { replies in
            replies.isOver = true
            for (number, waiter) in replies.waiting where waiter.answer == nil {
                replies.waiting[number] = Waiter(answer: .failed(VC_E_CRASHED, message))
            }
        }
        let all = targets.withLock { $0.values.map { $0 } }
        for target in all { target.died(message) }
    }

    private func readAll() {
        guard !isBroken.load(ordering: .relaxed) else { return }
        do throws(WireFault) {
            while let (head, body) = try reader.next() { try handle(head, body) }
        } catch {
            // Nothing more of it is read: what else it says would make no more sense.
            isBroken.store(true, ordering: .relaxed)
            worker.kill(self, "it sent a message that cannot be: \(error.problem)")
        }
    }

    private func handle(_ head: RingHead, _ body: UnsafeRawBufferPointer) throws(WireFault) {
        guard let kind = WorkerMessage(rawValue: head.kind) else {
            throw WireFault(problem: "a message of kind \(head.kind)")
        }
        switch kind {
        case .answer: try answered(head.number, body)
        case .event, .refused, .dropped, .starved, .slow:
            if kind == .event { eventCount.wrappingAdd(1, ordering: .relaxed) }
            guard let target = targets.withLock({ $0[head.object] }) else {
                strayCount.wrappingAdd(1, ordering: .relaxed)
                return
            }
            try target.received(kind, body)
        case .request:
            guard owns(head.object), let object = HandleTable.shared.resolve(head.object) else {
                strayCount.wrappingAdd(1, ordering: .relaxed)
                return
            }
            var body = WireReader(body)
            let operation = try body.take(UInt16.self)
            try WorkerServices.host?.received(operation, of: object, number: head.number, &body, from: self)
        default: throw WireFault(problem: "a message of kind \(kind), which only a host sends")
        }
    }

    private func answered(_ number: UInt64, _ body: UnsafeRawBufferPointer) throws(WireFault) {
        var body = WireReader(body)
        let error = try body.takeError()
        var answer = WorkerAnswer(status: error.code)
        answer.error = WorkerAnswer.Error(
            retryable: error.retryable, retryAfterMs: error.retry_after_ms, protocolStatus: error.protocol_status,
            message: String(error.message) ?? "", vendor: String(error.vendor) ?? "",
            vendorCode: String(error.vendor_code) ?? "")
        answer.mask = SlotMask(bits: try body.take())
        answer.bytes = try body.takeBytes()
        replies.change { replies in
            // An answer that nobody waits for any more came too late.
            if replies.waiting[number] != nil { replies.waiting[number] = Waiter(answer: answer) }
        }
    }
}

private func runWorkerLink(_ context: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? {
    Unmanaged<WorkerLink>.fromOpaque(context!).takeRetainedValue().run()
    return nil
}
