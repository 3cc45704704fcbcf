// A small host, only for a plugin's tests: it opens the built library as the loader does and keeps every event.
//
// The real loader and services are tested elsewhere. What a plugin's own test needs is the opposite of them: a table
// whose every answer the test decides (credit, for one), and events that can be looked at.

import Glibc
import PluginABI
import Synchronization
import Testing

struct PluginRefusal: Error, Equatable {
    var code: vc_status
    var message: String
}

/// An event as the plugin emitted it, copied.
struct RecordedEvent: Sendable {
    var type: Int
    var epoch: UInt64
    var request: UInt64
    var audio: [Int16] = []
    var position: UInt64 = 0
    var flags: UInt32 = 0
    var end: UInt64 = 0
    var textStart: UInt64 = 0
    var textEnd: UInt64 = 0
    var reason: UInt32 = 0
    var message = ""
    var fatal = false

    init(_ event: UnsafePointer<vc_event>) {
        type = Int(event.pointee.type)
        epoch = event.pointee.epoch
        request = event.pointee.request
        let raw = UnsafeRawPointer(event)
        switch type {
        case Int(VC_EVENT_ERROR):
            let body = raw.load(as: vc_event_error.self)
            fatal = body.fatal != 0
            if let error = body.error { message = String(error.pointee.message) }
        case Int(VC_EVENT_AUDIO):
            guard let frame = raw.load(as: vc_event_audio.self).frame?.pointee else { break }
            precondition(frame.bytes == UInt64(frame.samples) * 2 && frame.format == UInt32(VC_FORMAT_S16))
            let data = frame.data!.assumingMemoryBound(to: Int16.self)
            audio = Array(UnsafeBufferPointer(start: data, count: Int(frame.samples)))
            position = frame.position
            flags = frame.flags
        case Int(VC_EVENT_MARK):
            let body = raw.load(as: vc_event_mark.self)
            (position, end, textStart, textEnd) = (body.position, body.end, body.text_start, body.text_end)
        case Int(VC_EVENT_TTS_DONE):
            let body = raw.load(as: vc_event_tts_done.self)
            (reason, end) = (body.reason, body.samples)
        default: break
        }
    }
}

extension String {
    init(_ text: vc_str) {
        guard let data = text.data else { self = ""; return }
        self = String(
            decoding: UnsafeRawBufferPointer(start: data, count: Int(text.length)), as: UTF8.self)
    }
}

/// What a plugin's test can see and decide of an object: its events, its settings, its credit.
final class ObjectUnderTest: Sendable {
    struct State {
        var events: [RecordedEvent] = []
        var texts: [String: String] = [:]
        var numbers: [String: Double] = [:]
        /// Events that are still taken before AGAIN; nil for no limit.
        var credit: Int?
        /// Events of older ones are answered with CANCELED.
        var epoch: UInt64 = 0
        var gone = false
    }
    let state = Mutex(State())

    var events: [RecordedEvent] { state.withLock { $0.events } }

    /// Waits until an event of `type` is there: 10 s, because the machine may be busy.
    func wait(for type: Int, count: Int = 1) -> Bool {
        for _ in 0..<5000 {
            if events.filter({ $0.type == type }).count >= count { return true }
            usleep(2000)
        }
        return false
    }

    fileprivate func take(_ event: UnsafePointer<vc_event>) -> vc_status {
        let recorded = RecordedEvent(event)
        return state.withLock { state in
            if state.gone { return vc_status(VC_E_STALE) }
            let isControl = recorded.type < 100
            if !isControl, recorded.epoch < state.epoch { return vc_status(VC_E_CANCELED) }
            if !isControl, let credit = state.credit {
                guard credit > 0 else { return vc_status(VC_E_AGAIN) }
                state.credit = credit - 1
            }
            state.events.append(recorded)
            return vc_status(VC_OK)
        }
    }
}

/// Handles of all tests: they run at once in one process.
private let objects = Mutex<[vc_handle: ObjectUnderTest]>([:])
private let nextHandle = Atomic<UInt64>(1)
private let runningTasks = Atomic<Int>(0)

private func register(_ object: ObjectUnderTest) -> vc_handle {
    let handle = nextHandle.wrappingAdd(1, ordering: .relaxed).oldValue
    objects.withLock { $0[handle] = object }
    return handle
}

private func object(_ handle: vc_handle) -> ObjectUnderTest? { objects.withLock { $0[handle] } }

// The host's tables.

private func emit(_ handle: vc_handle, _ event: UnsafePointer<vc_event>) -> vc_status {
    object(handle)?.take(event) ?? vc_status(VC_E_STALE)
}

private func writeLog(
    _ handle: vc_handle, _ level: UInt32, _ message: vc_str, _ fields: UnsafePointer<vc_field>?, _ count: UInt32
) {}

private func isLogged(_ level: UInt32) -> UInt32 { 1 }

private func nowNs() -> UInt64 {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
}

/// Texts of settings live as long as the process: they are few.
private func configText(
    _ handle: vc_handle, _ key: UnsafePointer<CChar>, _ value: UnsafeMutablePointer<vc_str>
) -> vc_status {
    guard let text = object(handle)?.state.withLock({ $0.texts[String(cString: key)] }) else {
        return vc_status(VC_E_NOT_FOUND)
    }
    value.pointee = vc_str(data: UnsafePointer(strdup(text)), length: UInt64(text.utf8.count))
    return vc_status(VC_OK)
}

private func configNumber(
    _ handle: vc_handle, _ key: UnsafePointer<CChar>, _ value: UnsafeMutablePointer<Double>
) -> vc_status {
    guard let number = object(handle)?.state.withLock({ $0.numbers[String(cString: key)] }) else {
        return vc_status(VC_E_NOT_FOUND)
    }
    value.pointee = number
    return vc_status(VC_OK)
}

private func configInteger(
    _ handle: vc_handle, _ key: UnsafePointer<CChar>, _ value: UnsafeMutablePointer<Int64>
) -> vc_status { vc_status(VC_E_NOT_FOUND) }

private func configFlag(
    _ handle: vc_handle, _ key: UnsafePointer<CChar>, _ value: UnsafeMutablePointer<UInt32>
) -> vc_status { vc_status(VC_E_NOT_FOUND) }

private struct Work: @unchecked Sendable {
    let function: vc_task_fn
    let context: UnsafeMutableRawPointer?
}

private func runTask(
    _ owner: vc_handle, _ work: @escaping vc_task_fn, _ context: UnsafeMutableRawPointer?
) -> vc_status {
    let box = UnsafeMutablePointer<Work>.allocate(capacity: 1)
    box.initialize(to: Work(function: work, context: context))
    runningTasks.wrappingAdd(1, ordering: .relaxed)
    var thread = pthread_t()
    guard pthread_create(&thread, nil, taskThread, box) == 0 else { return vc_status(VC_E_AGAIN) }
    pthread_detach(thread)
    return vc_status(VC_OK)
}

private func taskThread(_ context: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? {
    let box = context!.assumingMemoryBound(to: Work.self)
    let work = box.move()
    box.deallocate()
    work.function(work.context)
    runningTasks.wrappingSubtract(1, ordering: .acquiringAndReleasing)
    return nil
}

private struct Tables: @unchecked Sendable {
    let host: UnsafeMutablePointer<vc_host>
    let log: UnsafeMutablePointer<vc_log>
    let clock: UnsafeMutablePointer<vc_clock>
    let config: UnsafeMutablePointer<vc_config>
    let task: UnsafeMutablePointer<vc_task>

    init() {
        func make<T>(_ value: T) -> UnsafeMutablePointer<T> {
            let pointer = UnsafeMutablePointer<T>.allocate(capacity: 1)
            pointer.initialize(to: value)
            return pointer
        }
        func size<T>(_ type: T.Type) -> UInt32 { UInt32(MemoryLayout<T>.size) }
        log = make(vc_log(size: size(vc_log.self), reserved: 0, write: writeLog, enabled: isLogged))
        clock = make(vc_clock(size: size(vc_clock.self), reserved: 0, now_ns: nowNs, wall_ns: nowNs))
        config = make(
            vc_config(
                size: size(vc_config.self), reserved: 0, text: configText, integer: configInteger,
                number: configNumber, flag: configFlag))
        task = make(vc_task(size: size(vc_task.self), reserved: 0, run: runTask))
        host = make(
            vc_host(size: size(vc_host.self), minor: UInt32(VC_ABI_MINOR), emit: emit, service: findService))
    }
}
private let tables = Tables()

private func findService(_ id: UnsafePointer<CChar>) -> UnsafeRawPointer? {
    switch String(cString: id) {
    case VC_SERVICE_LOG: UnsafeRawPointer(tables.log)
    case VC_SERVICE_CLOCK: UnsafeRawPointer(tables.clock)
    case VC_SERVICE_CONFIG: UnsafeRawPointer(tables.config)
    case VC_SERVICE_TASK: UnsafeRawPointer(tables.task)
    default: nil
    }
}

private struct Description: @unchecked Sendable { let pointer: UnsafePointer<vc_provider> }
private let loaded = Mutex<[String: Description]>([:])

/// The built library of a plugin.
struct PluginUnderTest {
    let description: UnsafePointer<vc_provider>

    init(_ name: String) throws {
        description = try loaded.withLock { plugins in
            if let known = plugins[name] { return known }
            let made = Description(pointer: try Self.load(Self.buildFolder + "/lib\(name).so"))
            plugins[name] = made
            return made
        }.pointer
    }

    /// Once for each plugin, as the contract has it.
    private static func load(_ path: String) throws -> UnsafePointer<vc_provider> {
        guard let library = dlopen(path, RTLD_NOW | RTLD_LOCAL), let symbol = dlsym(library, VC_PLUGIN_ENTRY) else {
            throw PluginRefusal(code: vc_status(VC_E_NOT_FOUND), message: String(cString: dlerror()))
        }
        let entry = unsafeBitCast(symbol, to: vc_plugin_entry_fn.self)
        var module: UnsafePointer<vc_module>?
        let status = entry(tables.host, &module)
        guard status == vc_status(VC_OK), let provider = module?.pointee.providers?[0] else {
            throw PluginRefusal(code: status, message: "the entry function refused")
        }
        return provider
    }

    /// Where this very test was linked, which is where the plugins are too: the folder of the test bundle that is
    /// mapped into this process, whatever build folder or configuration it came from.
    static let buildFolder: String = {
        guard let maps = fopen("/proc/self/maps", "r") else { return "." }
        defer { fclose(maps) }
        var line: UnsafeMutablePointer<CChar>?
        var capacity = 0
        defer { free(line) }
        while getline(&line, &capacity, maps) > 0, let text = line {
            let entry = String(cString: text)
            guard entry.contains(".xctest"), let slash = entry.firstIndex(of: "/"),
                let last = entry.lastIndex(of: "/")
            else { continue }
            return String(entry[slash..<last])
        }
        return "."
    }()

    func makeProvider(texts: [String: String] = [:], numbers: [String: Double] = [:]) throws -> ProviderUnderTest {
        try ProviderUnderTest(description, texts: texts, numbers: numbers)
    }
}

final class ProviderUnderTest {
    let description: UnsafePointer<vc_provider>
    let object = ObjectUnderTest()
    let state: UnsafeMutableRawPointer?
    private let handle: vc_handle

    init(_ description: UnsafePointer<vc_provider>, texts: [String: String], numbers: [String: Double]) throws {
        self.description = description
        object.state.withLock { ($0.texts, $0.numbers) = (texts, numbers) }
        handle = register(object)
        var request = vc_create()
        request.size = UInt32(MemoryLayout<vc_create>.size)
        request.provider = handle
        var made: UnsafeMutableRawPointer? = nil
        var error = vc_error()
        error.size = UInt32(MemoryLayout<vc_error>.size)
        let status = description.pointee.create!(&request, &made, &error)
        guard status == vc_status(VC_OK) else { throw PluginRefusal(code: status, message: String(error.message)) }
        state = made
    }

    func start() throws {
        var error = vc_error()
        error.size = UInt32(MemoryLayout<vc_error>.size)
        let status = description.pointee.start!(state, &error)
        guard status == vc_status(VC_OK) else { throw PluginRefusal(code: status, message: String(error.message)) }
    }

    func openSession(rateHz: Int, numbers: [String: Double] = [:]) throws -> SessionUnderTest {
        let object = ObjectUnderTest()
        object.state.withLock { $0.numbers = numbers }
        var request = vc_open()
        request.size = UInt32(MemoryLayout<vc_open>.size)
        request.rate_hz = UInt32(rateHz)
        request.session = register(object)
        var session = vc_session()
        session.size = UInt32(MemoryLayout<vc_session>.size)
        var error = vc_error()
        error.size = UInt32(MemoryLayout<vc_error>.size)
        let status = description.pointee.open!(state, &request, &session, &error)
        guard status == vc_status(VC_OK) else { throw PluginRefusal(code: status, message: String(error.message)) }
        return SessionUnderTest(object: object, session: session)
    }

    var vad: UnsafePointer<vc_vad_provider_ops> {
        description.pointee.kind_ops!.assumingMemoryBound(to: vc_vad_provider_ops.self)
    }

    /// One batch: a window for each session.
    func probabilities(
        _ windows: [(session: SessionUnderTest, samples: [Int16])], rateHz: Int, flags: UInt32 = 0
    ) throws -> [Float] {
        let length = windows.first?.samples.count ?? 0
        let samples = windows.flatMap(\.samples)
        return try samples.withUnsafeBufferPointer { all in
            var rows = windows.enumerated().map { index, window in
                vc_vad_row(
                    session: window.session.session.state, samples: all.baseAddress! + index * length,
                    probability: -1, flags: flags)
            }
            var batch = vc_vad_batch()
            batch.size = UInt32(MemoryLayout<vc_vad_batch>.size)
            batch.rate_hz = UInt32(rateHz)
            batch.samples = UInt32(length)
            batch.row_count = UInt32(windows.count)
            batch.row_stride = UInt32(MemoryLayout<vc_vad_row>.stride)
            batch.deadline_ns = nowNs() + 1_000_000_000
            let status = rows.withUnsafeMutableBufferPointer { rows in
                batch.rows = rows.baseAddress
                return vad.pointee.process!(state, &batch)
            }
            guard status == vc_status(VC_OK) else { throw PluginRefusal(code: status, message: "") }
            return rows.map(\.probability)
        }
    }

    func destroy() {
        while runningTasks.load(ordering: .acquiring) > 0 { usleep(1000) }
        description.pointee.destroy!(state)
    }
}

struct SessionUnderTest {
    let object: ObjectUnderTest
    let session: vc_session

    func cancel(epoch: UInt64) {
        object.state.withLock { $0.epoch = epoch }
        session.ops!.pointee.cancel!(session.state, epoch)
    }

    func speak(_ text: String, request: UInt64 = 1, epoch: UInt64 = 0, last: Bool = true) -> vc_status {
        let ops = session.kind_ops!.assumingMemoryBound(to: vc_tts_ops.self)
        var text = text
        return text.withUTF8 { bytes in
            bytes.withMemoryRebound(to: CChar.self) {
                let piece = vc_str(data: $0.baseAddress, length: UInt64($0.count))
                return ops.pointee.speak!(session.state, request, epoch, piece, last ? UInt32(VC_TTS_LAST) : 0)
            }
        }
    }

    func credit(events: Int) {
        object.state.withLock { $0.credit = events }
        session.ops!.pointee.credit!(session.state, UInt32(events), 0)
    }

    /// Closes and destroys, in the order of the contract.
    func close() {
        session.ops!.pointee.close!(session.state)
        #expect(object.wait(for: Int(VC_EVENT_CLOSED)))
        #expect(object.events.last?.type == Int(VC_EVENT_CLOSED))
        while runningTasks.load(ordering: .acquiring) > 0 { usleep(1000) }
        session.ops!.pointee.destroy!(session.state)
    }
}
