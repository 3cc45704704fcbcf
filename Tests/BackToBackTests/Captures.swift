import Glibc
import JSON

/// Datagrams of OpenSIPS 3.6.8 as tcpdump saw them (`Golden`), and others made like them.
enum Capture {
    /// The key of the call in them.
    static let key = "B2B.253.227.1795249396.1083471913"
    static let new = text("new.json")
    static let bye = text("bye.json")
    static let cancel = text("cancel.json")
    static let info = text("info.json")
    static let ringing = text("ringing.json")
    /// A target that is dead: the body is null, and the headers have one line.
    static let deadTarget = text("dead-target.json")
    /// A header with a byte above 0x7f, a control byte, a backslash, quotes and a tab.
    static let oddBytes = bytes("odd-bytes.json")
    /// What the caller offers.
    static let sdp = JSONValue(new)["params"]!["body"]!.string!

    static let ack = event("UPDATED", "ACK")
    static let hold = event("UPDATED", "INVITE", body: sdp.replacing("sendrecv", with: "sendonly"))
    static let resume = event("UPDATED", "INVITE", body: sdp)
    static let options = event("UPDATED", "OPTIONS")
    static let message = event("UPDATED", "MESSAGE", body: "hello")
    static let update = event("UPDATED", "UPDATE")

    static func event(
        _ kind: String, _ method: String, body: String = "", status: Int64 = 0, reason: String? = nil, entity: String = "UAS",
        key: String = key
    ) -> String {
        let params: JSONValue = [
            "key": .string(key), "event_type": .string(kind), "entity_type": .string(entity), "status": .integer(status),
            "reason": reason.map { .string($0) } ?? nil, "method": .string(method), "body": .string(body),
            "headers": .string("CSeq: 2 \(method)\r\nContent-Length: \(body.utf8.count)\r\n"), "extra_params": nil,
        ]
        return JSONValue.object(["jsonrpc": "2.0", "method": "E_UA_SESSION", "params": params]).text
    }

    /// The answer to a request of ours.
    static func answered(_ method: String, _ status: Int64 = 200, _ reason: String = "OK", body: String = "") -> String {
        event(status < 300 ? "ANSWERED" : "REJECTED", method, body: body, status: status, reason: reason)
    }

    /// The parameters of a command that OpenSIPS accepted.
    static func command(_ name: String) -> JSONValue { JSONValue(text("\(name)-command.json")) }

    static func text(_ name: String) -> String { String(decoding: bytes(name), as: UTF8.self) }

    private static func bytes(_ name: String) -> [UInt8] {
        let folder = #filePath.dropLast("Captures.swift".count)
        guard let file = fopen(folder + "Golden/" + name, "r") else { preconditionFailure("Golden/\(name) is missing") }
        defer { fclose(file) }
        var buffer = [UInt8](repeating: 0, count: 65_536)
        // Without the line end, which is the file's and not the datagram's.
        return Array(buffer[..<(fread(&buffer, 1, buffer.count, file) - 1)])
    }
}
