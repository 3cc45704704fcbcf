// "vc.ws/1": WebSocket connections to a vendor.

import PluginABI

/// How a connection goes: `opened` once, messages whole and in order, `closed` once and last.
public enum WebSocketEvent {
    case opened
    case text(String)
    case binary([UInt8])
    /// What could not be sent before, can be now.
    case writable
    /// `error` is nil after a proper close; `code` is the peer's close code, or 0.
    case closed(code: Int, reason: String, error: PluginError?)
}

/// The WebSocket connections of a session.
public struct WebSockets {
    let owner: HostObject

    /// Connects; `onEvent` is called as a call of the session. Throws `.again` when it has 8 connections already.
    public func connect(
        _ url: String, protocols: String = "", headers: [(name: String, value: String)] = [], connectMs: Int = 0,
        pingMs: Int = 0, _ onEvent: @escaping (WebSocketEvent) -> Void
    ) throws(PluginError) -> WebSocket {
        guard let table = HostLine.shared.webSocket else {
            throw PluginError(.unsupported, "this host offers no \(VC_SERVICE_WS), which the plugin needs")
        }
        let socket = WebSocket(owner: owner, onEvent: onEvent)
        let context = CallbackTable.insert(socket)
        let status = withStrings([url, protocols]) { texts in
            withFields(headers) { fields, count in
                var request = vc_ws_connect()
                request.size = UInt32(MemoryLayout<vc_ws_connect>.size)
                request.connect_ms = UInt32(clamping: connectMs)
                request.url = texts[0]
                request.protocols = texts[1]
                request.headers = fields
                request.header_count = count
                request.ping_ms = UInt32(clamping: pingMs)
                return table.pointee.connect(owner.handle, &request, socketEvents.pointer, context, &socket.socket)
            }
        }
        guard status == vc_status(VC_OK) else {
            CallbackTable.remove(socket)
            throw PluginError(status: status, "the WebSocket to \(url)")
        }
        return socket
    }
}

/// A WebSocket connection. A session's end closes it.
public final class WebSocket: PendingCallback, Stoppable {
    /// What became of a message.
    public enum Sent: Sendable { case sent, full, gone }

    fileprivate var socket: vc_handle = 0
    private var onEvent: ((WebSocketEvent) -> Void)?
    /// `close` was called: the host takes neither another close nor a message.
    private var isClosing = false

    fileprivate init(owner: HostObject, onEvent: @escaping (WebSocketEvent) -> Void) {
        self.onEvent = onEvent
        super.init(owner: owner)
    }

    public func send(_ text: String) -> Sent { withString(text) { send($0, binary: false) } }

    public func send(_ bytes: [UInt8]) -> Sent { bytes.withUnsafeBytes { send($0) } }

    /// Signed 16 bit samples, little-endian.
    public func send(_ samples: [Int16]) -> Sent { samples.withUnsafeBytes { send($0) } }

    /// Sends a close frame; `closed` follows within 2 s.
    public func close(code: Int = 1000, reason: String = "") {
        guard onEvent != nil, !isClosing else { return }
        isClosing = true
        withString(reason) { _ = HostLine.shared.webSocket?.pointee.close(socket, UInt32(clamping: code), $0) }
    }

    /// Closes it and hears nothing more of it.
    func stop() {
        close()
        onEvent = nil
        CallbackTable.remove(self)
    }

    private func send(_ bytes: UnsafeRawBufferPointer) -> Sent {
        send(
            vc_str(data: bytes.baseAddress?.assumingMemoryBound(to: CChar.self), length: UInt64(bytes.count)),
            binary: true)
    }

    private func send(_ bytes: vc_str, binary: Bool) -> Sent {
        guard onEvent != nil, !isClosing, let table = HostLine.shared.webSocket else { return .gone }
        switch table.pointee.send(socket, bytes, binary ? 1 : 0) {
        case vc_status(VC_OK): return .sent
        case vc_status(VC_E_AGAIN): return .full
        default: return .gone
        }
    }

    fileprivate func arrived(_ event: WebSocketEvent, isLast: Bool = false) {
        owner.settle()
        guard let onEvent else { return }
        if isLast {
            self.onEvent = nil
            CallbackTable.remove(self)
        }
        onEvent(event)
    }
}

private struct Events: @unchecked Sendable { let pointer: UnsafePointer<vc_ws_events> }
private let socketEvents = Events(
    pointer: permanentPointer(
        vc_ws_events(
            size: UInt32(MemoryLayout<vc_ws_events>.size), reserved: 0, opened: socketOpened, message: socketMessage,
            writable: socketWritable, closed: socketClosed)))

private func socketOpened(_ context: UnsafeMutableRawPointer?, _ socket: vc_handle) {
    CallbackTable.find(context, as: WebSocket.self)?.arrived(.opened)
}

private func socketMessage(_ context: UnsafeMutableRawPointer?, _ socket: vc_handle, _ bytes: vc_str, _ binary: UInt32)
{
    CallbackTable.find(context, as: WebSocket.self)?.arrived(
        binary != 0 ? .binary([UInt8](bytes)) : .text(String(bytes)))
}

private func socketWritable(_ context: UnsafeMutableRawPointer?, _ socket: vc_handle) {
    CallbackTable.find(context, as: WebSocket.self)?.arrived(.writable)
}

private func socketClosed(
    _ context: UnsafeMutableRawPointer?, _ socket: vc_handle, _ code: UInt32, _ reason: vc_str,
    _ error: UnsafePointer<vc_error>?
) {
    CallbackTable.find(context, as: WebSocket.self)?.arrived(
        .closed(code: Int(code), reason: String(reason), error: error.map { PluginError($0.pointee) }), isLast: true)
}
