// What the vendor saw, in the order in which it came: the other half of the truth about a provider. A rule that asks
// whether a barge-in really stopped the work upstream, or whether the audio arrived unchanged, asks here.

import JSON

/// A request or a connection that reached the vendor.
public struct VendorSighting: Sendable, Equatable {
    public enum Kind: String, Sendable { case http, ws }

    /// What the plugin sent on a WebSocket.
    public struct Message: Sendable, Equatable {
        public var atNs: UInt64
        public var bytes: [UInt8]
        public var isBinary: Bool
        /// The script had no answer to it, and did not say that it may be passed over.
        public var isUnexpected = false

        public var text: String { String(decoding: bytes, as: UTF8.self) }
    }

    /// How the plugin's side ended it.
    public struct Ending: Sendable, Equatable {
        public var atNs: UInt64
        /// The code of its close frame; 0: it cancelled the request, or dropped the connection.
        public var code = 0
        public var reason = ""
    }

    public var kind: Kind
    /// The probe's number for it, counted from 1.
    public var id: Int
    public var atNs: UInt64
    public var request: VendorRequest
    /// The entry that answers; empty: none.
    public var entry = ""
    /// The fault that was put to the answer.
    public var fault: VendorFault?
    public var messages: [Message] = []
    /// When the vendor was done by itself; nil: never.
    public var completeNs: UInt64?
    /// When the plugin ended it before that; nil: it did not.
    public var ending: Ending?

    /// It was ended by the plugin while the vendor was still at work.
    public var isCanceled: Bool { ending != nil && kind == .http }

    var json: JSONValue {
        var members: [String: JSONValue] = [
            "kind": .string(kind.rawValue), "id": .integer(Int64(id)), "atNs": .integer(Int64(atNs)),
            "method": .string(request.method), "url": .string(request.url), "entry": .string(entry),
            "headers": .array(request.headers.map { [.string($0.name), .string($0.value)] }),
            "body": .string(Base64.text(of: request.body)),
        ]
        if let fault { members["fault"] = fault.json }
        if let completeNs { members["completeNs"] = .integer(Int64(completeNs)) }
        if let ending {
            members["ending"] = [
                "atNs": .integer(Int64(ending.atNs)), "code": .integer(Int64(ending.code)),
                "reason": .string(ending.reason),
            ]
        }
        if kind == .ws {
            members["messages"] = .array(
                messages.map { message in
                    [
                        "atNs": .integer(Int64(message.atNs)), "binary": .bool(message.isBinary),
                        "data": .string(Base64.text(of: message.bytes)), "unexpected": .bool(message.isUnexpected),
                    ]
                })
        }
        return .object(members)
    }

    /// Nil for what is no sighting.
    init?(_ json: JSONValue) {
        guard let kind = json["kind"]?.string.flatMap(Kind.init), let id = json["id"]?.integer,
            let atNs = json["atNs"]?.integer
        else { return nil }
        self.kind = kind
        self.id = Int(id)
        self.atNs = UInt64(atNs)
        request = VendorRequest(
            json["method"]?.string ?? "", json["url"]?.string ?? "", headers: Self.headers(json["headers"]),
            body: Base64.bytes(of: json["body"]?.string ?? "") ?? [])
        entry = json["entry"]?.string ?? ""
        fault = json["fault"].flatMap { VendorFault($0) }
        completeNs = json["completeNs"]?.integer.map { UInt64($0) }
        if let ending = json["ending"] {
            self.ending = Ending(
                atNs: UInt64(ending["atNs"]?.integer ?? 0), code: Int(ending["code"]?.integer ?? 0),
                reason: ending["reason"]?.string ?? "")
        }
        messages = (json["messages"]?.array ?? []).map { message in
            Message(
                atNs: UInt64(message["atNs"]?.integer ?? 0),
                bytes: Base64.bytes(of: message["data"]?.string ?? "") ?? [],
                isBinary: message["binary"]?.bool ?? false, isUnexpected: message["unexpected"]?.bool ?? false)
        }
    }

    init(_ kind: Kind, id: Int, atNs: UInt64, _ request: VendorRequest) {
        self.kind = kind
        self.id = id
        self.atNs = atNs
        self.request = request
    }

    static func headers(_ json: JSONValue?) -> [(name: String, value: String)] {
        (json?.array ?? []).compactMap { field in
            guard let sides = field.array, sides.count == 2, let name = sides[0].string, let value = sides[1].string
            else { return nil }
            return (name, value)
        }
    }
}
