// A plugin's side of "vc.http/1": starts requests through the C table and writes down what comes.

import JSON
import PluginABI
import Providers

@testable import HostServices

struct Answer: Sendable {
    var status: UInt32 = 0
    var headers: [String: String] = [:]
    var body: [UInt8] = []
    var chunks = 0
    /// How long each event of /sse took from the peer's `write` to here.
    var latenciesNs: [UInt64] = []
    var isDone = false
    var failure: ServiceFailure?
    /// Calls of any kind.
    var calls = 0

    var text: String { String(decoding: body, as: UTF8.self) }
    var json: JSONValue { (try? JSONValue(parsing: text)) ?? .null }
}

typealias AnswerRecorder = Recorder<Answer>

/// - Returns: The status of `start`, and the request's handle.
@discardableResult
func startRequest(
    _ owner: PluginObject, _ url: String, into recorder: AnswerRecorder, method: String = "GET", body: String = "",
    headers: [(name: String, value: String)] = [], epoch: UInt64 = .max, deadlineMs: UInt32 = 0,
    firstByteMs: UInt32 = 0,
    onData: @escaping @convention(c) (UnsafeMutableRawPointer?, vc_handle, vc_str) -> Void = recordData
) -> (status: vc_status, handle: vc_handle) {
    var handle: vc_handle = 0
    let status = lend(url) { url in
        lend(method) { method in
            lend(body) { body in
                lend(headers) { fields, count in
                    var request = vc_http_request()
                    request.size = UInt32(MemoryLayout<vc_http_request>.size)
                    request.deadline_ms = deadlineMs
                    request.epoch = epoch
                    request.method = method
                    request.url = url
                    request.headers = fields
                    request.header_count = count
                    request.first_byte_ms = firstByteMs
                    request.body = body
                    var events = vc_http_events()
                    events.size = UInt32(MemoryLayout<vc_http_events>.size)
                    events.response = recordResponse
                    events.data = onData
                    events.done = recordDone
                    return Stage.http.start(owner.handle, &request, &events, recorder.context, &handle)
                }
            }
        }
    }
    return (status, handle)
}

/// Starts it and waits for the end.
func exchange(
    _ owner: PluginObject, _ url: String, method: String = "GET", body: String = "",
    headers: [(name: String, value: String)] = [], deadlineMs: UInt32 = 0, firstByteMs: UInt32 = 0
) -> Answer {
    let recorder = AnswerRecorder(Answer())
    let started = startRequest(
        owner, url, into: recorder, method: method, body: body, headers: headers, deadlineMs: deadlineMs,
        firstByteMs: firstByteMs)
    guard started.status == 0 else {
        return Answer(failure: ServiceFailure(code: started.status, message: "not started"))
    }
    _ = recorder.wait { $0.isDone }
    return recorder.state
}

func recordResponse(
    _ context: UnsafeMutableRawPointer?, _ request: vc_handle, _ status: UInt32, _ fields: UnsafePointer<vc_field>?,
    _ count: UInt32
) {
    var headers: [String: String] = [:]
    for index in 0..<Int(count) { headers[fields![index].name.text().lowercased()] = fields![index].value.text() }
    AnswerRecorder.of(context).change { answer in
        answer.calls += 1
        answer.status = status
        answer.headers = headers
    }
}

func recordData(_ context: UnsafeMutableRawPointer?, _ request: vc_handle, _ bytes: vc_str) {
    let now = Monotonic.nowNs()
    let copy = bytes.bytes
    AnswerRecorder.of(context).change { answer in
        answer.calls += 1
        answer.chunks += 1
        answer.body += copy
        let words = String(decoding: copy.prefix(64), as: UTF8.self).split(whereSeparator: \.isWhitespace)
        if words.count >= 3, words[0] == "data:", let sentNs = UInt64(words[2]) {
            answer.latenciesNs.append(now - sentNs)
        }
    }
}

func recordDone(_ context: UnsafeMutableRawPointer?, _ request: vc_handle, _ error: UnsafePointer<vc_error>?) {
    AnswerRecorder.of(context).change { answer in
        answer.calls += 1
        answer.isDone = true
        if let error {
            answer.failure = ServiceFailure(
                code: error.pointee.code, message: error.pointee.message.text(),
                isRetryable: error.pointee.retryable == 1, protocolStatus: error.pointee.protocol_status)
        }
    }
}
