// One call, as far as signalling knows it.

import PluginKit

/// A request of ours in the dialogue. One at a time: until it is answered OpenSIPS refuses whatever the peer sends with
/// 491, a BYE too.
enum DialogueRequest: Sendable, Equatable {
    case hold(Bool)
    case digit(String)
    case refer(String)

    var method: String {
        switch self {
        case .hold: "INVITE"
        case .digit: "INFO"
        case .refer: "REFER"
        }
    }
}

struct Call: Sendable {
    enum Phase: Sendable, Equatable {
        /// Inbound: announced, no session yet.
        case offered
        /// Inbound: there is a session, and it has not answered.
        case waiting
        /// Inbound: 200 is on its way, and not confirmed.
        case answering
        /// Outbound: OpenSIPS was asked, and has not said the key.
        case starting
        /// Outbound: the INVITE is out.
        case calling
        case up
    }

    /// What the answer of the media service is for.
    enum Description: Sendable, Equatable {
        case firstAnswer
        case change(method: String)
        case call
        case callAnswered
        case hold(Bool)
        case holdAnswered
        /// The peer's answer in its ACK, to an offer of ours in a 200.
        case lateAnswer
    }

    /// Requests that wait: 32 digits, and a little.
    static let requestsMax = 40

    /// The call's number here, and the line of its commands.
    let number: Int
    /// Empty while `starting`.
    var key: String
    var session: UInt64?
    let isInbound: Bool
    var phase: Phase
    /// The first description of the peer.
    var offer = ""
    /// From and To as URIs: theirs, ours.
    var remote = MessageAddress(parsing: "")
    var local = MessageAddress(parsing: "")
    var deadlineNs: UInt64?
    /// When OpenSIPS is asked whether it still knows the session.
    var checkNs: UInt64
    /// When an answer must have been confirmed, by the state of the session.
    var confirmedByNs: UInt64?
    /// It was not, when OpenSIPS was asked.
    var looksUnconfirmed = false
    var description: Description?
    var hasRung = false
    var isHeldByPeer = false
    var isHeldByUs = false
    var isTransferring = false
    var transferIsAccepted = false
    var transferDeadlineNs: UInt64?
    /// Our offer is out in a 200, and the peer's answer comes in the ACK (RFC 3261, 13.2.1).
    var awaitsAnswer = false
    /// ACK came before the answer to our command.
    var sawACK = false

    var requests: [DialogueRequest] = []
    var request: DialogueRequest?
    var requestDeadlineNs: UInt64?

    var isUnanswered: Bool { phase == .offered || phase == .waiting }
}
