// What comes in and what is to be done: the edge of the switchboard.

import PluginKit

/// What is to be done.
public enum Action: Sendable, Equatable {
    /// A datagram to the management interface.
    case send(String)
    /// Tell the host; if it takes no calls, say so by `declined(key:code:retryAfterS:)`.
    case incoming(IncomingCall)
    case withdrawn(key: String)
    case emit(TelephonyEvent, session: UInt64)
    /// Ask the media service, and give its answer to `described`.
    case describe(MediaQuestion, session: UInt64)
    case closeMedia(session: UInt64)
    case count(Counter)
    case log(LogLevel, String)
    /// All calls are over, and a drain was asked for: let go of the port.
    case drained

    public enum LogLevel: Sendable, Equatable { case debug, info, warning }
}

/// A question to the media service.
public enum MediaQuestion: Sendable, Equatable {
    case answer(String)
    case offer
    case accept(String)
}

/// What the media service said.
public enum MediaAnswer: Sendable, Equatable {
    case text(String)
    case noPort
    /// No codec in common.
    case mismatch
    /// That was no description.
    case nonsense
    case failed
}

/// What is counted.
public enum Counter: String, Sendable, CaseIterable {
    case events = "opensips_events_total"
    case foreignEvents = "opensips_foreign_events_total"
    case nonsense = "opensips_nonsense_total"
    case unknownKeys = "opensips_unknown_keys_total"
    case calls = "opensips_calls_in_total"
    case outboundCalls = "opensips_calls_out_total"
    case limited = "opensips_calls_limited_total"
    case openTimeouts = "opensips_open_timeouts_total"
    case managementTimeouts = "opensips_mi_timeouts_total"
    case managementRefusals = "opensips_mi_refusals_total"
    case managementDropped = "opensips_mi_dropped_total"
    case subscriptionsLost = "opensips_subscriptions_lost_total"
    case lostSessions = "opensips_lost_sessions_total"
    case unconfirmed = "opensips_unconfirmed_answers_total"
    case mediaRefusals = "opensips_media_refusals_total"
    case transfers = "opensips_transfers_total"
    case digits = "opensips_info_digits_total"

    public var help: String {
        switch self {
        case .events: "Events E_UA_SESSION received"
        case .foreignEvents: "Events of other names and generations, which mean nothing to a call"
        case .nonsense: "Datagrams that were neither an event nor an answer"
        case .unknownKeys: "Events of sessions that are not ours, or not any more"
        case .calls: "Calls announced to the host"
        case .outboundCalls: "Calls placed"
        case .limited: "Calls refused with 503: calls_max, or draining"
        case .openTimeouts: "Calls for which the host opened no session in time"
        case .managementTimeouts: "Commands that OpenSIPS did not answer"
        case .managementRefusals: "Commands that OpenSIPS refused"
        case .managementDropped: "Commands dropped because too many were unanswered"
        case .subscriptionsLost: "Times that the subscription was lost"
        case .lostSessions: "Calls ended because OpenSIPS did not know them any more"
        case .unconfirmed: "Answers that the caller never confirmed"
        case .mediaRefusals: "Descriptions that the media service refused"
        case .transfers: "REFER requests sent"
        case .digits: "Digits received by INFO"
        }
    }
}
