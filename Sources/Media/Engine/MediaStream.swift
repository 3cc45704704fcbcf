// One call's audio, as the rest of the host holds it. Every method may be called from any thread; only the readers are
// for one thread each.

import Synchronization

/// One call's audio.
public final class MediaStream: Sendable {
    private struct Negotiation: ~Copyable {
        var sdp: SDPNegotiator
        var hasReceiver = false
        var receiverClockRateHz = 0
        var hasEncoder = false
        var isClosed = false
    }

    private let engine: MediaEngine
    private let thread: MediaThread
    private let memory: StreamMemory
    private let negotiation: Mutex<Negotiation>
    private let writer: WriterBox
    private let rate: Atomic<Int>
    private let wantedRateHz: Int?
    private let delivery = Mutex(())

    /// Where this stream receives RTP, as the peer is told; nil for a stream of frames.
    public let localAddress: SocketAddress?

    /// The 20 ms frames for the call, and the same for the detector. Each may be read by one thread.
    public let inboundForCall: InboundReader
    public let inboundForDetector: InboundReader

    /// Samples a second of everything that is read from and written to this stream: 8,000 for G.711, 16,000 for Opus,
    /// unless the options said otherwise. It is settled by the first negotiation, and stays.
    public var sampleRateHz: Int { rate.load(ordering: .relaxed) }

    init(engine: MediaEngine, thread: MediaThread, memory: StreamMemory, options: StreamOptions) {
        self.engine = engine
        self.thread = thread
        self.memory = memory
        var local = engine.advertised
        local.port = memory.sockets?.port ?? 0
        localAddress = memory.sockets == nil ? nil : local
        var random = SystemRandomNumberGenerator()
        // RFC 8866 section 5.2 only asks for something unique; half of 64 bits keeps naive parsers happy.
        let sessionID = UInt64(random.next() as UInt32) | 1
        negotiation = Mutex(
            Negotiation(
                sdp: SDPNegotiator(
                    local: local, codecs: options.codecs ?? engine.configuration.codecs, sessionID: sessionID)))
        writer = WriterBox(PlayoutWriter(samples: memory.samples, marks: memory.marks))
        switch options.kind {
        case .rtp(let wanted):
            wantedRateHz = wanted
            rate = Atomic(wanted ?? 8_000)
        case .frames(let wanted):
            wantedRateHz = wanted
            rate = Atomic(wanted)
        }
        inboundForCall = InboundReader(memory: memory, reader: 0)
        inboundForDetector = InboundReader(memory: memory, reader: 1)
    }

    deinit { close() }

    /// Ends the stream: RTCP says goodbye, the sockets are closed and their ports rest. May be called twice.
    public func close() {
        command(.remove(memory.slot), isLast: true)
    }

    /// Asks something of the media thread, unless the stream was closed.
    ///
    /// Behind `remove` a command would name a slot that may be freed, or be another call's, when the thread comes to
    /// it. So both are posted under one lock; nobody who speaks to a stream knows whether somebody else has just closed
    /// it.
    private func command(_ command: MediaCommand, isLast: Bool = false) {
        negotiation.withLock { state in
            if !state.isClosed { engine.post(command, to: thread) }
            if isLast { state.isClosed = true }
        }
    }

    // MARK: Negotiation (RFC 3264)

    /// Answers the peer's offer, a first one or that of a re-INVITE. On an error everything goes on as before.
    public func answer(to offer: String) throws -> String {
        try negotiation.withLock { state in
            guard memory.sockets != nil else { throw MediaError.wrongKind }
            let (answer, parameters) = try state.sdp.answer(to: offer)
            try apply(parameters, &state)
            return answer
        }
    }

    /// Our description: for an INVITE, or for a re-INVITE of our own. Nothing changes until `accept`.
    ///
    /// `hold` asks the peer to be silent (`sendonly`); nil leaves it as it is.
    public func offer(hold: Bool? = nil) throws -> String {
        try negotiation.withLock { state in
            guard memory.sockets != nil else { throw MediaError.wrongKind }
            if let hold { state.sdp.isHeldByUs = hold }
            return state.sdp.offer()
        }
    }

    /// Takes the peer's answer to our offer. On an error everything goes on as before.
    public func accept(answer: String) throws {
        try negotiation.withLock { state in
            let parameters = try state.sdp.accept(answer: answer)
            try apply(parameters, &state)
        }
    }

    /// What is agreed on at present.
    public var parameters: MediaParameters? { negotiation.withLock { $0.sdp.agreed } }

    private func apply(_ parameters: MediaParameters, _ state: inout Negotiation) throws(MediaError) {
        guard !state.isClosed else { throw .notRunning }
        if !state.hasReceiver, wantedRateHz == nil {
            rate.store(parameters.codec.conversationRateHz, ordering: .relaxed)
        }
        let clock = parameters.codec.clockRateHz
        var receiver: UnsafeMutablePointer<StreamReceiver>?
        var encoder: UnsafeMutablePointer<OpusEncoder>?
        if state.receiverClockRateHz != clock {
            guard let made = StreamReceiver(codec: parameters.codec, sampleRateHz: sampleRateHz) else {
                throw .outOfMemory
            }
            receiver = MediaMemory.allocate(StreamReceiver.self, count: 1)
            receiver!.initialize(to: made)
            state.receiverClockRateHz = clock
            state.hasReceiver = true
        }
        if parameters.codec == .opus, !state.hasEncoder {
            guard let made = OpusEncoder(sampleRateHz: sampleRateHz) else {
                if let receiver {
                    receiver.deinitialize(count: 1)
                    MediaMemory.deallocate(receiver, count: 1)
                    state.receiverClockRateHz = 0
                }
                throw .outOfMemory
            }
            encoder = .allocate(capacity: 1)
            encoder!.initialize(to: made)
            state.hasEncoder = true
        }
        engine.post(.negotiate(memory.slot, parameters, receiver, encoder), to: thread)
    }

    // MARK: Playout

    /// Queues the agent's audio, at `sampleRateHz`, and says how much was taken: two seconds at 16 kHz are the most
    /// that is held, four at 8 kHz.
    ///
    /// The first audio of a higher epoch ends the one before at its last sample; `flush` is for cutting it off.
    public func write(_ samples: UnsafeBufferPointer<Int16>, epoch: UInt64) -> PlayoutWrite {
        writer.withLock { $0.write(samples, epoch: epoch) }
    }

    /// Says that nothing more comes for an epoch. Its last sample, once sent, becomes `MediaEvent.playoutDrained`.
    /// False: not taken, the playout holds too many ends already; try again in a frame.
    @discardableResult
    public func finish(epoch: UInt64) -> Bool { writer.withLock { $0.finish(epoch: epoch) } }

    /// Samples that `write` would take now.
    public var playoutRoom: Int { memory.samples.freeCount }

    /// Samples that are queued and not sent yet.
    public var playoutBacklog: Int { memory.samples.count() }

    /// Stops the voice before its next sample, within the frame; silence is sent instead. `decidedAtNs`, on
    /// `MonotonicClock`, is when that was decided: the statistics tell how long it took.
    public func pause(decidedAtNs: Int64 = MonotonicClock.now) {
        command(.pause(memory.slot, decidedNs: decidedAtNs))
    }

    /// Goes on at exactly the sample before which it paused.
    public func resume() { command(.resume(memory.slot)) }

    /// Drops everything that belongs to epochs before `epoch`, now and whatever is still written of them, within the
    /// frame, and ends a pause. An epoch that was playing becomes `MediaEvent.playoutFlushed`.
    public func flush(before epoch: UInt64, decidedAtNs: Int64 = MonotonicClock.now) {
        let narrow = PlayoutWriter.narrow(epoch)
        writer.withLock { $0.refuse(before: narrow) }
        command(.flush(memory.slot, before: narrow, decidedNs: decidedAtNs))
    }

    /// How much of the epoch that played last was sent. Only grows within an epoch, and stays after its end.
    public var playedPosition: PlayedPosition {
        let word = memory.position.pointee.load(ordering: .acquiring)
        return PlayedPosition(epoch: word >> 32, samples: word & 0xFFFF_FFFF)
    }

    // MARK: Digits and events

    /// Sends digits as telephone events (RFC 4733) instead of the voice, which waits; `MediaEvent.digitsSent` tells
    /// the end. False, and nothing is sent, when the peer takes none or a character is no key.
    public func sendDTMF(_ digits: String) -> Bool {
        let keys = digits.compactMap(DTMFDigit.init)
        guard keys.count == digits.count, keys.count <= TelephoneEventSender.queueLimit,
            parameters?.canSendDTMF == true
        else { return false }
        for key in keys { command(.digit(memory.slot, key)) }
        return true
    }

    /// The oldest event that was not taken yet. For one thread.
    public func nextEvent() -> MediaEvent? { memory.events.pop() }

    public var statistics: StreamStatistics { StreamStatistics(memory.figures) }

    /// Bytes of memory that this stream takes.
    public var memoryByteCount: Int { memory.byteCount }

    // MARK: A transport with frames of its own

    /// Audio from the transport, any amount at `sampleRateHz`. Returns how much was taken: 500 ms at 16 kHz are held.
    public func deliver(_ samples: UnsafeBufferPointer<Int16>) -> Int {
        delivery.withLock { _ in memory.frames?.inbound.push(contentsOf: samples) ?? 0 }
    }

    /// The next frame for the transport, at most 200 ms before it is due. For one thread.
    public func takeOutbound() -> OutboundFrame? { memory.frames?.outbound.pop() }

    // MARK: Recording

    /// Records both sides from here on, until `recorder.finish()`.
    func record(into ring: LockFreeRing<RecordedFrame>?) {
        command(.record(memory.slot, ring))
    }

    var ownEngine: MediaEngine { engine }

    /// Returns when the media thread has obeyed everything that was asked of it so far.
    func waitForCommands() { engine.waitForCommands(of: thread) }
}

/// One reader of a stream's inbound frames.
public struct InboundReader: Sendable {
    private let memory: StreamMemory
    private let reader: Int

    init(memory: StreamMemory, reader: Int) {
        self.memory = memory
        self.reader = reader
    }

    /// The oldest frame that this reader did not take yet. The last 64 are kept, 1.28 s; a gap in the positions shows
    /// what was missed.
    public func next() -> MediaFrame? { memory.inbound.pop(reader: reader) }

    /// Frames that wait.
    public var count: Int { memory.inbound.count(reader: reader) }
}

/// A playout writer and the lock that makes it one thread's at a time. Never held by a media thread.
private final class WriterBox: @unchecked Sendable {
    private let lock = Mutex(())
    private var writer: PlayoutWriter

    init(_ writer: PlayoutWriter) { self.writer = writer }

    func withLock<Result>(_ body: (inout PlayoutWriter) -> Result) -> Result {
        lock.withLock { _ in body(&writer) }
    }
}
