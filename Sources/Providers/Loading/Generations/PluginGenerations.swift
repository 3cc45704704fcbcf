// The life of every plugin in a running host, decided: which file is looked at, which version is used, which drains.
//
//     file settles ─► looked at ─► proven ─► prepared ─► started ─► new calls get it
//                        │           │          │           │            └─ the one before: retiring ─► draining
//                        └───────────┴──────────┴───────────┴─► refused: nothing changes, one line says why
//
// A value: events and `now` in, actions out. `LivePlugins` reads directories, runs children and calls plugins; nothing
// here does, so that every order of events can be tested, and the next thing to do is always written in one place.
//
// Three rules decide most of it.
//   - The old generation is let go only when the new one has started. So whatever is wrong with a new file, callers
//     hear nothing of it.
//   - A plugin that owns a port cannot run twice. Its new generation is loaded and has its settings checked at once,
//     and then waits for a moment without calls: the old one goes on taking calls until then, so that nobody is
//     refused, and the port is closed for the milliseconds of the change only. On a host that is never idle the
//     new version waits for ever, and the list says so: refusing calls for an hour to install a version is the
//     operator's decision, which is a restart. If the new generation does not start, the old one is made again.
//   - A removal waits a moment, because "remove, then copy" and "rename" are how files are replaced.

public struct PluginGenerations: Sendable {
    public enum Event: Sendable {
        case noticed(file: String, FileSign)
        /// Look at everything: the names of all files that may be plugins.
        case scan(files: [String])
        case looked(file: String, Look)
        case proven(GenerationID, PluginRefusal?)
        case prepared(GenerationID, PluginRefusal?)
        case started(GenerationID, PluginRefusal?)
        /// How a generation does that is being waited for.
        case observed(GenerationID, sessions: Int, isDrained: Bool)
        case destroyed(GenerationID)
        /// A worker died. `what` is the line for the operator.
        case crashed(sha256: String, what: String, quarantine: PluginRefusal?)
        /// Nothing that was quarantined is refused for that any more, or one of them is not.
        case pardoned
        case tick
    }

    public enum Look: Sendable {
        case gone
        /// What may be the first part of a good file.
        case incomplete(PluginRefusal)
        case refused(PluginRefusal)
        /// No plugin, or none for this host.
        case ignored
        case plugin(PluginFacts)
    }

    public enum Action: Sendable, Equatable {
        case look(file: String)
        case prove(GenerationID, PluginFacts)
        case prepare(GenerationID, PluginFacts)
        case start(GenerationID)
        /// New calls get it.
        case publish(GenerationID)
        /// New calls do not get it any more.
        case withdraw(GenerationID)
        case drain(GenerationID)
        /// Its time is over: what it still serves fails over.
        case expire(GenerationID)
        case destroy(GenerationID)
        case log(ProviderLogLine)
    }

    public struct Limits: Sendable {
        /// Each generation in process keeps its memory, and the linker's room for thread-local variables is small:
        /// in the measurements a fourth library with initial-exec variables did not load any more.
        public var inProcessMax = 4
        /// Each generation in workers is a process of some ten MiB for each of its sections; whoever installs faster
        /// than calls end must wait.
        public var workersMax = 16
        /// Calls are long, and nothing hurries.
        public var drainNs: UInt64 = 3_600_000_000_000
        /// For a call that had looked its provider up when the new generation came.
        public var retireNs: UInt64 = 1_000_000_000
        /// A provider without sessions that does not say DRAINED is not waited for any longer.
        public var drainedNs: UInt64 = 10_000_000_000
        /// Between a file's removal and the plugin's.
        public var removalNs: UInt64 = 1_000_000_000

        public init() {}
    }

    /// A plugin, by its id.
    public struct Plugin: Sendable {
        /// The file that it comes from; empty when that is gone.
        public internal(set) var file: String
        public internal(set) var current: Generation?
        public internal(set) var next: Generation?
        public internal(set) var old: [Generation] = []
        /// What the file has now, while `next` is something else.
        var wanted: PluginFacts?
        /// What gave its port up for `next`.
        var handedOver: PluginFacts?
        var generations = 0
        var goneAt: UInt64?
        public internal(set) var crashes = 0
        /// What happened to it last, in a line.
        public internal(set) var lastEvent = ""

        var living: [Generation] { old + [current, next].compactMap(\.self) }
    }

    public let limits: Limits
    public internal(set) var plugins: [String: Plugin] = [:]
    /// Why a file is not used; its last version, where an older one goes on.
    public internal(set) var refusals: [String: PluginRefusal] = [:]
    var files: [String: FileSettling] = [:]
    /// Files whose id another file has.
    private var duplicates: [String: String] = [:]
    var actions: [Action] = []

    public init(limits: Limits = Limits()) { self.limits = limits }

    /// What was loaded when the host started is the first generation of each plugin.
    public mutating func adopt(_ facts: PluginFacts, at now: UInt64) -> GenerationID {
        let id = GenerationID(plugin: facts.id, number: 1)
        plugins[facts.id] = Plugin(
            file: facts.file, current: Generation(id: id, facts: facts, state: .running, sinceNs: now),
            generations: 1, lastEvent: "started with the host")
        return id
    }

    /// What was refused when the host started.
    public mutating func adopt(_ refusal: PluginRefusal, file: String) { refusals[file] = refusal }

    /// What was loaded when the host started, and does not run.
    public mutating func adopt(_ facts: PluginFacts, failed refusal: PluginRefusal) {
        plugins[facts.id] = Plugin(file: facts.file, lastEvent: "did not start: \(refusal.reason)")
        refusals[facts.file] = refusal
    }

    // MARK: Time

    /// When `tick` is due; nil when nothing waits for the time.
    public var wakeAt: UInt64? {
        var due = files.values.compactMap(\.wakeAt)
        for plugin in plugins.values {
            if let gone = plugin.goneAt { due.append(gone + limits.removalNs) }
            due += plugin.old.filter { $0.state == .retiring }.map { $0.sinceNs + limits.retireNs }
        }
        return due.min()
    }

    /// Generations whose sessions somebody waits for: `observed` is wanted, every now and then.
    public var watched: [GenerationID] {
        plugins.values.flatMap { plugin in
            plugin.old.filter { $0.state == .draining }.map(\.id)
                + (plugin.next?.state == .waiting ? [plugin.current?.id].compactMap(\.self) : [])
        }
    }

    /// True while a port is free and a new version waits for it: then every millisecond counts.
    public var isHandingOver: Bool {
        plugins.values.contains { $0.handedOver != nil && $0.next?.state == .waiting && $0.current == nil }
    }

    /// True when nothing is under way but the end of old calls.
    public var isSettled: Bool {
        files.values.allSatisfy(\.isSettled)
            && plugins.values.allSatisfy { plugin in
                plugin.goneAt == nil && (plugin.next.map { $0.state == .waiting } ?? true)
            }
    }

    public func generation(_ id: GenerationID) -> Generation? {
        plugins[id.plugin]?.living.first { $0.id == id }
    }

    // MARK: Events

    public mutating func handle(_ event: Event, at now: UInt64) -> [Action] {
        switch event {
        case .noticed(let file, let sign): files[file, default: FileSettling()].noticed(sign, at: now)
        case .scan(let names):
            for file in Set(names).union(files.keys).union(plugins.values.map(\.file)).union(refusals.keys)
            where !file.isEmpty {
                files[file, default: FileSettling()].noticed(.written, at: now)
            }
        case .looked(let file, let look): looked(file, look, at: now)
        case .proven(let id, let refusal):
            proceed(id, refusal, at: now) { $0.prepare($1, at: now) }
        case .prepared(let id, let refusal):
            proceed(id, refusal, at: now) { $0.prepared($1, at: now) }
        case .started(let id, let refusal): started(id, refusal, at: now)
        case .observed(let id, let sessions, let isDrained): observed(id, sessions, isDrained, at: now)
        case .destroyed(let id): destroyed(id, at: now)
        case .crashed(let sha256, let what, let quarantine): crashed(sha256, what, quarantine, at: now)
        case .pardoned:
            for (file, refusal) in refusals where refusal.code == .quarantined {
                files[file, default: FileSettling()].noticed(.written, at: now)
            }
        case .tick: break
        }
        tick(at: now)
        defer { actions = [] }
        return actions
    }

    private mutating func tick(at now: UInt64) {
        for file in files.keys.sorted() where files[file]!.begin(at: now) { actions.append(.look(file: file)) }
        for id in plugins.keys.sorted() {
            if let gone = plugins[id]!.goneAt, now >= gone + limits.removalNs { remove(id, at: now) }
            for index in plugins[id]!.old.indices {
                let old = plugins[id]!.old[index]
                if old.state == .retiring, now >= old.sinceNs + limits.retireNs {
                    set(&plugins[id]!.old[index], .draining, at: now)
                    actions.append(.drain(old.id))
                }
            }
        }
    }

    // MARK: A file

    private mutating func looked(_ file: String, _ look: Look, at now: UInt64) {
        let isComplete = if case .incomplete = look { false } else { true }
        guard files[file, default: FileSettling()].looked(isComplete: isComplete, at: now) == .judge else { return }
        files[file] = nil
        switch look {
        case .gone: gone(file, at: now)
        case .ignored: refusals[file] = nil
        case .incomplete(let refusal), .refused(let refusal): refuse(file, refusal)
        case .plugin(let facts): found(facts, at: now)
        }
    }

    mutating func gone(_ file: String, at now: UInt64) {
        refusals[file] = nil
        duplicates[file] = nil
        guard let id = plugins.first(where: { $0.value.file == file && !file.isEmpty })?.key else { return }
        // The same plugin lies here under another name: that is how some people upgrade.
        if let other = duplicates.filter({ $0.value == id }).keys.min() {
            plugins[id]!.file = other
            duplicates[other] = nil
            files[other, default: FileSettling()].noticed(.written, at: now)
        } else {
            plugins[id]!.goneAt = plugins[id]!.goneAt ?? now
        }
    }

    private mutating func found(_ facts: PluginFacts, at now: UInt64) {
        let file = facts.file
        // A file that now holds another plugin has taken away the one that it held.
        for (id, plugin) in plugins where plugin.file == file && id != facts.id { gone(file, at: now) }
        var plugin = plugins[facts.id] ?? Plugin(file: file)
        if plugin.file != file, !plugin.file.isEmpty, plugin.goneAt == nil {
            duplicates[file] = facts.id
            return refuse(
                file,
                PluginRefusal(
                    .duplicateID, "\(file) has the id \(facts.id), which \(plugin.file) has already",
                    mend: "Remove one of the two"))
        }
        plugin.file = file
        plugin.goneAt = nil
        plugins[facts.id] = plugin
        refusals[file] = nil
        duplicates[file] = nil
        begin(facts, at: now)
    }

    /// Nothing changes, and a line says why.
    private mutating func refuse(_ file: String, _ refusal: PluginRefusal) {
        let isNews = refusals[file] != refusal
        refusals[file] = refusal
        let id = plugins.first { $0.value.file == file }?.key
        guard isNews else { return }
        let stays = id.flatMap { plugins[$0]?.current }.map { "; version \($0.facts.version) goes on" } ?? ""
        note(id ?? file, "refused: \(refusal.reason)\(stays). \(refusal.mend).", .warning)
    }

    // MARK: A new generation

    mutating func begin(_ facts: PluginFacts, isProven: Bool = false, at now: UInt64) {
        var plugin = plugins[facts.id]!
        defer { plugins[facts.id] = plugin }
        plugin.wanted = nil
        if let next = plugin.next {
            if next.facts.isSame(as: facts), !next.isOutdated { return }
            plugin.next!.isOutdated = true
            plugin.wanted = facts
            // One that only waits can be let go at once.
            if next.state == .waiting {
                plugin.next!.state = .destroying
                actions.append(.destroy(next.id))
            }
            return
        }
        if let current = plugin.current, current.facts.isSame(as: facts) {
            guard plugin.lastEvent.hasPrefix("refused") else { return }
            plugin.lastEvent = "version \(facts.version) goes on; what was refused is not there any more"
            actions.append(.log(ProviderLogLine(.info, plugin.lastEvent, plugin: facts.id)))
            return
        }
        let living = plugin.living.filter { $0.facts.isolation == facts.isolation }
        let most = facts.isolation == .inprocess ? limits.inProcessMax : limits.workersMax
        if living.count >= most {
            let numbers = living.map { "\($0.id.number)" }.joined(separator: ", ")
            let refusal = PluginRefusal(
                .tooManyGenerations,
                "generations \(numbers) of \(facts.id) are still in use, and at most \(most) live "
                    + (facts.isolation == .inprocess ? "in one process" : "in workers"),
                mend: "Wait until the calls of the oldest are over, or restart to reload")
            if refusals[facts.file] != refusal {
                plugin.lastEvent = "refused: \(refusal)"
                actions.append(.log(ProviderLogLine(.warning, plugin.lastEvent, plugin: facts.id)))
            }
            refusals[facts.file] = refusal
            return
        }
        plugin.generations += 1
        let id = GenerationID(plugin: facts.id, number: plugin.generations)
        let isProven = isProven || facts.isShipped
        plugin.next = Generation(id: id, facts: facts, state: isProven ? .preparing : .proving, sinceNs: now)
        actions.append(isProven ? .prepare(id, facts) : .prove(id, facts))
    }

    /// A step of the next generation came out well, or ends it.
    private mutating func proceed(
        _ id: GenerationID, _ refusal: PluginRefusal?, at now: UInt64,
        _ onward: (inout PluginGenerations, Generation) -> Void
    ) {
        guard let next = plugins[id.plugin]?.next, next.id == id else { return }
        if next.isOutdated || refusal != nil {
            // What was made of it so far goes; a step that failed has cleaned up behind itself.
            if refusal == nil, next.state != .proving {
                plugins[id.plugin]!.next!.state = .destroying
                actions.append(.destroy(id))
                return
            }
            return failed(id, next.isOutdated ? nil : refusal, at: now)
        }
        onward(&self, next)
    }

    private mutating func prepare(_ next: Generation, at now: UInt64) {
        set(&plugins[next.id.plugin]!.next!, .preparing, at: now)
        actions.append(.prepare(next.id, next.facts))
    }

    private mutating func prepared(_ next: Generation, at now: UInt64) {
        let plugin = next.id.plugin
        if next.facts.isExclusive, let current = plugins[plugin]!.current, current.facts.isExclusive {
            set(&plugins[plugin]!.next!, .waiting, at: now)
            note(plugin, "version \(next.facts.version) waits for a moment without calls, because it owns a port")
        } else if next.facts.isExclusive, let old = plugins[plugin]!.old.first(where: \.facts.isExclusive) {
            // Removed and put back: the port is free when the one that was removed is gone.
            set(&plugins[plugin]!.next!, .waiting, at: now)
            note(plugin, "version \(next.facts.version) waits for the end of generation \(old.id.number)")
        } else {
            start(plugin, at: now)
        }
    }

    mutating func start(_ plugin: String, at now: UInt64) {
        set(&plugins[plugin]!.next!, .starting, at: now)
        actions.append(.start(plugins[plugin]!.next!.id))
    }

    private mutating func started(_ id: GenerationID, _ refusal: PluginRefusal?, at now: UInt64) {
        guard var plugin = plugins[id.plugin], let next = plugin.next, next.id == id else { return }
        if let refusal { return failed(id, refusal, at: now) }
        let before = plugin.current
        plugin.next = nil
        plugin.current = next
        set(&plugin.current!, .running, at: now)
        actions.append(.publish(id))
        var message = "version \(next.facts.version) is used for new calls, generation \(id.number)"
        if next.facts.isolation == .worker { message += ", in a worker" }
        if var old = before {
            message += "; \(old.facts.version) serves its sessions to their end"
            set(&old, .retiring, at: now)
            plugin.old.append(old)
        }
        plugin.handedOver = nil
        plugins[id.plugin] = plugin
        note(id.plugin, message)
        // A removal, or a newer file, came while it started.
        if plugin.file.isEmpty {
            retire(id.plugin, "removed", at: now)
        } else if let wanted = plugin.wanted {
            begin(wanted, at: now)
        }
    }

    /// The next generation is no more. With a reason it is refused.
    mutating func failed(_ id: GenerationID, _ refusal: PluginRefusal?, at now: UInt64) {
        guard let next = plugins[id.plugin]?.next, next.id == id else { return }
        plugins[id.plugin]!.next = nil
        if let refusal { refuse(next.facts.file, refusal) }
        if let wanted = plugins[id.plugin]!.wanted {
            begin(wanted, at: now)
        } else if let before = plugins[id.plugin]!.handedOver {
            // It gave its port up for a version that does not start: the old one is made again.
            plugins[id.plugin]!.handedOver = nil
            note(id.plugin, "version \(before.version) is started again", .warning)
            begin(before, isProven: true, at: now)
        }
    }

    // MARK: Words

    mutating func note(_ plugin: String, _ message: String, _ level: ProviderLogLine.Level = .info) {
        // The end of an old generation is no news of the plugin.
        if level != .debug { plugins[plugin]?.lastEvent = message }
        actions.append(.log(ProviderLogLine(level, message, plugin: plugin)))
    }

    func set(_ generation: inout Generation, _ state: Generation.State, at now: UInt64) {
        generation.state = state
        generation.sinceNs = now
    }
}
