// A session that lives in a worker, as the rest of the host sees it.
//
// What it emits was accepted by the worker already, within a window of credit (`EventWeight.window`). The host may
// refuse an event for want of room; then it waits here, in order, until the host has room again, and only what was
// taken is given back to the worker as credit. So the plugin is told AGAIN when the window is full, as in process when
// the mailbox is, and nothing anywhere grows without end.

import Glibc
import PluginABI
import Synchronization

final class ProxySession: WorkerTarget, @unchecked Sendable {
    let handle: vc_handle
    private let kind: PluginKind
    private let link: WorkerLink
    private let provider: ProxyProvider

    private struct Held {
        let body: [UInt8]
        let weight: EventWeight
    }

    private struct State {
        var held: [Held] = []
        var heldWeight = EventWeight()
        /// Taken by the host and not told to the worker yet.
        var owed = EventWeight()
        /// The plugin was told AGAIN, and waits.
        var isStarved = false
        var isRetrying = false
    }

    /// Held while an event is delivered, so that one that waits is never overtaken.
    private let state = Mutex(State())
    private let ending = Mutex((isClosing: false, isDead: false, isClosed: false))
    private let refusals = Mutex(Set<UInt64>())

    init(_ handle: vc_handle, _ kind: PluginKind, _ link: WorkerLink, _ provider: ProxyProvider) {
        self.handle = handle
        self.kind = kind
        self.link = link
        self.provider = provider
    }

    // MARK: Slots

    /// Posts a slot of the kind.
    func post(_ slot: WorkerSlot, _ body: (inout WireWriter) -> Void) -> vc_status {
        link.post(.slot, handle) { writer in
            writer.put(slot.rawValue)
            body(&writer)
        }
    }

    /// Calls a slot of the kind and waits for its status.
    func ask(_ slot: WorkerSlot, _ body: (inout WireWriter) -> Void) -> vc_status {
        let deadline = hostClockNs() + UInt64(provider.worker.plan.options.openMs) * 1_000_000
        return link.ask(.slot, handle, deadlineNs: deadline) { writer in
            writer.put(slot.rawValue)
            body(&writer)
        }.status
    }

    func cancel(_ epoch: UInt64) {
        // First what `emit` answers, beside whatever the plugin is doing; then, in order, the plugin itself.
        link.postAside(.epoch, handle) { $0.put(epoch) }
        _ = link.post(.cancel, handle, urgent: true) { $0.put(epoch) }
        WorkerServices.host?.epochRaised(of: handle, to: epoch)
        retrySoon(afterMs: 0)
    }

    /// The host has room again.
    func credit() { retry() }

    func close() {
        let isDead = ending.withLock { ending in
            ending.isClosing = true
            return ending.isDead
        }
        if isDead || link.post(.close, handle, urgent: true) != VC_OK { closed() }
    }

    func destroy() {
        _ = link.post(.destroy, handle, urgent: true)
        link.remove(handle)
    }

    // MARK: WorkerTarget

    func received(_ kind: WorkerMessage, _ body: UnsafeRawBufferPointer) throws(WireFault) {
        switch kind {
        case .event: try event(body)
        case .refused: try refused(body)
        case .starved:
            state.withLock { state in
                state.isStarved = true
                giveBack(&state)
            }
        case .slow:
            let (slot, ms) = try provider.readSlow(body)
            logOnce(
                UInt64(slot.rawValue) << 32 | 1 << 63,
                "\(slot.name) took \(ms) ms; it must answer at once and report by an event")
        case .dropped:
            var reader = WireReader(body)
            let samples = try reader.take(UInt64.self)
            logOnce(.max, "the worker had to drop audio for which the plugin had no room (\(samples) samples so far)")
        default: throw WireFault(problem: "\(kind) for a session")
        }
    }

    private func event(_ body: UnsafeRawBufferPointer) throws(WireFault) {
        var mustRetry = false
        let fault: WireFault? = state.withLock { state in
            do throws(WireFault) {
                var weight: EventWeight?
                var reader = WireReader(body)
                var isTaken = false
                _ = try reader.withEvent { event in
                    weight = EventWeight.of(event, messageBytes: body.count)
                    // The end of a session does not queue up behind what its owner has no room for.
                    guard state.held.isEmpty || weight == nil else { return vc_status(VC_E_AGAIN) }
                    let status = deliver(event)
                    isTaken = status != vc_status(VC_E_AGAIN)
                    return status
                }
                if isTaken {
                    if let weight { state.owed += weight }
                    giveBack(&state)
                } else {
                    let weight = weight ?? EventWeight(events: 1)
                    state.held.append(Held(body: [UInt8](body), weight: weight))
                    state.heldWeight += weight
                    let most = EventWeight.heldMax
                    guard state.heldWeight.events <= most.events, state.heldWeight.bytes <= most.bytes,
                        state.heldWeight.audioUs <= most.audioUs
                    else { throw WireFault(problem: "more events than its credit allows") }
                    mustRetry = !state.isRetrying
                    state.isRetrying = true
                }
                return nil
            } catch {
                return error
            }
        }
        if let fault { throw fault }
        if mustRetry { retrySoon(afterMs: SessionLimits.standard.creditAfterMs) }
    }

    private func deliver(_ event: UnsafePointer<vc_event>) -> vc_status {
        if Int(event.pointee.type) == VC_EVENT_CLOSED {
            let isFirst = ending.withLock { ending in
                defer { ending.isClosed = true }
                return !ending.isClosed
            }
            // The host said it in the worker's place already.
            guard isFirst else { return vc_status(VC_E_CLOSED) }
        }
        return HandleTable.shared.resolve(handle)?.deliver(event) ?? vc_status(VC_E_STALE)
    }

    private func retrySoon(afterMs: Int) {
        SessionDeadlines.shared.schedule(afterMs: afterMs) { [weak self] in self?.retry() }
    }

    /// Offers what was refused once more, in order.
    private func retry() {
        let isWaiting = state.withLock { state in
            while let first = state.held.first {
                var isTaken = true
                first.body.withUnsafeBytes { bytes in
                    var reader = WireReader(bytes)
                    // It was read once already, so it can be.
                    _ = try? reader.withEvent { event in
                        let status = deliver(event)
                        isTaken = status != vc_status(VC_E_AGAIN)
                        return status
                    }
                }
                guard isTaken else { break }
                state.held.removeFirst()
                state.heldWeight -= first.weight
                state.owed += first.weight
            }
            giveBack(&state)
            state.isRetrying = !state.held.isEmpty
            return state.isRetrying
        }
        if isWaiting, link.isAlive { retrySoon(afterMs: SessionLimits.standard.creditAfterMs) }
    }

    /// Tells the worker what was taken: when it waits for that, and else not for each single event.
    private func giveBack(_ state: inout State) {
        let window = EventWeight.window
        let isDue =
            state.isStarved || state.owed.events * 2 >= window.events || state.owed.bytes * 2 >= window.bytes
            || state.owed.audioUs * 2 >= window.audioUs
        guard isDue, !state.owed.isZero else { return }
        let owed = state.owed
        state.owed = EventWeight()
        state.isStarved = false
        link.postAside(.credit, handle) { writer in
            writer.put(owed.events)
            writer.put(owed.bytes)
            writer.put(owed.audioUs)
        }
    }

    // MARK: Refusals

    /// A posted call that the plugin did not take after all.
    private func refused(_ body: UnsafeRawBufferPointer) throws(WireFault) {
        var reader = WireReader(body)
        let number = try reader.take(UInt32.self)
        guard let slot = WorkerSlot(rawValue: number) else { throw WireFault(problem: "slot \(number)") }
        let request = try reader.take(UInt64.self)
        let epoch = try reader.take(UInt64.self)
        let status = try reader.take(vc_status.self)
        guard request != 0 else {
            let key = UInt64(number) << 32 | UInt64(UInt32(bitPattern: status))
            return logOnce(key, "\(slot.name) answered with status \(status); the session goes on")
        }
        error(
            "\(slot.name) was refused with status \(status)", code: status, isFatal: false, request: request,
            epoch: epoch)
    }

    private func logOnce(_ key: UInt64, _ message: String) {
        guard refusals.withLock({ $0.count < 64 && $0.insert(key).inserted }) else { return }
        provider.worker.log(.pluginFault, message + " (logged once)")
    }

    // MARK: The end of the process

    func died(_ failure: String) {
        let isClosing = ending.withLock { ending in
            ending.isDead = true
            return ending.isClosing
        }
        state.withLock { $0.held = [] }
        if isClosing {
            closed()
        } else {
            error("\(failure)", code: vc_status(VC_E_CRASHED), isFatal: true, request: 0, epoch: 0)
        }
    }

    /// Says CLOSED in the place of a worker that cannot any more.
    private func closed() {
        let isFirst = ending.withLock { ending in
            defer { ending.isClosed = true }
            return !ending.isClosed
        }
        guard isFirst else { return }
        var event = vc_event()
        event.size = UInt32(MemoryLayout<vc_event>.size)
        event.type = UInt32(VC_EVENT_CLOSED)
        _ = HandleTable.shared.resolve(handle)?.deliver(&event)
    }

    private func error(_ message: String, code: vc_status, isFatal: Bool, request: UInt64, epoch: UInt64) {
        withStr(message) { text in
            var error = emptyError()
            error.code = code
            error.retryable = 1
            error.message = text
            var event = vc_event_error()
            event.head.size = UInt32(MemoryLayout<vc_event_error>.size)
            event.head.type = UInt32(VC_EVENT_ERROR)
            event.head.request = request
            event.head.epoch = epoch
            event.fatal = isFatal ? 1 : 0
            withUnsafePointer(to: error) { error in
                event.error = error
                withUnsafePointer(to: event) {
                    $0.withMemoryRebound(to: vc_event.self, capacity: 1) {
                        _ = HandleTable.shared.resolve(handle)?.deliver($0)
                    }
                }
            }
        }
    }
}
