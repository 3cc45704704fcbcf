// From which address a stream takes packets, and to which it sends (symmetric RTP, RFC 4961).
//
// Behind a NAT, the address in the SDP is often not the one from which packets come, so the observed one has to be
// learnt. Learning without limits is how calls are stolen ("RTPbleed"): whoever sends a packet to the port gets the
// audio. And it makes a reflector: with a forged sender address a few packets turn a stream on somebody who never
// called. Hence:
//
//   - Only in a window after a negotiation, and only until one source has won.
//   - A packet from the address in the SDP wins at once: sending there is what signalling asked for.
//   - Any other source must send four packets in a row, of an acceptable payload type and one SSRC. Until then it gets
//     nothing and none of its audio is used.
//   - A learnt source is not yet proven: it gets no more packets than it has sent, with ten seconds of allowance, until
//     an RTCP report from its host quotes our SSRC. Only who receives our packets can know that.
//   - Afterwards the source is locked. Packets from elsewhere are counted and ignored.

/// Who the peer is, as a machine: packets' senders in, verdicts out.
struct SourceLatch: BitwiseCopyable {
    static let probation = 4
    /// From the first packet of any source; a peer that is silent at first gets more time to appear.
    static let windowNs: Int64 = 5_000_000_000
    static let silentWindowNs: Int64 = 30_000_000_000
    static let allowance = 500

    enum Verdict: BitwiseCopyable {
        case accept
        /// It won just now: the sender may be another than before.
        case acceptNewSource
        /// From a source that has not proved itself yet.
        case onProbation
        case ignore
    }

    private var signalled = SocketAddress()
    private(set) var locked = SocketAddress()
    private var candidate = SocketAddress()
    private var candidateSSRC: UInt32 = 0
    private var candidateCount = 0
    private var deadlineNs = Int64.min
    private var hasHeardAnything = false
    private var isProven = true
    private var credit = 0

    /// A negotiation said where the peer is. Its window is open again; who was locked stays locked when the peer's
    /// address is the same as before, or a session-timer refresh would be an invitation to take the call over.
    mutating func negotiate(_ address: SocketAddress, now: Int64) {
        guard address != signalled || !locked.isKnown else { return }
        signalled = address
        locked = SocketAddress()
        candidateCount = 0
        hasHeardAnything = false
        deadlineNs = now &+ Self.silentWindowNs
        isProven = true
    }

    /// What to do with a packet of an acceptable payload type.
    mutating func judge(_ source: SocketAddress, ssrc: UInt32, now: Int64) -> Verdict {
        if locked.isKnown {
            guard source == locked else { return .ignore }
            if !isProven { credit = min(credit + 1, Self.allowance) }
            return .accept
        }
        if source == signalled {
            locked = source
            isProven = true
            return .acceptNewSource
        }
        if !hasHeardAnything {
            hasHeardAnything = true
            deadlineNs = min(deadlineNs, now &+ Self.windowNs)
        }
        guard now < deadlineNs else { return .ignore }
        if source == candidate, ssrc == candidateSSRC {
            candidateCount += 1
        } else {
            candidate = source
            candidateSSRC = ssrc
            candidateCount = 1
        }
        guard candidateCount >= Self.probation else { return .onProbation }
        locked = source
        isProven = false
        credit = Self.allowance
        return .acceptNewSource
    }

    /// A report quoted our SSRC: its sender receives what we send.
    mutating func prove(from source: SocketAddress) {
        if locked.isKnown, source.hasHost(of: locked) { isProven = true }
    }

    /// Where the next packet goes, or nil when none may be sent now. Counts as sent.
    mutating func destination() -> SocketAddress? {
        guard locked.isKnown else {
            return signalled.isKnown && !signalled.isUnspecified && signalled.port != 0 ? signalled : nil
        }
        if !isProven {
            guard credit > 0 else { return nil }
            credit -= 1
        }
        return locked
    }
}
