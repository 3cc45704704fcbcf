// A provider under test.

import JSON
import PluginABI
import Providers

public final class BenchProvider {
    let bench: Bench
    let table: UnsafePointer<vc_provider>
    let object: BenchObject
    let theirs: vc_self?
    private(set) var sessions: [BenchSession] = []

    init(_ bench: Bench, _ table: UnsafePointer<vc_provider>, _ object: BenchObject, _ theirs: vc_self?) {
        self.bench = bench
        self.table = table
        self.object = object
        self.theirs = theirs
    }

    public var handle: vc_handle { object.handle }
    public var events: [RecordedEvent] { bench.world.events(of: object.handle) }
    public var readyTimeoutMs: Int { bench.subject.provider?.readyTimeoutMs ?? 3_000 }

    /// Calls `start`, if there is one, and waits for READY.
    public func start() throws {
        guard table.pointee.start != nil else { return }
        let (status, error) = callStart()
        guard status == VC_OK else {
            throw Violation("start", expected: "VC_OK", got: "\(statusName(status)): \(error.message)")
        }
        let came = bench.wait(ms: readyTimeoutMs) { events.contains { $0.type == VC_EVENT_READY || isFatal($0) } }
        if let failure = events.first(where: isFatal)?.failure {
            throw Violation("start", expected: "READY", got: "a fatal ERROR: \(failure.message)")
        }
        guard came else {
            throw Violation("start", expected: "READY within \(readyTimeoutMs) ms", got: "none")
        }
    }

    private func isFatal(_ event: RecordedEvent) -> Bool { event.failure?.isFatal ?? false }

    /// `start` alone.
    func callStart() -> (vc_status, RecordedEvent.Failure) {
        guard let start = table.pointee.start else { return (vc_status(VC_OK), RecordedEvent.Failure()) }
        var error = emptyBenchError()
        let status = bench.world.call("start") { start(theirs, &error) }
        return (status, RecordedEvent.Failure(error))
    }

    /// `open`, as a host calls it; the rule judges the status.
    func open(
        _ options: SessionOptions = SessionOptions()
    ) throws -> (session: BenchSession?, status: vc_status, error: RecordedEvent.Failure) {
        guard let open = table.pointee.open else {
            throw Violation("vc_provider", expected: "the slot `open`", got: "NULL")
        }
        let world = bench.world
        let lender = bench.lender
        let configuration = (bench.subject.provider?.session.defaults ?? [:]).merged(with: bench.job.session)
            .merged(with: options.configuration)
        let object = world.makeObject(.session, name: object.name, configuration: configuration)
        object.epoch = options.epoch
        options.prepare?(object)
        var filled = vc_session()
        filled.size = UInt32(MemoryLayout<vc_session>.size)
        var error = emptyBenchError()
        let kind: UnsafeRawPointer? =
            switch bench.kind {
            case .telephony: UnsafeRawPointer(lender.lend(options.telephony(lender), "vc_telephony_open"))
            default: nil
            }
        let request = lender.lend(
            vc_open(
                size: UInt32(MemoryLayout<vc_open>.size), rate_hz: UInt32(options.rateHz(bench)),
                session: object.handle, epoch: options.epoch, call: lender.lend(options.call, "call"),
                leg: lender.lend("caller", "leg"), tenant: lender.lend("", "tenant"),
                language: lender.lend(options.language, "language"),
                config: lender.lend(configuration.text, "config"), kind: kind), "vc_open")
        let status = world.call("open") { open(theirs, request, &filled, &error) }
        let failure = RecordedEvent.Failure(error)
        lender.takeBack()
        guard status == VC_OK else {
            world.end(object)
            return (nil, status, failure)
        }
        guard let ops = filled.ops else { throw Violation("open", expected: "vc_session.ops", got: "NULL") }
        let session = BenchSession(self, object, filled.state, ops, filled.kind_ops, options)
        sessions.append(session)
        return (session, status, failure)
    }

    /// A session that works: opened, READY.
    public func session(_ options: SessionOptions = SessionOptions()) throws -> BenchSession {
        let (session, status, error) = try open(options)
        guard let session else {
            throw Violation("open", expected: "VC_OK", got: "\(statusName(status)): \(error.message)")
        }
        try session.waitUntilReady()
        return session
    }

    /// `drain`, and DRAINED where the provider has the slot.
    func drain() {
        guard let drain = table.pointee.drain else { return }
        bench.world.call("drain") { drain(theirs) }
    }

    /// Ends every session that is still there, as a host does at the end of a call, and then the provider.
    public func end() throws {
        for session in sessions where !session.isDestroyed { try session.end() }
        destroy()
    }

    func destroy() {
        guard let destroy = table.pointee.destroy else { return }
        bench.world.end(object)
        bench.world.call("provider.destroy") { destroy(theirs) }
    }
}

/// What a session is opened with.
public struct SessionOptions {
    public var call = "conform-1"
    public var language = "en"
    /// 0: the first rate of the manifest.
    public var rate = 0
    public var epoch: UInt64 = 1
    public var configuration: JSONValue = [:]
    // Telephony.
    public var direction = UInt32(VC_CALL_INBOUND)
    public var key = ""
    public var to = ""
    public var ringTimeoutMs: UInt32 = 30_000
    /// Before `open` is called.
    var prepare: ((BenchObject) -> Void)?

    public init() {}

    func rateHz(_ bench: Bench) -> Int {
        switch bench.kind {
        case .languageModel: 0
        default: rate > 0 ? rate : bench.subject.provider?.capabilities.ratesHz.first ?? 8_000
        }
    }

    func telephony(_ lender: Lender) -> vc_telephony_open {
        vc_telephony_open(
            size: UInt32(MemoryLayout<vc_telephony_open>.size), direction: direction, key: lender.lend(key, "key"),
            to: lender.lend(to, "to"), from: lender.lend("", "from"), headers: nil, header_count: 0,
            ring_timeout_ms: ringTimeoutMs)
    }
}
