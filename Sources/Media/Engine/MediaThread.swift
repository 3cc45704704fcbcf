// The thread that owns the clock. It wakes every millisecond at an absolute deadline; each stream belongs to one of
// the twenty milliseconds, the emptiest when it was opened, so a thousand calls are fifty a tick and not a thousand at
// once.
//
//   every tick:  commands → send the tick's streams → take in all datagrams → produce the tick's frames → wake readers
//
// Sending comes first because it alone is heard when it is late. After a stall (the machine was suspended, or another
// real-time thread had the core) up to five frames are caught up; beyond that the timelines jump, for a burst of old
// audio is worse than a gap.
//
// Nothing here locks, allocates, logs or waits for anybody. Memory comes in and goes out through rings: streams and
// codec states are made by those who open and negotiate, and returned to the housekeeper, which frees them.

import CPlatform
import Glibc
import Synchronization

/// What is asked of a media thread.
enum MediaCommand: BitwiseCopyable {
    typealias Slot = UnsafeMutablePointer<StreamSlot>
    case add(Slot)
    case remove(Slot)
    case negotiate(
        Slot, MediaParameters, UnsafeMutablePointer<StreamReceiver>?, UnsafeMutablePointer<OpusEncoder>?)
    case pause(Slot, decidedNs: Int64)
    case resume(Slot)
    case flush(Slot, before: UInt32, decidedNs: Int64)
    case digit(Slot, DTMFDigit)
    case record(Slot, LockFreeRing<RecordedFrame>?)
}

/// What a media thread has no more use for.
enum MediaRefuse: BitwiseCopyable {
    case slot(UnsafeMutablePointer<StreamSlot>)
    case receiver(UnsafeMutablePointer<StreamReceiver>)
    case encoder(UnsafeMutablePointer<OpusEncoder>)
}

/// Memory that a media thread works in, made once.
struct MediaThreadScratch: BitwiseCopyable {
    static let payloadLimit = 1_400
    private static let wakeLimit = 64
    private static let noteLimit = 8

    let packet = UnsafeMutableRawPointer.allocate(byteCount: 1_500, alignment: 16).assumingMemoryBound(to: UInt8.self)
    let frame = UnsafeMutablePointer<MediaFrame>.allocate(capacity: 1)
    let agentFrame = UnsafeMutablePointer<InlineArray<320, Int16>>.allocate(capacity: 1)
    private let wakes = UnsafeMutablePointer<Int32>.allocate(capacity: wakeLimit)
    private let notes = UnsafeMutablePointer<MediaEvent>.allocate(capacity: noteLimit)
    /// How many of `wakes` and of `notes` are in use.
    private let counts = UnsafeMutablePointer<Int>.allocate(capacity: 2)

    init() {
        frame.initialize(to: MediaFrame())
        agentFrame.initialize(to: InlineArray(repeating: 0))
        counts.initialize(repeating: 0, count: 2)
    }

    func deallocate() {
        packet.deallocate()
        frame.deallocate()
        agentFrame.deallocate()
        wakes.deallocate()
        notes.deallocate()
        counts.deallocate()
    }

    func clearAgentFrame() {
        UnsafeMutableRawPointer(agentFrame).initializeMemory(as: UInt8.self, repeating: 0, count: 640)
    }

    func keepAgentFrame(_ samples: UnsafePointer<Int16>, count: Int) {
        UnsafeMutableRawPointer(agentFrame).copyMemory(from: samples, byteCount: count * 2)
    }

    /// Remembers an event until the playout, which reports it, is done.
    func note(_ event: MediaEvent) {
        guard counts[1] < Self.noteLimit else { return }
        notes[counts[1]] = event
        counts[1] += 1
    }

    func takeNotes(_ body: (MediaEvent) -> Void) {
        for index in 0..<counts[1] { body(notes[index]) }
        counts[1] = 0
    }

    /// Wakes whoever waits on an eventfd, once a tick however many streams ask for it.
    @inline(__always)
    func wake(_ descriptor: Int32) {
        guard descriptor >= 0 else { return }
        for index in 0..<counts[0] where wakes[index] == descriptor { return }
        if counts[0] == Self.wakeLimit { flushWakes() }
        wakes[counts[0]] = descriptor
        counts[0] += 1
    }

    func flushWakes() {
        for index in 0..<counts[0] { signal(eventDescriptor: wakes[index]) }
        counts[0] = 0
    }
}

/// Adds one to an eventfd. Never blocks: a full counter means that the reader has been woken already.
func signal(eventDescriptor: Int32) {
    var one: UInt64 = 1
    _ = write(eventDescriptor, &one, 8)
}

/// The figures of one media thread.
enum ThreadFigure: Int, CaseIterable {
    case ticks, lateTicks, stalls, streams, busyNs, realtimeErrno
    // Lateness of frames against their tick, as a histogram: see `PacingHistogram`.
    case under50, under100, under150, under200, under300, under500, under1000, under2000, under3000, under5000
    case under10000, under20000, beyond
}

/// One real-time thread and its streams.
final class MediaThread: @unchecked Sendable {
    static let tickNs: Int64 = 1_000_000
    static let ticksPerFrame = 20
    /// Each call sends some commands a second and the ring is emptied every millisecond.
    static let commandCapacity = 4_096
    private static let catchUpTicks: Int64 = 100
    private static let datagramsAtOnce: UInt32 = 16
    private static let datagramBytes: UInt32 = 1_500
    private static let readyLimit = 512

    let commands = LockFreeRing<MediaCommand>(capacity: MediaThread.commandCapacity)
    let refuse = LockFreeRing<MediaRefuse>(capacity: 4 * MediaThread.commandCapacity)
    let figures = StatisticsBoard<ThreadFigure>()
    private let isStopping = Atomic<Bool>(false)
    private let housekeeperWake: Int32
    private let streamLimit: Int
    private let realtimePriority: Int
    private let index: Int

    // Everything below belongs to the thread itself.
    private let scratch = MediaThreadScratch()
    private let buckets: UnsafeMutablePointer<UnsafeMutablePointer<StreamSlot>>
    private let bucketCounts: UnsafeMutablePointer<Int>
    /// Those whose transport carries the audio itself, looked at in every tick.
    private let carried: UnsafeMutablePointer<UnsafeMutablePointer<StreamSlot>>
    private var carriedCount = 0
    private let ready: UnsafeMutablePointer<epoll_event>
    private let batch: UnsafeMutablePointer<vch_datagram_batch>
    private let epoll: Int32
    private var thread = pthread_t()

    init(index: Int, streamLimit: Int, realtimePriority: Int, housekeeperWake: Int32) throws(MediaError) {
        guard let batch = vch_datagram_batch_create(Self.datagramsAtOnce, Self.datagramBytes) else {
            throw .outOfMemory
        }
        self.batch = batch
        self.index = index
        self.streamLimit = streamLimit
        self.realtimePriority = realtimePriority
        self.housekeeperWake = housekeeperWake
        epoll = epoll_create1(Int32(EPOLL_CLOEXEC))
        // A bucket could hold every stream, should the others all have ended.
        buckets = .allocate(capacity: Self.ticksPerFrame * streamLimit)
        bucketCounts = .allocate(capacity: Self.ticksPerFrame)
        bucketCounts.initialize(repeating: 0, count: Self.ticksPerFrame)
        carried = .allocate(capacity: streamLimit)
        ready = .allocate(capacity: Self.readyLimit)
        ready.initialize(repeating: epoll_event(), count: Self.readyLimit)
    }

    deinit {
        commands.deallocate()
        refuse.deallocate()
        figures.deallocate()
        scratch.deallocate()
        buckets.deallocate()
        bucketCounts.deallocate()
        carried.deallocate()
        ready.deallocate()
        vch_datagram_batch_destroy(batch)
        close(epoll)
    }

    func start() throws(MediaError) {
        let context = Unmanaged.passRetained(self).toOpaque()
        guard pthread_create(&thread, nil, mediaThreadMain, context) == 0 else {
            Unmanaged<MediaThread>.fromOpaque(context).release()
            throw .outOfMemory
        }
    }

    /// Ends the thread and waits for it. Streams that are left are returned like closed ones.
    func stop() {
        isStopping.store(true, ordering: .releasing)
        pthread_join(thread, nil)
    }

    // MARK: The loop

    fileprivate func run() {
        vch_name_this_thread("vchost-media-\(index)")
        let refusal = realtimePriority > 0 ? vch_make_this_thread_realtime(Int32(realtimePriority)) : -1
        figures.set(.realtimeErrno, Int64(refusal))
        var tick = MonotonicClock.now / Self.tickNs + 1
        while !isStopping.load(ordering: .relaxed) {
            MonotonicClock.sleep(untilNs: tick &* Self.tickNs)
            let woken = MonotonicClock.now
            var due = woken / Self.tickNs
            if due &- tick > Self.catchUpTicks {
                figures.add(.stalls)
                tick = due &- Self.catchUpTicks
            }
            if due > tick { figures.add(.lateTicks, UInt64(due &- tick)) }
            due = max(due, tick)
            while tick <= due {
                run(tick: tick)
                tick += 1
            }
            figures.add(.busyNs, UInt64(MonotonicClock.now &- woken))
        }
        obeyCommands(tick: tick)
        for bucket in 0..<Self.ticksPerFrame {
            while bucketCounts[bucket] > 0 { remove(buckets[bucket * streamLimit]) }
        }
        signal(eventDescriptor: housekeeperWake)
    }

    private func run(tick: Int64) {
        figures.add(.ticks)
        obeyCommands(tick: tick)
        let bucket = Int(tick % Int64(Self.ticksPerFrame))
        let count = bucketCounts[bucket]
        let streams = buckets + bucket * streamLimit
        let deadline = tick &* Self.tickNs
        for place in 0..<count {
            let slot = streams[place]
            let missed = (tick &- slot.pointee.nextTick) / Int64(Self.ticksPerFrame)
            if missed > 0 { slot.pointee.skip(frames: missed) }
            slot.pointee.nextTick = tick &+ Int64(Self.ticksPerFrame)
            slot.pointee.send(now: deadline, scratch)
            noteLateness(MonotonicClock.now &- deadline)
        }
        for place in 0..<carriedCount { carried[place].pointee.sendToTransportEarly(scratch) }
        receive()
        // One reading of the clock serves the tick: frames of one tick are due at the same time.
        for place in 0..<count { streams[place].pointee.produce(now: deadline, scratch) }
        scratch.flushWakes()
    }

    private func receive() {
        while true {
            let count = epoll_wait(epoll, ready, Int32(Self.readyLimit), 0)
            guard count > 0 else { return }
            let now = MonotonicClock.now
            for index in 0..<Int(count) { receive(ready[index].data.u64, now: now) }
            if count < Self.readyLimit { return }
        }
    }

    /// `token` is the slot's address, with the lowest bit set for its RTCP socket.
    private func receive(_ token: UInt64, now: Int64) {
        let isRTCP = token & 1 != 0
        let slot = UnsafeMutablePointer<StreamSlot>(bitPattern: UInt(token & ~1))!
        let count = vch_datagram_batch_receive(batch, isRTCP ? slot.pointee.rtcpSocket : slot.pointee.rtpSocket)
        for index in 0..<Int(count) {
            let bytes = batch.pointee.counts[index]
            guard bytes != UInt32.max else {
                slot.pointee.figures.add(.malformed)
                continue
            }
            let datagram = UnsafeRawBufferPointer(
                start: batch.pointee.data + index * Int(Self.datagramBytes), count: Int(bytes))
            let source = UnsafeRawPointer(batch.pointee.senders + index * Int(VCH_ADDRESS_BYTES))
                .load(as: SocketAddress.self)
            if isRTCP {
                slot.pointee.receiveRTCP(datagram, from: source, now: now, scratch)
            } else {
                slot.pointee.receiveRTP(datagram, from: source, now: now, scratch)
            }
        }
    }

    @inline(__always)
    private func noteLateness(_ lateness: Int64) {
        figures.add(PacingHistogram.figure(forNs: lateness))
    }

    // MARK: Commands

    private func obeyCommands(tick: Int64) {
        while let command = commands.pop() {
            switch command {
            case .add(let slot): add(slot, tick: tick)
            case .remove(let slot): remove(slot)
            case .negotiate(let slot, let parameters, let receiver, let encoder):
                negotiate(slot, parameters, receiver, encoder, now: tick &* Self.tickNs)
            case .pause(let slot, let decidedNs):
                slot.pointee.playout.pause()
                noteCut(slot, decidedNs)
            case .resume(let slot):
                slot.pointee.playout.resume()
            case .flush(let slot, let epoch, let decidedNs):
                if case .flushed(let ended, let played)? = slot.pointee.playout.flush(before: epoch) {
                    slot.pointee.emit(.playoutFlushed(epoch: UInt64(ended), samples: played), scratch)
                }
                noteCut(slot, decidedNs)
            case .digit(let slot, let digit):
                if !slot.pointee.eventSender.enqueue(digit) { slot.pointee.figures.add(.eventsDropped) }
            case .record(let slot, let ring):
                slot.pointee.recording = ring
            }
        }
    }

    /// The caller still hears the frame that was sent last.
    private func noteCut(_ slot: UnsafeMutablePointer<StreamSlot>, _ decidedNs: Int64) {
        slot.pointee.voidHandedOver()
        slot.pointee.figures.set(.pauseLatencyNs, max(0, slot.pointee.lastAudibleNs &- decidedNs))
    }

    private func add(_ slot: UnsafeMutablePointer<StreamSlot>, tick: Int64) {
        var emptiest = 0
        for bucket in 1..<Self.ticksPerFrame where bucketCounts[bucket] < bucketCounts[emptiest] { emptiest = bucket }
        let place = bucketCounts[emptiest]
        buckets[emptiest * streamLimit + place] = slot
        bucketCounts[emptiest] = place + 1
        slot.pointee.bucket = emptiest
        slot.pointee.placeInBucket = place
        let ahead = (Int64(emptiest) &- tick % Int64(Self.ticksPerFrame) &+ 20) % 20
        slot.pointee.nextTick = tick &+ ahead
        slot.pointee.lastPacketNs = tick &* Self.tickNs
        if slot.pointee.rtpSocket >= 0 {
            watch(slot.pointee.rtpSocket, UInt64(UInt(bitPattern: slot)))
            watch(slot.pointee.rtcpSocket, UInt64(UInt(bitPattern: slot)) | 1)
        }
        if slot.pointee.frames != nil {
            slot.pointee.isNegotiated = true
            carried[carriedCount] = slot
            carriedCount += 1
        }
        figures.add(.streams)
    }

    private func watch(_ socket: Int32, _ token: UInt64) {
        var event = epoll_event()
        event.events = EPOLLIN.rawValue
        event.data.u64 = token
        epoll_ctl(epoll, EPOLL_CTL_ADD, socket, &event)
    }

    private func remove(_ slot: UnsafeMutablePointer<StreamSlot>) {
        let bucket = slot.pointee.bucket
        let last = bucketCounts[bucket] - 1
        let moved = buckets[bucket * streamLimit + last]
        buckets[bucket * streamLimit + slot.pointee.placeInBucket] = moved
        moved.pointee.placeInBucket = slot.pointee.placeInBucket
        bucketCounts[bucket] = last
        for place in 0..<carriedCount where carried[place] == slot {
            carriedCount -= 1
            carried[place] = carried[carriedCount]
            break
        }
        slot.pointee.sendReport(goodbye: true, now: MonotonicClock.now, scratch)
        slot.pointee.publish(now: MonotonicClock.now)
        if slot.pointee.rtpSocket >= 0 {
            epoll_ctl(epoll, EPOLL_CTL_DEL, slot.pointee.rtpSocket, nil)
            epoll_ctl(epoll, EPOLL_CTL_DEL, slot.pointee.rtcpSocket, nil)
        }
        figures.set(.streams, figures.get(.streams) &- 1)
        giveBack(.slot(slot))
    }

    private func negotiate(
        _ slot: UnsafeMutablePointer<StreamSlot>, _ parameters: MediaParameters,
        _ receiver: UnsafeMutablePointer<StreamReceiver>?, _ encoder: UnsafeMutablePointer<OpusEncoder>?, now: Int64
    ) {
        let before = slot.pointee.parameters
        let wasHeld = slot.pointee.isNegotiated && before.isHeldByPeer
        if !slot.pointee.isNegotiated, let receiver {
            slot.pointee.sampleRateHz = receiver.pointee.sampleRateHz
            slot.pointee.playout.setSampleRate(receiver.pointee.sampleRateHz)
        }
        slot.pointee.parameters = parameters
        slot.pointee.isNegotiated = true
        if let receiver {
            if let old = slot.pointee.receiver { giveBack(.receiver(old)) }
            slot.pointee.receiver = receiver
        }
        if let encoder {
            if let old = slot.pointee.encoder { giveBack(.encoder(old)) }
            slot.pointee.encoder = encoder
        }
        // Against c=0.0.0.0 the peer did not move; it only does not want to hear us.
        if !parameters.remote.isUnspecified { slot.pointee.latch.negotiate(parameters.remote, now: now) }
        // A hold is silence that was asked for: its time counts from its end.
        slot.pointee.lastPacketNs = now
        slot.pointee.hasTimedOut = false
        if wasHeld != parameters.isHeldByPeer { slot.pointee.emit(.heldByPeer(parameters.isHeldByPeer), scratch) }
    }

    private func giveBack(_ refused: MediaRefuse) {
        // Its capacity is larger than everything that commands of one lap can return.
        _ = refuse.push(refused)
        scratch.wake(housekeeperWake)
    }
}

private func mediaThreadMain(_ context: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? {
    Unmanaged<MediaThread>.fromOpaque(context!).takeRetainedValue().run()
    return nil
}
