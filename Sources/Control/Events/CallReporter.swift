// What a call leaves behind, told to the log and to whoever watches the event socket.
//
// One line of JSON for each entry of the ledger, with the call's id and the id that the protocol gave it, so that the
// far end of a call (`vchost call`) can find its own. Times are nanoseconds of the host's one clock.
//
// The words of callers go to the event socket, whose reader the operator has let in, and to the log at debug only.

import Calls
import JSON

public final class CallReporter: CallObserver {
    private let socket: EventSocket?
    private let log: @Sendable (CallLogLine.Level, String, CallIdentity) -> Void
    private let whenEnded: @Sendable (CallRecord, CallIdentity) -> Void

    public init(
        socket: EventSocket?,
        log: @escaping @Sendable (CallLogLine.Level, String, CallIdentity) -> Void,
        whenEnded: @escaping @Sendable (CallRecord, CallIdentity) -> Void
    ) {
        self.socket = socket
        self.log = log
        self.whenEnded = whenEnded
    }

    public func note(_ entry: LedgerEntry, of call: CallIdentity) {
        if let socket, socket.isWatched { socket.publish(line(entry.json, call)) }
        // What failed, and why, the call has said itself.
        if case .failover(_, let from, let next?, _) = entry {
            log(.info, "\(next.name) goes on for \(from.name)", call)
        }
    }

    public func log(_ line: CallLogLine, of call: CallIdentity) {
        log(line.level, line.message, call)
    }

    public func ended(_ record: CallRecord, of call: CallIdentity) {
        if let socket, socket.isWatched { socket.publish(line(record.json, call)) }
        whenEnded(record, call)
    }

    private func line(_ members: [String: JSONValue], _ call: CallIdentity) -> String {
        var object = members
        object["call"] = .string(call.id)
        object["protocolCall"] = .string(call.protocolCall)
        return JSONValue.object(object).text
    }
}

extension LedgerEntry {
    var json: [String: JSONValue] {
        switch self {
        case .stage(let turn, let stage, let at):
            [
                "event": "stage", "turn": number(turn), "stage": .string("\(stage)"),
                "atNs": .integer(Int64(at.nanoseconds)),
            ]
        case .bargeIn(let turn, let heard): ["event": "bargeIn", "turn": number(turn), "heard": .string(heard)]
        case .falseAlarm(let turn, let pausedMs):
            ["event": "falseAlarm", "turn": number(turn), "pausedMs": number(pausedMs)]
        case .repaired(let turn): ["event": "repaired", "turn": number(turn)]
        case .failover(let turn, let from, let to, let failure):
            [
                "event": "failover", "turn": number(turn), "from": .string(from.name),
                "to": to.map { .string($0.name) } ?? .null, "reason": .string(failure.message),
                "vendorCode": .string(failure.vendorCode),
            ]
        case .declined(let turn, let provider):
            ["event": "declined", "turn": number(turn), "provider": .string(provider.name)]
        case .speculation(let turn, let kept): ["event": "speculation", "turn": number(turn), "kept": .bool(kept)]
        case .transcript(let transcript):
            ["event": "transcript", "text": .string(transcript.text), "final": .bool(transcript.isFinal)]
        case .caller(let turn, let text): ["event": "caller", "turn": number(turn), "text": .string(text)]
        case .agent(let turn, let heard, let interrupted):
            ["event": "agent", "turn": number(turn), "heard": .string(heard), "interrupted": .bool(interrupted)]
        case .clip(let turn, let clip): ["event": "clip", "turn": number(turn), "clip": .string(clip.rawValue)]
        case .tool(let turn, let name, let failure, let tookMs):
            [
                "event": "tool", "turn": number(turn), "name": .string(name),
                "failure": failure.map { .string($0.rawValue) } ?? .null, "tookMs": number(tookMs),
            ]
        case .turn(let record): record.json.merging(["event": "turn"]) { $1 }
        }
    }
}

extension TurnRecord {
    /// `stages` in milliseconds since the end of the caller's speech.
    var json: [String: JSONValue] {
        var stagesMs: [String: JSONValue] = [:]
        for stage in TurnStage.allCases {
            if let at = sinceEndOfSpeechMs(stage) { stagesMs["\(stage)"] = number(at) }
        }
        return [
            "turn": number(turn), "stagesMs": .object(stagesMs), "recogniser": .string(recogniser),
            "languageModel": .string(languageModel), "voice": .string(voice), "retries": number(retries),
            "speculative": .bool(speculative), "wastedRequests": number(wastedRequests),
            "interrupted": .bool(interrupted), "clips": number(clips),
        ]
    }
}

extension CallRecord.End {
    /// "farEnd.caller", "host.noInput".
    public var name: String {
        switch self {
        case .farEnd(let cause): "farEnd.\(cause)"
        case .host(let reason): "host.\(reason)"
        }
    }
}

extension CallRecord {
    var json: [String: JSONValue] {
        return [
            "event": "ended", "end": .string(end.name), "code": number(code), "durationMs": number(durationMs),
            "callerTurns": number(callerTurns),
            "agentTurns": number(agentTurns), "bargeIns": number(bargeIns), "falseAlarms": number(falseAlarms),
            "failovers": number(failovers), "declines": number(declines), "digits": .string(digits),
            "lines": .array(
                lines.map {
                    [
                        "speaker": .string("\($0.speaker)"), "text": .string($0.text), "atMs": number($0.atMs),
                        "interrupted": .bool($0.interrupted),
                    ]
                }),
            "turns": .array(turns.map { .object($0.json) }),
        ]
    }
}

private func number(_ value: Int) -> JSONValue { .integer(Int64(value)) }
