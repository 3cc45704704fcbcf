// `dial` of the control socket. The answer comes as soon as the provider has taken the call on, with the call's id; with
// `"wait": true` it comes when the call is over, with how it ended.

import Calls
import Control
import JSON

struct DialControl: Sendable {
    let desk: CallDesk

    func handle(_ request: JSONValue, _ answer: @escaping @Sendable (JSONValue) -> Void) {
        let wanted: OutgoingCall
        do throws(DialRefusal) {
            wanted = try OutgoingCall(request)
        } catch {
            return answer(ControlSocket.failure(error.message))
        }
        let waits = request["wait"]?.bool ?? false
        desk.dial(wanted) { result in
            switch result {
            case .success(let id): if !waits { answer(["ok": true, "call": .string(id)]) }
            case .failure(let refusal): answer(ControlSocket.failure(refusal.message))
            }
        } whenOver: { end in
            if waits { answer(end.json) }
        }
    }
}

/// How a call that went out has ended.
struct DialedEnd: Sendable {
    let call: String
    let record: CallRecord
    /// In the protocol's words, or the plugin's.
    let reason: String
    let isAnswered: Bool

    var json: JSONValue {
        [
            "ok": true, "call": .string(call), "answered": .bool(isAnswered), "end": .string(record.end.name),
            "code": .integer(Int64(record.code)), "reason": .string(reason),
            "durationMs": .integer(Int64(record.durationMs)),
        ]
    }
}
