// The host's half of a worker's services. What a worker asks is done with the very tables that a plugin in process
// gets, so there is one place where a URL is checked and a secret is put into a header.
//
// Requests and sockets of a worker's object belong to a shadow of it: an object of the same name that nobody else ever
// locks. What arrives from a vendor may have to wait until the worker has taken what came before, and whoever waits
// holds the owner's lock; with the session itself that would hold up the call.

import Glibc
import PluginABI
import Providers
import Synchronization

final class HostSideServices: WorkerServiceHost {
    private let services: HostServices
    let http: HostSideHTTP
    let sockets: HostSideSockets
    private let media = HostSideMedia()
    private let shadows = Mutex<[vc_handle: PluginObject]>([:])
    private let metrics = Mutex<[vc_handle: Set<vc_handle>]>([:])

    init(_ services: HostServices) {
        self.services = services
        http = HostSideHTTP()
        sockets = HostSideSockets()
    }

    var logLevel: UInt32 { services.logger.level.rawValue }

    func context(of session: PluginObject) -> String { services.traces.traceparent(of: session) }

    func epochRaised(of object: vc_handle, to epoch: UInt64) {
        guard let shadow = shadows.withLock({ $0[object] }) else { return }
        shadow.epoch.max(epoch, ordering: .acquiringAndReleasing)
        services.epochRaised(of: shadow)
    }

    func ended(_ object: vc_handle) {
        media.ended(object)
        metrics.withLock { _ = $0.removeValue(forKey: object) }
        guard let shadow = shadows.withLock({ $0.removeValue(forKey: object) }) else { return }
        shadow.end()
        HandleTable.shared.remove(shadow.handle)
        http.ended(shadow.handle)
        sockets.ended(shadow.handle)
    }

    private func shadow(of object: PluginObject) -> PluginObject {
        shadows.withLock { shadows in
            if let known = shadows[object.handle] { return known }
            let shadow = PluginObject(
                level: object.level, plugin: object.plugin, name: object.name, call: object.call,
                secrets: object.secrets, isShadow: true
            ) { _ in vc_status(VC_E_STALE) }
            shadow.epoch.store(object.epoch.load(ordering: .acquiring), ordering: .releasing)
            _ = HandleTable.shared.insert(shadow)
            shadows[object.handle] = shadow
            return shadow
        }
    }

    // MARK: What a worker says

    func received(
        _ operation: UInt16, of object: PluginObject, number: UInt64, _ body: inout WireReader,
        from line: any WorkerLine
    ) throws(WireFault) {
        guard let known = WorkerOperation(rawValue: operation) else {
            throw WireFault(problem: "operation \(operation) of a service")
        }
        switch known {
        case .log: try log(object, &body)
        case .metricDefine: try define(object, number, &body, line)
        case .metricRecord: try record(object, &body)
        case .span: try span(object, &body)
        case .secret: try secret(object, number, &body, line)
        case .httpStart: try http.start(shadow(of: object), object.handle, number, &body, line)
        case .httpBody: try http.body(shadow(of: object), number, &body)
        case .httpCancel: http.cancel(shadow(of: object), number)
        case .httpPrewarm: http.prewarm(shadow(of: object), try body.takeText())
        case .httpTaken: http.taken(shadow(of: object), number, Int(try body.take(UInt32.self)))
        case .socketConnect: try sockets.connect(shadow(of: object), object.handle, number, &body, line)
        case .socketSend: try sockets.send(shadow(of: object), number, &body)
        case .socketClose: try sockets.close(shadow(of: object), number, &body)
        case .socketTaken: sockets.taken(shadow(of: object), number, Int(try body.take(UInt32.self)))
        case .mediaOpen, .mediaAnswer, .mediaOffer, .mediaAccept, .mediaClose:
            try media.received(known, object, number, &body, line)
        case .reply, .httpResponse, .httpData, .httpDone, .socketOpened, .socketMessage, .socketSent, .socketClosed:
            throw WireFault(problem: "\(known), which only a host says")
        }
    }

    private func log(_ object: PluginObject, _ body: inout WireReader) throws(WireFault) {
        let level = try body.take(UInt32.self)
        let message = try body.takeText()
        let fields = try body.takeFields()
        let table = logTable.pointer.load(as: vc_log.self)
        fields.withUnsafeBufferPointer { table.write(object.handle, level, message, $0.baseAddress, UInt32($0.count)) }
    }

    private func define(
        _ object: PluginObject, _ number: UInt64, _ body: inout WireReader, _ line: any WorkerLine
    ) throws(WireFault) {
        let type = try body.take(UInt32.self)
        let name = try body.takeString()
        let help = try body.takeString()
        var metric: vc_handle = 0
        let status = metricsTable.pointer.load(as: vc_metrics.self).define(object.handle, type, name, help, &metric)
        if status == .ok { metrics.withLock { _ = $0[object.handle, default: []].insert(metric) } }
        line.reply(number, to: object.handle, status) { $0.put(metric) }
    }

    private func record(_ object: PluginObject, _ body: inout WireReader) throws(WireFault) {
        let metric = try body.take(vc_handle.self)
        let value = try body.take(Double.self)
        // A number is no permission: only what this provider defined.
        guard metrics.withLock({ $0[object.handle]?.contains(metric) ?? false }) else { return }
        metricsTable.pointer.load(as: vc_metrics.self).record(metric, value)
    }

    private func span(_ object: PluginObject, _ body: inout WireReader) throws(WireFault) {
        let request = try body.take(UInt64.self)
        let begin = try body.take(UInt64.self)
        let end = try body.take(UInt64.self)
        let isComplete = try body.take(UInt32.self) == 1
        let name = try body.takeString()
        let detail = try body.takeString()
        services.traces.collect(
            TraceSpan(
                call: object.call, plugin: object.plugin, provider: object.name, request: request, name: name,
                detail: detail, beginNs: begin, endNs: max(begin, end), isComplete: isComplete))
    }

    private func secret(
        _ object: PluginObject, _ number: UInt64, _ body: inout WireReader, _ line: any WorkerLine
    ) throws(WireFault) {
        let name = try body.takeString()
        do throws(SecretFailure) {
            var value = try services.secrets.value(name, section: object.name, listed: object.secrets)
            line.reply(number, to: object.handle, .ok) { writer in
                value.withUnsafeBytes { writer.put(raw: $0) }
            }
            value.withUnsafeMutableBytes { bytes in
                if let base = bytes.baseAddress { explicit_bzero(base, bytes.count) }
            }
        } catch {
            line.reply(number, to: object.handle, services.refuse(error, for: object)) { _ in }
        }
    }
}

extension WorkerLine {
    /// Answers what a worker waits for.
    func reply(_ number: UInt64, to object: vc_handle, _ status: vc_status, _ body: (inout WireWriter) -> Void) {
        _ = send(service: WorkerOperation.reply.rawValue, object: object, number: number, urgent: true) { writer in
            writer.put(status)
            body(&writer)
        }
    }

    /// Sends what a worker needs, and waits a little while it is behind. On a thread that may wait.
    func deliver(
        _ operation: WorkerOperation, _ object: vc_handle, _ number: UInt64, _ body: (inout WireWriter) -> Void
    ) {
        for _ in 0..<2_000 {
            if send(service: operation.rawValue, object: object, number: number, urgent: false, body) { return }
            usleep(1_000)
        }
    }
}
