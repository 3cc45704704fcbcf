// The commands of OpenSIPS' management interface (MI) that a call needs, as JSON-RPC 2.0.
//
// A server accepts only the exact sets of parameters that it was built with, and never null. Two of its bugs, of every
// version from 3.4 to this day, are answered here and nowhere else:
//
// - Headers without a body go out as uninitialised memory. So whoever has headers has a body too, if an empty one.
// - `content_type` is copied as it stands: it is the whole header line with its line end, or the message is broken.
//
// `ua_session_client_start` knows no set with `proxy`, `body`, `flags` and `socket` alone; with `content_type` beside
// `body` every set that we need is there.

import JSON

/// One command, without its number.
public struct ManagementCommand: Sendable, Equatable {
    public var method: String
    public var params: JSONValue
    /// Said twice it does no more than once, so it is repeated until it is answered.
    public var isRepeatable: Bool
    /// How long an answer to something that is not repeated is waited for.
    var patienceNs: UInt64 = 3_000_000_000

    /// Have the events of all sessions sent to `socket`, "udp:127.0.0.1:50060"; 0 ends it.
    static func subscribe(to socket: String, expiryS: Int) -> Self {
        Self(
            method: "event_subscribe",
            params: .array([.string(SessionEvent.name), .string(socket), .integer(Int64(expiryS))]),
            isRepeatable: false,
            // The subscription asks again by itself.
            patienceNs: 1_000_000_000)
    }

    /// Answers a request of the peer.
    static func reply(
        _ key: String, _ method: String, _ code: Int, reason: String? = nil, body: String? = nil, headers: String = ""
    ) -> Self {
        var params: [String: JSONValue] = [
            "key": .string(key), "method": .string(method), "code": .integer(Int64(code)),
            "reason": .string(reason ?? phrase(of: code)),
        ]
        add(body: body, headers: headers, to: &params)
        return Self(method: "ua_session_reply", params: .object(params), isRepeatable: true)
    }

    /// Sends a request in the dialogue. A second one would be a second request to the peer, so it is said once.
    static func request(
        _ key: String, _ method: String, body: String? = nil, contentType: String? = nil, headers: String = ""
    ) -> Self {
        var params: [String: JSONValue] = ["key": .string(key), "method": .string(method)]
        add(body: body, headers: headers, to: &params)
        if let contentType, params["body"] != nil {
            params["content_type"] = .string("Content-Type: \(contentType)\r\n")
        }
        return Self(method: "ua_session_update", params: .object(params), isRepeatable: false)
    }

    /// BYE, or CANCEL of a call that we made and that rings.
    static func terminate(_ key: String) -> Self {
        Self(method: "ua_session_terminate", params: .object(["key": .string(key)]), isRepeatable: true)
    }

    /// Asks whether OpenSIPS still knows the session.
    static func list(_ key: String) -> Self {
        Self(method: "ua_session_list", params: .object(["key": .string(key)]), isRepeatable: true)
    }

    /// Calls somebody. Its answer is the key of the session.
    static func start(
        to: String, from: String, description: String, headers: String, proxy: String, socket: String
    ) -> Self {
        var params: [String: JSONValue] = [
            "ruri": .string(to), "to": .string(to), "from": .string(from), "body": .string(description),
            "content_type": "Content-Type: application/sdp\r\n",
            // Replies, headers and bodies are reported; ACK is OpenSIPS' affair.
            "flags": "rhb",
        ]
        if !headers.isEmpty { params["extra_headers"] = .string(headers) }
        if !proxy.isEmpty { params["proxy"] = .string(proxy) }
        if !socket.isEmpty { params["socket"] = .string(socket) }
        return Self(method: "ua_session_client_start", params: .object(params), isRepeatable: false)
    }

    private static func add(body: String?, headers: String, to params: inout [String: JSONValue]) {
        if !headers.isEmpty { params["extra_headers"] = .string(headers) }
        if let body { params["body"] = .string(body) } else if !headers.isEmpty { params["body"] = "" }
    }

    /// The datagram. Numbers of commands are strings, because OpenSIPS cuts integers at 31 bits.
    func text(id: String) -> String {
        JSONValue.object([
            "jsonrpc": "2.0", "id": .string(id), "method": .string(method), "params": params,
        ]).text
    }

    /// RFC 3261, 21.
    static func phrase(of code: Int) -> String {
        switch code {
        case 180: "Ringing"
        case 200: "OK"
        case 400: "Bad Request"
        case 403: "Forbidden"
        case 404: "Not Found"
        case 405: "Method Not Allowed"
        case 408: "Request Timeout"
        case 415: "Unsupported Media Type"
        case 480: "Temporarily Unavailable"
        case 481: "Call/Transaction Does Not Exist"
        case 486: "Busy Here"
        case 487: "Request Terminated"
        case 488: "Not Acceptable Here"
        case 500: "Server Internal Error"
        case 503: "Service Unavailable"
        case 603: "Decline"
        default: "Refused"
        }
    }
}

/// The answer to a command.
public struct ManagementReply: Sendable, Equatable {
    public enum Outcome: Sendable, Equatable {
        case result(JSONValue)
        case error(code: Int, String)
    }

    /// nil when the server did not get as far as reading it.
    public var id: String?
    public var outcome: Outcome

    public init(id: String?, outcome: Outcome) {
        self.id = id
        self.outcome = outcome
    }

    /// Nil for JSON that is no answer.
    init?(_ document: JSONValue) {
        id = document["id"]?.string ?? document["id"]?.integer.map { String($0) }
        if let error = document["error"], error.object != nil {
            var message = error["message"]?.string ?? ""
            if let data = error["data"]?.string { message += " (\(data))" }
            let code = error["code"]?.integer.flatMap { Int(exactly: $0) } ?? 0
            outcome = .error(code: code, message.withoutControls)
        } else if let result = document["result"] {
            outcome = .result(result)
        } else {
            return nil
        }
    }
}
