// What an offer and its answer agreed on, in the form in which the media thread uses it: plain bytes that go to it
// through a ring, and are compared with the last agreement to see whether anything changed at all.

/// Which way the audio of a stream flows, seen from us (RFC 8866 section 6.7).
public enum MediaDirection: UInt8, Sendable, BitwiseCopyable {
    case sendReceive
    case sendOnly
    case receiveOnly
    case inactive

    public var sends: Bool { self == .sendReceive || self == .sendOnly }
    public var receives: Bool { self == .sendReceive || self == .receiveOnly }

    init(sends: Bool, receives: Bool) {
        switch (sends, receives) {
        case (true, true): self = .sendReceive
        case (true, false): self = .sendOnly
        case (false, true): self = .receiveOnly
        case (false, false): self = .inactive
        }
    }

    /// What the other side calls the same thing.
    var reversed: MediaDirection { MediaDirection(sends: receives, receives: sends) }

    init?(attribute name: String) {
        switch name {
        case "sendrecv": self = .sendReceive
        case "sendonly": self = .sendOnly
        case "recvonly": self = .receiveOnly
        case "inactive": self = .inactive
        default: return nil
        }
    }

    var attribute: String {
        switch self {
        case .sendReceive: "sendrecv"
        case .sendOnly: "sendonly"
        case .receiveOnly: "recvonly"
        case .inactive: "inactive"
        }
    }
}

/// The outcome of a negotiation.
public struct MediaParameters: Equatable, Sendable, BitwiseCopyable {
    /// A payload type that stands for "not negotiated".
    static let noPayloadType: UInt8 = 0xFF

    /// Where the peer wants its packets. Without a host in digits it is unknown, and the latch has to find it.
    public internal(set) var remote = SocketAddress()
    public internal(set) var remoteRTCP = SocketAddress()
    public internal(set) var codec = AudioCodec.pcmu
    /// The payload type that the peer chose for `codec`.
    public internal(set) var sendPayloadType: UInt8 = 0
    public internal(set) var direction = MediaDirection.sendReceive
    /// The peer put us on hold: it does not want to hear us.
    public internal(set) var isHeldByPeer = false
    /// Audio in each of our packets: 20, 40 or 60 ms.
    public internal(set) var packetMs: Int32 = 20
    /// RTP and RTCP share one port (RFC 5761).
    public internal(set) var usesRTCPMux = false
    /// Payload type of telephone events, in each direction (RFC 4733).
    var sendEventPayloadType = MediaParameters.noPayloadType
    var receiveEventPayloadType = MediaParameters.noPayloadType
    var receiveOpusPayloadType = MediaParameters.noPayloadType
    /// Numbers for G.711 beside the static ones, should a peer have chosen others.
    var receivePCMUPayloadType: UInt8 = 0
    var receivePCMAPayloadType: UInt8 = 8

    /// Whether the peer takes digits as telephone events.
    public var canSendDTMF: Bool { sendEventPayloadType != Self.noPayloadType }

    /// The codec of a packet that arrives. G.711 is understood by its static numbers whatever was agreed: a peer may
    /// change its mind with any packet (RFC 3264 section 5.1), and there is nothing else that those numbers can mean.
    @inline(__always)
    func codec(ofPayloadType type: UInt8) -> AudioCodec? {
        if type == receiveOpusPayloadType { return .opus }
        if type == receivePCMUPayloadType || type == 0 { return .pcmu }
        if type == receivePCMAPayloadType || type == 8 { return .pcma }
        return nil
    }

    /// Comfort noise (RFC 3389) at 8 kHz has a static number.
    static let comfortNoisePayloadType: UInt8 = 13
}
