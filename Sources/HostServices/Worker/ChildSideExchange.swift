// HTTP and WebSockets in a worker: what came from the host waits here for the plugin's lane, as it does in the host for
// a plugin in process, and the host is told what was taken.

import Glibc
import PluginABI
import Providers
import Synchronization

// MARK: HTTP

let childHTTPTable = ServiceTable(
    vc_http(
        size: UInt32(MemoryLayout<vc_http>.size), reserved: 0, start: childHTTPStart, cancel: childHTTPCancel,
        prewarm: childHTTPPrewarm))

final class ChildRequest: Delivery, @unchecked Sendable {
    enum Part {
        case response(status: UInt32, headers: [(name: String, value: String)])
        case data([UInt8])
        case done(ServiceFailure?)
    }

    private struct State {
        var parts: [Part] = []
        var isPosted = false
        var isOver = false
    }

    let handle: vc_handle
    let epoch: UInt64
    private let owner: vc_handle
    private let mailbox: Mailbox
    private let events: vc_http_events
    private let context: UnsafeMutableRawPointer?
    private let state = Mutex(State())

    init(
        _ handle: vc_handle, epoch: UInt64, owner: vc_handle, mailbox: Mailbox, events: vc_http_events,
        context: UnsafeMutableRawPointer?
    ) {
        self.handle = handle
        self.epoch = epoch
        self.owner = owner
        self.mailbox = mailbox
        self.events = events
        self.context = context
    }

    func put(_ part: Part) {
        let mustPost = state.withLock { state in
            guard !state.isOver else { return false }
            state.parts.append(part)
            defer { state.isPosted = true }
            return !state.isPosted
        }
        if mustPost { mailbox.post(self) }
    }

    /// Nothing is called any more.
    func forget() {
        state.withLock { state in
            state.isOver = true
            state.parts = []
        }
    }

    func cancel() {
        forget()
        ChildSideServices.current?.send(.httpCancel, owner, handle, urgent: true) { _ in }
    }

    func deliver() -> Bool {
        let part: Part? = state.withLock { state in
            guard !state.isOver, !state.parts.isEmpty else {
                state.isPosted = false
                return nil
            }
            return state.parts.removeFirst()
        }
        guard let part else { return false }
        switch part {
        case .response(let status, let headers):
            lend(headers) { fields, count in events.response?(context, handle, status, fields, count) }
        case .data(let bytes):
            lend(bytes) { events.data?(context, handle, $0) }
            ChildSideServices.current?.send(.httpTaken, owner, handle, urgent: true) {
                $0.put(UInt32(clamping: bytes.count))
            }
        case .done(let failure):
            // Gone before the plugin hears of it, so that it may start the next one from within.
            ChildSideServices.current?.requests.remove(handle)
            forget()
            if let failure {
                failure.withError { events.done?(context, handle, $0) }
            } else {
                events.done?(context, handle, nil)
            }
        }
        return true
    }
}

/// A piece of a body: some of them fit into the ring beside everything else.
private let pieceBytes = 256 << 10
/// A body that finds no room for so long meets a host that reads nothing.
private let roomMs = 500

private func childHTTPStart(
    _ owner: vc_handle, _ request: UnsafePointer<vc_http_request>, _ events: UnsafePointer<vc_http_events>,
    _ context: UnsafeMutableRawPointer?, _ handle: UnsafeMutablePointer<vc_handle>
) -> vc_status {
    guard let child = ChildSideServices.current, let line = child.line else { return .closed }
    guard !isNull(handle), let request = copy(request), let events = copy(events) else { return .badArgument }
    handle.pointee = 0
    guard let object = HandleTable.shared.resolve(owner) else { return .stale }
    guard request.method.isValid, request.url.isValid, request.url.length <= 16 << 10, request.body.isValid,
        request.body.length <= UInt64(HTTPLimits().requestBytesMax), request.header_count <= 128,
        request.header_count == 0 || request.headers != nil
    else { return .badArgument }
    guard request.epoch >= object.epoch.load(ordering: .acquiring) else { return vc_status(VC_E_CANCELED) }
    let mailbox = line.services.lanes.mailbox(of: object)
    let insertion = child.requests.insert(for: object) { number in
        ChildRequest(
            number, epoch: request.epoch, owner: owner, mailbox: mailbox, events: events, context: context)
    }
    guard case .inserted(let number) = insertion else { return .again }
    let isSent = child.send(.httpStart, owner, number) { writer in
        writer.put(request.epoch)
        writer.put(request.deadline_ms)
        writer.put(request.first_byte_ms)
        writer.put(request.method)
        writer.put(request.url)
        writer.put(request.headers, request.header_count)
        writer.put(UInt32(request.body.length))
    }
    guard isSent, sendBody(request.body, owner, number, child) else {
        if let gone = child.requests.remove(number) { gone.cancel() }
        return .again
    }
    handle.pointee = number
    return .ok
}

private func sendBody(_ body: vc_str, _ owner: vc_handle, _ number: UInt64, _ child: ChildSideServices) -> Bool {
    var offset = 0
    var patience = roomMs * 4
    while offset < Int(body.length) {
        let count = min(pieceBytes, Int(body.length) - offset)
        let piece = vc_str(data: body.data! + offset, length: UInt64(count))
        if child.send(.httpBody, owner, number, { $0.put(piece) }) {
            offset += count
            continue
        }
        guard patience > 0 else { return false }
        patience -= 1
        usleep(250)
    }
    return true
}

private func childHTTPCancel(_ handle: vc_handle) -> vc_status {
    guard let child = ChildSideServices.current else { return .closed }
    guard let request = child.requests.remove(handle) else { return .stale }
    request.cancel()
    return .ok
}

private func childHTTPPrewarm(_ owner: vc_handle, _ url: vc_str) {
    guard let child = ChildSideServices.current, url.isValid, url.length <= 16 << 10 else { return }
    child.send(.httpPrewarm, owner) { $0.put(url) }
}

// MARK: WebSockets

let childSocketTable = ServiceTable(
    vc_ws(
        size: UInt32(MemoryLayout<vc_ws>.size), reserved: 0, connect: childSocketConnect, send: childSocketSend,
        close: childSocketClose))

final class ChildSocket: Delivery, @unchecked Sendable {
    enum Part {
        case opened
        case message([UInt8], isBinary: Bool)
        case writable
        case closed(code: UInt32, reason: String, ServiceFailure?)
    }

    private struct State {
        var parts: [Part] = []
        var isPosted = false
        var isOver = false
        /// Given to the host and not taken by it.
        var outgoingBytes = 0
        var owesWritable = false
        var isClosing = false
    }

    let handle: vc_handle
    private let owner: vc_handle
    private let mailbox: Mailbox
    private let events: vc_ws_events
    private let context: UnsafeMutableRawPointer?
    private let state = Mutex(State())

    init(
        _ handle: vc_handle, owner: vc_handle, mailbox: Mailbox, events: vc_ws_events,
        context: UnsafeMutableRawPointer?
    ) {
        self.handle = handle
        self.owner = owner
        self.mailbox = mailbox
        self.events = events
        self.context = context
    }

    func put(_ part: Part) {
        let mustPost = state.withLock { state in
            guard !state.isOver else { return false }
            state.parts.append(part)
            defer { state.isPosted = true }
            return !state.isPosted
        }
        if mustPost { mailbox.post(self) }
    }

    func send(_ bytes: vc_str, _ isBinary: UInt32, _ child: ChildSideServices) -> vc_status {
        state.withLock { state in
            guard !state.isOver, !state.isClosing else { return .closed }
            let isSent =
                state.outgoingBytes < WebSocket.outboundBytesMax
                && child.send(.socketSend, owner, handle) { writer in
                    writer.put(isBinary)
                    writer.put(bytes)
                }
            guard isSent else {
                state.owesWritable = true
                // Nothing of ours is on its way whose taking would tell us that there is room again.
                if state.outgoingBytes == 0 { return .closed }
                return .again
            }
            state.outgoingBytes += Int(bytes.length)
            return .ok
        }
    }

    func sent(_ count: Int) {
        let mustTell = state.withLock { state in
            state.outgoingBytes = max(0, state.outgoingBytes - count)
            guard state.owesWritable, state.outgoingBytes < WebSocket.outboundBytesMax else { return false }
            state.owesWritable = false
            return true
        }
        if mustTell { put(.writable) }
    }

    func close(_ code: UInt32, _ reason: vc_str, _ child: ChildSideServices) -> vc_status {
        state.withLock { state in
            guard !state.isOver, !state.isClosing else { return .closed }
            state.isClosing = true
            child.send(.socketClose, owner, handle, urgent: true) { writer in
                writer.put(code)
                writer.put(reason)
            }
            return .ok
        }
    }

    /// The owner ended: the host closes the connection with it.
    func orphan() {
        state.withLock { state in
            state.isOver = true
            state.parts = []
        }
    }

    func deliver() -> Bool {
        let part: Part? = state.withLock { state in
            guard !state.isOver, !state.parts.isEmpty else {
                state.isPosted = false
                return nil
            }
            return state.parts.removeFirst()
        }
        guard let part else { return false }
        switch part {
        case .opened: events.opened?(context, handle)
        case .message(let bytes, let isBinary):
            lend(bytes) { events.message?(context, handle, $0, isBinary ? 1 : 0) }
            ChildSideServices.current?.send(.socketTaken, owner, handle, urgent: true) {
                $0.put(UInt32(clamping: bytes.count))
            }
        case .writable: events.writable?(context, handle)
        case .closed(let code, let reason, let failure):
            ChildSideServices.current?.sockets.remove(handle)
            orphan()
            lend(reason) { reason in
                if let failure {
                    failure.withError { events.closed?(context, handle, code, reason, $0) }
                } else {
                    events.closed?(context, handle, code, reason, nil)
                }
            }
        }
        return true
    }
}

private func childSocketConnect(
    _ owner: vc_handle, _ request: UnsafePointer<vc_ws_connect>, _ events: UnsafePointer<vc_ws_events>,
    _ context: UnsafeMutableRawPointer?, _ handle: UnsafeMutablePointer<vc_handle>
) -> vc_status {
    guard let child = ChildSideServices.current, let line = child.line else { return .closed }
    guard !isNull(handle), let request = copy(request), let events = copy(events) else { return .badArgument }
    handle.pointee = 0
    guard let object = HandleTable.shared.resolve(owner) else { return .stale }
    guard request.url.isValid, request.url.length <= 16 << 10, request.protocols.isValid,
        request.protocols.length <= 1 << 10, request.header_count <= 128,
        request.header_count == 0 || request.headers != nil
    else { return .badArgument }
    let mailbox = line.services.lanes.mailbox(of: object)
    let insertion = child.sockets.insert(for: object) { number in
        ChildSocket(number, owner: owner, mailbox: mailbox, events: events, context: context)
    }
    guard case .inserted(let number) = insertion else { return .again }
    let isSent = child.send(.socketConnect, owner, number) { writer in
        writer.put(request.connect_ms)
        writer.put(request.ping_ms)
        writer.put(request.url)
        writer.put(request.protocols)
        writer.put(request.headers, request.header_count)
    }
    guard isSent else {
        child.sockets.remove(number)?.orphan()
        return .again
    }
    handle.pointee = number
    return .ok
}

private func childSocketSend(_ socket: vc_handle, _ bytes: vc_str, _ isBinary: UInt32) -> vc_status {
    guard let child = ChildSideServices.current else { return .closed }
    guard bytes.isValid, bytes.length <= UInt64(WebSocket.messageBytesMax), isBinary <= 1 else { return .badArgument }
    guard let found = child.sockets.resolve(socket) else { return .stale }
    return found.send(bytes, isBinary, child)
}

private func childSocketClose(_ socket: vc_handle, _ code: UInt32, _ reason: vc_str) -> vc_status {
    guard let child = ChildSideServices.current else { return .closed }
    let isSendable = (1000...1003).contains(code) || (1007...1011).contains(code) || (3000...4999).contains(code)
    guard isSendable, reason.isValid, reason.length <= 123 else { return .badArgument }
    guard let found = child.sockets.resolve(socket) else { return .stale }
    return found.close(code, reason, child)
}
