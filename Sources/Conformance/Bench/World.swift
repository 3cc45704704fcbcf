// The host, as the bench plays it: handles, the one door out, and a record of everything that came through it.
//
// C functions carry no context, so there is one world in a probe, and a probe serves one rule. It answers a plugin as
// the contract says and judges nothing; what a rule wants to be different (a credit that is used up, a door that is
// shut) it sets on the object.

import Glibc
import JSON
import PluginABI
import Providers

/// What the plugin knows by a handle.
final class BenchObject {
    let handle: vc_handle
    let level: PluginLevel
    let name: String
    let configuration: JSONValue
    var epoch: UInt64 = 0
    /// Bytes of audio that `emit` takes before it answers AGAIN; nil: no bound.
    var credit: Int?
    /// Stream events (AUDIO, DELTA) that it takes before; nil: no bound.
    var creditEvents: Int?
    /// `destroy` was called: its handle is stale.
    var isGone = false
    var gotClosed = false
    /// A rule's own answer to an event; nil from it means the usual one.
    var answer: ((RecordedEvent) -> vc_status?)?
    /// Where the next `emit` of the object waits.
    var gate: BenchGate?
    /// Texts that a service lent until the object ends.
    var kept: [UnsafeMutablePointer<CChar>] = []

    init(handle: vc_handle, level: PluginLevel, name: String, configuration: JSONValue) {
        self.handle = handle
        self.level = level
        self.name = name
        self.configuration = configuration
    }
}

enum PluginLevel: String { case provider, session }

/// A line that the plugin logged.
public struct RecordedLogLine: Sendable {
    public var object: vc_handle
    public var level: UInt32
    public var message: String
    public var fields: [(String, String)]
}

final class World: @unchecked Sendable {
    /// Set once, before the plugin is loaded.
    nonisolated(unsafe) static var current: World! = nil

    let job: Job
    let monitor = BenchMonitor()
    var clock = VirtualClock()
    private(set) var objects: [vc_handle: BenchObject] = [:]
    /// All that was emitted, in order.
    var events: [RecordedEvent] {
        monitor.locked { eventsByObject.values.flatMap(\.self).sorted { $0.number < $1.number } }
    }
    /// By object, because rules ask for one object's events again and again.
    private var eventsByObject: [vc_handle: [RecordedEvent]] = [:]
    private(set) var eventCount = 0
    var logLines: [RecordedLogLine] = []
    /// What the plugin did with a service that the service's header does not allow.
    var misuse: [String] = []
    /// Ids asked for by `service`, in order.
    private(set) var servicesAsked: [String] = []
    /// Ids that this host does not have.
    var hiddenServices: Set<String> = []
    /// Rule's own tables, before those of the bench.
    var replacedServices: [String: UnsafeRawPointer] = [:]
    let tasks = TaskRunner()
    /// The call that the driver's thread is in.
    private(set) var callInProgress = ""
    let driverThread = pthread_self()
    /// The handle before the next one; far from small integers, which a confused plugin might pass.
    private var latestHandle: vc_handle = 0x7e57_0000_0000_1000
    /// More events than any rule looks at: the rest is answered and not kept.
    static let eventsMax = 500_000

    init(job: Job) { self.job = job }

    // What services keep. All of it is touched under `monitor`.
    var timers: [vc_handle: (owner: vc_handle, id: Int)] = [:]
    var metrics: [vc_handle: String] = [:]
    var spans: Set<vc_handle> = []
    var media: [vc_handle: BenchMedia] = [:]
    /// A rule's wish: no ports are free, or no codec is in common.
    var refusesMedia = false
    var refusesCodecs = false
    /// Names that the manifest lists.
    var secretNames: Set<String> = []
    /// Service functions that fail: how many calls more, and with what.
    var refusals: [String: (left: Int, status: vc_status)] = [:]
    /// How much later than it was asked for a timer comes.
    var latenessNs: () -> UInt64 = { 0 }
    /// How far the wall clock was set.
    var wallShiftNs: Int64 = 0

    /// What the next call of a service function is to answer in place of its work; nil: it works.
    func refusal(_ name: String) -> vc_status? {
        monitor.locked {
            guard let refusal = refusals[name], refusal.left > 0 else { return nil }
            refusals[name] = (refusal.left - 1, refusal.status)
            return refusal.status
        }
    }

    func nextHandle() -> vc_handle {
        latestHandle += 1
        return latestHandle
    }

    // MARK: Objects

    func makeObject(_ level: PluginLevel, name: String, configuration: JSONValue) -> BenchObject {
        monitor.locked {
            latestHandle += 1
            let object = BenchObject(handle: latestHandle, level: level, name: name, configuration: configuration)
            objects[object.handle] = object
            return object
        }
    }

    func object(_ handle: vc_handle) -> BenchObject? { monitor.locked { objects[handle] } }

    /// Makes the handle stale, with all that services do for it.
    func end(_ object: BenchObject) {
        tasks.drop(object.handle)
        monitor.locked {
            object.isGone = true
            clock.cancelAll(of: object.handle)
            timers = timers.filter { $0.value.owner != object.handle }
            for text in object.kept { free(text) }
            object.kept = []
        }
        for hook in whenEnded { hook(object.handle) }
    }

    /// Services that must know of an object's end.
    var whenEnded: [(vc_handle) -> Void] = []
    /// Services that must know of a new epoch.
    var whenEpochRaised: [(vc_handle, UInt64) -> Void] = []

    func raiseEpoch(of object: BenchObject, to epoch: UInt64) {
        let isNew = monitor.locked { () -> Bool in
            guard epoch > object.epoch else { return false }
            object.epoch = epoch
            return true
        }
        if isNew { for hook in whenEpochRaised { hook(object.handle, epoch) } }
    }

    // MARK: Calls into the plugin

    /// Runs `body`, a call of the plugin, and leaves a breadcrumb for the case that it does not come back.
    func call<Result>(_ place: String, _ body: () throws -> Result) rethrows -> Result {
        let onDriver = pthread_self() == driverThread
        let before = callInProgress
        if onDriver { callInProgress = place }
        Breadcrumbs.leave(place)
        defer {
            if onDriver { callInProgress = before }
            Breadcrumbs.leave("after " + place)
        }
        return try body()
    }

    // MARK: The door out

    func emit(_ handle: vc_handle, _ event: UnsafePointer<vc_event>) -> vc_status {
        guard event.pointee.size >= UInt32(MemoryLayout<vc_event>.size) else { return vc_status(VC_E_ARGUMENT) }
        var recorded = RecordedEvent(copying: event)
        if let gate = gate(handle) { gate.pass() }
        return monitor.locked {
            recorded.object = handle
            recorded.atNs = clock.nowNs
            recorded.thread = pthread_self()
            recorded.during = recorded.thread == driverThread ? callInProgress : ""
            recorded.number = eventCount
            recorded.answer = answer(to: recorded)
            eventCount += 1
            if eventCount <= Self.eventsMax { eventsByObject[handle, default: []].append(recorded) }
            return recorded.answer
        }
    }

    /// Where `emit` waits, when a rule wants to know what a plugin holds meanwhile.
    private func gate(_ handle: vc_handle) -> BenchGate? {
        monitor.locked {
            defer { objects[handle]?.gate = nil }
            return objects[handle]?.gate
        }
    }

    private func answer(to event: RecordedEvent) -> vc_status {
        guard let object = objects[event.object] else { return vc_status(VC_E_STALE) }
        if let own = object.answer?(event) { return own }
        if object.isGone { return vc_status(VC_E_STALE) }
        if object.gotClosed { return vc_status(VC_E_CLOSED) }
        if !event.complaints.isEmpty { return vc_status(VC_E_ARGUMENT) }
        if event.type == VC_EVENT_CLOSED { object.gotClosed = true }
        if event.isControl || object.level == .provider { return vc_status(VC_OK) }
        // Telephony has no epochs, and answers nobody's.
        if event.type >= VC_EVENT_STT, event.epoch < object.epoch { return vc_status(VC_E_CANCELED) }
        if event.type == VC_EVENT_AUDIO || event.type == VC_EVENT_DELTA {
            if let left = object.creditEvents {
                guard left > 0 else { return vc_status(VC_E_AGAIN) }
                object.creditEvents = left - 1
            }
        }
        if let audio = event.audio, let left = object.credit {
            guard left > 0 else { return vc_status(VC_E_AGAIN) }
            object.credit = left - audio.bytes
        }
        return vc_status(VC_OK)
    }

    func events(of handle: vc_handle) -> [RecordedEvent] {
        monitor.locked { eventsByObject[handle] ?? [] }
    }

    /// Gives the record's memory back, for rules that measure memory.
    func forgetEvents() {
        monitor.locked {
            eventsByObject = [:]
            logLines = []
            misuse = []
            servicesAsked = []
        }
        VendorServices.current?.forgetBreaches()
    }

    /// The same with all that is kept of objects that are gone: whoever speaks of them is answered STALE as before.
    func forgetRound() {
        monitor.locked {
            forgetEvents()
            logLines = []
            objects = objects.filter { !$0.value.isGone }
            metrics = [:]
        }
    }

    func service(_ id: String) -> UnsafeRawPointer? {
        monitor.locked {
            servicesAsked.append(id)
            if hiddenServices.contains(id) || hiddenServices.contains("*") { return nil }
            if let own = replacedServices[id] { return own }
            return BenchServices.table(id).flatMap { ABIHistory.headers.service(id, $0, in: job.hostMinor) }
        }
    }

    // MARK: Time

    /// Lets everything happen that is to happen at this moment. False when tasks did not come to rest.
    @discardableResult
    func settle() -> Bool {
        repeat {
            guard tasks.waitUntilIdle() else { return false }
        } while runOneDue(upTo: monitor.locked { clock.nowNs })
        return true
    }

    /// Moves the clock by `ms`, with all that happens on the way.
    func advance(ms: Int) {
        let end = monitor.locked { clock.nowNs } + UInt64(ms) * 1_000_000
        settle()
        while runOneDue(upTo: end) { _ = tasks.waitUntilIdle() }
        monitor.locked { clock.advance(to: end) }
        settle()
    }

    /// Moves the clock until `condition` holds, at most by `ms`. False: it does not.
    func wait(ms: Int, until condition: () -> Bool) -> Bool {
        let end = monitor.locked { clock.nowNs } + UInt64(ms) * 1_000_000
        settle()
        while !condition() {
            if runOneDue(upTo: end) {
                settle()
                continue
            }
            if monitor.locked({ clock.nowNs }) >= end { return condition() }
            if Self.hasForeignThreads(beside: tasks.threadCount) {
                // Threads of the plugin's own follow no clock of ours: for them, time is what it is.
                usleep(1_000)
                monitor.locked { clock.advance(to: min(end, clock.nowNs + 1_000_000)) }
            } else {
                monitor.locked { clock.advance(to: end) }
            }
            settle()
        }
        return true
    }

    private func runOneDue(upTo endNs: UInt64) -> Bool {
        guard let entry = monitor.locked({ clock.takeNext(upTo: endNs) }) else { return false }
        entry.body()
        return true
    }

    private static func hasForeignThreads(beside own: Int) -> Bool { threadCount() > own + 1 }
}

/// The first number of a file of /proc.
func readProcess(_ path: String, into bytes: inout [UInt8]) -> Int? {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { return nil }
    defer { close(descriptor) }
    let count = read(descriptor, &bytes, bytes.count)
    return Int(String(decoding: bytes.prefix(max(0, count)).prefix { $0 >= 48 && $0 <= 57 }, as: UTF8.self))
}

/// Threads of this process.
func threadCount() -> Int {
    guard let directory = opendir("/proc/self/task") else { return 1 }
    defer { closedir(directory) }
    var count = 0
    while let entry = readdir(directory) { if entry.pointee.d_name.0 != 46 { count += 1 } }
    return count
}

/// A recursive lock: a plugin may use a service within a call that the bench makes under it.
final class BenchMonitor: @unchecked Sendable {
    private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)

    init() {
        var attributes = pthread_mutexattr_t()
        pthread_mutexattr_init(&attributes)
        pthread_mutexattr_settype(&attributes, Int32(PTHREAD_MUTEX_RECURSIVE))
        pthread_mutex_init(mutex, &attributes)
    }

    func locked<Result>(_ body: () throws -> Result) rethrows -> Result {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        return try body()
    }
}
