// The plugins of a running host. What happens to them is decided by `PluginGenerations`; this has the thread, the
// descriptors and the clock, and carries the decisions out.
//
//     inotify ─► watching thread ─► PluginGenerations ─► loading queue ─► files, children, plugins
//                     ▲                                      │
//                     └────────────── outcomes ◄─────────────┘
//
// Two threads, because waiting and working are apart: reading, trying out and starting a plugin take seconds, and a
// sign of the directory must not wait for that. The loading queue does one thing at a time, so a host that gets twelve
// new files is not loading twelve models at once beside its calls. Neither thread ever holds a lock that a call takes,
// but for the look into a dictionary in `RunningProviders`.

import Calls
import CPlatform
import Dispatch
import Glibc
import Synchronization

public final class LivePlugins: Sendable {
    /// What a generation is made of.
    struct Parts: Sendable {
        let plugin: LoadedPlugin
        var instances: [ProviderInstance]
    }

    struct State: Sendable {
        var machine: PluginGenerations
        var registry: PluginRegistry
        var parts: [GenerationID: Parts] = [:]
        /// Files that were looked at and are about to be used, by hash and settings.
        var candidates: [String: PluginLoader.Candidate] = [:]
        /// The last version of each plugin that ran, from which it can be made again.
        var lastPlugins: [String: LoadedPlugin] = [:]
        /// What is known of each file, for the list.
        var seen: [String: PluginRegistry.Entry] = [:]
        var inbox: [PluginGenerations.Event] = []
        /// Who asked for a reload, and what was in each plugin's last line then.
        var waiting: [(lines: [String: String], done: @Sendable ([String]) -> Void)] = []
        var isStopping = false
    }

    /// Reloads that are waited for at a time; a script in a loop shall not fill the memory.
    static let waitingMax = 16
    /// How often the sessions of a generation are counted that somebody waits for.
    static let observeNs: UInt64 = 200_000_000
    /// The same while callers find no open port, which is at most `Limits.drainedNs`.
    static let handingOverNs: UInt64 = 5_000_000

    let state: Mutex<State>
    let loader: PluginLoader
    let house: any ProviderHouse
    let steps: PluginSteps
    let quarantine: Quarantine
    let records: ConformanceRecords
    let log: any ProviderLog
    let queue = DispatchQueue(label: "plugin loading")
    private let watch: DirectoryWatch
    private let wake: Int32
    private let ended = DispatchSemaphore(value: 0)

    /// - Parameters:
    ///   - registry: what was loaded at the start, after `watch` was made.
    ///   - instances: what runs of it.
    ///   - failures: sections that did not start.
    public init(
        registry: PluginRegistry, watch: DirectoryWatch, instances: [ProviderInstance],
        failures: [(name: String, plugin: LoadedPlugin, failure: ProviderFailure)], loader: PluginLoader,
        house: any ProviderHouse, steps: PluginSteps, quarantine: Quarantine, records: ConformanceRecords,
        limits: PluginGenerations.Limits = .init(), log: any ProviderLog
    ) {
        self.watch = watch
        self.loader = loader
        self.house = house
        self.steps = steps
        self.quarantine = quarantine
        self.records = records
        self.log = log
        wake = eventfd(0, Int32(EFD_NONBLOCK) | Int32(EFD_CLOEXEC))
        var initial = State(machine: PluginGenerations(limits: limits), registry: registry)
        let now = hostClockNs()
        for entry in registry.entries {
            initial.seen[entry.name] = entry
            switch entry.state {
            case .ignored: break
            case .refused(let refusal): initial.machine.adopt(refusal, file: entry.name)
            case .loaded(let plugin):
                let facts = Self.facts(of: plugin, steps)
                let running = instances.filter { $0.plugin === plugin }
                if running.isEmpty, let failed = failures.first(where: { $0.plugin === plugin }) {
                    initial.machine.adopt(facts, failed: .didNotStart(entry.name, failed.failure.message))
                } else {
                    initial.parts[initial.machine.adopt(facts, at: now)] = Parts(plugin: plugin, instances: running)
                    initial.lastPlugins[plugin.id] = plugin
                }
            }
        }
        state = Mutex(initial)
    }

    /// Begins to watch.
    public func start() {
        if let problem = watch.problem {
            log.write(
                ProviderLogLine(
                    .warning, "\(problem); new plugins are found by SIGHUP and `vchost plugins reload` only",
                    plugin: ""))
        }
        let box = Unmanaged.passRetained(self)
        var thread = pthread_t()
        let created = pthread_create(&thread, nil, runLivePlugins, box.toOpaque())
        precondition(created == 0, "no thread for the plugin directory: error \(created)")
        pthread_detach(thread)
    }

    /// Ends watching and waits until nothing is being loaded. The plugins run on.
    public func stop() {
        state.withLock { $0.isStopping = true }
        ring()
        ended.wait()
        queue.sync {}
    }

    // MARK: From outside, on any thread

    /// Looks at the whole directory again. `done` gets a line for each plugin to which something happened, when all
    /// that can be done at once is done; calls that are up are not waited for.
    public func reload(_ done: @escaping @Sendable ([String]) -> Void = { _ in }) {
        let isTaken = state.withLock { state in
            guard state.waiting.count < Self.waitingMax, !state.isStopping else { return false }
            state.waiting.append((Self.lines(state.machine), done))
            return true
        }
        guard isTaken else { return done(["too many reloads are under way"]) }
        post(.scan(files: (directoryEntries(directory) ?? []).filter { $0.hasSuffix(".so") }))
    }

    /// Notes the death of a worker, and decides whether the file may be started again.
    @discardableResult
    public func crashed(_ report: CrashReport, restarted: Bool = true) -> Quarantine.Verdict {
        var report = report
        if report.version.isEmpty {
            report.version = state.withLock { state in
                state.parts.values.first { $0.plugin.sha256 == report.sha256 }?.plugin.manifest.version ?? ""
            }
        }
        let verdict = quarantine.record(report)
        let provider = [report.provider, report.version].filter { !$0.isEmpty }.map { $0 + " " }.joined()
        let sessions = "\(report.sessions) session\(report.sessions == 1 ? "" : "s") failed over"
        switch verdict {
        case .restart:
            let what = "\(provider)\(report.summary)\(restarted ? ", is started again" : ""), \(sessions)"
            post(.crashed(sha256: report.sha256, what: what, quarantine: nil))
        case .quarantined(let refusal):
            post(
                .crashed(
                    sha256: report.sha256, what: "\(provider)\(report.summary), \(sessions)", quarantine: refusal))
        }
        return verdict
    }

    /// Lets a plugin out of quarantine, by its id, its file or the beginning of its hash, and looks at it again.
    /// Returns the hashes that were pardoned.
    public func pardon(_ name: String) -> [String] {
        let entry = state.withLock { state in
            state.seen.values.first { $0.name == name || $0.name == name + ".so" || $0.manifest?.id == name }
        }
        var pardoned = quarantine.pardon(name)
        if let sha256 = entry?.sha256 { pardoned += quarantine.pardon(sha256) }
        if !pardoned.isEmpty { post(.pardoned) }
        return pardoned
    }

    /// All providers of all generations.
    public var instances: [ProviderInstance] { state.withLock { $0.parts.values.flatMap(\.instances) } }

    public var directory: String { state.withLock { $0.registry.directory } }

    // MARK: The watching thread

    func post(_ event: PluginGenerations.Event) {
        state.withLock { $0.inbox.append(event) }
        ring()
    }

    private func ring() {
        var one: UInt64 = 1
        _ = write(wake, &one, MemoryLayout<UInt64>.size)
    }

    fileprivate func run() {
        while true {
            let now = hostClockNs()
            let (wakeAt, observeNs, isStopping) = state.withLock { state -> (UInt64?, UInt64?, Bool) in
                let machine = state.machine
                let period = machine.isHandingOver ? Self.handingOverNs : Self.observeNs
                return (machine.wakeAt, machine.watched.isEmpty ? nil : period, state.isStopping)
            }
            if isStopping { break }
            var due = wakeAt
            if let observeNs { due = min(due ?? .max, now + observeNs) }
            var polled = [
                pollfd(fd: wake, events: Int16(POLLIN), revents: 0),
                // A negative descriptor is skipped.
                pollfd(fd: watch.descriptor, events: Int16(POLLIN), revents: 0),
            ]
            let timeoutMs = due.map { $0 <= now ? 0 : Int32(clamping: ($0 - now) / 1_000_000 + 1) } ?? -1
            _ = poll(&polled, nfds_t(polled.count), timeoutMs)
            var drained: UInt64 = 0
            _ = read(wake, &drained, MemoryLayout<UInt64>.size)
            step()
        }
        close(wake)
        for waiting in state.withLock({ state in
            defer { state.waiting = [] }
            return state.waiting
        }) { waiting.done(["the host stops"]) }
        ended.signal()
    }

    private func step() {
        let signs = watch.take()
        let now = hostClockNs()
        let actions = state.withLock { state -> [PluginGenerations.Action] in
            var events = state.inbox
            state.inbox = []
            for sign in signs {
                switch sign {
                case .file(let name, let sign): events.append(.noticed(file: name, sign))
                case .everything:
                    let names = directoryEntries(state.registry.directory) ?? []
                    events.append(.scan(files: names.filter { $0.hasSuffix(".so") }))
                case .lost:
                    log.write(
                        ProviderLogLine(
                            .warning,
                            "\(state.registry.directory) was removed or renamed: what runs goes on, and new plugins "
                                + "are found after a restart only", plugin: ""))
                }
            }
            for id in state.machine.watched {
                guard let parts = state.parts[id] else { continue }
                events.append(
                    .observed(
                        id, sessions: parts.instances.reduce(0) { $0 + $1.sessionCount },
                        isDrained: parts.instances.allSatisfy(\.isDrained)))
            }
            var actions: [PluginGenerations.Action] = []
            for event in events { actions += state.machine.handle(event, at: now) }
            actions += state.machine.handle(.tick, at: now)
            let wanted = state.machine.wantedKeys
            state.candidates = state.candidates.filter { wanted.contains($0.key) }
            return actions
        }
        for action in actions {
            if case .log(let line) = action {
                log.write(line)
            } else {
                queue.async { [self] in perform(action) }
            }
        }
        answer()
    }

    /// Tells those who asked for a reload, when there is nothing left to do.
    private func answer() {
        let answers = state.withLock { state -> [(lines: [String], done: @Sendable ([String]) -> Void)] in
            guard state.inbox.isEmpty, state.machine.isSettled, !state.waiting.isEmpty else { return [] }
            let now = Self.lines(state.machine)
            defer { state.waiting = [] }
            return state.waiting.map { before, done in
                let news = now.filter { before[$0.key] != $0.value }
                return (news.sorted { $0.key < $1.key }.map { "\($0.key): \($0.value)" }, done)
            }
        }
        for answer in answers { answer.done(answer.lines) }
    }

    private static func lines(_ machine: PluginGenerations) -> [String: String] {
        machine.plugins.mapValues(\.lastEvent)
            .merging(machine.refusals.map { ($0.key, "refused: \($0.value)") }) { first, _ in first }
    }
}

private func runLivePlugins(_ context: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? {
    Unmanaged<LivePlugins>.fromOpaque(context!).takeRetainedValue().run()
    return nil
}

extension PluginRefusal {
    static func didNotStart(_ file: String, _ message: String) -> PluginRefusal {
        PluginRefusal(
            .didNotStart, "\(file) does not start: \(message)",
            mend: "Mend its settings or what it needs, then run: vchost plugins reload")
    }
}
