// The services in a worker. Clock, timers, tasks and settings are this process's own; the rest is asked of the host.
//
// A plugin sees the same tables with the same bounds. What it must be told at once (that it has too many requests, that
// a handle is stale) is decided here; what only the host knows comes later, as it would from a vendor.

import Glibc
import PluginABI
import Providers
import Synchronization

/// To be given to `WorkerChild.run`.
package final class ChildSideServices: WorkerServiceChild {
    /// For C functions, which have no other way to find it. Set before the plugin is loaded.
    static var current: ChildSideServices? { running.withLock { $0 } }
    private static let running = Mutex<ChildSideServices?>(nil)

    struct Line: Sendable {
        let line: any WorkerLine
        let logLevel: @Sendable () -> UInt32
        let services: HostServices
    }

    private struct Asking {
        var next: UInt64 = 1
        var answers: [UInt64: [UInt8]?] = [:]
    }

    private let state = Mutex<Line?>(nil)
    private let asking = Monitor(Asking())
    private let provider = Mutex<vc_handle>(0)
    let requests: OwnedTable<ChildRequest>
    let sockets: OwnedTable<ChildSocket>
    let media = ChildMedia()
    let spans = ChildSpans()

    package init() {
        requests = OwnedTable(kind: 2, limitPerOwner: HTTPService.perOwnerMax) { $0.cancel() }
        sockets = OwnedTable(kind: 3, limitPerOwner: WebSocketService.perOwnerMax) { $0.orphan() }
    }

    package func install(_ line: any WorkerLine, logLevel: @escaping @Sendable () -> UInt32) {
        var configuration = HostServices.Configuration()
        configuration.isWorker = true
        // One provider's tasks; in the host four threads serve them all.
        configuration.taskThreads = 2
        let services = HostServices.start(configuration: configuration)
        state.withLock { $0 = Line(line: line, logLevel: logLevel, services: services) }
        Self.running.withLock { $0 = self }
        var watch = HostTable.watch
        watch.epochRaised = { [weak self] object in self?.epochRaised(of: object) }
        HostTable.watch = watch
        for (id, table) in [
            (VC_SERVICE_LOG, childLogTable), (VC_SERVICE_METRICS, childMetricsTable),
            (VC_SERVICE_SECRET, childSecretTable), (VC_SERVICE_TRACE, childTraceTable),
            (VC_SERVICE_HTTP, childHTTPTable), (VC_SERVICE_WS, childSocketTable), (VC_SERVICE_MEDIA, childMediaTable),
        ] {
            HostTable.register(service: id, table: table.pointer)
        }
    }

    package func opened(_ object: PluginObject, context: String) {
        if object.level == .provider { provider.withLock { $0 = object.handle } }
        guard !context.isEmpty, let services = line?.services else { return }
        _ = services.keptText.text(of: object, key: "traceparent") { context }
    }

    var line: Line? { state.withLock { $0 } }
    /// Who a line of the log is about that names nobody.
    var providerHandle: vc_handle { provider.withLock { $0 } }

    // MARK: To the host

    /// Posts to the host. False when there is no room now.
    @discardableResult
    func send(
        _ operation: WorkerOperation, _ object: vc_handle, _ number: UInt64 = 0, urgent: Bool = false,
        _ body: (inout WireWriter) -> Void
    ) -> Bool {
        line?.line.send(service: operation.rawValue, object: object, number: number, urgent: urgent, body) ?? false
    }

    /// Asks the host and waits: for what the contract answers within the call.
    func ask(
        _ operation: WorkerOperation, _ object: vc_handle, timeoutMs: UInt64 = 400, _ body: (inout WireWriter) -> Void
    ) -> (status: vc_status, body: [UInt8]) {
        let number = asking.withLock { asking in
            asking.next += 1
            asking.answers.updateValue(nil, forKey: asking.next)
            return asking.next
        }
        defer { asking.withLock { _ = $0.answers.removeValue(forKey: number) } }
        guard send(operation, object, number, urgent: true, body) else { return (.again, []) }
        let end = Monotonic.nowNs() + timeoutMs * 1_000_000
        let answer: [UInt8]? = asking.wait { asking, now in
            if let there = asking.answers[number], let bytes = there { return .ready(bytes) }
            return now >= end ? .ready(nil) : .sleepUntil(end)
        }
        guard let answer, answer.count >= MemoryLayout<vc_status>.size else { return (.timeout, []) }
        let status = answer.withUnsafeBytes { $0.loadUnaligned(as: vc_status.self) }
        return (status, Array(answer.dropFirst(MemoryLayout<vc_status>.size)))
    }

    // MARK: From the host

    package func received(
        _ operation: UInt16, of object: PluginObject?, number: UInt64, _ body: inout WireReader
    ) throws(WireFault) {
        switch WorkerOperation(rawValue: operation) {
        case .reply:
            var bytes: [UInt8] = []
            while body.remaining > 0 { bytes.append(try body.take(UInt8.self)) }
            asking.withLock { asking in
                // Nobody waits any more for one that is late.
                if asking.answers[number] != nil { asking.answers.updateValue(bytes, forKey: number) }
            }
            asking.broadcast()
        case .httpResponse:
            let status = try body.take(UInt32.self)
            var headers: [(name: String, value: String)] = []
            for field in try body.takeFields() { headers.append((field.name.text(), field.value.text())) }
            requests.resolve(number)?.put(.response(status: status, headers: headers))
        case .httpData: requests.resolve(number)?.put(.data(try body.takeBytes()))
        case .httpDone: requests.resolve(number)?.put(.done(try body.takeFailure()))
        case .socketOpened: sockets.resolve(number)?.put(.opened)
        case .socketMessage:
            let isBinary = try body.take(UInt32.self) == 1
            sockets.resolve(number)?.put(.message(try body.takeBytes(), isBinary: isBinary))
        case .socketSent: sockets.resolve(number)?.sent(Int(try body.take(UInt32.self)))
        case .socketClosed:
            let code = try body.take(UInt32.self)
            let reason = try body.takeString()
            sockets.resolve(number)?.put(.closed(code: code, reason: reason, try body.takeFailure()))
        default: throw WireFault(problem: "operation \(operation) of a service")
        }
    }

    private func epochRaised(of object: PluginObject) {
        let epoch = object.epoch.load(ordering: .acquiring)
        for request in requests.all(of: object.handle) where request.epoch < epoch {
            // The host ends it by itself: its epoch is raised too.
            requests.remove(request.handle)
            request.forget()
        }
    }
}

extension WireReader {
    /// What `put` of an optional error left.
    mutating func takeFailure() throws(WireFault) -> ServiceFailure? {
        guard try take(UInt32.self) == 1 else { return nil }
        let error = try takeError()
        return ServiceFailure(
            code: error.code, message: error.message.text(), isRetryable: error.retryable == 1,
            retryAfterMs: error.retry_after_ms, protocolStatus: error.protocol_status)
    }
}
