// "vc.trace/1": spans of a session's work, handed to whoever collects them, and the W3C context of its call.
//
// The trace of a call needs no registry: its id is made from the call's id and a secret of this process, so that every
// session of the call has the same one, and calls of two hosts never share one by accident.
// https://www.w3.org/TR/trace-context/

import PluginABI
import Providers
import Synchronization

let traceTable = ServiceTable(
    vc_trace(
        size: UInt32(MemoryLayout<vc_trace>.size), reserved: 0, begin: traceBegin, end: traceEnd, context: traceContext)
)

/// A finished piece of work.
public struct TraceSpan: Sendable, Equatable {
    public var call: String
    public var plugin: String
    /// The section of the provider.
    public var provider: String
    /// The turn's request, or 0.
    public var request: UInt64
    public var name: String
    public var detail: String
    /// Of the monotonic clock.
    public var beginNs: UInt64
    public var endNs: UInt64
    /// False when the session ended before the span did.
    public var isComplete: Bool
}

public final class TraceService: Sendable {
    /// Open at a time in one session: a turn has some ten, and what is never ended must not pile up.
    static let perSessionMax = 64

    private let spans: OwnedTable<OpenSpan>
    private let collector: @Sendable (TraceSpan) -> Void
    private let seeds: [UInt64]

    init(collector: @escaping @Sendable (TraceSpan) -> Void) {
        self.collector = collector
        seeds = (0..<4).map { _ in UInt64.random(in: .min ... .max) }
        spans = OwnedTable(kind: 5, limitPerOwner: Self.perSessionMax) { open in
            collector(open.finished(detail: "", isComplete: false))
        }
    }

    func begin(_ session: PluginObject, request: UInt64, name: String) -> (status: vc_status, span: vc_handle) {
        let begunNs = Monotonic.nowNs()
        let insertion = spans.insert(for: session) { _ in
            OpenSpan(
                TraceSpan(
                    call: session.call, plugin: session.plugin, provider: session.name, request: request, name: name,
                    detail: "", beginNs: begunNs, endNs: begunNs, isComplete: false))
        }
        guard case .inserted(let handle) = insertion else { return (.again, 0) }
        return (.ok, handle)
    }

    func end(_ handle: vc_handle, detail: String) {
        if let open = spans.remove(handle) { collector(open.finished(detail: detail, isComplete: true)) }
    }

    /// A span that was measured elsewhere.
    func collect(_ span: TraceSpan) { collector(span) }

    /// 32 hexadecimal digits: the same for every session of the call.
    public func traceID(ofCall call: String) -> String {
        Self.hexadecimal(hash(call, seeds[0])) + Self.hexadecimal(hash(call, seeds[1]) | 1)  // all zeroes are not valid
    }

    /// `00-<trace>-<parent>-01`: the parent stands for the session.
    func traceparent(of session: PluginObject) -> String {
        let parent = hash("\(session.call) \(session.plugin) \(session.name) \(session.handle)", seeds[2]) | 1
        return "00-\(traceID(ofCall: session.call))-\(Self.hexadecimal(parent))-01"
    }

    private func hash(_ text: String, _ seed: UInt64) -> UInt64 {
        // FNV-1a over the seed and the text, then a mix: ids have to differ, not to withstand an attack.
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325 ^ seed
        for byte in text.utf8 { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }
        hash = (hash ^ hash >> 33) &* 0xff51_afd7_ed55_8ccd
        return hash ^ hash >> 33
    }

    private static func hexadecimal(_ value: UInt64) -> String {
        String(value, radix: 16).padded(to: 16, with: "0", onLeft: true)
    }
}

private final class OpenSpan: Sendable {
    private let span: TraceSpan

    init(_ span: TraceSpan) { self.span = span }

    func finished(detail: String, isComplete: Bool) -> TraceSpan {
        var span = span
        span.detail = detail
        span.endNs = Monotonic.nowNs()
        span.isComplete = isComplete
        return span
    }
}

private func traceBegin(
    _ session: vc_handle, _ request: UInt64, _ name: UnsafePointer<CChar>, _ span: UnsafeMutablePointer<vc_handle>
) -> vc_status {
    guard let services = HostServices.current else { return .closed }
    guard !isNull(name), !isNull(span) else { return .badArgument }
    span.pointee = 0
    guard let object = HandleTable.shared.resolve(session) else { return .stale }
    let result = services.traces.begin(object, request: request, name: String(cString: name))
    span.pointee = result.span
    return result.status
}

private func traceEnd(_ span: vc_handle, _ detail: vc_str) {
    guard let services = HostServices.current, detail.isValid else { return }
    services.traces.end(span, detail: detail.text(limit: 1 << 10))
}

private func traceContext(_ session: vc_handle, _ traceparent: UnsafeMutablePointer<vc_str>) -> vc_status {
    guard let services = HostServices.current else { return .closed }
    guard !isNull(traceparent) else { return .badArgument }
    guard let object = HandleTable.shared.resolve(session) else { return .stale }
    traceparent.pointee = services.keptText.text(of: object, key: "traceparent") {
        services.traces.traceparent(of: object)
    }
    return .ok
}
