// Figures that a media thread writes and anybody reads: words in shared memory, each atomic by itself. A reader may
// see one figure a moment newer than another; for statistics that is as good as a lock, and the media thread has none.

import Synchronization

/// One word for each case of `Figure`.
struct StatisticsBoard<Figure: RawRepresentable & CaseIterable>: @unchecked Sendable where Figure.RawValue == Int {
    private let words: UnsafeMutablePointer<Atomic<UInt64>>

    init() {
        words = .allocate(capacity: Figure.allCases.count)
        for index in 0..<Figure.allCases.count { (words + index).initialize(to: Atomic(0)) }
    }

    func deallocate() { words.deallocate() }

    @inline(__always)
    func set(_ figure: Figure, _ value: UInt64) { words[figure.rawValue].store(value, ordering: .relaxed) }

    @inline(__always)
    func set(_ figure: Figure, _ value: Int64) { set(figure, UInt64(bitPattern: value)) }

    /// Adds to a figure that only one thread writes.
    @inline(__always)
    func add(_ figure: Figure, _ value: UInt64 = 1) {
        let word = words + figure.rawValue
        word.pointee.store(word.pointee.load(ordering: .relaxed) &+ value, ordering: .relaxed)
    }

    func get(_ figure: Figure) -> UInt64 { words[figure.rawValue].load(ordering: .relaxed) }
    func getSigned(_ figure: Figure) -> Int64 { Int64(bitPattern: get(figure)) }
}

/// The figures of one stream.
enum StreamFigure: Int, CaseIterable {
    case packetsReceived, packetsSent, lost, late, duplicate, unusable, foreign, malformed
    case jitterTicks, clockRateHz, roundTrip, peerFractionLost, driftPPM, bufferedNs, targetNs
    case concealedSamples, corrections, restarts, underruns, framesDropped, eventsDropped, pauseLatencyNs, overflows
    case skippedFrames, sendErrors
}

/// The state of a stream's media, as of the last fifth of a second.
public struct StreamStatistics: Sendable, Equatable {
    public internal(set) var packetsReceived: UInt64 = 0
    public internal(set) var packetsSent: UInt64 = 0
    /// Expected and not received (RFC 3550 appendix A.3); duplicates count against it.
    public internal(set) var packetsLost: Int64 = 0
    /// Came after their time to be played.
    public internal(set) var packetsLate: UInt64 = 0
    public internal(set) var packetsDuplicate: UInt64 = 0
    /// Of an unknown payload type, too long or undecodable.
    public internal(set) var packetsUnusable: UInt64 = 0
    /// From an address that is not the peer's.
    public internal(set) var packetsForeign: UInt64 = 0
    /// Not RTP at all.
    public internal(set) var packetsMalformed: UInt64 = 0
    public internal(set) var sendErrors: UInt64 = 0
    /// Interarrival jitter (RFC 3550 section 6.4.1).
    public internal(set) var jitterMs: Double = 0
    /// From RTCP; nil as long as the peer reported nothing.
    public internal(set) var roundTripMs: Double?
    /// What the peer lost of ours in its last interval, 0 to 1.
    public internal(set) var peerLossFraction: Double = 0
    /// How much faster the peer's clock runs than ours.
    public internal(set) var clockDriftPPM: Int64 = 0
    /// How long audio is held at present, and how long it should be.
    public internal(set) var jitterBufferMs: Double = 0
    public internal(set) var jitterBufferTargetMs: Double = 0
    public internal(set) var concealedSamples: UInt64 = 0
    /// Ten milliseconds taken out or put in, so many times.
    public internal(set) var timeCorrections: UInt64 = 0
    /// New senders or timelines.
    public internal(set) var restarts: UInt64 = 0
    /// Times that the voice ran dry in mid-epoch.
    public internal(set) var playoutUnderruns: UInt64 = 0
    /// Inbound frames that a reader was too slow to take.
    public internal(set) var framesDropped: UInt64 = 0
    public internal(set) var eventsDropped: UInt64 = 0
    /// Frames that were never sent because the media thread was stopped for longer than 100 ms.
    public internal(set) var framesSkipped: UInt64 = 0
    /// From the last decision to pause or flush to the end of the last packet that was audible.
    public internal(set) var pauseLatencyMs: Double = 0

    /// Listening quality from 1 to 4.5, computed from loss and delay by the simplified E-model (ITU-T G.107, G.711 with
    /// concealment): `R = 93.2 - Id - Ie_eff`.
    public var meanOpinionScore: Double {
        let expected = Double(packetsReceived) + Double(max(packetsLost, 0))
        let missing = Double(max(packetsLost, 0)) + Double(packetsLate)
        let lossPercent = expected > 0 ? min(100, 100 * missing / expected) : 0
        let delay = (roundTripMs ?? 0) / 2 + jitterBufferMs + 20
        return Self.meanOpinionScore(oneWayDelayMs: delay, lossPercent: lossPercent, lossRobustness: 25.1)
    }

    static func meanOpinionScore(oneWayDelayMs delay: Double, lossPercent: Double, lossRobustness: Double) -> Double {
        let delayImpairment = 0.024 * delay + (delay > 177.3 ? 0.11 * (delay - 177.3) : 0)
        let lossImpairment = 95 * lossPercent / (lossPercent + lossRobustness)
        let rating = 93.2 - delayImpairment - lossImpairment
        if rating <= 0 { return 1 }
        if rating >= 100 { return 4.5 }
        return 1 + 0.035 * rating + rating * (rating - 60) * (100 - rating) * 7e-6
    }

    init(_ board: StatisticsBoard<StreamFigure>) {
        packetsReceived = board.get(.packetsReceived)
        packetsSent = board.get(.packetsSent)
        packetsLost = board.getSigned(.lost)
        packetsLate = board.get(.late)
        packetsDuplicate = board.get(.duplicate)
        packetsUnusable = board.get(.unusable)
        packetsForeign = board.get(.foreign)
        packetsMalformed = board.get(.malformed)
        sendErrors = board.get(.sendErrors)
        let clock = Double(max(board.get(.clockRateHz), 1))
        jitterMs = Double(board.get(.jitterTicks)) * 1_000 / clock
        let roundTrip = board.get(.roundTrip)
        roundTripMs = roundTrip == 0 ? nil : Double(roundTrip - 1) * 1_000 / 65_536
        peerLossFraction = Double(board.get(.peerFractionLost)) / 256
        clockDriftPPM = board.getSigned(.driftPPM)
        jitterBufferMs = Double(board.getSigned(.bufferedNs)) / 1e6
        jitterBufferTargetMs = Double(board.getSigned(.targetNs)) / 1e6
        concealedSamples = board.get(.concealedSamples)
        timeCorrections = board.get(.corrections)
        restarts = board.get(.restarts)
        playoutUnderruns = board.get(.underruns)
        framesDropped = board.get(.framesDropped)
        eventsDropped = board.get(.eventsDropped)
        framesSkipped = board.get(.skippedFrames)
        pauseLatencyMs = Double(board.getSigned(.pauseLatencyNs)) / 1e6
    }
}
