// A session under test: what every kind has. What one kind has stands in `BenchSession+Kinds.swift`.

import JSON
import PluginABI
import Providers

public final class BenchSession {
    public let provider: BenchProvider
    let object: BenchObject
    let theirs: vc_self?
    let ops: UnsafePointer<vc_session_ops>
    let kindOps: UnsafeRawPointer?
    let rateHz: Int
    public private(set) var isDestroyed = false
    private(set) var wasClosed = false
    /// Of the audio that was pushed.
    var sequence: UInt64 = 0
    var position: UInt64 = 0
    private var latestRequest: UInt64 = 0

    init(
        _ provider: BenchProvider, _ object: BenchObject, _ theirs: vc_self?, _ ops: UnsafePointer<vc_session_ops>,
        _ kindOps: UnsafeRawPointer?, _ options: SessionOptions
    ) {
        self.provider = provider
        self.object = object
        self.theirs = theirs
        self.ops = ops
        self.kindOps = kindOps
        rateHz = options.rateHz(provider.bench)
    }

    var bench: Bench { provider.bench }
    var world: World { bench.world }
    public var handle: vc_handle { object.handle }
    public var epoch: UInt64 { object.epoch }
    public var events: [RecordedEvent] { world.events(of: object.handle) }

    /// Events of `type`, in order.
    public func events(_ type: Int) -> [RecordedEvent] { events.filter { $0.type == type } }

    /// Those that answer `request`.
    public func answers(to request: UInt64) -> [RecordedEvent] { events.filter { $0.request == request } }

    public var fatal: RecordedEvent.Failure? { events.compactMap(\.failure).first { $0.isFatal } }

    /// A number that no request of this session had.
    public func nextRequest() -> UInt64 {
        latestRequest += 1
        return latestRequest
    }

    /// Waits for READY. A detector's session need not say it.
    public func waitUntilReady() throws {
        if bench.kind == .voiceActivity { return }
        let timeoutMs = provider.readyTimeoutMs
        let came = bench.wait(ms: timeoutMs) {
            events.contains { $0.type == VC_EVENT_READY || ($0.failure?.isFatal ?? false) }
        }
        if let fatal {
            throw Violation("open", expected: "READY", got: "a fatal ERROR: \(fatal.message)")
        }
        guard came else { throw Violation("open", expected: "READY within \(timeoutMs) ms", got: "none") }
    }

    /// Raises the epoch as the host does, and tells the plugin.
    @discardableResult
    public func cancel(_ epoch: UInt64? = nil) -> UInt64 {
        let epoch = epoch ?? object.epoch + 1
        world.raiseEpoch(of: object, to: epoch)
        if let cancel = ops.pointee.cancel { world.call("cancel epoch=\(epoch)") { cancel(theirs, epoch) } }
        return epoch
    }

    /// Tells the plugin alone, whatever the epoch.
    func callCancel(_ epoch: UInt64) {
        if let cancel = ops.pointee.cancel { world.call("cancel epoch=\(epoch)") { cancel(theirs, epoch) } }
    }

    /// Gives room, and says so.
    public func credit(events: UInt32, bytes: UInt64) {
        world.monitor.locked {
            if let left = object.credit { object.credit = left + Int(clamping: bytes) }
            if let left = object.creditEvents { object.creditEvents = left + Int(events) }
        }
        if let credit = ops.pointee.credit { world.call("credit") { credit(theirs, events, bytes) } }
    }

    public func close() {
        wasClosed = true
        if let close = ops.pointee.close { world.call("close") { close(theirs) } }
    }

    /// Whether CLOSED came.
    public var isClosed: Bool { events.contains { $0.type == VC_EVENT_CLOSED } }

    public func waitUntilClosed(ms: Int = 5_000) -> Bool { bench.wait(ms: ms) { isClosed } }

    public func destroy() {
        guard !isDestroyed, let destroy = ops.pointee.destroy else { return }
        isDestroyed = true
        world.end(object)
        world.call("destroy") { destroy(theirs) }
    }

    /// `close`, CLOSED, `destroy`, as a host ends a session.
    public func end() throws {
        guard !isDestroyed else { return }
        if !wasClosed { close() }
        if bench.kind != .voiceActivity, !waitUntilClosed() {
            throw Violation("close", expected: "CLOSED within 5 s", got: "none")
        }
        destroy()
    }
}
