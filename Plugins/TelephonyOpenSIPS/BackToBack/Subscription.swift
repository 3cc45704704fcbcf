// The subscription to the events of all sessions.
//
// OpenSIPS keeps it in memory and forgets it when it restarts, without a word; and it may be started after us. So it is
// asked for at once, again every second (then every 5 s) until it is granted, and renewed every 30 s for ever, which
// costs one datagram. A renewal that is not answered, or any command that is not, is reason to ask again at once.

struct Subscription: Sendable {
    enum State: Sendable, Equatable { case waiting, granted, lost, ended }

    private(set) var state = State.waiting
    /// When to ask, unless a question is under way.
    private var dueNs: UInt64
    private var isAsking = false
    private var failures = 0
    let renewNs: UInt64
    /// Outlives three renewals that are lost, and not the day: a host that died should not be sent events for ever.
    var expiryS: Int { max(60, Int(renewNs / 1_000_000_000) * 4) }

    init(renewS: Int, nowNs: UInt64) {
        renewNs = UInt64(renewS) * 1_000_000_000
        dueNs = nowNs
    }

    /// True when `event_subscribe` is to be sent now.
    mutating func shouldAsk(nowNs: UInt64) -> Bool {
        guard state != .ended, !isAsking, nowNs >= dueNs else { return false }
        isAsking = true
        return true
    }

    /// OpenSIPS said OK. True when that is news: it was not there, or had not answered.
    mutating func granted(nowNs: UInt64) -> Bool {
        isAsking = false
        failures = 0
        dueNs = nowNs + renewNs
        guard state != .ended else { return false }
        defer { state = .granted }
        return state != .granted
    }

    /// It refused, or did not answer. True when that is news.
    mutating func failed(nowNs: UInt64) -> Bool {
        isAsking = false
        failures += 1
        dueNs = nowNs + UInt64(min(failures, 5)) * 1_000_000_000
        guard state != .ended else { return false }
        defer { state = .lost }
        return state != .lost
    }

    /// Another command was not answered: OpenSIPS may be gone.
    mutating func suspect(nowNs: UInt64) { dueNs = min(dueNs, nowNs) }

    mutating func end() { state = .ended }
}
