// HTTP and WebSockets of workers, on the host's side: what the worker asked for is started with the host's own tables,
// and what comes back goes down the line.
//
// The callbacks of the tables run on the plugin's lane, which may wait: when the worker has not taken what came before,
// it does, and the vendor is not read from meanwhile.

import Glibc
import PluginABI
import Providers
import Synchronization

/// A request or a socket of a worker.
private final class HostSideExchange: Sendable {
    struct State {
        var handle: vc_handle = 0
        /// Sent down and not taken by the plugin.
        var untaken = 0
        var isOver = false
        /// Of a socket: messages for which there was no room.
        var outgoing: [(bytes: [UInt8], isBinary: UInt32)] = []
        var outgoingBytes = 0
    }

    let line: any WorkerLine
    /// The worker's object, and its number of the exchange.
    let object: vc_handle
    let number: UInt64
    let state = Monitor(State())

    init(_ line: any WorkerLine, _ object: vc_handle, _ number: UInt64) {
        self.line = line
        self.object = object
        self.number = number
    }

    /// Sends `count` bytes of contents down once there is room for them. What has no contents does not wait: it may be
    /// the end, after which nobody hears what was taken.
    func deliver(_ operation: WorkerOperation, _ count: Int, _ body: (inout WireWriter) -> Void) {
        let end = Monotonic.nowNs() + 10_000_000_000
        let mayGo: Bool = state.wait { state, now in
            if state.isOver { return .ready(false) }
            guard count > 0, state.untaken > workerWindowBytes, now < end else {
                state.untaken += count
                return .ready(true)
            }
            return .sleepUntil(end)
        }
        if mayGo { line.deliver(operation, object, number, body) }
    }

    func taken(_ count: Int) {
        state.withLock { $0.untaken = max(0, $0.untaken - count) }
        state.broadcast()
    }

    func end() {
        state.withLock { $0.isOver = true }
        state.broadcast()
    }
}

/// Exchanges by a number that stands for a pointer: nothing dangles when a callback comes late.
private final class HostSideExchanges: Sendable {
    private struct State {
        var next: UInt = 1
        var byContext: [UInt: HostSideExchange] = [:]
        /// By shadow and the worker's number.
        var contexts: [vc_handle: [UInt64: UInt]] = [:]
    }
    private let state = Mutex(State())

    func add(_ exchange: HostSideExchange, _ shadow: vc_handle) -> UnsafeMutableRawPointer? {
        state.withLock { state in
            state.next += 1
            state.byContext[state.next] = exchange
            state.contexts[shadow, default: [:]][exchange.number] = state.next
            return UnsafeMutableRawPointer(bitPattern: state.next)
        }
    }

    func find(_ context: UnsafeMutableRawPointer?) -> HostSideExchange? {
        state.withLock { $0.byContext[UInt(bitPattern: context)] }
    }

    func find(_ shadow: vc_handle, _ number: UInt64) -> HostSideExchange? {
        state.withLock { state in state.contexts[shadow]?[number].flatMap { state.byContext[$0] } }
    }

    func remove(_ shadow: vc_handle, _ number: UInt64) -> HostSideExchange? {
        state.withLock { state in
            state.contexts[shadow]?.removeValue(forKey: number).flatMap { state.byContext.removeValue(forKey: $0) }
        }
    }

    func remove(_ context: UnsafeMutableRawPointer?) {
        let number = UInt(bitPattern: context)
        state.withLock { state in
            guard state.byContext.removeValue(forKey: number) != nil else { return }
            for shadow in state.contexts.keys {
                state.contexts[shadow] = state.contexts[shadow]?.filter { $0.value != number }
            }
        }
    }

    func removeAll(_ shadow: vc_handle) -> [HostSideExchange] {
        state.withLock { state in
            (state.contexts.removeValue(forKey: shadow) ?? [:]).values.compactMap {
                state.byContext.removeValue(forKey: $0)
            }
        }
    }
}

private let requests = HostSideExchanges()
private let connections = HostSideExchanges()

private func put(_ error: UnsafePointer<vc_error>?, _ writer: inout WireWriter) {
    writer.put(UInt32(error == nil ? 0 : 1))
    if let error { writer.put(error.pointee) }
}

// MARK: HTTP

final class HostSideHTTP: Sendable {
    private struct Incoming {
        let object: vc_handle
        let epoch: UInt64
        let deadlineMs: UInt32
        let firstByteMs: UInt32
        let method: String
        let url: String
        let headers: [(name: String, value: String)]
        let bytes: Int
        var body: [UInt8] = []
        let line: any WorkerLine
    }

    /// Requests whose body is still coming, by shadow and number; an owner has 32 at most.
    private let incoming = Mutex<[vc_handle: [UInt64: Incoming]]>([:])
    private static let incomingMax = 32

    private var table: vc_http { httpTable.pointer.load(as: vc_http.self) }

    func start(
        _ shadow: PluginObject, _ object: vc_handle, _ number: UInt64, _ body: inout WireReader, _ line: any WorkerLine
    ) throws(WireFault) {
        let epoch = try body.take(UInt64.self)
        let deadlineMs = try body.take(UInt32.self)
        let firstByteMs = try body.take(UInt32.self)
        let method = try body.takeString()
        let url = try body.takeString()
        var headers: [(name: String, value: String)] = []
        for field in try body.takeFields() { headers.append((field.name.text(), field.value.text())) }
        let bytes = Int(try body.take(UInt32.self))
        guard bytes <= HTTPLimits().requestBytesMax else { throw WireFault(problem: "a body of \(bytes) bytes") }
        let request = Incoming(
            object: object, epoch: epoch, deadlineMs: deadlineMs, firstByteMs: firstByteMs, method: method, url: url,
            headers: headers, bytes: bytes, line: line)
        guard bytes > 0 else { return go(shadow, number, request) }
        let isWithin = incoming.withLock { incoming in
            guard incoming[shadow.handle, default: [:]].count < Self.incomingMax else { return false }
            incoming[shadow.handle, default: [:]][number] = request
            return true
        }
        guard isWithin else { throw WireFault(problem: "more than \(Self.incomingMax) requests at once") }
    }

    func body(_ shadow: PluginObject, _ number: UInt64, _ body: inout WireReader) throws(WireFault) {
        let piece = try body.takeText()
        let (isKnown, whole): (Bool, Incoming?) = incoming.withLock { incoming in
            guard var request = incoming[shadow.handle]?[number] else { return (false, nil) }
            request.body += piece.bytes
            let isWhole = request.body.count >= request.bytes
            incoming[shadow.handle]?[number] = isWhole ? nil : request
            return (true, isWhole ? request : nil)
        }
        // Canceled meanwhile.
        guard isKnown, let whole else { return }
        guard whole.body.count == whole.bytes else { throw WireFault(problem: "a body longer than announced") }
        go(shadow, number, whole)
    }

    private func go(_ shadow: PluginObject, _ number: UInt64, _ request: Incoming) {
        let exchange = HostSideExchange(request.line, request.object, number)
        let context = requests.add(exchange, shadow.handle)
        var handle: vc_handle = 0
        let status = lend(request.method) { method in
            lend(request.url) { url in
                lend(request.headers) { fields, count in
                    lend(request.body) { body in
                        var outbound = vc_http_request(
                            size: UInt32(MemoryLayout<vc_http_request>.size), deadline_ms: request.deadlineMs,
                            epoch: request.epoch, method: method, url: url, headers: fields, header_count: count,
                            first_byte_ms: request.firstByteMs, body: body)
                        var events = vc_http_events(
                            size: UInt32(MemoryLayout<vc_http_events>.size), reserved: 0, response: hostResponse,
                            data: hostData, done: hostDone)
                        return table.start(shadow.handle, &outbound, &events, context, &handle)
                    }
                }
            }
        }
        guard status != .ok else { return exchange.state.withLock { $0.handle = handle } }
        _ = requests.remove(shadow.handle, number)
        // An epoch that is over needs no answer; the rest is told as any failure of a request.
        guard status != vc_status(VC_E_CANCELED) else { return }
        let failure = ServiceFailure(code: status, message: "the host refused the request; its log says why")
        request.line.deliver(.httpDone, request.object, number) { writer in
            failure.withError { put($0, &writer) }
        }
    }

    func cancel(_ shadow: PluginObject, _ number: UInt64) {
        incoming.withLock { _ = $0[shadow.handle]?.removeValue(forKey: number) }
        guard let exchange = requests.remove(shadow.handle, number) else { return }
        exchange.end()
        let handle = exchange.state.withLock { $0.handle }
        if handle != 0 { _ = table.cancel(handle) }
    }

    func prewarm(_ shadow: PluginObject, _ url: vc_str) { table.prewarm(shadow.handle, url) }

    func taken(_ shadow: PluginObject, _ number: UInt64, _ count: Int) {
        requests.find(shadow.handle, number)?.taken(count)
    }

    func ended(_ shadow: vc_handle) {
        incoming.withLock { _ = $0.removeValue(forKey: shadow) }
        for exchange in requests.removeAll(shadow) { exchange.end() }
    }
}

private func hostResponse(
    _ context: UnsafeMutableRawPointer?, _ request: vc_handle, _ status: UInt32, _ headers: UnsafePointer<vc_field>?,
    _ count: UInt32
) {
    requests.find(context)?.deliver(.httpResponse, 0) { writer in
        writer.put(status)
        writer.put(headers, count)
    }
}

private func hostData(_ context: UnsafeMutableRawPointer?, _ request: vc_handle, _ bytes: vc_str) {
    requests.find(context)?.deliver(.httpData, Int(bytes.length)) { $0.put(bytes) }
}

private func hostDone(_ context: UnsafeMutableRawPointer?, _ request: vc_handle, _ error: UnsafePointer<vc_error>?) {
    guard let exchange = requests.find(context) else { return }
    requests.remove(context)
    exchange.deliver(.httpDone, 0) { put(error, &$0) }
}

// MARK: WebSockets

final class HostSideSockets: Sendable {
    /// What the worker may have sent without hearing that it was taken, and the longest message on top.
    private static let outgoingBytesMax = 2 << 20

    private var table: vc_ws { webSocketTable.pointer.load(as: vc_ws.self) }

    func connect(
        _ shadow: PluginObject, _ object: vc_handle, _ number: UInt64, _ body: inout WireReader, _ line: any WorkerLine
    ) throws(WireFault) {
        var request = vc_ws_connect()
        request.size = UInt32(MemoryLayout<vc_ws_connect>.size)
        request.connect_ms = try body.take()
        request.ping_ms = try body.take()
        request.url = try body.takeText()
        request.protocols = try body.takeText()
        let fields = try body.takeFields()
        request.header_count = UInt32(fields.count)
        let exchange = HostSideExchange(line, object, number)
        let context = connections.add(exchange, shadow.handle)
        var handle: vc_handle = 0
        let status = fields.withUnsafeBufferPointer { fields in
            request.headers = fields.baseAddress
            var events = vc_ws_events(
                size: UInt32(MemoryLayout<vc_ws_events>.size), reserved: 0, opened: hostOpened, message: hostMessage,
                writable: hostWritable, closed: hostClosed)
            return table.connect(shadow.handle, &request, &events, context, &handle)
        }
        guard status != .ok else { return exchange.state.withLock { $0.handle = handle } }
        _ = connections.remove(shadow.handle, number)
        let failure = ServiceFailure(code: status, message: "the host refused the connection; its log says why")
        line.deliver(.socketClosed, object, number) { writer in
            writer.put(UInt32(0))
            writer.put("")
            failure.withError { put($0, &writer) }
        }
    }

    func send(_ shadow: PluginObject, _ number: UInt64, _ body: inout WireReader) throws(WireFault) {
        let isBinary = try body.take(UInt32.self)
        let bytes = try body.takeText()
        guard let exchange = connections.find(shadow.handle, number) else { return }
        let (handle, mustWait) = exchange.state.withLock { ($0.handle, !$0.outgoing.isEmpty) }
        let status = mustWait ? .again : table.send(handle, bytes, isBinary)
        guard status == .again else { return sent(exchange, Int(bytes.length)) }
        let isWithin = exchange.state.withLock { state in
            state.outgoing.append((bytes.bytes, isBinary))
            state.outgoingBytes += Int(bytes.length)
            return state.outgoingBytes <= Self.outgoingBytesMax
        }
        guard isWithin else { throw WireFault(problem: "more to send than its window allows") }
    }

    fileprivate func flush(_ exchange: HostSideExchange) {
        func next() -> (vc_handle, (bytes: [UInt8], isBinary: UInt32))? {
            exchange.state.withLock { state in state.outgoing.first.map { (state.handle, $0) } }
        }
        while let (handle, first) = next() {
            guard lend(first.bytes, { table.send(handle, $0, first.isBinary) }) != .again else { return }
            exchange.state.withLock { state in
                state.outgoing.removeFirst()
                state.outgoingBytes -= first.bytes.count
            }
            sent(exchange, first.bytes.count)
        }
    }

    private func sent(_ exchange: HostSideExchange, _ count: Int) {
        _ = exchange.line.send(
            service: WorkerOperation.socketSent.rawValue, object: exchange.object, number: exchange.number,
            urgent: true
        ) { $0.put(UInt32(clamping: count)) }
    }

    func close(_ shadow: PluginObject, _ number: UInt64, _ body: inout WireReader) throws(WireFault) {
        let code = try body.take(UInt32.self)
        let reason = try body.takeText()
        guard let exchange = connections.find(shadow.handle, number) else { return }
        _ = table.close(exchange.state.withLock { $0.handle }, code, reason)
    }

    func taken(_ shadow: PluginObject, _ number: UInt64, _ count: Int) {
        connections.find(shadow.handle, number)?.taken(count)
    }

    func ended(_ shadow: vc_handle) {
        for exchange in connections.removeAll(shadow) { exchange.end() }
    }
}

private let sockets = HostSideSockets()

private func hostOpened(_ context: UnsafeMutableRawPointer?, _ socket: vc_handle) {
    connections.find(context)?.deliver(.socketOpened, 0) { _ in }
}

private func hostMessage(
    _ context: UnsafeMutableRawPointer?, _ socket: vc_handle, _ bytes: vc_str, _ isBinary: UInt32
) {
    connections.find(context)?.deliver(.socketMessage, Int(bytes.length)) { writer in
        writer.put(isBinary)
        writer.put(bytes)
    }
}

private func hostWritable(_ context: UnsafeMutableRawPointer?, _ socket: vc_handle) {
    if let exchange = connections.find(context) { sockets.flush(exchange) }
}

private func hostClosed(
    _ context: UnsafeMutableRawPointer?, _ socket: vc_handle, _ code: UInt32, _ reason: vc_str,
    _ error: UnsafePointer<vc_error>?
) {
    guard let exchange = connections.find(context) else { return }
    connections.remove(context)
    exchange.deliver(.socketClosed, 0) { writer in
        writer.put(code)
        writer.put(reason)
        put(error, &writer)
    }
}
