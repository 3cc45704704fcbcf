// The codecs that can be negotiated, and what SDP and RTP call them.

/// A codec that the engine speaks.
public enum AudioCodec: UInt8, Sendable, CaseIterable, BitwiseCopyable {
    case pcmu
    case pcma
    case opus

    /// The name in `a=rtpmap`; compared without regard to case (RFC 8866 section 6.6).
    public var encodingName: String {
        switch self {
        case .pcmu: "PCMU"
        case .pcma: "PCMA"
        case .opus: "opus"
        }
    }

    /// The clock of the RTP timestamp. Opus always counts at 48 kHz, whatever it carries (RFC 7587 section 4.1).
    public var clockRateHz: Int { self == .opus ? 48_000 : 8_000 }

    /// `a=rtpmap` after the payload type. Opus says two channels even for mono (RFC 7587 section 7).
    var rtpmap: String { self == .opus ? "opus/48000/2" : "\(encodingName)/8000" }

    /// The payload type: fixed for G.711 (RFC 3551 table 4), our own choice for Opus.
    var preferredPayloadType: UInt8 {
        switch self {
        case .pcmu: 0
        case .pcma: 8
        case .opus: 111
        }
    }

    /// The rate at which a call on this codec is processed when nothing else is asked for.
    public var conversationRateHz: Int { self == .opus ? 16_000 : 8_000 }
}
