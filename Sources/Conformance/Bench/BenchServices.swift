// The host's services, as the bench offers them: true to their headers, on the virtual clock.
//
// What a plugin does with a service that the header does not allow is noted in `World.misuse` and refused as a host
// would. Requests and sockets (`Bench/Services/`) go to the scripted vendor.

import Glibc
import JSON
import PluginABI

enum BenchServices {
    /// The table of `id`; nil: the bench does not offer it.
    static func table(_ id: String) -> UnsafeRawPointer? { tables[id]?.pointer }

    /// Everything that can be hidden from a plugin.
    static var ids: [String] { tables.keys.sorted() }

    /// Offers a service that stands elsewhere.
    static func offer(_ id: String, _ table: UnsafeRawPointer) { tables[id] = Table(pointer: table) }

    private struct Table: @unchecked Sendable { let pointer: UnsafeRawPointer }

    nonisolated(unsafe) private static var tables: [String: Table] = [
        VC_SERVICE_LOG: make(
            vc_log(size: size(vc_log.self), reserved: 0, write: benchLog, enabled: benchLogEnabled)),
        VC_SERVICE_CLOCK: make(
            vc_clock(size: size(vc_clock.self), reserved: 0, now_ns: benchNow, wall_ns: benchWall)),
        VC_SERVICE_TIMER: make(
            vc_timer(size: size(vc_timer.self), reserved: 0, arm: benchArm, disarm: benchDisarm)),
        VC_SERVICE_TASK: make(vc_task(size: size(vc_task.self), reserved: 0, run: benchRun)),
        VC_SERVICE_CONFIG: make(
            vc_config(
                size: size(vc_config.self), reserved: 0, text: benchText, integer: benchInteger, number: benchNumber,
                flag: benchFlag)),
        VC_SERVICE_SECRET: make(vc_secret(size: size(vc_secret.self), reserved: 0, with: benchSecret)),
        VC_SERVICE_METRICS: make(
            vc_metrics(size: size(vc_metrics.self), reserved: 0, define: benchDefine, record: benchRecord)),
        VC_SERVICE_TRACE: make(
            vc_trace(size: size(vc_trace.self), reserved: 0, begin: benchBegin, end: benchEnd, context: benchTrace)),
        VC_SERVICE_MEDIA: make(
            vc_media(
                size: size(vc_media.self), reserved: 0, open: benchMediaOpen, answer: benchMediaAnswer,
                offer: benchMediaOffer, accept: benchMediaAccept, close: benchMediaClose)),
    ]

    private static func size<T>(_: T.Type) -> UInt32 { UInt32(MemoryLayout<T>.size) }

    /// Tables live as long as the process.
    private static func make<T>(_ value: T) -> Table {
        let pointer = UnsafeMutablePointer<T>.allocate(capacity: 1)
        pointer.initialize(to: value)
        return Table(pointer: UnsafeRawPointer(pointer))
    }
}

private var world: World { World.current }

func benchString(_ text: vc_str) -> String {
    guard let data = text.data, text.length > 0, text.length <= 1 << 24 else { return "" }
    return String(decoding: UnsafeRawBufferPointer(start: data, count: Int(text.length)), as: UTF8.self)
}

// MARK: vc.log/1

private func benchLog(
    _ object: vc_handle, _ level: UInt32, _ message: vc_str, _ fields: UnsafePointer<vc_field>?, _ count: UInt32
) {
    let pairs = (0..<min(Int(count), 64)).compactMap { index in
        fields.map { (benchString($0[index].name), benchString($0[index].value)) }
    }
    world.monitor.locked {
        if level < UInt32(VC_LOG_DEBUG) || level > UInt32(VC_LOG_PLUGIN_FAULT) {
            world.misuse.append("vc.log: a line of level \(level)")
        }
        if count > 0, fields == nil { world.misuse.append("vc.log: \(count) fields at NULL") }
        if world.logLines.count < 100_000 {
            world.logLines.append(
                RecordedLogLine(object: object, level: level, message: benchString(message), fields: pairs))
        }
    }
}

private func benchLogEnabled(_ level: UInt32) -> UInt32 { 1 }

// MARK: vc.clock/1

/// 2025-06-01, at the bench's beginning.
private let wallBeginNs: UInt64 = 1_748_736_000_000_000_000

private func benchNow() -> UInt64 { world.monitor.locked { world.clock.nowNs } }

private func benchWall() -> UInt64 {
    world.monitor.locked { UInt64(Int64(wallBeginNs + world.clock.nowNs - 1_000_000_000_000) + world.wallShiftNs) }
}

// MARK: vc.timer/1

private func benchArm(
    _ owner: vc_handle, _ atNs: UInt64, _ fire: @escaping vc_timer_fn, _ context: UnsafeMutableRawPointer?,
    _ timer: UnsafeMutablePointer<vc_handle>
) -> vc_status {
    world.monitor.locked {
        guard let object = world.object(owner), !object.isGone else {
            world.misuse.append("vc.timer: arm for an object that is gone")
            return vc_status(VC_E_STALE)
        }
        if let status = world.refusal("timer.arm") { return status }
        guard world.timers.values.filter({ $0.owner == owner }).count < 64 else { return vc_status(VC_E_AGAIN) }
        let handle = world.nextHandle()
        let id = world.clock.schedule(atNs: atNs &+ world.latenessNs(), owner: owner) {
            world.monitor.locked { _ = world.timers.removeValue(forKey: handle) }
            world.call("timer") { fire(context, handle) }
        }
        world.timers[handle] = (owner, id)
        timer.pointee = handle
        return vc_status(VC_OK)
    }
}

private func benchDisarm(_ timer: vc_handle) -> vc_status {
    world.monitor.locked {
        guard let entry = world.timers.removeValue(forKey: timer) else { return vc_status(VC_E_STALE) }
        return world.clock.cancel(entry.id) ? vc_status(VC_OK) : vc_status(VC_E_STALE)
    }
}

// MARK: vc.task/1

private func benchRun(
    _ owner: vc_handle, _ work: @escaping vc_task_fn, _ context: UnsafeMutableRawPointer?
) -> vc_status {
    let isThere = world.monitor.locked { () -> Bool in
        guard let object = world.object(owner), !object.isGone else {
            world.misuse.append("vc.task: run for an object that is gone")
            return false
        }
        return true
    }
    if isThere, let status = world.refusal("task.run") { return status }
    return isThere ? world.tasks.run(owner, work, context) : vc_status(VC_E_STALE)
}

// MARK: vc.config/1

private func benchValue(_ object: vc_handle, _ key: UnsafePointer<CChar>) -> JSONValue? {
    guard var value = world.object(object)?.configuration else { return nil }
    for part in String(cString: key).split(separator: ".") {
        guard let inner = value[String(part)] else { return nil }
        value = inner
    }
    return value
}

private func benchText(
    _ object: vc_handle, _ key: UnsafePointer<CChar>, _ out: UnsafeMutablePointer<vc_str>
) -> vc_status {
    world.monitor.locked {
        guard let owner = world.object(object) else { return vc_status(VC_E_STALE) }
        guard let value = benchValue(object, key) else { return vc_status(VC_E_NOT_FOUND) }
        guard let text = value.string else { return vc_status(VC_E_ARGUMENT) }
        let copy = strdup(text)!
        owner.kept.append(copy)
        out.pointee = vc_str(data: copy, length: UInt64(text.utf8.count))
        return vc_status(VC_OK)
    }
}

private func benchInteger(
    _ object: vc_handle, _ key: UnsafePointer<CChar>, _ out: UnsafeMutablePointer<Int64>
) -> vc_status {
    world.monitor.locked {
        guard world.object(object) != nil else { return vc_status(VC_E_STALE) }
        guard let value = benchValue(object, key) else { return vc_status(VC_E_NOT_FOUND) }
        guard let integer = value.integer else { return vc_status(VC_E_ARGUMENT) }
        out.pointee = integer
        return vc_status(VC_OK)
    }
}

private func benchNumber(
    _ object: vc_handle, _ key: UnsafePointer<CChar>, _ out: UnsafeMutablePointer<Double>
) -> vc_status {
    world.monitor.locked {
        guard world.object(object) != nil else { return vc_status(VC_E_STALE) }
        guard let value = benchValue(object, key) else { return vc_status(VC_E_NOT_FOUND) }
        guard let number = value.number else { return vc_status(VC_E_ARGUMENT) }
        out.pointee = number
        return vc_status(VC_OK)
    }
}

private func benchFlag(
    _ object: vc_handle, _ key: UnsafePointer<CChar>, _ out: UnsafeMutablePointer<UInt32>
) -> vc_status {
    world.monitor.locked {
        guard world.object(object) != nil else { return vc_status(VC_E_STALE) }
        guard let value = benchValue(object, key) else { return vc_status(VC_E_NOT_FOUND) }
        guard let flag = value.bool else { return vc_status(VC_E_ARGUMENT) }
        out.pointee = flag ? 1 : 0
        return vc_status(VC_OK)
    }
}

// MARK: vc.secret/1

private func benchSecret(
    _ object: vc_handle, _ name: UnsafePointer<CChar>, _ use: @escaping vc_secret_fn,
    _ context: UnsafeMutableRawPointer?
) -> vc_status {
    let name = String(cString: name)
    guard world.monitor.locked({ world.object(object).map { !$0.isGone } ?? false }) else {
        return vc_status(VC_E_STALE)
    }
    guard world.secretNames.contains(name) else {
        world.monitor.locked { world.misuse.append("vc.secret: \(name) is not in the manifest") }
        return vc_status(VC_E_NOT_FOUND)
    }
    if world.tasks.isTaskThread(pthread_self()) {
        world.monitor.locked { world.misuse.append("vc.secret: asked for on a thread of a task") }
    }
    guard let secret = world.job.secrets[name] else { return vc_status(VC_E_NOT_FOUND) }
    let count = secret.utf8.count
    let copy = strdup(secret)!
    world.call("secret") { use(context, vc_str(data: copy, length: UInt64(count))) }
    memset(copy, 0, count)
    free(copy)
    return vc_status(VC_OK)
}

// MARK: vc.metrics/1

private func benchDefine(
    _ provider: vc_handle, _ type: UInt32, _ name: UnsafePointer<CChar>, _ help: UnsafePointer<CChar>,
    _ metric: UnsafeMutablePointer<vc_handle>
) -> vc_status {
    world.monitor.locked {
        guard let owner = world.object(provider), !owner.isGone else { return vc_status(VC_E_STALE) }
        if owner.level != .provider { world.misuse.append("vc.metrics: define for a session") }
        if !["create", "start"].contains(world.callInProgress) {
            world.misuse.append("vc.metrics: define in \(world.callInProgress), and not in create or start")
        }
        if let status = world.refusal("metrics.define") { return status }
        guard world.metrics.count < 32 else {
            world.misuse.append("vc.metrics: more than 32 metrics")
            return vc_status(VC_E_AGAIN)
        }
        let handle = world.nextHandle()
        world.metrics[handle] = String(cString: name)
        metric.pointee = handle
        return vc_status(VC_OK)
    }
}

private func benchRecord(_ metric: vc_handle, _ value: Double) {
    world.monitor.locked {
        guard let name = world.metrics[metric] else {
            world.misuse.append("vc.metrics: record in a metric that was never defined")
            return
        }
        if !value.isFinite { world.misuse.append("vc.metrics: \(value) in \(name)") }
    }
}

// MARK: vc.trace/1

private func benchBegin(
    _ session: vc_handle, _ request: UInt64, _ name: UnsafePointer<CChar>, _ span: UnsafeMutablePointer<vc_handle>
) -> vc_status {
    world.monitor.locked {
        guard let owner = world.object(session), !owner.isGone else { return vc_status(VC_E_STALE) }
        if let status = world.refusal("trace.begin") { return status }
        let handle = world.nextHandle()
        world.spans.insert(handle)
        span.pointee = handle
        return vc_status(VC_OK)
    }
}

private func benchEnd(_ span: vc_handle, _ detail: vc_str) {
    world.monitor.locked {
        if world.spans.remove(span) == nil { world.misuse.append("vc.trace: end of a span that is not open") }
    }
}

private func benchTrace(_ session: vc_handle, _ out: UnsafeMutablePointer<vc_str>) -> vc_status {
    world.monitor.locked {
        guard let owner = world.object(session), !owner.isGone else { return vc_status(VC_E_STALE) }
        let text = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
        let copy = strdup(text)!
        owner.kept.append(copy)
        out.pointee = vc_str(data: copy, length: UInt64(text.utf8.count))
        return vc_status(VC_OK)
    }
}

// MARK: vc.media/1

/// What the bench's engine can say: enough to be carried, which is all that a signalling plugin does with it.
private let description = """
    v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 40000 RTP/AVP 0 101\r\n\
    a=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\na=ptime:20\r\na=sendrecv\r\n
    """

private func benchMediaOpen(_ session: vc_handle, _ media: UnsafeMutablePointer<vc_handle>) -> vc_status {
    world.monitor.locked {
        guard let owner = world.object(session), !owner.isGone else { return vc_status(VC_E_STALE) }
        if owner.level != .session { world.misuse.append("vc.media: open for a provider") }
        if world.media.values.contains(where: { $0.session == session && !$0.isClosed }) {
            world.misuse.append("vc.media: a second media session for one telephony session")
        }
        if world.refusesMedia { return vc_status(VC_E_AGAIN) }
        if let status = world.refusal("media.open") { return status }
        let handle = world.nextHandle()
        world.media[handle] = BenchMedia(session: session)
        media.pointee = handle
        return vc_status(VC_OK)
    }
}

private func benchMediaDo(
    _ media: vc_handle, _ what: String, _ error: UnsafeMutablePointer<vc_error>?,
    _ body: (inout BenchMedia) -> vc_status
) -> vc_status {
    world.monitor.locked {
        guard var entry = world.media[media], !entry.isClosed else {
            world.misuse.append("vc.media: \(what) on a media session that is closed or never was")
            return vc_status(VC_E_STALE)
        }
        // A copy, because `body` may look at the table itself.
        defer { world.media[media] = entry }
        return body(&entry)
    }
}

private func benchMediaText(_ media: vc_handle, _ out: UnsafeMutablePointer<vc_str>) {
    guard let owner = world.media[media].flatMap({ world.object($0.session) }) else { return }
    let copy = strdup(description)!
    owner.kept.append(copy)
    out.pointee = vc_str(data: copy, length: UInt64(description.utf8.count))
}

private func benchMediaAnswer(
    _ media: vc_handle, _ offer: vc_str, _ answer: UnsafeMutablePointer<vc_str>, _ error: UnsafeMutablePointer<vc_error>
) -> vc_status {
    benchMediaDo(media, "answer", error) { entry in
        entry.heard.append(benchString(offer))
        guard benchString(offer).hasPrefix("v=0") else { return vc_status(VC_E_ARGUMENT) }
        guard !world.refusesCodecs else { return vc_status(VC_E_UNSUPPORTED) }
        benchMediaText(media, answer)
        return vc_status(VC_OK)
    }
}

private func benchMediaOffer(
    _ media: vc_handle, _ offer: UnsafeMutablePointer<vc_str>, _ error: UnsafeMutablePointer<vc_error>
) -> vc_status {
    benchMediaDo(media, "offer", error) { _ in
        benchMediaText(media, offer)
        return vc_status(VC_OK)
    }
}

private func benchMediaAccept(
    _ media: vc_handle, _ answer: vc_str, _ error: UnsafeMutablePointer<vc_error>
) -> vc_status {
    benchMediaDo(media, "accept", error) { entry in
        entry.heard.append(benchString(answer))
        guard benchString(answer).hasPrefix("v=0") else { return vc_status(VC_E_ARGUMENT) }
        return world.refusesCodecs ? vc_status(VC_E_UNSUPPORTED) : vc_status(VC_OK)
    }
}

private func benchMediaClose(_ media: vc_handle) -> vc_status {
    benchMediaDo(media, "close", nil) { entry in
        entry.isClosed = true
        return vc_status(VC_OK)
    }
}

/// A media session that carries nothing.
struct BenchMedia {
    let session: vc_handle
    var heard: [String] = []
    var isClosed = false
}
