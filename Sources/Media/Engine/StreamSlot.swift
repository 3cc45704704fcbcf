// Everything that the media thread knows about one stream, in one block of memory that is made when the stream is
// opened and never moves. Only the media thread touches it, but for the rings and the boards, whose other ends belong
// to the call.
//
// The order of a stream's 20 ms: commands have been applied; `send` pulls the playout and sends a packet at the
// beginning of the stream's tick, before anything else can delay it; packets that wait in the sockets are taken in;
// `produce` makes the inbound frame that is due.

import CPlatform
import Glibc
import Synchronization

/// One stream as the media thread sees it.
struct StreamSlot: ~Copyable {
    static let inboundFrameCapacity = 64
    static let eventCapacity = 64

    // Shared with the call.
    let inbound: LockFreeRing<MediaFrame>
    let events: LockFreeRing<MediaEvent>
    let figures: StatisticsBoard<StreamFigure>
    let frames: FrameTransportRings?
    var recording: LockFreeRing<RecordedFrame>?

    // The network.
    let rtpSocket: Int32
    let rtcpSocket: Int32
    let localSSRC: UInt32
    var parameters = MediaParameters()
    var latch = SourceLatch()
    var reporter: RTCPReporter
    var isNegotiated = false

    // Inbound.
    var receiver: UnsafeMutablePointer<StreamReceiver>?
    var reception = ReceptionStatistics()
    var eventReceiver = TelephoneEventReceiver()
    var remoteSSRC: UInt32 = 0
    var hasRemoteSSRC = false
    var newSSRC: UInt32 = 0
    var newSSRCCount = 0
    var lastPacketNs: Int64 = 0
    var hasTimedOut = false
    var position: UInt64 = 0
    var heldNs: Int64 = 0
    var sampleRateHz: Int
    var frameSamples: Int { sampleRateHz / 50 }

    // Outbound.
    var playout: Playout
    var eventSender = TelephoneEventSender()
    var wasSendingEvents = false
    var encoder: UnsafeMutablePointer<OpusEncoder>?
    let mu = G711Tables.mu
    let a = G711Tables.a
    var halver = HalfBandFilter()
    let outbound: UnsafeMutablePointer<Int16>
    var outboundCount = 0
    var outboundIsAudible = false
    var sequence: UInt16
    var timestamp: UInt32
    var wasAudible = false
    var sentPackets: UInt32 = 0
    var sentOctets: UInt32 = 0
    var lastAudibleNs: Int64 = 0
    var pauseDecidedNs: Int64 = 0

    // A transport with frames of its own.
    var isDelivering = false
    var aheadSamples = 0
    var nextFrameNumber: UInt64 = 0
    var mustClearTransport = false

    // Its place in the thread's schedule.
    var bucket = 0
    var placeInBucket = 0
    var nextTick: Int64 = 0
    var frameCount: UInt64 = 0
    let timeouts: MediaTimeouts
    let wakes: WakeDescriptors

    init(
        inbound: LockFreeRing<MediaFrame>, events: LockFreeRing<MediaEvent>, figures: StatisticsBoard<StreamFigure>,
        frames: FrameTransportRings?, playout: consuming Playout, sockets: SocketPair?, sampleRateHz: Int,
        timeouts: MediaTimeouts, wakes: WakeDescriptors
    ) {
        var random = SystemRandomNumberGenerator()
        self.inbound = inbound
        self.events = events
        self.figures = figures
        self.frames = frames
        self.playout = playout
        self.sampleRateHz = sampleRateHz
        self.timeouts = timeouts
        self.wakes = wakes
        rtpSocket = sockets?.rtp ?? -1
        rtcpSocket = sockets?.rtcp ?? -1
        // RFC 3550 section 5.1: all three start at random.
        localSSRC = random.next()
        sequence = random.next()
        timestamp = random.next()
        reporter = RTCPReporter(seed: random.next())
        outbound = MediaMemory.allocate(Int16.self, count: 3 * MediaFrame.sampleLimit)
    }

    deinit {
        MediaMemory.deallocate(outbound, count: 3 * MediaFrame.sampleLimit)
        if let receiver {
            receiver.deinitialize(count: 1)
            MediaMemory.deallocate(receiver, count: 1)
        }
        if let encoder {
            encoder.deinitialize(count: 1)
            encoder.deallocate()
        }
    }

    mutating func emit(_ event: MediaEvent, _ thread: MediaThreadScratch) {
        // Nobody empties the ring: whoever waits for an event will have the counter in its log.
        if !events.push(event) { figures.add(.eventsDropped) }
        thread.wake(wakes.events)
    }
}

/// When silence of the peer becomes an event.
struct MediaTimeouts: BitwiseCopyable {
    var firstPacketNs: Int64
    var laterPacketsNs: Int64
}

/// Event descriptors (`eventfd`) that are written to when there is something to read, or -1.
struct WakeDescriptors: BitwiseCopyable {
    var events: Int32 = -1
    var callFrames: Int32 = -1
    var detectorFrames: Int32 = -1
}

/// The rings of a stream whose transport brings its own audio.
struct FrameTransportRings: BitwiseCopyable {
    /// Audio from the transport: 400 ms at 16 kHz and more at 8; a WebSocket may deliver in bursts.
    static let inboundCapacity = 8_192
    /// Frames for the transport, of which at most ten (200 ms) are ever ahead.
    static let outboundCapacity = 16
    let inbound: LockFreeRing<Int16>
    let outbound: LockFreeRing<OutboundFrame>
}

/// One frame of both sides, for a recording.
struct RecordedFrame: BitwiseCopyable {
    var sampleCount: Int32 = 0
    var sampleRateHz: Int32 = 0
    var position: UInt64 = 0
    var caller = InlineArray<320, Int16>(repeating: 0)
    var agent = InlineArray<320, Int16>(repeating: 0)
}

/// 20 ms of the agent's audio for a transport that carries frames itself.
public struct OutboundFrame: Sendable, BitwiseCopyable {
    /// Frames are numbered without gaps; a pause cancels some that were taken, and their numbers are not used again.
    public internal(set) var number: UInt64 = 0
    public internal(set) var epoch: UInt64 = 0
    public internal(set) var sampleRateHz: Int32 = 8_000
    public internal(set) var sampleCount: Int32 = 160
    /// The transport shall drop what it holds before it sends this frame (`clear` of a media stream over WebSocket).
    public internal(set) var clearsTransport = false
    var samples = InlineArray<320, Int16>(repeating: 0)

    public func withSamples<Result>(_ body: (UnsafeBufferPointer<Int16>) throws -> Result) rethrows -> Result {
        try withUnsafePointer(to: samples) { pointer in
            try pointer.withMemoryRebound(to: Int16.self, capacity: MediaFrame.sampleLimit) {
                try body(UnsafeBufferPointer(start: $0, count: Int(sampleCount)))
            }
        }
    }
}
