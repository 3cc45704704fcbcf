// What a rule works with: the plugin, loaded, and its providers and sessions to call.
//
// The bench keeps the host's half of the contract (one VC_CONTROL call at a time, nothing before READY that the rule
// does not want, `close` before `destroy`), so that a rule is about the plugin's half and a few lines long. It records
// and never asserts.

import CConformance
import Glibc
import JSON
import PluginABI
import Providers

public final class Bench {
    public let job: Job
    public let subject: Subject
    let world: World
    let lender = Lender()
    public private(set) var random: SeededRandom
    /// What the plugin's entry gave.
    private(set) var module: UnsafePointer<vc_module>?
    private(set) var entry: vc_plugin_entry_fn?
    /// The file that is loaded: the job's, or a copy of it.
    private(set) var path: String
    /// As `dlopen` gave it.
    private(set) var library: UnsafeMutableRawPointer?
    /// The host as the plugin sees it; a rule may change it before `enter`.
    private(set) var host: UnsafeMutablePointer<vc_host>
    let kind: PluginKind
    /// A rule's wish: the process ends as a program does, and not at once.
    var endsByExit = false
    /// Synthetic speech by its rate: made once.
    var buzz: [Int: [Int16]] = [:]
    /// The recording by its rate.
    var recorded: [Int: [Int16]] = [:]
    /// Lines for the report that are no breach: what was measured.
    private(set) var notes: [(String, String)] = []

    init(job: Job, subject: Subject) {
        self.job = job
        self.subject = subject
        path = job.plugin
        random = SeededRandom(seed: job.seed ^ fingerprint(job.rule))
        kind = PluginKind(rawValue: job.kind) ?? .textToSpeech
        world = World(job: job)
        world.secretNames = Set(subject.manifest?.secrets ?? [])
        World.current = world
        VendorServices.attach(to: world)
        host = .allocate(capacity: 1)
        host.initialize(
            to: vc_host(
                size: UInt32(ABIHistory.headers.bytes(of: "vc_host", in: job.hostMinor) ?? MemoryLayout<vc_host>.size),
                minor: UInt32(job.hostMinor), emit: benchEmit,
                service: benchService))
    }

    public func note(_ name: String, _ value: String) { notes.append((name, value)) }

    // MARK: Loading

    /// Opens the library. It may be called again, and gives the same handle.
    @discardableResult
    func load() throws -> UnsafeMutableRawPointer {
        let handle = world.call("dlopen") { dlopen(path, RTLD_NOW | RTLD_LOCAL) }
        guard let handle else {
            throw Violation(
                "dlopen(RTLD_NOW)", expected: "the library loads",
                got: dlerror().map { String(cString: $0) } ?? "no reason given")
        }
        library = handle
        guard let symbol = dlsym(handle, VC_PLUGIN_ENTRY) else {
            throw Violation("dlsym", expected: "the symbol \(VC_PLUGIN_ENTRY)", got: "no such symbol")
        }
        entry = unsafeBitCast(symbol, to: vc_plugin_entry_fn.self)
        return handle
    }

    /// Enters another copy of the library. Providers that are created from now on are its own.
    func change(to path: String) throws {
        self.path = path
        entry = nil
        module = nil
        try enter()
    }

    /// Makes the host's table as long as a later version's, with nonsense in what is new.
    func growHost(by count: Int) {
        let raw = UnsafeMutableRawPointer.allocate(byteCount: MemoryLayout<vc_host>.size + count, alignment: 8)
        memset(raw, 0xa5, MemoryLayout<vc_host>.size + count)
        let grown = raw.bindMemory(to: vc_host.self, capacity: 1)
        grown.pointee = host.pointee
        grown.pointee.size += UInt32(count)
        host = grown
    }

    /// Loads, and calls the entry function.
    @discardableResult
    func enter() throws -> vc_module {
        if entry == nil { try load() }
        var theirs: UnsafePointer<vc_module>?
        let status = world.call("entry") { entry!(host, &theirs) }
        guard status == VC_OK else {
            throw Violation("\(VC_PLUGIN_ENTRY)", expected: "VC_OK", got: statusName(status))
        }
        guard let theirs else { throw Violation("\(VC_PLUGIN_ENTRY)", expected: "a module", got: "NULL") }
        module = theirs
        return theirs.pointee
    }

    /// The table of the provider that the job names.
    func table() throws -> UnsafePointer<vc_provider> {
        if module == nil { try enter() }
        let module = module!.pointee
        for index in 0..<Int(module.provider_count) {
            guard let provider = module.providers?[index] else { continue }
            if benchString(provider.pointee.id) == job.provider, benchString(provider.pointee.kind) == job.kind {
                return provider
            }
        }
        throw Violation(
            "the module's providers", expected: "\(job.provider) (\(job.kind)), which the manifest lists",
            got: "none such")
    }

    // MARK: Providers

    /// The settings that the provider is created with: the job's, over the manifest's defaults.
    public func settings(_ changes: JSONValue = [:]) -> JSONValue {
        let defaults = subject.provider?.configuration.defaults ?? [:]
        return defaults.merged(with: job.configuration).merged(with: changes)
    }

    /// `create`, as a host calls it. The status is the rule's to judge.
    func create(
        _ configuration: JSONValue? = nil, name: String = "conform.test"
    ) throws -> (provider: BenchProvider?, status: vc_status, error: RecordedEvent.Failure) {
        let table = try table()
        let configuration = configuration ?? settings()
        let object = world.makeObject(.provider, name: name, configuration: configuration)
        guard let create = table.pointee.create else {
            throw Violation("vc_provider", expected: "the slot `create`", got: "NULL")
        }
        var theirs: vc_self? = nil
        var error = emptyBenchError()
        let request = lender.lend(
            vc_create(
                size: UInt32(MemoryLayout<vc_create>.size), reserved: 0, provider: object.handle,
                name: lender.lend(name, "name"), config: lender.lend(configuration.text, "config")), "vc_create")
        let status = world.call("create") { create(request, &theirs, &error) }
        let failure = RecordedEvent.Failure(error)
        lender.takeBack()
        guard status == VC_OK else {
            world.end(object)
            return (nil, status, failure)
        }
        return (BenchProvider(self, table, object, theirs), status, failure)
    }

    /// A provider that works: created, started, READY.
    public func provider(_ changes: JSONValue = [:]) throws -> BenchProvider {
        let (provider, status, error) = try create(settings(changes))
        guard let provider else {
            throw Violation("create", expected: "VC_OK", got: "\(statusName(status)): \(error.message)")
        }
        try provider.start()
        return provider
    }

    /// A session that works: opened, READY.
    public func session(_ options: SessionOptions = SessionOptions()) throws -> BenchSession {
        try provider().session(options)
    }

    // MARK: Time

    /// Lets everything happen that is to happen at this moment.
    public func settle() throws {
        if !world.settle() {
            throw Violation("the plugin's tasks", expected: "rest within 20 s", got: "a task that still runs")
        }
    }

    public func advance(ms: Int) { world.advance(ms: ms) }

    public func wait(ms: Int, until condition: () -> Bool) -> Bool { world.wait(ms: ms, until: condition) }

    public var nowNs: UInt64 { world.monitor.locked { world.clock.nowNs } }
}

/// A stream of numbers that a seed fixes (SplitMix64, by Sebastiano Vigna).
public struct SeededRandom: RandomNumberGenerator, Sendable {
    private var state: UInt64

    public init(seed: UInt64) { state = seed }

    public mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xbf58_476d_1ce4_e5b9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94d0_49bb_1331_11eb
        return mixed ^ (mixed >> 31)
    }
}

/// FNV-1a: the same in every process, which Swift's own hashes are not.
private func fingerprint(_ text: String) -> UInt64 {
    text.utf8.reduce(0xcbf2_9ce4_8422_2325) { ($0 ^ UInt64($1)) &* 0x100_0000_01b3 }
}

private func benchEmit(_ handle: vc_handle, _ event: UnsafePointer<vc_event>) -> vc_status {
    World.current.emit(handle, event)
}

private func benchService(_ id: UnsafePointer<CChar>) -> UnsafeRawPointer? {
    World.current.service(String(cString: id))
}

func emptyBenchError() -> vc_error {
    var error = vc_error()
    error.size = UInt32(MemoryLayout<vc_error>.size)
    return error
}

extension RecordedEvent.Failure {
    init(_ error: vc_error) {
        self.init(
            code: error.code, retryable: error.retryable, retryAfterMs: error.retry_after_ms,
            protocolStatus: error.protocol_status, message: benchString(error.message),
            vendor: benchString(error.vendor), vendorCode: benchString(error.vendor_code))
    }
}

/// "VC_E_AGAIN (-1)".
public func statusName(_ status: vc_status) -> String {
    let names: [vc_status: String] = [
        0: "VC_OK", -1: "VC_E_AGAIN", -2: "VC_E_CANCELED", -3: "VC_E_STALE", -4: "VC_E_CLOSED", -10: "VC_E_ARGUMENT",
        -11: "VC_E_STATE", -12: "VC_E_UNSUPPORTED", -13: "VC_E_NOT_FOUND", -20: "VC_E_CONFIG", -21: "VC_E_AUTH",
        -22: "VC_E_QUOTA", -23: "VC_E_NETWORK", -24: "VC_E_TIMEOUT", -25: "VC_E_VENDOR", -30: "VC_E_MEMORY",
        -31: "VC_E_CRASHED", -32: "VC_E_INTERNAL",
    ]
    return names[status].map { "\($0) (\(status))" } ?? "status \(status)"
}

extension JSONValue {
    /// The members of both; those of `other` win.
    func merged(with other: JSONValue) -> JSONValue {
        guard let mine = object, let theirs = other.object else { return other }
        return .object(mine.merging(theirs) { $0.object != nil && $1.object != nil ? $0.merged(with: $1) : $1 })
    }
}

extension ConfigurationSchema {
    /// The defaults of all properties that have one.
    var defaults: JSONValue {
        var values: [String: JSONValue] = [:]
        for (name, property) in properties {
            if let value = property.defaultValue {
                values[name] = value
            } else if property.type == .object, let inner = property.defaults.object, !inner.isEmpty {
                values[name] = .object(inner)
            }
        }
        return .object(values)
    }
}
