// `dial` of the control socket. The answer comes as soon as the provider has taken the call on, with the call's id;
// with `"wait": true` it comes when the call is over, with how it ended.

import Calls
import Control
import JSON
import Synchronization

final class DialControl: Sendable {
    /// Half of the socket's places: whoever waits keeps one for as long as a call lasts, and an operator who wants to
    /// reload a plugin shall find one free. A program that makes more calls watches the event socket.
    static let waitingMax = 8

    private let desk: CallDesk
    private let waiting = Atomic<Int>(0)

    init(desk: CallDesk) { self.desk = desk }

    func handle(_ request: JSONValue, _ answer: @escaping @Sendable (JSONValue) -> Void) {
        let wanted: OutgoingCall
        do throws(DialRefusal) {
            wanted = try OutgoingCall(request)
        } catch {
            return answer(ControlSocket.failure(error.message))
        }
        let waits = request["wait"]?.bool ?? false
        if waits, waiting.add(1, ordering: .relaxed).newValue > Self.waitingMax {
            waiting.subtract(1, ordering: .relaxed)
            return answer(
                ControlSocket.failure("\(Self.waitingMax) calls are waited for already; watch the event socket"))
        }
        desk.dial(wanted) { [self] result in
            switch result {
            case .success(let id): if !waits { answer(["ok": true, "call": .string(id)]) }
            case .failure(let refusal):
                if waits { waiting.subtract(1, ordering: .relaxed) }
                answer(ControlSocket.failure(refusal.message))
            }
        } whenOver: { [self] end in
            guard waits else { return }
            waiting.subtract(1, ordering: .relaxed)
            answer(end.json)
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
