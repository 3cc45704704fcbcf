// A call that the host is asked to make, as whoever asks writes it: one object of the control socket. What is wrong
// with it is said before anything rings, in words that name the member.

import JSON

struct OutgoingCall: Sendable, Equatable {
    /// The section that calls: "telephony.twilio".
    var provider: String
    /// Whom, as the plugin's addresses are written: "sip:desk@example.org", "+90555...".
    var to: String
    /// As whom; empty: as the plugin's section says.
    var from = ""
    /// The agent that talks; empty: the default one.
    var profile = ""
    var ringTimeoutMs = 30_000

    /// Below a second no telephone rings, and no network lets one ring for ten minutes.
    static let ringTimeoutsMs = 1_000...600_000
    /// Addresses of SIP are shorter, and plugins have a bound of their own.
    static let addressBytesMax = 512
    private static let members: Set = ["command", "provider", "to", "from", "profile", "ringTimeoutMs", "wait"]

    init(provider: String, to: String) {
        self.provider = provider
        self.to = to
    }

    /// Of `{"command": "dial", "provider": ..., "to": ...}`.
    init(_ request: JSONValue) throws(DialRefusal) {
        if let unknown = request.object?.keys.sorted().first(where: { !Self.members.contains($0) }) {
            throw DialRefusal(
                "dial knows no \"\(unknown)\"; there are provider, to, from, profile, ringTimeoutMs and wait")
        }
        func text(_ name: String) throws(DialRefusal) -> String {
            guard let value = request[name], value != .null else { return "" }
            guard let text = value.string else { throw DialRefusal("\"\(name)\" is no text") }
            guard text.utf8.count <= Self.addressBytesMax, text.utf8.allSatisfy({ $0 >= 0x20 && $0 != 0x7f }) else {
                throw DialRefusal(
                    "\"\(name)\" is longer than \(Self.addressBytesMax) bytes, or has characters that are none")
            }
            return text
        }
        provider = try text("provider")
        to = try text("to")
        from = try text("from")
        profile = try text("profile")
        guard !provider.isEmpty else {
            throw DialRefusal("dial needs \"provider\", the section that calls: telephony.NAME")
        }
        guard to.contains(where: { $0 != " " }) else { throw DialRefusal("dial needs \"to\", a number or an address") }
        guard let timeout = request["ringTimeoutMs"], timeout != .null else { return }
        guard let milliseconds = timeout.integer, Self.ringTimeoutsMs.contains(Int(clamping: milliseconds)) else {
            throw DialRefusal(
                "\"ringTimeoutMs\" is \(timeout.text.prefix(20)); expected a whole number from "
                    + "\(Self.ringTimeoutsMs.lowerBound) to \(Self.ringTimeoutsMs.upperBound)")
        }
        ringTimeoutMs = Int(milliseconds)
    }
}

/// Why nobody is called.
struct DialRefusal: Error, Equatable {
    let message: String

    init(_ message: String) { self.message = message }
}
