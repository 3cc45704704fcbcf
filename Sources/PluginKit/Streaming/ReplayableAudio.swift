// The caller's audio on its way to a recogniser at the other end of a connection.
//
// Three things go wrong there, and one store answers them all. The connection is not up yet, or has no room: what was
// pushed waits. It breaks: what the recogniser made no words of is sent again over the next one. And the recogniser
// counts time from the beginning of its connection, in what it was sent and not in what was said: missing audio was
// never sent, silence was sent that nobody said, and a new connection begins at zero. So every stretch that is sent is
// noted with the place where it came from.
//
// Samples are counted three times: by their position in the session, which jumps where audio is missing; by an index in
// this store, which does not; and by what the present connection was sent.

/// A bounded store of audio that can be sent again, and the map from a recogniser's time to positions.
public struct ReplayableAudio: Sendable {
    /// Stretches of a connection that are remembered: more than a recogniser looks back.
    static let stretchesMax = 256

    private let samplesMax: Int
    private let slackSamples: Int
    private var samples: [Int16] = []
    /// Index of `samples[0]`.
    private var base = 0
    /// Index of the next sample to send.
    private var cursor = 0
    /// Index from which the next connection begins.
    private var kept = 0
    /// Where positions jump.
    private var jumps: [(index: Int, position: UInt64)] = []
    /// What the connection was sent, by its own count.
    private var stretches: [(sent: Int, index: Int, isPadding: Bool)] = []
    /// Samples that the connection was sent, padding included.
    public private(set) var sentSamples = 0
    /// Samples that were lost unsent because nobody took them for too long.
    public private(set) var droppedSamples: UInt64 = 0

    /// - Parameter secondsMax: what is kept at most; of more the oldest is dropped.
    public init(rateHz: Int, secondsMax: Int) {
        samplesMax = max(1, rateHz * secondsMax)
        slackSamples = rateHz
    }

    /// Position after the newest sample.
    public var end: UInt64 { position(ofIndex: base + samples.count) }
    public var isEmpty: Bool { jumps.isEmpty }
    public var unsentSamples: Int { base + samples.count - cursor }

    /// Takes a frame; what was pushed already is left out.
    public mutating func append(_ frame: borrowing AudioFrame) {
        let known = open(at: frame.position)
        frame.append(to: &samples, from: known)
        trim()
    }

    /// The same, of samples that are no frame.
    public mutating func append(_ more: [Int16], at position: UInt64) {
        let known = open(at: position)
        if known < more.count { samples.append(contentsOf: more[known...]) }
        trim()
    }

    /// Gives how many samples from `position` on are known already.
    private mutating func open(at position: UInt64) -> Int {
        guard !jumps.isEmpty else {
            jumps = [(0, position)]
            return 0
        }
        let end = self.end
        if position > end { jumps.append((base + samples.count, position)) }
        return position < end ? Int(min(end - position, UInt64(Int32.max))) : 0
    }

    /// A connection begins: it knows nothing, and gets what is kept.
    public mutating func reconnected() {
        cursor = max(kept, base)
        sentSamples = 0
        stretches = []
    }

    /// The next samples to send, `count` at most.
    public func next(_ count: Int) -> [Int16] {
        let from = cursor - base
        return Array(samples[from..<min(samples.count, from + max(0, count))])
    }

    /// The first `count` of `next` are on their way.
    public mutating func sent(_ count: Int) {
        let count = min(count, unsentSamples)
        guard count > 0 else { return }
        if stretches.last.map({ $0.isPadding || $0.index + sentSamples - $0.sent != cursor }) ?? true {
            note((sentSamples, cursor, false))
        }
        cursor += count
        sentSamples += count
        trim()
    }

    /// Silence that nobody said was sent.
    public mutating func padded(_ count: Int) {
        if stretches.last.map({ !$0.isPadding }) ?? true { note((sentSamples, cursor, true)) }
        sentSamples += count
    }

    /// Audio before `position` was understood: it need not be sent again.
    public mutating func release(upTo position: UInt64) {
        kept = max(kept, min(index(of: position), cursor))
        trim()
    }

    /// The position of what the connection was sent as its `count`th sample.
    public func position(ofSent count: Int) -> UInt64 {
        guard let place = stretches.lastIndex(where: { $0.sent <= count }) else {
            return position(ofIndex: stretches.first?.index ?? cursor)
        }
        let stretch = stretches[place]
        if stretch.isPadding { return position(ofIndex: stretch.index) }
        let limit = place + 1 < stretches.count ? stretches[place + 1].sent : sentSamples
        return position(ofIndex: stretch.index + min(count, limit) - stretch.sent)
    }

    private func position(ofIndex index: Int) -> UInt64 {
        guard let jump = jumps.last(where: { $0.index < index }) ?? jumps.first else { return 0 }
        return jump.position + UInt64(max(0, index - jump.index))
    }

    private func index(of position: UInt64) -> Int {
        guard let place = jumps.lastIndex(where: { $0.position <= position }) else { return base }
        let end = place + 1 < jumps.count ? jumps[place + 1].index : base + samples.count
        return Int(min(UInt64(end), UInt64(jumps[place].index) + (position - jumps[place].position)))
    }

    private mutating func note(_ stretch: (sent: Int, index: Int, isPadding: Bool)) {
        stretches.append(stretch)
        if stretches.count > Self.stretchesMax { stretches.removeFirst(stretches.count - Self.stretchesMax) }
    }

    private mutating func trim() {
        let newest = base + samples.count
        let oldest = max(min(kept, cursor), newest - samplesMax)
        // Shifting the memory once a second is cheaper than a ring that every reader has to unwind.
        guard oldest >= base + slackSamples || newest - base > samplesMax + slackSamples else { return }
        if oldest > cursor {
            droppedSamples += UInt64(oldest - cursor)
            cursor = oldest
        }
        samples.removeFirst(oldest - base)
        base = oldest
        kept = max(kept, base)
        while jumps.count > 1, jumps[1].index <= base { jumps.removeFirst() }
    }
}
