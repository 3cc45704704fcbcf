// HTTP in a worker: what came from the host waits in an inbox for the plugin's lane, as it does in the host for a
// plugin in process, and the host is told what was taken.

import Glibc
import PluginABI
import Providers
import Synchronization

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

    let handle: vc_handle
    let epoch: UInt64
    private let owner: vc_handle
    private let inbox: ChildInbox<Part>
    private let events: vc_http_events
    private let context: UnsafeMutableRawPointer?

    init(
        _ handle: vc_handle, epoch: UInt64, owner: vc_handle, mailbox: Mailbox, events: vc_http_events,
        context: UnsafeMutableRawPointer?
    ) {
        self.handle = handle
        self.epoch = epoch
        self.owner = owner
        inbox = ChildInbox(mailbox)
        self.events = events
        self.context = context
    }

    func put(_ part: Part) { inbox.put(part, for: self) }

    /// Nothing is called any more.
    func forget() { inbox.close() }

    func cancel() {
        forget()
        ChildSideServices.current?.send(.httpCancel, owner, handle, urgent: true) { _ in }
    }

    func deliver() -> Bool {
        guard let part = inbox.next() else { return false }
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
            inbox.close()
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
