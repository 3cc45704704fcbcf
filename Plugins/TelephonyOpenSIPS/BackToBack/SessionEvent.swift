// E_UA_SESSION: what the back-to-back module of OpenSIPS says of a session.

import JSON

/// One event of a session, as OpenSIPS reports it.
public struct SessionEvent: Sendable, Equatable {
    /// The event's name in `event_subscribe`.
    public static let name = "E_UA_SESSION"

    public enum Kind: String, Sendable {
        /// The INVITE.
        case new = "NEW"
        /// 1xx, 2xx and 3xx to 6xx in answer to a request of ours.
        case early = "EARLY", answered = "ANSWERED", rejected = "REJECTED"
        /// Any request in the dialogue but BYE.
        case updated = "UPDATED"
        /// BYE or CANCEL: `method` says which.
        case terminated = "TERMINATED"
    }

    public var key: String
    public var kind: Kind
    /// We called: the session was begun by `ua_session_client_start`.
    public var isOutbound: Bool
    /// Of a reply; 0 for requests.
    public var status: Int
    public var reason: String
    public var method: String
    /// Empty without a body; nil when the session was begun without the flag `b`.
    public var body: String?
    /// nil when the session was begun without the flag `h`.
    public var headers: MessageHeaders?
    public var extraParams: String

    /// OpenSIPS' keys have 60 bytes at most; what is longer is no key.
    private static let keyBytesMax = 128

    /// Nil without `key`, `event_type` and `method`.
    init?(_ params: JSONValue) {
        guard let key = params["key"]?.string, !key.isEmpty, key.utf8.count <= Self.keyBytesMax,
            key.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7f }),
            let kind = params["event_type"]?.string.flatMap(Kind.init), let method = params["method"]?.string
        else { return nil }
        self.key = key
        self.kind = kind
        self.method = method.withoutControls
        isOutbound = params["entity_type"]?.string == "UAC"
        status = params["status"]?.integer.flatMap { Int(exactly: $0) } ?? 0
        reason = params["reason"]?.string?.withoutControls ?? ""
        body = params["body"]?.string
        headers = params["headers"]?.string.map(MessageHeaders.init(parsing:))
        extraParams = params["extra_params"]?.string?.withoutControls ?? ""
    }
}
