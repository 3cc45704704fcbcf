// What a stream tells its call, through a ring that the media thread fills and the call empties.

/// Something that happened to a stream.
public enum MediaEvent: Sendable, Equatable, BitwiseCopyable {
    /// A digit that the peer sent as a telephone event, once for each press.
    case digit(DTMFDigit)
    /// The last sample of an epoch that was finished was sent; `samples` of it were.
    case playoutDrained(epoch: UInt64, samples: UInt64)
    /// A flush ended an epoch, of which `samples` had been sent.
    case playoutFlushed(epoch: UInt64, samples: UInt64)
    /// The last of the digits that were to be sent is out.
    case digitsSent
    /// The first packet of the peer came.
    case firstPacket
    /// The peer's packets come from another source (SSRC or address) from here on.
    case sourceChanged
    /// Nothing came from the peer for so long, although it should.
    case mediaTimeout(silentForMs: Int32)
    /// The peer put us on hold, or took us back.
    case heldByPeer(Bool)
    /// The peer said goodbye in RTCP.
    case peerLeft
}
