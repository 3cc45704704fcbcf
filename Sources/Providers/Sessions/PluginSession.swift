// The life of one session, whatever its kind:
//
//     open ──► [READY] ──► active ──► close ──► CLOSED ──► destroy
//                 │ fatal ERROR: lost, waits for close         └─ none within 5 s: a zombie, its memory lost on purpose
//
// The adapters above know what a clause or a frame is; this knows what the contract promises a plugin: its VC_CONTROL
// calls never overlap and never come from within its own `emit`, nothing is asked of it before READY, `close` comes
// once, `destroy` comes after CLOSED. And it holds the plugin to its own half (`PluginGuard`).

import Calls
import Glibc
import JSON
import PluginABI
import Synchronization

/// Takes what a session's plugin reports.
protocol PluginSessionDelegate: AnyObject, Sendable {
    /// An event of the kind, checked for size and epoch. Runs within `emit`: copy and return.
    func receive(_ event: UnsafePointer<vc_event>, _ type: Int) -> vc_status
    /// A request failed (not 0), and the session goes on.
    func requestFailed(_ request: UInt64, epoch: UInt64, _ failure: ProviderFailure)
    /// The session is lost; close it.
    func lost(_ failure: ProviderFailure)
}

/// What a session is opened with.
struct SessionRequest {
    var call = ""
    var leg = "caller"
    var tenant = ""
    var language = ""
    var rateHz = 0
    var epoch: UInt64 = 0
    var configuration: JSONValue = [:]
    /// `vc_open.kind`.
    var kind: UnsafeRawPointer?
}

final class PluginSession: @unchecked Sendable {
    enum Phase: UInt8, AtomicRepresentable {
        /// `open` runs.
        case opening
        /// Open, and READY has not come.
        case waiting
        case active
        /// Nothing works any more; `close` is still to come.
        case lost
        case closing
        /// CLOSED came, or the session was given up.
        case closed
    }

    let instance: ProviderInstance
    let object: PluginObject
    /// The kind's table; the adapter copies it.
    private(set) var kindOps: UnsafeRawPointer?
    private var ops = vc_session_ops()
    private var theirs: vc_self? = nil
    private let slowCalls: SlowCalls
    private let account: CallAccount
    private let phase = Atomic<Phase>(.opening)

    private struct Progress {
        var pending = PendingWork()
        /// Work that waited is being given to the plugin: what comes meanwhile queues up behind it.
        var isFlushing = false
        var gotReady = false
        var gotClosed = false
        var failure: ProviderFailure?
        var isOver = false
    }
    private let progress: Mutex<Progress>
    /// The rate of the frames that a voice gives, which is the unit of its marks; 0 until one came.
    private let frameRateHz = Atomic<Int>(0)
    var rateOfFrames: Int? {
        get {
            let rate = frameRateHz.load(ordering: .relaxed)
            return rate == 0 ? nil : rate
        }
        set { frameRateHz.store(newValue ?? 0, ordering: .relaxed) }
    }

    /// What the object's receiver knows of the session: weakly, or the two would keep each other for ever; and not the
    /// session itself, because everything that was ever referred to weakly is retained and released the slow way.
    private final class Door: Sendable {
        let session: PluginSession

        init(_ session: PluginSession) { self.session = session }
    }

    private final class Link: @unchecked Sendable {
        weak var door: Door?
    }

    /// Held until CLOSED has been dealt with, because a plugin may emit it long after everybody else let go.
    private static let living = Mutex<[vc_handle: Door]>([:])
    private weak var delegate: (any PluginSessionDelegate)?

    static func living(of instance: ProviderInstance) -> [PluginSession] {
        living.withLock { $0.values.map(\.session).filter { $0.instance === instance } }
    }

    private init(
        _ instance: ProviderInstance, _ request: SessionRequest, link: Link, delegate: any PluginSessionDelegate
    ) {
        self.instance = instance
        slowCalls = instance.slowCalls
        account = instance.account
        self.delegate = delegate
        let audioMax = request.rateHz * instance.limits.beforeReadyMs / 1_000
        progress = Mutex(
            Progress(pending: PendingWork(samplesMax: audioMax, requestsMax: instance.limits.beforeReadyRequests)))
        object = PluginObject(
            level: .session, plugin: instance.plugin.id, name: instance.name, call: request.call,
            configuration: request.configuration, secrets: instance.plugin.manifest.secrets
        ) { event in link.door?.session.receive(event) ?? vc_status(VC_E_STALE) }
        object.epoch.store(request.epoch, ordering: .releasing)
    }

    // MARK: Opening

    /// Opens a session. It may be used at once; what is asked of it before READY waits.
    static func open(
        _ instance: ProviderInstance, _ request: SessionRequest, delegate: any PluginSessionDelegate
    ) throws(ProviderFailure) -> PluginSession {
        guard let (slot, provider) = instance.openSlot() else {
            throw ProviderFailure(code: .internal, retryable: true, message: "\(instance.name) takes no sessions now")
        }
        let link = Link()
        let session = PluginSession(instance, request, link: link, delegate: delegate)
        let door = Door(session)
        link.door = door
        do throws(ProviderFailure) {
            try session.open(door, slot, provider, request)
        } catch {
            session.object.end()
            HandleTable.shared.remove(session.object.handle)
            instance.sessionEnded()
            throw error
        }
        return session
    }

    private func open(
        _ door: Door, _ slot:
            @convention(c) (
                vc_self?, UnsafePointer<vc_open>, UnsafeMutablePointer<vc_session>, UnsafeMutablePointer<vc_error>
            ) -> vc_status,
        _ provider: vc_self?, _ request: SessionRequest
    ) throws(ProviderFailure) {
        guard HandleTable.shared.insert(object) != 0 else {
            throw ProviderFailure(code: .internal, retryable: true, message: "the table of handles is full")
        }
        var error = emptyError()
        var filled = vc_session()
        filled.size = sizeOnTheLine(vc_session.self)
        let status = withStrings(request) { open in
            instance.object.control {
                object.control {
                    instance.timed("open", call: object.call) { slot(provider, &open, &filled, &error) }
                }
            }
        }
        guard status == VC_OK else { throw ProviderFailure(status: status, error: error, during: "open") }
        do throws(TableFault) {
            ops = try adopt(filled.ops, as: vc_session_ops.self, "vc_session_ops")
            // A detector's session emits nothing and is only a memory: it can do without cancel and close.
            let isMemory = instance.kind == .voiceActivity
            for (name, isThere) in [
                ("cancel", ops.cancel != nil || isMemory), ("close", ops.close != nil || isMemory),
                ("destroy", ops.destroy != nil),
            ] where !isThere {
                throw TableFault(problem: "vc_session_ops.\(name) is NULL")
            }
        } catch {
            // Without its tables the session cannot even be closed; what it holds is lost.
            instance.faults.note(
                .tableBroken, call: object.call, "opened a session that cannot be used: \(error.problem)")
            throw ProviderFailure(code: .misbehaved, retryable: false, message: error.problem)
        }
        theirs = filled.state
        kindOps = filled.kind_ops
        Self.living.withLock { $0[object.handle] = door }
        if instance.kind == .voiceActivity { return phase.store(.active, ordering: .releasing) }
        phase.store(.waiting, ordering: .releasing)
        let (isReady, failure) = progress.withLock { ($0.gotReady, $0.failure) }
        if let failure { lose(failure) }
        if isReady { becomeReady() }
        if !isReady, failure == nil {
            let timeoutMs = instance.declaration.readyTimeoutMs
            instance.deadlines.schedule(afterMs: timeoutMs) { [weak self] in self?.checkReady(timeoutMs) }
        }
    }

    private func withStrings(_ request: SessionRequest, _ body: (inout vc_open) -> vc_status) -> vc_status {
        withStr(request.call) { call in
            withStr(request.leg) { leg in
                withStr(request.tenant) { tenant in
                    withStr(request.language) { language in
                        withStr(request.configuration.text) { configuration in
                            var open = vc_open(
                                size: sizeOnTheLine(vc_open.self), rate_hz: UInt32(request.rateHz),
                                session: object.handle, epoch: request.epoch, call: call, leg: leg, tenant: tenant,
                                language: language, config: configuration, kind: request.kind)
                            return body(&open)
                        }
                    }
                }
            }
        }
    }

    private func checkReady(_ timeoutMs: Int) {
        guard phase.load(ordering: .acquiring) == .waiting, !progress.withLock({ $0.gotReady }) else { return }
        instance.faults.note(
            .neverReady, call: object.call, "a session did not emit READY within \(timeoutMs) ms after open")
        lose(
            ProviderFailure(
                code: .timeout, retryable: true, message: "\(instance.name) was not ready within \(timeoutMs) ms"))
    }

    // MARK: Asking the plugin

    /// Runs `body` as a VC_CONTROL call when the session is active; keeps it until then. `samples` is its audio.
    /// False: the session takes nothing any more, or too much waits already.
    @discardableResult
    func ask(
        _ slot: StaticString, epoch: UInt64? = nil, samples: Int = 0, _ body: @escaping @Sendable (vc_self?) -> Void
    ) -> Bool {
        if phase.load(ordering: .acquiring) == .active { return control(slot, body) != nil }
        let queued = progress.withLock { progress -> Bool? in
            switch phase.load(ordering: .acquiring) {
            case .active: return nil
            case .opening, .waiting:
                return progress.pending.append(PendingWork.Item(slot: slot, epoch: epoch, samples: samples, run: body))
            case .lost, .closing, .closed: return false
            }
        }
        return queued ?? (control(slot, body) != nil)
    }

    /// The plugin's pointer, for the one kind that is asked for many sessions at once.
    var stateOfPlugin: vc_self? { theirs }

    /// Whether calls go straight through, and audio need not be copied.
    var isActive: Bool { phase.load(ordering: .acquiring) == .active }

    /// A VC_CONTROL call now. Nil when the session is not there for it.
    func control<Result>(_ slot: StaticString, _ body: (vc_self?) -> Result) -> Result? {
        controlFrom(slot) { theirs, _ in body(theirs) }
    }

    /// The same, with the time at which the call begins, for what would otherwise read the clock once more.
    func controlFrom<Result>(_ slot: StaticString, _ body: (vc_self?, _ beginNs: UInt64) -> Result) -> Result? {
        object.control {
            switch phase.load(ordering: .acquiring) {
            case .waiting, .active: slowCalls.watch(slot, call: object.call) { body(theirs, $0) }
            case .opening, .lost, .closing, .closed: nil
            }
        }
    }

    /// Starts an epoch: what is older is void from this instant on, and then the plugin is told.
    func cancel(olderThan epoch: UInt64) {
        guard raiseEpoch(to: epoch) else { return }
        progress.withLock { $0.pending.drop(olderThan: epoch) }
        switch phase.load(ordering: .acquiring) {
        case .waiting, .active: ops.cancel?(theirs, epoch)  // VC_ANY: not under the object's lock
        default: break
        }
    }

    /// False when it was as high already.
    @discardableResult
    func raiseEpoch(to epoch: UInt64) -> Bool {
        let before = object.epoch.max(epoch, ordering: .acquiringAndReleasing).oldValue
        if before < epoch { HostTable.watch.epochRaised(object) }
        return before < epoch
    }

    func credit(events: UInt32, bytes: UInt64) {
        guard let credit = ops.credit else { return }
        _ = control("credit") { credit($0, events, bytes) }
    }

    // MARK: Ending

    /// Begins to end. Once; later calls do nothing.
    func close() {
        enum Step { case none, close, destroy }
        let step: Step = object.control {
            switch phase.load(ordering: .acquiring) {
            case .closing, .closed, .opening: return .none
            case .waiting, .active, .lost:
                phase.store(.closing, ordering: .releasing)
                return progress.withLock { progress in
                    progress.pending = PendingWork()
                    return progress.gotClosed ? .destroy : .close
                }
            }
        }
        switch step {
        case .none: return
        case .destroy: finish()
        case .close where instance.kind == .voiceActivity:
            if let close = ops.close { object.control { instance.timed("close", call: object.call) { close(theirs) } } }
            finish()
        case .close:
            instance.deadlines.schedule(afterMs: instance.limits.closeMs) { [self] in giveUp() }
            object.control { instance.timed("close", call: object.call) { ops.close!(theirs) } }
        }
    }

    /// After CLOSED: frees the session. Never within `emit`.
    private func finish() {
        guard end() else { return }
        instance.deadlines.schedule { [self] in
            // Here and not in `emit`: a service may wait for a task of the session, and that task may have said CLOSED.
            object.end()
            destroy(triesLeft: instance.limits.closeMs / Self.idlePollMs)
        }
    }

    private static let idlePollMs = 10

    /// A task of the session may still run (`vc.task/1`): its memory must stay until that has ended.
    private func destroy(triesLeft: Int) {
        if HostTable.watch.isIdle(object.handle) {
            object.control { instance.timed("destroy", call: object.call) { ops.destroy!(theirs) } }
            instance.sessionEnded()
        } else if triesLeft > 0 {
            instance.deadlines.schedule(afterMs: Self.idlePollMs) { [self] in destroy(triesLeft: triesLeft - 1) }
        } else {
            instance.faults.note(
                .neverClosed, call: object.call,
                "a task of a session still ran \(instance.limits.closeMs) ms after CLOSED; its memory is lost")
            instance.sessionEnded(asZombie: true)
        }
    }

    private func giveUp() {
        guard end() else { return }
        object.end()
        instance.faults.note(
            .neverClosed, call: object.call,
            "a session did not emit CLOSED within \(instance.limits.closeMs) ms after close; "
                + "it was given up and its memory is lost"
        )
        instance.sessionEnded(asZombie: true)
    }

    /// Makes the handle stale. True the first time.
    private func end() -> Bool {
        let isFirst = progress.withLock { progress in
            defer { progress.isOver = true }
            return !progress.isOver
        }
        guard isFirst else { return false }
        phase.store(.closed, ordering: .releasing)
        HandleTable.shared.remove(object.handle)
        Self.living.withLock { _ = $0.removeValue(forKey: object.handle) }
        return true
    }

    /// The session works no more; its owner is told once, and closes it.
    func lose(_ failure: ProviderFailure) {
        let isNews = progress.withLock { progress in
            switch phase.load(ordering: .acquiring) {
            case .opening:
                progress.failure = progress.failure ?? failure
                return false
            case .waiting, .active:
                phase.store(.lost, ordering: .releasing)
                progress.pending = PendingWork()
                return true
            case .lost, .closing, .closed: return false
            }
        }
        if isNews { delegate?.lost(failure) }
    }

    // MARK: Events

    private func receive(_ event: UnsafePointer<vc_event>) -> vc_status {
        account.emitted()
        switch PluginGuard.check(event, kind: instance.kind, of: object, faults: instance.faults) {
        case .ignore: return vc_status(VC_OK)
        case .refuse(let status): return status
        case .pass: break
        }
        let type = Int(event.pointee.type)
        let phase = phase.load(ordering: .acquiring)
        switch type {
        case VC_EVENT_READY: return ready()
        case VC_EVENT_CANCELED: return vc_status(VC_OK)
        case VC_EVENT_CLOSED: return closed(phase)
        case VC_EVENT_ERROR: return error(event, phase)
        default: break
        }
        switch phase {
        case .active: return delegate?.receive(event, type) ?? vc_status(VC_E_CLOSED)
        case .opening, .waiting:
            // Telephony is the one kind that has something to tell before it was asked anything.
            if instance.kind == .telephony { return delegate?.receive(event, type) ?? vc_status(VC_E_CLOSED) }
            // READY came, and what waited is just being handed over: answers to it are in order.
            if progress.withLock({ $0.gotReady }) { return delegate?.receive(event, type) ?? vc_status(VC_E_CLOSED) }
            instance.faults.note(.beforeReady, call: object.call, "emitted an event of type \(type) before READY")
            return vc_status(VC_E_STATE)
        case .lost, .closing, .closed: return vc_status(VC_E_CLOSED)
        }
    }

    private func ready() -> vc_status {
        let isFirst = progress.withLock { progress in
            defer { progress.gotReady = true }
            return !progress.gotReady
        }
        guard isFirst else {
            instance.faults.note(.readyTwice, call: object.call, "a session emitted READY a second time")
            return vc_status(VC_E_ARGUMENT)
        }
        if phase.load(ordering: .acquiring) == .waiting { becomeReady() }
        return vc_status(VC_OK)
    }

    /// Hands over what waited; on the deadlines' thread, since READY may come from within any call of the plugin.
    private func becomeReady() {
        let mayGoStraight = progress.withLock { progress in
            guard !progress.isFlushing, phase.load(ordering: .acquiring) == .waiting else { return false }
            if progress.pending.isEmpty {
                phase.store(.active, ordering: .releasing)
                return false
            }
            progress.isFlushing = true
            return true
        }
        if mayGoStraight { instance.deadlines.schedule { [self] in flush() } }
    }

    private func flush() {
        while true {
            let items: [PendingWork.Item] = progress.withLock { progress in
                guard phase.load(ordering: .acquiring) == .waiting else { return [] }
                let items = progress.pending.takeAll()
                if items.isEmpty { phase.store(.active, ordering: .releasing) }
                return items
            }
            guard !items.isEmpty else { return }
            for item in items where item.epoch.map({ $0 >= object.epoch.load(ordering: .acquiring) }) ?? true {
                _ = control(item.slot, item.run)
            }
        }
    }

    private func closed(_ phase: Phase) -> vc_status {
        let isFirst = progress.withLock { progress in
            defer { progress.gotClosed = true }
            return !progress.gotClosed
        }
        guard isFirst, phase != .closed else {
            instance.faults.note(.afterClosed, call: object.call, "a session emitted CLOSED a second time")
            return vc_status(VC_E_CLOSED)
        }
        if phase == .closing {
            finish()
        } else {
            instance.faults.note(.closedUnasked, call: object.call, "a session emitted CLOSED without `close`")
            lose(
                ProviderFailure(
                    code: .misbehaved, retryable: true, message: "\(instance.name) closed its session by itself"))
        }
        return vc_status(VC_OK)
    }

    private func error(_ event: UnsafePointer<vc_event>, _ phase: Phase) -> vc_status {
        let body = UnsafeRawPointer(event).load(as: vc_event_error.self)
        let failure = instance.readFailure(body)
        if body.fatal != 0 {
            lose(failure)
        } else if event.pointee.request != 0 {
            guard event.pointee.epoch >= object.epoch.load(ordering: .acquiring) else {
                return vc_status(VC_E_CANCELED)
            }
            delegate?.requestFailed(event.pointee.request, epoch: event.pointee.epoch, failure)
        } else {
            instance.log.write(
                ProviderLogLine(
                    .warning, failure.message, plugin: instance.plugin.id, provider: instance.name, call: object.call))
        }
        return vc_status(VC_OK)
    }
}
