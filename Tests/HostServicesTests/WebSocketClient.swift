// A plugin's side of "vc.ws/1": connects through the C table and writes down what comes.

import PluginABI
import Providers

@testable import HostServices

struct Conversation: Sendable {
    struct Message: Sendable, Equatable {
        var bytes: [UInt8]
        var isBinary: Bool
        var text: String { String(decoding: bytes, as: UTF8.self) }
    }

    var isOpen = false
    var messages: [Message] = []
    var writable = 0
    var isClosed = false
    var code: UInt32 = 0
    var reason = ""
    var failure: ServiceFailure?
    var calls = 0
    /// How long each message takes to be looked at.
    var lingerMs: UInt32 = 0
}

typealias ConversationRecorder = Recorder<Conversation>

func connectSocket(
    _ owner: PluginObject, _ url: String, into recorder: ConversationRecorder, protocols: String = "",
    headers: [(name: String, value: String)] = [], connectMs: UInt32 = 0, pingMs: UInt32 = 0
) -> (status: vc_status, handle: vc_handle) {
    var handle: vc_handle = 0
    let status = lend(url) { url in
        lend(protocols) { protocols in
            lend(headers) { fields, count in
                var request = vc_ws_connect()
                request.size = UInt32(MemoryLayout<vc_ws_connect>.size)
                request.connect_ms = connectMs
                request.url = url
                request.protocols = protocols
                request.headers = fields
                request.header_count = count
                request.ping_ms = pingMs
                var events = recordingEvents
                return Stage.webSocket.connect(owner.handle, &request, &events, recorder.context, &handle)
            }
        }
    }
    return (status, handle)
}

/// Events that go into the `ConversationRecorder` at the context.
var recordingEvents: vc_ws_events {
    var events = vc_ws_events()
    events.size = UInt32(MemoryLayout<vc_ws_events>.size)
    events.opened = recordOpened
    events.message = recordMessage
    events.writable = recordWritable
    events.closed = recordClosed
    return events
}

func sendText(_ socket: vc_handle, _ text: String) -> vc_status { lend(text) { Stage.webSocket.send(socket, $0, 0) } }

func sendBytes(_ socket: vc_handle, _ bytes: [UInt8]) -> vc_status {
    lend(bytes) { Stage.webSocket.send(socket, $0, 1) }
}

func closeSocket(_ socket: vc_handle, _ code: UInt32 = 1000, _ reason: String = "") -> vc_status {
    lend(reason) { Stage.webSocket.close(socket, code, $0) }
}

private func recordOpened(_ context: UnsafeMutableRawPointer?, _ socket: vc_handle) {
    ConversationRecorder.of(context).change {
        $0.calls += 1
        $0.isOpen = true
    }
}

private func recordMessage(
    _ context: UnsafeMutableRawPointer?, _ socket: vc_handle, _ bytes: vc_str, _ isBinary: UInt32
) {
    let recorder = ConversationRecorder.of(context)
    let lingerMs = recorder.state.lingerMs
    if lingerMs > 0 { sleep(milliseconds: lingerMs) }
    let copy = bytes.bytes
    recorder.change {
        $0.calls += 1
        $0.messages.append(.init(bytes: copy, isBinary: isBinary == 1))
    }
}

private func recordWritable(_ context: UnsafeMutableRawPointer?, _ socket: vc_handle) {
    ConversationRecorder.of(context).change {
        $0.calls += 1
        $0.writable += 1
    }
}

private func recordClosed(
    _ context: UnsafeMutableRawPointer?, _ socket: vc_handle, _ code: UInt32, _ reason: vc_str,
    _ error: UnsafePointer<vc_error>?
) {
    ConversationRecorder.of(context).change {
        $0.calls += 1
        $0.isClosed = true
        $0.code = code
        $0.reason = reason.text()
        if let error {
            $0.failure = ServiceFailure(
                code: error.pointee.code, message: error.pointee.message.text(),
                isRetryable: error.pointee.retryable == 1, protocolStatus: error.pointee.protocol_status)
        }
    }
}
