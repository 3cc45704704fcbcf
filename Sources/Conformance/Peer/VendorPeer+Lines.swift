// The peer channel: one line of JSON asks, one answers. Lines and not a binary form, because a line can be read in a
// log, and the longest of them, a minute of audio, is some megabytes once.

import JSON

extension VendorPeer {
    /// Answers one line of the probe. A line that cannot be understood is answered with `error`, and changes nothing.
    public mutating func answer(_ line: String) -> String {
        guard let question = try? JSONValue(parsing: line) else { return Self.refuse("the line is not JSON") }
        let id = Int(question["id"]?.integer ?? 0)
        let atNs = UInt64(clamping: question["atNs"]?.integer ?? 0)
        switch question["ask"]?.string ?? question["tell"]?.string {
        case "http":
            let exchange = request(Self.request(question), id: id, atNs: atNs)
            return Self.answer(id, Self.actions(exchange))
        case "ws-open": return Self.answer(id, open(Self.request(question), id: id, atNs: atNs).map(Self.json))
        case "ws-send":
            let bytes = Base64.bytes(of: question["data"]?.string ?? "") ?? []
            let actions = message(bytes, isBinary: question["binary"]?.bool ?? false, id: id, atNs: atNs)
            return Self.answer(id, actions.map(Self.json))
        case "ws-close":
            let actions = close(
                code: Int(question["code"]?.integer ?? 1000), reason: question["reason"]?.string ?? "", id: id,
                atNs: atNs)
            return Self.answer(id, actions.map(Self.json))
        case "ws-run":
            let name = question["dialogue"]?.string ?? ""
            guard let (run, id, actions) = begin(name) else {
                return Self.refuse("no connection has a dialogue \"\(name)\", or too many were begun")
            }
            let value: JSONValue = [
                "run": .integer(Int64(run)), "id": .integer(Int64(id)), "actions": .array(actions.map(Self.json)),
            ]
            return value.text
        case "ws-state":
            let number = Int(question["run"]?.integer ?? 0) - 1
            guard runs.indices.contains(number) else { return Self.refuse("there is no such run") }
            let value: JSONValue = [
                "state": .string(runs[number].state), "step": .integer(Int64(runs[number].position)),
                "problem": .string(runs[number].problem),
            ]
            return value.text
        case "served":
            defer { servedCalls = [] }
            let value: JSONValue = ["calls": .array(servedCalls.map(\.json))]
            return value.text
        case "served-answer":
            answered(
                run: Int(question["run"]?.integer ?? 0), status: Int(question["status"]?.integer ?? 0),
                body: String(decoding: Base64.bytes(of: question["body"]?.string ?? "") ?? [], as: UTF8.self))
            return #"{"ok":true}"#
        case "served-socket":
            let actions = upgraded(
                run: Int(question["run"]?.integer ?? 0), id: id, path: question["path"]?.string ?? "", atNs: atNs)
            return Self.answer(id, actions.map(Self.json))
        case "cancel":
            canceled(id: id, atNs: atNs)
            return #"{"ok":true}"#
        case "ws-gone":
            gone(id: id, atNs: atNs)
            return #"{"ok":true}"#
        case "fault":
            guard let fault = question["fault"].flatMap({ VendorFault($0) }) else {
                return Self.refuse("there is no fault \(question["fault"]?.text ?? "without a name")")
            }
            arm(
                fault, url: question["url"]?.string ?? "", skip: Int(question["skip"]?.integer ?? 0),
                times: question["times"]?.integer.map { Int($0) })
            return #"{"ok":true}"#
        case "no-fault":
            disarm()
            return #"{"ok":true}"#
        case "seen":
            let sightings: JSONValue = ["seen": .array(seen.map(\.json))]
            return sightings.text
        case let name: return Self.refuse("a vendor is not asked \(name ?? "nothing")")
        }
    }

    static func refuse(_ reason: String) -> String {
        let value: JSONValue = ["error": .string(reason)]
        return value.text
    }

    private static func request(_ question: JSONValue) -> VendorRequest {
        VendorRequest(
            question["method"]?.string ?? "GET", question["url"]?.string ?? "",
            headers: VendorSighting.headers(question["headers"]),
            body: Base64.bytes(of: question["body"]?.string ?? "") ?? [])
    }

    private static func answer(_ id: Int, _ actions: [JSONValue]) -> String {
        let value: JSONValue = ["id": .integer(Int64(id)), "actions": .array(actions)]
        return value.text
    }

    private static func actions(_ exchange: VendorExchange) -> [JSONValue] {
        var actions: [JSONValue] = []
        if let afterMs = exchange.afterMs {
            actions.append([
                "afterMs": .integer(Int64(afterMs)),
                "response": [
                    "status": .integer(Int64(exchange.status)),
                    "headers": .array(exchange.headers.map { [.string($0.name), .string($0.value)] }),
                ],
            ])
        }
        for chunk in exchange.chunks {
            actions.append([
                "afterMs": .integer(Int64(chunk.atMs)), "data": .string(Base64.text(of: chunk.bytes)),
            ])
        }
        switch exchange.end {
        case .complete(let atMs): actions.append(["afterMs": .integer(Int64(atMs)), "done": .null])
        case .failed(let atMs, let failure): actions.append(["afterMs": .integer(Int64(atMs)), "done": failure.json])
        case .never: break
        }
        return actions
    }

    private static func json(_ action: VendorSocketAction) -> JSONValue {
        let afterMs = JSONValue.integer(Int64(action.afterMs))
        switch action.kind {
        case .opened(let subprotocol, let rate, let answersPings):
            return [
                "afterMs": afterMs,
                "opened": [
                    "subprotocol": .string(subprotocol), "readsBytesPerS": rate.map { .integer(Int64($0)) } ?? .null,
                    "answersPings": .bool(answersPings),
                ],
            ]
        case .message(let bytes, let isBinary):
            return ["afterMs": afterMs, "message": .string(Base64.text(of: bytes)), "binary": .bool(isBinary)]
        case .closed(let code, let reason, let failure):
            return [
                "afterMs": afterMs,
                "closed": [
                    "code": .integer(Int64(code)), "reason": .string(reason), "error": failure?.json ?? .null,
                ],
            ]
        }
    }
}

extension VendorPeer.Run {
    var state: String { !problem.isEmpty ? "failed" : isOver ? "passed" : "running" }
}

extension VendorFailure {
    var json: JSONValue {
        [
            "code": .integer(Int64(code)), "message": .string(message), "retryable": .bool(isRetryable),
            "protocolStatus": .integer(Int64(protocolStatus)),
        ]
    }

    /// Nil for null.
    init?(_ json: JSONValue?) {
        guard let json, let code = json["code"]?.integer else { return nil }
        self.init(
            code: Int32(clamping: code), message: json["message"]?.string ?? "",
            isRetryable: json["retryable"]?.bool ?? false, protocolStatus: Int(json["protocolStatus"]?.integer ?? 0))
    }
}
