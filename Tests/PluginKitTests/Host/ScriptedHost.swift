// A host for tests: the tables of the contract, with a script behind them.
//
// It stands on the other side of the C line, so what is tested is what a real host would see, structs and all. It is
// one for the process, as a real one is; each test has objects of its own, by their handles, so tests run at the same
// time. Nothing happens by itself: a test fires the timers, answers the requests and gives the credit.

import Glibc
import PluginABI
import Synchronization

enum ScriptedHost {
    private struct State: @unchecked Sendable {
        var objects: [vc_handle: ScriptedObject] = [:]
        var latest: vc_handle = 0
    }
    private static let state = Mutex(State())

    static func newHandle() -> vc_handle {
        state.withLock { state in
            state.latest += 1
            return state.latest
        }
    }

    static func add(_ object: ScriptedObject) { state.withLock { $0.objects[object.handle] = object } }
    static func remove(_ handle: vc_handle) { _ = state.withLock { $0.objects.removeValue(forKey: handle) } }
    static func object(_ handle: vc_handle) -> ScriptedObject? { state.withLock { $0.objects[handle] } }

    /// What an entry function is called with.
    static var table: UnsafePointer<vc_host> { hostTable.pointer }
    /// A host that is older than the contract's first version.
    static var tooOld: UnsafePointer<vc_host> {
        var table = hostTable.pointer.pointee
        table.size = 8
        return Permanent(table).pointer
    }
}

struct Permanent<Table>: @unchecked Sendable {
    let pointer: UnsafePointer<Table>
    init(_ table: Table) {
        let memory = UnsafeMutablePointer<Table>.allocate(capacity: 1)
        memory.initialize(to: table)
        pointer = UnsafePointer(memory)
    }
}

private let hostTable = Permanent(
    vc_host(size: UInt32(MemoryLayout<vc_host>.size), minor: UInt32(VC_ABI_MINOR), emit: hostEmit, service: hostService)
)

private func hostEmit(_ handle: vc_handle, _ event: UnsafePointer<vc_event>) -> vc_status {
    ScriptedHost.object(handle)?.receive(event) ?? vc_status(VC_E_STALE)
}

private func hostService(_ id: UnsafePointer<CChar>) -> UnsafeRawPointer? {
    switch String(cString: id) {
    case VC_SERVICE_LOG: UnsafeRawPointer(logTable.pointer)
    case VC_SERVICE_CLOCK: UnsafeRawPointer(clockTable.pointer)
    case VC_SERVICE_TIMER: UnsafeRawPointer(timerTable.pointer)
    case VC_SERVICE_HTTP: UnsafeRawPointer(httpTable.pointer)
    case VC_SERVICE_SECRET: UnsafeRawPointer(secretTable.pointer)
    case VC_SERVICE_TASK: UnsafeRawPointer(taskTable.pointer)
    default: nil
    }
}

private let logTable = Permanent(
    vc_log(size: UInt32(MemoryLayout<vc_log>.size), reserved: 0, write: logWrite, enabled: { _ in 1 }))
private func logWrite(
    _ object: vc_handle, _ level: UInt32, _ message: vc_str, _ fields: UnsafePointer<vc_field>?, _ count: UInt32
) {
    ScriptedHost.object(object)?.logged(level, text(message))
}

private let clockTable = Permanent(
    vc_clock(
        size: UInt32(MemoryLayout<vc_clock>.size), reserved: 0, now_ns: { 1_000_000_000 }, wall_ns: { 2_000_000_000 }))

private let timerTable = Permanent(
    vc_timer(size: UInt32(MemoryLayout<vc_timer>.size), reserved: 0, arm: timerArm, disarm: timerDisarm))
private func timerArm(
    _ owner: vc_handle, _ atNs: UInt64, _ fire: vc_timer_fn, _ context: UnsafeMutableRawPointer?,
    _ timer: UnsafeMutablePointer<vc_handle>
) -> vc_status {
    guard let object = ScriptedHost.object(owner) else { return vc_status(VC_E_STALE) }
    timer.pointee = ScriptedHost.newHandle()
    object.armed(ScriptedTimer(handle: timer.pointee, atNs: atNs, fire: fire, context: context))
    return vc_status(VC_OK)
}
private func timerDisarm(_ timer: vc_handle) -> vc_status {
    ScriptedObject.disarm(timer)
    return vc_status(VC_OK)
}

private let httpTable = Permanent(
    vc_http(
        size: UInt32(MemoryLayout<vc_http>.size), reserved: 0, start: httpStart, cancel: httpCancel,
        prewarm: httpPrewarm))
private func httpStart(
    _ owner: vc_handle, _ request: UnsafePointer<vc_http_request>, _ events: UnsafePointer<vc_http_events>,
    _ context: UnsafeMutableRawPointer?, _ handle: UnsafeMutablePointer<vc_handle>
) -> vc_status {
    guard let object = ScriptedHost.object(owner) else { return vc_status(VC_E_STALE) }
    handle.pointee = ScriptedHost.newHandle()
    object.started(ScriptedExchange(handle.pointee, request.pointee, events.pointee, context, owner: object))
    return vc_status(VC_OK)
}
private func httpCancel(_ handle: vc_handle) -> vc_status {
    ScriptedObject.cancelExchange(handle)
    return vc_status(VC_OK)
}
private func httpPrewarm(_ owner: vc_handle, _ url: vc_str) { ScriptedHost.object(owner)?.prewarmed(text(url)) }

private let secretTable = Permanent(
    vc_secret(size: UInt32(MemoryLayout<vc_secret>.size), reserved: 0, with: secretWith))
private func secretWith(
    _ object: vc_handle, _ name: UnsafePointer<CChar>, _ use: vc_secret_fn, _ context: UnsafeMutableRawPointer?
) -> vc_status {
    guard String(cString: name) == "KEY" else { return vc_status(VC_E_NOT_FOUND) }
    lend("open sesame") { use(context, $0) }
    return vc_status(VC_OK)
}

/// Tasks run at once on a thread of their own.
private let taskTable = Permanent(vc_task(size: UInt32(MemoryLayout<vc_task>.size), reserved: 0, run: taskRun))
private struct TaskCall: @unchecked Sendable {
    let work: vc_task_fn
    let context: UnsafeMutableRawPointer?
}
private func taskRun(
    _ owner: vc_handle, _ work: vc_task_fn, _ context: UnsafeMutableRawPointer?
) -> vc_status {
    let call = Unmanaged.passRetained(Box(TaskCall(work: work, context: context)))
    var thread = pthread_t()
    pthread_create(
        &thread, nil,
        { argument in
            let call = Unmanaged<Box<TaskCall>>.fromOpaque(argument!).takeRetainedValue().value
            call.work(call.context)
            return nil
        }, call.toOpaque())
    pthread_join(thread, nil)
    return vc_status(VC_OK)
}
private final class Box<Value> {
    let value: Value
    init(_ value: Value) { self.value = value }
}

func text(_ string: vc_str) -> String {
    String(decoding: UnsafeRawBufferPointer(start: string.data, count: Int(string.length)), as: UTF8.self)
}

/// Lends a text as the contract passes it.
func lend<Result>(_ text: String, _ body: (vc_str) -> Result) -> Result {
    var text = text
    return text.withUTF8 { bytes in
        bytes.withMemoryRebound(to: CChar.self) { body(vc_str(data: $0.baseAddress, length: UInt64($0.count))) }
    }
}
