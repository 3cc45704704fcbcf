// WebSockets in a worker. What is on its way to the host is counted until the host says that it was taken, so that a
// plugin that sends faster than the network takes gets VC_AGAIN here as it would in the host.

import PluginABI
import Providers
import Synchronization

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
        /// Given to the host and not taken by it.
        var outgoingBytes = 0
        var owesWritable = false
        var isClosing = false
    }

    let handle: vc_handle
    private let owner: vc_handle
    private let inbox: ChildInbox<Part>
    private let events: vc_ws_events
    private let context: UnsafeMutableRawPointer?
    private let state = Mutex(State())

    init(
        _ handle: vc_handle, owner: vc_handle, mailbox: Mailbox, events: vc_ws_events,
        context: UnsafeMutableRawPointer?
    ) {
        self.handle = handle
        self.owner = owner
        inbox = ChildInbox(mailbox)
        self.events = events
        self.context = context
    }

    func put(_ part: Part) { inbox.put(part, for: self) }

    func send(_ bytes: vc_str, _ isBinary: UInt32, _ child: ChildSideServices) -> vc_status {
        state.withLock { state in
            guard !inbox.isClosed, !state.isClosing else { return .closed }
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
            guard !inbox.isClosed, !state.isClosing else { return .closed }
            state.isClosing = true
            child.send(.socketClose, owner, handle, urgent: true) { writer in
                writer.put(code)
                writer.put(reason)
            }
            return .ok
        }
    }

    /// The owner ended: the host closes the connection with it.
    func orphan() { inbox.close() }

    func deliver() -> Bool {
        guard let part = inbox.next() else { return false }
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
