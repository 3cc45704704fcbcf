// The small services in a worker: log, metrics, secrets, traces and media.

import Glibc
import PluginABI
import Providers
import Synchronization

// MARK: Log

let childLogTable = ServiceTable(
    vc_log(size: UInt32(MemoryLayout<vc_log>.size), reserved: 0, write: childLogWrite, enabled: childLogEnabled))

private func childLogWrite(
    _ object: vc_handle, _ level: UInt32, _ message: vc_str, _ fields: UnsafePointer<vc_field>?, _ count: UInt32
) {
    guard let child = ChildSideServices.current, childLogEnabled(level) == 1, message.isValid else { return }
    // A line for which there is no room is lost, as in the host's own queue.
    child.send(.log, object == 0 ? child.providerHandle : object) { writer in
        writer.put(level)
        writer.put(cut(message, Logger.messageBytesMax + 1))
        let kept = (0..<min(Int(count), Logger.fieldsMax)).filter { index in
            fields.map { $0[index].name.isValid && $0[index].value.isValid } ?? false
        }
        writer.put(UInt32(kept.count))
        for index in kept {
            writer.put(cut(fields![index].name, 256))
            writer.put(cut(fields![index].value, Logger.fieldBytesMax + 1))
        }
    }
}

private func childLogEnabled(_ level: UInt32) -> UInt32 {
    guard let threshold = ChildSideServices.current?.line?.logLevel() else { return 0 }
    // Both faults are errors of a kind and are kept whenever errors are.
    return min(level, UInt32(VC_LOG_ERROR)) >= min(threshold, UInt32(VC_LOG_ERROR)) ? 1 : 0
}

private func cut(_ text: vc_str, _ limit: Int) -> vc_str {
    vc_str(data: text.data, length: min(text.length, UInt64(limit)))
}

// MARK: Metrics

let childMetricsTable = ServiceTable(
    vc_metrics(
        size: UInt32(MemoryLayout<vc_metrics>.size), reserved: 0, define: childMetricsDefine,
        record: childMetricsRecord))

private func childMetricsDefine(
    _ provider: vc_handle, _ type: UInt32, _ name: UnsafePointer<CChar>, _ help: UnsafePointer<CChar>,
    _ metric: UnsafeMutablePointer<vc_handle>
) -> vc_status {
    guard let child = ChildSideServices.current else { return .closed }
    guard !isNull(name), !isNull(help), !isNull(metric) else { return .badArgument }
    metric.pointee = 0
    guard HandleTable.shared.resolve(provider) != nil else { return .stale }
    let (status, body) = child.ask(.metricDefine, provider) { writer in
        writer.put(type)
        writer.put(String(cString: name))
        writer.put(String(cString: help))
    }
    if status == .ok, body.count >= 8 { metric.pointee = body.withUnsafeBytes { $0.loadUnaligned(as: UInt64.self) } }
    return status
}

private func childMetricsRecord(_ metric: vc_handle, _ value: Double) {
    guard let child = ChildSideServices.current else { return }
    child.send(.metricRecord, child.providerHandle) { writer in
        writer.put(metric)
        writer.put(value)
    }
}

// MARK: Secrets

let childSecretTable = ServiceTable(
    vc_secret(size: UInt32(MemoryLayout<vc_secret>.size), reserved: 0, with: childSecretWith))

private func childSecretWith(
    _ object: vc_handle, _ name: UnsafePointer<CChar>, _ use: @escaping vc_secret_fn,
    _ context: UnsafeMutableRawPointer?
) -> vc_status {
    guard let child = ChildSideServices.current else { return .closed }
    guard !isNull(name), !isNullFunction(use) else { return .badArgument }
    guard HandleTable.shared.resolve(object) != nil else { return .stale }
    var (status, body) = child.ask(.secret, object) { $0.put(String(cString: name)) }
    guard status == .ok, body.count >= 4 else { return status }
    body.withUnsafeMutableBytes { bytes in
        // Its length is in front; behind it is what fills a message up.
        var reader = WireReader(UnsafeRawBufferPointer(bytes))
        if let secret = try? reader.takeText() { use(context, secret) }
        explicit_bzero(bytes.baseAddress!, bytes.count)
    }
    return .ok
}

// MARK: Traces

let childTraceTable = ServiceTable(
    vc_trace(
        size: UInt32(MemoryLayout<vc_trace>.size), reserved: 0, begin: childTraceBegin, end: childTraceEnd,
        context: childTraceContext))

/// Spans that are not ended, measured here and told whole.
final class ChildSpans: Sendable {
    struct Open {
        let session: vc_handle
        let request: UInt64
        let name: String
        let begunNs: UInt64
    }

    private struct State {
        var next: UInt64 = 0
        var open: [UInt64: Open] = [:]
    }
    private let state = Mutex(State())

    /// Nil: the session has too many already.
    func begin(_ span: Open) -> UInt64? {
        state.withLock { state in
            // Those of sessions that are gone are never ended.
            state.open = state.open.filter { HandleTable.shared.resolve($0.value.session) != nil }
            guard state.open.values.count(where: { $0.session == span.session }) < TraceService.perSessionMax else {
                return nil
            }
            state.next += 1
            state.open[state.next] = span
            return state.next
        }
    }

    func end(_ number: UInt64) -> Open? { state.withLock { $0.open.removeValue(forKey: number) } }
}

private func childTraceBegin(
    _ session: vc_handle, _ request: UInt64, _ name: UnsafePointer<CChar>, _ span: UnsafeMutablePointer<vc_handle>
) -> vc_status {
    guard let child = ChildSideServices.current else { return .closed }
    guard !isNull(name), !isNull(span) else { return .badArgument }
    span.pointee = 0
    guard HandleTable.shared.resolve(session) != nil else { return .stale }
    let number = child.spans.begin(
        ChildSpans.Open(
            session: session, request: request, name: String(cString: name), begunNs: Monotonic.nowNs()))
    guard let number else { return .again }
    span.pointee = number
    return .ok
}

private func childTraceEnd(_ span: vc_handle, _ detail: vc_str) {
    guard let child = ChildSideServices.current, detail.isValid, let open = child.spans.end(span) else { return }
    child.send(.span, open.session) { writer in
        writer.put(open.request)
        writer.put(open.begunNs)
        writer.put(Monotonic.nowNs())
        writer.put(UInt32(1))
        writer.put(open.name)
        writer.put(detail.text(limit: 1 << 10))
    }
}

private func childTraceContext(_ session: vc_handle, _ traceparent: UnsafeMutablePointer<vc_str>) -> vc_status {
    guard let services = ChildSideServices.current?.line?.services else { return .closed }
    guard !isNull(traceparent) else { return .badArgument }
    guard let object = HandleTable.shared.resolve(session) else { return .stale }
    // It came with the session (`opened`).
    traceparent.pointee = services.keptText.text(of: object, key: "traceparent") { "" }
    return .ok
}

// MARK: Media

let childMediaTable = ServiceTable(
    vc_media(
        size: UInt32(MemoryLayout<vc_media>.size), reserved: 0, open: childMediaOpen, answer: childMediaAnswer,
        offer: childMediaOffer, accept: childMediaAccept, close: childMediaClose))

/// Whose media they are, and the texts that the host gave last, which live until the next call.
final class ChildMedia: Sendable {
    private struct Kept: @unchecked Sendable {
        let session: vc_handle
        var texts: [UnsafeMutablePointer<CChar>] = []
    }
    private let state = Mutex<[vc_handle: Kept]>([:])

    func add(_ media: vc_handle, of session: vc_handle) { state.withLock { $0[media] = Kept(session: session) } }
    func session(of media: vc_handle) -> vc_handle? { state.withLock { $0[media]?.session } }

    func keep(_ media: vc_handle, _ texts: [String]) -> [vc_str] {
        state.withLock { state in
            guard var kept = state[media] else { return texts.map { _ in vc_str() } }
            kept.texts.forEach { free($0) }
            kept.texts = texts.map { strdup($0) }
            state[media] = kept
            return kept.texts.map { vc_str(data: $0, length: UInt64(strlen($0))) }
        }
    }

    func remove(_ media: vc_handle) {
        state.withLock { state in state.removeValue(forKey: media)?.texts.forEach { free($0) } }
    }
}

private func childMediaOpen(_ session: vc_handle, _ media: UnsafeMutablePointer<vc_handle>) -> vc_status {
    guard let child = ChildSideServices.current else { return .closed }
    let (status, body) = child.ask(.mediaOpen, session) { _ in }
    guard status == .ok, body.count >= 8 else { return status == .ok ? .closed : status }
    media.pointee = body.withUnsafeBytes { $0.loadUnaligned(as: UInt64.self) }
    child.media.add(media.pointee, of: session)
    return .ok
}

private func exchange(
    _ operation: WorkerOperation, _ media: vc_handle, _ text: vc_str, _ ours: UnsafeMutablePointer<vc_str>?,
    _ error: UnsafeMutablePointer<vc_error>?
) -> vc_status {
    guard let child = ChildSideServices.current, let session = child.media.session(of: media) else { return .stale }
    let (status, body) = child.ask(operation, session) { writer in
        writer.put(media)
        writer.put(text)
    }
    body.withUnsafeBytes { bytes in
        var reader = WireReader(bytes)
        guard let answer = try? reader.takeString(), let failure = try? reader.takeError() else { return }
        let kept = child.media.keep(media, [answer, failure.message.text()])
        ours?.pointee = kept[0]
        guard status != .ok, let error else { return }
        error.pointee.code = failure.code
        error.pointee.protocol_status = failure.protocol_status
        error.pointee.message = kept[1]
    }
    return status
}

private func childMediaAnswer(
    _ media: vc_handle, _ offer: vc_str, _ answer: UnsafeMutablePointer<vc_str>, _ error: UnsafeMutablePointer<vc_error>
) -> vc_status { exchange(.mediaAnswer, media, offer, answer, error) }

private func childMediaOffer(
    _ media: vc_handle, _ offer: UnsafeMutablePointer<vc_str>, _ error: UnsafeMutablePointer<vc_error>
) -> vc_status { exchange(.mediaOffer, media, vc_str(), offer, error) }

private func childMediaAccept(
    _ media: vc_handle, _ answer: vc_str, _ error: UnsafeMutablePointer<vc_error>
) -> vc_status { exchange(.mediaAccept, media, answer, nil, error) }

private func childMediaClose(_ media: vc_handle) -> vc_status {
    let status = exchange(.mediaClose, media, vc_str(), nil, nil)
    ChildSideServices.current?.media.remove(media)
    return status
}
