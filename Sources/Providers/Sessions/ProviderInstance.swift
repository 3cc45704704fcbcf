// A provider as configured: one section of the configuration, one `create` of the plugin.
//
//     created → started → [READY] running → draining → [DRAINED] drained → destroyed
//
// `create` checks the settings, `start` binds ports and loads models and answers at once; the host waits for READY with
// `waitUntilReady`, for all its providers at the same time. A provider that fails is `failed` with the plugin's own
// words, and the host runs on without it.

import Calls
import Glibc
import JSON
import PluginABI
import Synchronization

public final class ProviderInstance: @unchecked Sendable {
    public enum State: Sendable, Equatable {
        case new, created, starting, running, draining, drained, destroyed
        case failed(ProviderFailure)
    }

    public let plugin: LoadedPlugin
    public let declaration: ProviderDeclaration
    public let kind: PluginKind
    /// The section of the configuration, "stt.local".
    public let name: String
    /// What the plugin was given.
    public let configuration: JSONValue
    public let faults: PluginFaults
    /// What the plugin has used up for this provider.
    public let account = CallAccount()
    let slowCalls: SlowCalls
    public let limits: SessionLimits
    let log: any ProviderLog
    let deadlines = SessionDeadlines.shared

    /// What the plugin knows the provider by.
    public var object: PluginObject { link.object }

    /// From `create` on.
    private var table = vc_provider()
    /// Whether its code runs in this process.
    public let isolation: Manifest.Isolation
    private let workerOptions: WorkerOptions
    private let link: Link
    private let progress = Waiting(Progress())
    /// The plugin's pointer, from `create` on.
    private(set) var providerSelf: vc_self?
    /// From `create` on, unless its code runs in this process.
    private let workerLink = Mutex<Worker?>(nil)

    private struct Progress {
        var state = State.new
        /// READY, or a fatal ERROR, that came while `create` or `start` ran.
        var isReady = false
        var sessions = 0
        var sessionsEver: UInt64 = 0
        var zombies = 0
        var wantsDrained = false
        /// There is something to destroy.
        var wasCreated = false
    }

    /// The object's receiver cannot capture `self` before `self` is whole; it goes through here.
    private final class Link: @unchecked Sendable {
        weak var instance: ProviderInstance?
        var object: PluginObject!
    }

    /// - Parameters:
    ///   - configuration: what `declaration.configuration.apply` gave.
    public init(
        plugin: LoadedPlugin, declaration: ProviderDeclaration, name: String, configuration: JSONValue,
        isolation: Manifest.Isolation = .inprocess, workerOptions: WorkerOptions = .current,
        limits: SessionLimits = .standard, log: any ProviderLog
    ) {
        guard let kind = declaration.knownKind else {
            preconditionFailure("\(declaration.kind) is not a kind of this host")
        }
        self.plugin = plugin
        self.declaration = declaration
        self.kind = kind
        self.name = name
        self.configuration = configuration
        self.limits = limits
        self.log = log
        self.isolation = isolation
        self.workerOptions = workerOptions
        faults = PluginFaults(plugin: plugin.id, provider: name, log: log)
        // A call that waits for a worker waits for the scheduler twice; what the plugin itself takes is measured there.
        slowCalls = SlowCalls(
            faults: faults, account: account,
            limitMs: isolation == .worker ? limits.slowWorkerCallMs : limits.slowCallMs)
        let link = Link()
        self.link = link
        link.object = PluginObject(
            level: .provider, plugin: plugin.id, name: name, configuration: configuration,
            secrets: plugin.manifest.secrets
        ) { event in link.instance?.receive(event) ?? vc_status(VC_E_STALE) }
        link.instance = self
    }

    /// What the kind adds to the provider's own events: INCOMING and WITHDRAWN. Set before `start`.
    var receiveKind: (@Sendable (UnsafePointer<vc_event>) -> vc_status)?

    public var state: State { progress.withLock { $0.state } }
    /// Sessions that are open, those being closed included.
    public var sessionCount: Int { progress.withLock { $0.sessions } }
    /// Sessions that were given up: their memory is lost on purpose.
    public var zombieCount: Int { progress.withLock { $0.zombies } }

    // MARK: Life

    /// Makes the provider. Throws with the plugin's words when it refuses the settings.
    public func create() throws(ProviderFailure) {
        precondition(state == .new, "\(name) was created before")
        do throws(PluginRefusal) {
            table = try plugin.table(of: declaration, isolation)
        } catch {
            throw failed("\(error)")
        }
        guard HandleTable.shared.insert(object) != 0 else { throw failed("the table of handles is full") }
        if isolation == .worker { planWorker() }
        var error = emptyError()
        var theirs: vc_self? = nil
        let status = withStr(name) { name in
            withStr(configuration.text) { config in
                var request = vc_create(
                    size: sizeOnTheLine(vc_create.self), reserved: 0, provider: object.handle, name: name,
                    config: config)
                let creating = SlowCalls(faults: faults, account: account, limitMs: slowCreateMs)
                return object.control {
                    creating.watch("create", call: "") { _ in table.create!(&request, &theirs, &error) }
                }
            }
        }
        guard status == VC_OK else {
            HandleTable.shared.remove(object.handle)
            throw failed(ProviderFailure(status: status, error: error, during: "create"))
        }
        providerSelf = theirs
        if isolation == .worker, let theirs {
            let proxy = Unmanaged<ProxyProvider>.fromOpaque(theirs).takeUnretainedValue()
            workerLink.withLock { $0 = proxy.worker }
        }
        progress.change { progress in
            progress.wasCreated = true
            if progress.state == .new { progress.state = .created }
        }
        if case .failed(let failure) = state { throw failure }
    }

    /// A worker's `create` starts a process, and opens a library in it.
    private var slowCreateMs: Int {
        isolation == .worker ? workerOptions.handshakeMs + limits.slowCreateMs : limits.slowCreateMs
    }

    private func planWorker() {
        let plan = WorkerPlan(
            plugin: plugin.id, sha256: plugin.sha256, path: plugin.loadedPath, kind: kind, provider: declaration.id,
            name: name, configuration: configuration.text, options: workerOptions, log: log)
        WorkerPlan.waiting.withLock { $0[object.handle] = plan }
    }

    /// What its worker has used; nil in process.
    public var workerUsage: WorkerUsage? {
        guard state != .destroyed else { return nil }
        return workerLink.withLock { $0 }?.usage
    }

    /// Begins to work, or has begun: READY may come later (`waitUntilReady`).
    public func start() throws(ProviderFailure) {
        precondition(state == .created, "\(name) is not newly created")
        guard let start = table.start else {
            progress.change { $0.state = .running }
            return
        }
        progress.change { $0.state = .starting }
        var error = emptyError()
        let status = object.control { timed("start") { start(providerSelf, &error) } }
        guard status == VC_OK else { throw failed(ProviderFailure(status: status, error: error, during: "start")) }
        progress.change { if $0.isReady, $0.state == .starting { $0.state = .running } }
    }

    /// Waits for READY, at most as long as the manifest says. Throws the provider's fatal error, or that none came.
    public func waitUntilReady() throws(ProviderFailure) {
        let end = hostClockNs() + UInt64(declaration.readyTimeoutMs) * 1_000_000
        let outcome = progress.wait(until: { _ in end }) { progress -> State? in
            switch progress.state {
            case .running, .failed, .destroyed: progress.state
            default: nil
            }
        }
        switch outcome {
        case .running: return
        case .failed(let failure): throw failure
        default:
            faults.note(.neverReady, call: "", "did not emit READY within \(declaration.readyTimeoutMs) ms after start")
            throw failed(
                ProviderFailure(
                    code: .timeout, retryable: true,
                    message: "\(name) was not ready within \(declaration.readyTimeoutMs) ms"))
        }
    }

    /// Takes nothing new; open sessions go on.
    public func drain() {
        let shall = progress.withLock { progress in
            defer { if progress.state == .running || progress.state == .starting { progress.state = .draining } }
            return progress.state == .running || progress.state == .starting
        }
        guard shall else { return }
        if let drain = table.drain {
            object.control { timed("drain") { drain(providerSelf) } }
        }
        progress.change { progress in
            progress.wantsDrained = table.drain != nil
            settle(&progress)
        }
    }

    /// Waits until the provider holds nothing any more. False when that took longer.
    public func waitUntilDrained(timeoutMs: Int) -> Bool {
        let end = hostClockNs() + UInt64(timeoutMs) * 1_000_000
        return progress.wait(until: { _ in end }) { $0.state == .drained || $0.state == .destroyed ? true : nil }
            ?? false
    }

    /// Ends what its sessions do for their calls, which fail over. The sessions close as ever.
    public func giveUpSessions(_ failure: ProviderFailure) {
        for session in PluginSession.living(of: self) { session.lose(failure) }
    }

    /// Frees the provider. False, and nothing happens, while sessions are open. With zombies its memory is kept too.
    @discardableResult
    public func destroy() -> Bool {
        let (may, isNew, hasZombies) = progress.withLock { progress in
            let may = progress.sessions == 0 && progress.state != .destroyed
            let isNew = !progress.wasCreated
            if may { progress.state = .destroyed }
            return (may, isNew, progress.zombies > 0)
        }
        guard may else { return false }
        object.end()
        HandleTable.shared.remove(object.handle)
        if !isNew, !hasZombies { object.control { timed("destroy") { table.destroy!(providerSelf) } } }
        progress.change { _ in }
        return true
    }

    // MARK: Events

    private func receive(_ event: UnsafePointer<vc_event>) -> vc_status {
        account.emitted()
        switch PluginGuard.check(event, kind: kind, of: object, faults: faults) {
        case .ignore: return vc_status(VC_OK)
        case .refuse(let status): return status
        case .pass: break
        }
        switch Int(event.pointee.type) {
        case VC_EVENT_READY:
            let wasReady = progress.withLock { $0.isReady }
            guard !wasReady else {
                faults.note(.readyTwice, call: "", "emitted READY a second time")
                return vc_status(VC_E_ARGUMENT)
            }
            progress.change { progress in
                progress.isReady = true
                if progress.state == .starting { progress.state = .running }
            }
        case VC_EVENT_ERROR:
            let body = UnsafeRawPointer(event).load(as: vc_event_error.self)
            let failure = readFailure(body)
            log.write(ProviderLogLine(.error, failure.message, plugin: plugin.id, provider: name))
            if body.fatal != 0 { _ = failed(failure) }
        case VC_EVENT_DRAINED:
            progress.change { progress in
                progress.wantsDrained = false
                settle(&progress)
            }
        default:
            return receiveKind?(event) ?? vc_status(VC_E_UNSUPPORTED)
        }
        return vc_status(VC_OK)
    }

    func readFailure(_ body: vc_event_error) -> ProviderFailure {
        guard let theirs = body.error, let error = try? adopt(theirs, as: vc_error.self, "vc_error", reserved: 20)
        else {
            faults.note(.eventBody, sort: "error", call: "", "emitted ERROR without a vc_error")
            return ProviderFailure(
                code: .internal, retryable: false, message: "\(name) reported an error without saying which")
        }
        return ProviderFailure(status: error.code, error: error, during: "the provider")
    }

    private func failed(_ failure: ProviderFailure) -> ProviderFailure {
        progress.change { progress in
            if progress.state != .destroyed { progress.state = .failed(failure) }
        }
        return failure
    }

    private func failed(_ message: String) -> ProviderFailure {
        failed(ProviderFailure(code: .internal, retryable: false, message: message))
    }

    /// Draining ends when the plugin said so, or, without the slot, with the last session.
    private func settle(_ progress: inout Progress) {
        if progress.state == .draining, !progress.wantsDrained, progress.sessions == 0 { progress.state = .drained }
    }

    // MARK: For sessions

    /// A copy of the plugin's `open`; nil when no session may be opened now.
    func openSlot() -> (
        slot:
            @convention(c) (
                vc_self?, UnsafePointer<vc_open>, UnsafeMutablePointer<vc_session>, UnsafeMutablePointer<vc_error>
            ) -> vc_status, provider: vc_self?
    )? {
        let may = progress.withLock { progress in
            guard progress.state == .running else { return false }
            progress.sessions += 1
            progress.sessionsEver += 1
            return true
        }
        return may ? (table.open!, providerSelf) : nil
    }

    /// The session was destroyed, or did not open.
    func sessionEnded(asZombie: Bool = false) {
        progress.change { progress in
            progress.sessions -= 1
            if asZombie { progress.zombies += 1 }
            settle(&progress)
        }
    }

    /// What a session is opened with: checked by the manifest's `session` schema, defaults filled in.
    func sessionConfiguration(_ settings: JSONValue = [:]) throws(ProviderFailure) -> JSONValue {
        do throws(ConfigurationError) {
            return try declaration.session.validate(settings)
        } catch {
            throw ProviderFailure(
                code: .configuration, retryable: false, message: "session settings of \(name): \(error)")
        }
    }

    var kindOps: UnsafeRawPointer? { table.kind_ops }

    /// Measures a VC_CONTROL call.
    func timed<Result>(_ slot: StaticString, call: String = "", _ body: () -> Result) -> Result {
        slowCalls.watch(slot, call: call) { _ in body() }
    }
}

func emptyError() -> vc_error {
    var error = vc_error()
    error.size = sizeOnTheLine(vc_error.self)
    return error
}
