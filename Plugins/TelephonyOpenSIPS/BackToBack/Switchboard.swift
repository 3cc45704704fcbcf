// All calls of one OpenSIPS: events, orders, answers and time in, actions out.
//
// A value without sockets and clocks, so that a lost event, a restart of the peer or thirty seconds without an ACK are
// lines of a test. What OpenSIPS does by itself is not done again: it answers BYE and CANCEL (but not the INVITE that a
// CANCEL ends), absorbs repetitions, and sends 100. What it does not tell is found out here: it raises no event when a
// session times out, when an ACK never comes, or when it was restarted, so every call is asked after by
// `ua_session_list` every 30 s.
//
// Here: the way in, and the parts that all calls share. Switchboard+Inbound, +Dialogue, +Outbound, +Ends: one call.

import JSON
import PluginKit

/// The machine of one provider.
public struct Switchboard: Sendable {
    /// The contract gives the host 2 s to open the session; twice that is lost.
    static let openDeadlineNs: UInt64 = 4_000_000_000
    /// Timer C of RFC 3261, 16.6: proxies give up then, and so do we.
    static let ringDeadlineNs: UInt64 = 180_000_000_000
    /// 64 * T1 (RFC 3261, 13.3.1.4).
    static let confirmationNs: UInt64 = 32_000_000_000
    /// OpenSIPS' word for a session whose 2xx was not acknowledged; 5 is acknowledged.
    static let unconfirmedState: Int64 = 4
    static let secondLookNs: UInt64 = 2_000_000_000
    static let transferDeadlineNs: UInt64 = 60_000_000_000
    /// OpenSIPS gives up its own requests after `fr_inv_timeout`, 3 s as CE has it, and says so; this is for a reply
    /// that is lost.
    static let requestDeadlineNs: UInt64 = 10_000_000_000
    /// Events whose key is not known yet, because the answer with the key is on its way behind them.
    static let earlyEventsMax = 64
    /// How often deadlines are looked at: all calls at once, so not for each datagram.
    static let sweepNs: UInt64 = 50_000_000
    /// Keys of CANCELs that came before their INVITE: events of two workers may overtake each other.
    static let goneKeysMax = 64

    public let settings: SwitchboardSettings
    var client: ManagementClient
    var subscription: Subscription
    var calls: [Int: Call] = [:]
    var byKey: [String: Int] = [:]
    var bySession: [UInt64: Int] = [:]
    var latest = 0
    /// Calls that OpenSIPS was asked for and has not answered.
    var starting = 0
    var earlyEvents: [(event: SessionEvent, peer: String)] = []
    var goneKeys: [String] = []
    private var sweepDueNs: UInt64 = 0
    var isDraining = false
    var isDrained = false
    var hasWarnedOfFlags = false
    var actions: [Action] = []

    public init(_ settings: SwitchboardSettings, nowNs: UInt64) {
        self.settings = settings
        client = ManagementClient(prefix: settings.commandPrefix)
        subscription = Subscription(renewS: settings.renewS, nowNs: nowNs)
    }

    public var callCount: Int { calls.count }
    public var isSubscribed: Bool { subscription.state == .granted }
    public var repetitions: Int { client.repetitions }
    /// Whether time must be looked at often: a command or a call is under way.
    public var isBusy: Bool { !client.isIdle || !calls.isEmpty }

    /// A datagram came; `peer` is from where.
    public mutating func receive(_ bytes: some Collection<UInt8>, from peer: String, nowNs: UInt64) -> [Action] {
        switch Datagram(parsing: bytes) {
        case .session(let event):
            count(.events)
            take(event, peer, nowNs)
        case .reply(let reply):
            if let (completion, texts) = client.receive(reply, nowNs: nowNs) {
                send(texts)
                completed(completion, nowNs)
            } else if case .error(let code, let message) = reply.outcome, reply.id == nil {
                log(.warning, "OpenSIPS could not read a command: \(code) \(message)")
            } else {
                log(.debug, "an answer to a command that was given up came from \(peer)")
            }
        case .foreign(let name):
            count(.foreignEvents)
            log(.debug, "an event \(name) from \(peer) means nothing here; calls come as \(SessionEvent.name)")
        case .nonsense(let why):
            count(.nonsense)
            log(.debug, "a datagram from \(peer) is \(why)")
        }
        return taken(nowNs)
    }

    /// The host ordered something of a session.
    public mutating func order(
        _ order: TelephonyOrder, session: UInt64, call: TelephonyCall, nowNs: UInt64
    ) -> [Action] {
        let number = bySession[session]
        switch order {
        case .open:
            switch call {
            case .inbound(let key): openInbound(key, session, nowNs)
            case .outbound(let wanted): openOutbound(wanted, session, nowNs)
            }
        case .ringing: if let number { ring(number, nowNs) }
        case .answer: if let number { answer(number) }
        case .hangup(let code, let reason): if let number { hangUp(number, code, reason, nowNs) }
        case .transfer(let target): transfer(number, target, session, nowNs)
        case .hold(let isOn): if let number { ask(.hold(isOn), number, nowNs) }
        case .dtmf(let digits):
            if let number { for digit in digits { ask(.digit(String(digit)), number, nowNs) } }
        case .credit: break
        case .close:
            if let number { hangUp(number, 0, "", nowNs) }
            emit(.closed, session)
        case .destroy: if let number { hangUp(number, 0, "", nowNs) }
        }
        return taken(nowNs)
    }

    /// What the media service said to `describe`.
    public mutating func described(_ answer: MediaAnswer, session: UInt64, nowNs: UInt64) -> [Action] {
        if let number = bySession[session] { described(answer, number, nowNs) }
        return taken(nowNs)
    }

    /// The host refuses a call for which it opens no session.
    public mutating func declined(key: String, code: Int, retryAfterS: Int, nowNs: UInt64) -> [Action] {
        if let number = byKey[key], calls[number]?.phase == .offered {
            refuse(key, code, retryAfterS: code == 503 && retryAfterS == 0 ? 5 : retryAfterS, number, nowNs)
            forget(number)
        }
        return taken(nowNs)
    }

    /// Takes nothing new, and is `drained` when all calls are over.
    public mutating func drain(nowNs: UInt64) -> [Action] {
        isDraining = true
        return taken(nowNs)
    }

    /// The provider is gone: ends what is left at the peer. Nothing may be said to the host any more.
    public mutating func stop(nowNs: UInt64) -> [Action] {
        for number in calls.keys.sorted() { hangUp(number, 503, "", nowNs) }
        unsubscribe(nowNs)
        defer { actions = [] }
        return actions.filter { if case .send = $0 { true } else { false } }
    }

    /// Time passed.
    public mutating func tick(nowNs: UInt64) -> [Action] {
        if subscription.shouldAsk(nowNs: nowNs) {
            submit(
                .subscribe(to: settings.eventSocket, expiryS: subscription.expiryS), .subscribe, line: 0, nowNs)
        }
        let (completions, texts) = client.tick(nowNs: nowNs)
        send(texts)
        for completion in completions { completed(completion, nowNs) }
        if nowNs >= sweepDueNs {
            sweepDueNs = nowNs + Self.sweepNs
            for number in calls.keys.sorted() { tick(number, nowNs) }
        }
        return taken(nowNs)
    }

    // MARK: Commands

    private mutating func completed(_ completion: ManagementClient.Completion, _ nowNs: UInt64) {
        switch completion.ending {
        case .done: break
        case .refused(let code, let message):
            count(.managementRefusals)
            log(.debug, "OpenSIPS refused \(completion.purpose): \(code) \(message)")
        case .timeout:
            count(.managementTimeouts)
            if completion.purpose != .subscribe { subscription.suspect(nowNs: nowNs) }
        }
        switch completion.purpose {
        case .subscribe: subscribed(completion.ending, nowNs)
        case .start: started(completion.line, completion.ending, nowNs)
        default:
            guard calls[completion.line] != nil else { return }
            completed(completion.purpose, completion.ending, completion.line, nowNs)
        }
    }

    private mutating func subscribed(_ ending: ManagementClient.Ending, _ nowNs: UInt64) {
        if case .done = ending {
            let wasLost = subscription.state == .lost
            guard subscription.granted(nowNs: nowNs) else { return }
            log(.info, "subscribed at \(settings.management): calls are reported to \(settings.eventSocket)")
            // It may have been restarted, and then it knows none of our calls.
            if wasLost { for number in calls.keys { calls[number]!.checkNs = nowNs } }
            return
        }
        guard subscription.failed(nowNs: nowNs) else { return }
        count(.subscriptionsLost)
        switch ending {
        case .refused(let code, let message):
            log(
                .warning,
                "OpenSIPS at \(settings.management) refuses the subscription with \(code) \(message): load its "
                    + "modules event_datagram and b2b_entities; it is asked again and again")
        default:
            log(
                .warning,
                "OpenSIPS does not answer at \(settings.management), so no calls come in: start it, or correct mi_ip "
                    + "and mi_port; it is asked again and again")
        }
    }

    mutating func unsubscribe(_ nowNs: UInt64) {
        guard subscription.state != .ended else { return }
        subscription.end()
        submit(.subscribe(to: settings.eventSocket, expiryS: 0), .unsubscribe, line: 0, nowNs)
    }

    mutating func submit(
        _ command: ManagementCommand, _ purpose: ManagementClient.Purpose, line: Int, _ nowNs: UInt64
    ) {
        guard let texts = client.submit(command, for: purpose, line: line, nowNs: nowNs) else {
            count(.managementDropped)
            return
        }
        send(texts)
    }

    private mutating func send(_ texts: [String]) { for text in texts { actions.append(.send(text)) } }

    // MARK: Actions

    mutating func emit(_ event: TelephonyEvent, _ session: UInt64?) {
        if let session { actions.append(.emit(event, session: session)) }
    }

    mutating func count(_ counter: Counter) { actions.append(.count(counter)) }

    mutating func log(_ level: Action.LogLevel, _ text: String) { actions.append(.log(level, text)) }

    private mutating func taken(_ nowNs: UInt64) -> [Action] {
        if isDraining, !isDrained, calls.isEmpty, !client.isSpeakingForCalls {
            isDrained = true
            unsubscribe(nowNs)
            actions.append(.drained)
        }
        defer { actions = [] }
        return actions
    }
}
