import Synchronization

/// Where everything that happens to a call arrives, from whatever thread.
///
/// The mailbox is also the gate that makes epochs hold: it knows the current one, so work of an older epoch is refused
/// before it is queued, and the refusal is the answer by which a provider learns that it may stop. What was queued
/// before the epoch changed is dropped by the driver when its turn comes.
///
/// A mutex around two arrays that the loop swaps out whole, and not a lock-free queue: posters are provider threads,
/// which may wait for a microsecond. The one poster that may not is the media thread, and `inboundReady` takes no lock.
///
/// A mailbox may be kept for as long as anybody likes; after the call it answers `.stale`.
public final class CallMailbox: Sendable {
    /// What became of a report. The module above turns it into the status that the plugin gets back from its `emit`.
    public enum Outcome: Sendable, Equatable {
        case accepted
        /// The epoch is over: stop producing for it.
        case canceled
        /// The call is over: close.
        case stale
        /// No credit, or no room. Nothing was taken; for audio, wait for `credit`.
        case full
    }

    enum Item: Sendable {
        case event(CallEvent)
        case audio(Provider, Ticket, [Int16])
        case opened(Provider, OpenedSession)
    }

    struct Counters: Sendable, Equatable {
        var refusedFull = 0
        var refusedOldEpoch = 0
        var refusedAfterEnd = 0
    }

    private struct Box: ~Copyable {
        var items: [Item] = []
        var epoch: UInt64 = 0
        var isClosed = false
        /// Samples accepted in this epoch and not yet played.
        var audioAhead = 0
        var counters = Counters()
    }

    private let box = Mutex(Box())
    private let hasItems = Atomic<Bool>(false)
    private let hasInbound = Atomic<Bool>(false)
    private let doorbell: LoopDoorbell
    private let audioAheadMax: Int
    private let chunkSamplesMax: Int

    init(doorbell: LoopDoorbell, outboundRateHz: Int) {
        self.doorbell = doorbell
        audioAheadMax = outboundRateHz * CallLimits.speechAheadMs / 1000
        chunkSamplesMax = outboundRateHz * CallLimits.speechChunkMs / 1000
    }

    /// A mailbox that no loop empties: for the benchmark of what leads to it (Benchmarks/plugin-line).
    package convenience init(outboundRateHz: Int) {
        self.init(doorbell: LoopDoorbell(), outboundRateHz: outboundRateHz)
    }

    // MARK: For any thread

    /// Hands an event to the call.
    @discardableResult
    public func post(_ event: CallEvent) -> Outcome {
        put(.event(event), epoch: event.epoch, isSignalling: event.isSignalling)
    }

    /// Reports an opened session. On `.stale` the session was not taken and must be closed by whoever opened it.
    public func opened(_ provider: Provider, _ session: OpenedSession) -> Outcome {
        put(.opened(provider, session), epoch: nil, isSignalling: true)
    }

    /// Reports that a request (`ticket`), or a provider's session as a whole (nil), failed.
    @discardableResult
    public func failed(_ provider: Provider, _ ticket: Ticket?, _ failure: ProviderFailure) -> Outcome {
        post(.failed(provider, ticket, failure))
    }

    /// Hands over speech: 16-bit mono at the outbound rate of the call, copied before this returns.
    ///
    /// Accepted while less than `CallLimits.speechAheadMs` wait to be played. One chunk may overshoot that, because
    /// half an acceptance cannot be told over the C line; a chunk longer than `CallLimits.speechChunkMs` is always
    /// refused.
    public func audio(_ samples: UnsafeBufferPointer<Int16>, from provider: Provider, _ ticket: Ticket) -> Outcome {
        guard samples.count <= chunkSamplesMax else { return count { $0.refusedFull += 1 } answering: { .full } }
        let copy = Array(samples)
        let outcome: Outcome = box.withLock { box in
            if let refusal = Self.refusal(&box, epoch: ticket.epoch) { return refusal }
            guard box.audioAhead < audioAheadMax, box.items.count < CallLimits.mailboxEvents else {
                box.counters.refusedFull += 1
                return .full
            }
            box.audioAhead += copy.count
            box.items.append(.audio(provider, ticket, copy))
            return .accepted
        }
        if outcome == .accepted { announceItems() }
        return outcome
    }

    /// Says that inbound frames wait in the call's audio. Wait-free, no allocation: made for the media thread.
    public func inboundReady() {
        hasInbound.store(true, ordering: .releasing)
        doorbell.ring()
    }

    /// The epoch that counts now.
    public var epoch: UInt64 {
        box.withLock { $0.epoch }
    }

    private func put(_ item: Item, epoch: UInt64?, isSignalling: Bool) -> Outcome {
        let outcome: Outcome = box.withLock { box in
            if let refusal = Self.refusal(&box, epoch: epoch) { return refusal }
            let bound = CallLimits.mailboxEvents + (isSignalling ? CallLimits.mailboxSignallingReserve : 0)
            guard box.items.count < bound else {
                box.counters.refusedFull += 1
                return .full
            }
            box.items.append(item)
            return .accepted
        }
        if outcome == .accepted { announceItems() }
        return outcome
    }

    private static func refusal(_ box: inout Box, epoch: UInt64?) -> Outcome? {
        if box.isClosed {
            box.counters.refusedAfterEnd += 1
            return .stale
        }
        if let epoch, epoch < box.epoch {
            box.counters.refusedOldEpoch += 1
            return .canceled
        }
        return nil
    }

    private func count(_ change: (inout Counters) -> Void, answering outcome: () -> Outcome) -> Outcome {
        box.withLock { change(&$0.counters) }
        return outcome()
    }

    private func announceItems() {
        hasItems.store(true, ordering: .releasing)
        doorbell.ring()
    }

    // MARK: For the loop's thread

    var hasWork: Bool {
        hasItems.load(ordering: .acquiring) || hasInbound.load(ordering: .acquiring)
    }

    /// True once for each `inboundReady` or series of them.
    func takeInbound() -> Bool {
        hasInbound.exchange(false, ordering: .acquiringAndReleasing)
    }

    func takeItems() -> [Item] {
        guard hasItems.exchange(false, ordering: .acquiringAndReleasing) else { return [] }
        return box.withLock { box in
            var taken: [Item] = []
            swap(&taken, &box.items)
            return taken
        }
    }

    /// From here on everything older than `epoch` is refused.
    func advance(to epoch: UInt64) {
        box.withLock { box in
            precondition(epoch > box.epoch, "epoch \(epoch) does not follow \(box.epoch)")
            box.epoch = epoch
            box.audioAhead = 0
        }
    }

    /// So many samples of the current epoch were played or thrown away: there is room for as many.
    func released(samples: Int) {
        box.withLock { $0.audioAhead = max(0, $0.audioAhead - samples) }
    }

    /// The call is over. Returns what was never looked at.
    func close() -> [Item] {
        box.withLock { box in
            box.isClosed = true
            defer { box.items = [] }
            return box.items
        }
    }

    var counters: Counters {
        box.withLock { $0.counters }
    }
}

extension CallEvent {
    /// The epoch an event belongs to, nil where epochs do not matter.
    var epoch: UInt64? {
        switch self {
        case .languageModel(let ticket, _), .speech(let ticket, _), .toolResult(let ticket, _, _): ticket.epoch
        case .failed(_, let ticket, _): ticket?.epoch
        default: nil
        }
    }

    /// Events that must get through even when providers have filled the mailbox.
    var isSignalling: Bool {
        switch self {
        case .answered, .hungUp, .hold, .mediaTimeout, .transferResult, .opened, .failed, .timer, .end: true
        default: false
        }
    }
}
