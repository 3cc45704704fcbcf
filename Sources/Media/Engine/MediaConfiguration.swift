// What the operator decides about media, and what the opener of a stream does.

/// The settings of the media engine: `[media]` in the configuration.
public struct MediaConfiguration: Sendable {
    /// The local address in digits on which RTP is received.
    public var bindAddress = "127.0.0.1"
    /// The address in digits that peers are told, behind a NAT or a load balancer; nil: `bindAddress`.
    public var advertisedAddress: String?
    /// UDP ports; each stream takes an even one and the next. Nil: the kernel chooses. The default holds 8,191 pairs,
    /// all below the ports that Linux hands out by itself.
    public var portRange: ClosedRange<UInt16>? = 16_384...32_766
    /// Media threads. One carries a thousand calls.
    public var threads = 1
    /// Streams at the same time, over all threads.
    public var maximumStreams = 2_000
    /// SCHED_FIFO priority of the media threads, 1 to 99; 0 asks for none. Where it is refused they run without.
    public var realtimePriority = 10
    /// Silence of the peer that becomes an event: before its first packet, and later. 0: never.
    public var firstPacketTimeoutMs = 30_000
    public var mediaTimeoutMs = 15_000
    /// Codecs of new streams in the order in which we offer them.
    public var codecs: [AudioCodec] = [.pcmu, .pcma, .opus]

    public init() {}
}

/// How one stream is opened.
public struct StreamOptions: Sendable {
    public enum Kind: Sendable, Equatable {
        /// RTP on sockets of its own; the rate follows from the codec, or is the one given (8,000 or 16,000).
        case rtp(sampleRateHz: Int? = nil)
        /// A transport that brings and takes frames, at the given rate (8,000 or 16,000).
        case frames(sampleRateHz: Int)
    }

    public var kind: Kind = .rtp()
    /// Codecs in the order in which we offer them; nil: the configuration's.
    public var codecs: [AudioCodec]?
    /// Event descriptors (`eventfd`, made by the caller, open until the stream is closed) that are written to when
    /// there is an event or an outbound frame, an inbound frame for the call, one for the detector. -1: none. Several
    /// streams may share one; it is then written to once a tick.
    public var eventWake: Int32 = -1
    public var callFrameWake: Int32 = -1
    public var detectorFrameWake: Int32 = -1

    public init() {}
}
