// The media engine: every call's audio on one clock.
//
//              datagrams                                                        two readers, each at its own pace
//   peer ─► socket ─► latch ─► statistics ─► jitter buffer ─► decoder ─┬─► frames ─┬─► the call
//              │          (who may speak)    (RTP, RFC 3550)     │     │           └─► the detector
//              │                                                 └─ concealment,  digits, silence ─► events ─► the call
//              │                                                    time correction
//   peer ◄─ socket ◄─ encoder ◄─ playout ◄─ samples ◄── write(samples, epoch) ── the voice
//                                   ▲  └─► played position ──► the call
//                                   └── pause, resume, flush (through the command ring)
//
// What is here is the outside: opening and closing, negotiation's results, threads. What happens every 20 ms is in
// `MediaThread` and `StreamSlot`; what is decided there is in values that know no socket: `SourceLatch`,
// `JitterBuffer`, `StreamReceiver`, `Playout`, `TelephoneEventReceiver`, `RTCPReporter`, `SDPNegotiator`.
//
// Three sorts of threads meet. Media threads own the streams and never wait. The host's threads talk to them through
// rings: commands in, events and frames out. The housekeeper, one thread without deadlines, frees what media threads
// return and empties recordings. A stream's memory is made before its media thread sees it and freed after.
//
// Refused: a socket shared by all calls (one system call would serve many, but each call needs its own port to be told
// apart behind a NAT), io_uring (often forbidden in containers), and a thread for each call (a thousand clocks).

import CPlatform
import Glibc
import Synchronization

/// Carries the audio of many calls.
public final class MediaEngine: Sendable {
    private struct State {
        var ports: PortAllocator
        var threads: [MediaThread] = []
        var streams: [UnsafeMutablePointer<StreamSlot>: StreamMemory] = [:]
        var streamsOfThread: [Int] = []
        var threadOfSlot: [UnsafeMutablePointer<StreamSlot>: Int] = [:]
        var recorders: [ObjectIdentifier: StereoRecorder] = [:]
        var isRunning = false
    }

    public let configuration: MediaConfiguration
    let advertised: SocketAddress
    private let bindAddress: SocketAddress
    /// Not copyable, so that threads of the host meet at it and never at a media thread.
    private let state: Mutex<StateBox>
    private let commandLock = Mutex(())
    private let housekeeperWake: Int32
    private let housekeeperStops = Atomic<Bool>(false)
    private let housekeeper = Mutex<pthread_t?>(nil)

    /// `State` holds pointers, which are not sendable by themselves; behind the mutex they are.
    private struct StateBox: @unchecked Sendable { var state: State }

    /// Throws `MediaError.badAddress` when an address of the configuration is not one.
    public init(configuration: MediaConfiguration) throws(MediaError) {
        guard let bind = SocketAddress(host: configuration.bindAddress, port: 0) else {
            throw .badAddress("[media] bind_address = \(configuration.bindAddress)")
        }
        let advertisedHost = configuration.advertisedAddress ?? configuration.bindAddress
        guard let advertised = SocketAddress(host: advertisedHost, port: 0), !advertised.isUnspecified else {
            throw .badAddress("[media] advertised_address = \(advertisedHost)")
        }
        self.configuration = configuration
        self.advertised = advertised
        bindAddress = bind
        housekeeperWake = eventfd(0, Int32(EFD_CLOEXEC))
        state = Mutex(StateBox(state: State(ports: PortAllocator(range: configuration.portRange))))
    }

    deinit {
        stop()
        close(housekeeperWake)
    }

    // MARK: Life

    /// Starts the media threads.
    public func start() throws(MediaError) {
        let failure: MediaError? = state.withLock { box in
            guard !box.state.isRunning else { return nil }
            do throws(MediaError) {
                for index in 0..<max(configuration.threads, 1) {
                    let thread = try MediaThread(
                        index: index, streamLimit: configuration.maximumStreams,
                        realtimePriority: configuration.realtimePriority, housekeeperWake: housekeeperWake)
                    try thread.start()
                    box.state.threads.append(thread)
                    box.state.streamsOfThread.append(0)
                }
            } catch {
                return error
            }
            box.state.isRunning = true
            return nil
        }
        if let failure { throw failure }
        startHousekeeper()
    }

    /// Ends all streams and threads, and waits for them. May be called twice.
    public func stop() {
        let threads = state.withLock { box -> [MediaThread] in
            guard box.state.isRunning else { return [] }
            box.state.isRunning = false
            return box.state.threads
        }
        guard !threads.isEmpty else { return }
        for thread in threads { thread.stop() }
        housekeeperStops.store(true, ordering: .releasing)
        signal(eventDescriptor: housekeeperWake)
        if let thread = housekeeper.withLock({ $0.take() }) { pthread_join(thread, nil) }
        state.withLock { $0.state.threads = [] }
    }

    /// Opens a stream. It carries audio once it is negotiated (`answer`, or `offer` and `accept`); one for a transport
    /// with frames of its own carries it at once.
    public func openStream(_ options: StreamOptions = StreamOptions()) throws(MediaError) -> MediaStream {
        let timeouts = MediaTimeouts(
            firstPacketNs: Int64(configuration.firstPacketTimeoutMs) * 1_000_000,
            laterPacketsNs: Int64(configuration.mediaTimeoutMs) * 1_000_000)
        let wakes = WakeDescriptors(
            events: options.eventWake, callFrames: options.callFrameWake, detectorFrames: options.detectorFrameWake)
        let opened = state.withLock { box -> Result<(StreamMemory, MediaThread), MediaError> in
            guard box.state.isRunning else { return .failure(.notRunning) }
            guard box.state.streams.count < configuration.maximumStreams else {
                return .failure(.tooManyStreams(limit: configuration.maximumStreams))
            }
            var sockets: SocketPair?
            var rate = 8_000
            var hasFrames = false
            switch options.kind {
            case .rtp(let wanted):
                do throws(MediaError) {
                    sockets = try box.state.ports.take(on: bindAddress, now: MonotonicClock.now)
                } catch {
                    return .failure(error)
                }
                rate = wanted ?? 8_000
            case .frames(let wanted):
                hasFrames = true
                rate = wanted
            }
            precondition(rate == 8_000 || rate == 16_000, "a conversation runs at 8 or 16 kHz, not at \(rate) Hz")
            let memory = StreamMemory(
                sockets: sockets, sampleRateHz: rate, hasFrames: hasFrames, timeouts: timeouts, wakes: wakes)
            let index = box.state.streamsOfThread.indices.min {
                box.state.streamsOfThread[$0] < box.state.streamsOfThread[$1]
            }!
            box.state.streams[memory.slot] = memory
            box.state.threadOfSlot[memory.slot] = index
            box.state.streamsOfThread[index] += 1
            return .success((memory, box.state.threads[index]))
        }
        let (memory, thread) = try opened.get()
        post(.add(memory.slot), to: thread)
        return MediaStream(engine: self, thread: thread, memory: memory, options: options)
    }

    /// Hands a command to a media thread. The ring is emptied every millisecond; when it is full that thread is starved
    /// of its processor, and waiting a tick is all that can be done. After `stop` nobody listens, and nothing is lost
    /// by it.
    func post(_ command: MediaCommand, to thread: MediaThread) {
        while !commandLock.withLock({ _ in thread.commands.push(command) }) {
            guard state.withLock({ $0.state.isRunning }) else { return }
            MonotonicClock.sleep(untilNs: MonotonicClock.now + MediaThread.tickNs)
        }
    }

    /// Waits until a media thread has taken every command, and then for the tick in which it took the last one.
    func waitForCommands(of thread: MediaThread) {
        repeat {
            MonotonicClock.sleep(untilNs: MonotonicClock.now + MediaThread.tickNs)
        } while thread.commands.count() > 0 && state.withLock({ $0.state.isRunning })
        let seen = thread.figures.get(.ticks)
        while thread.figures.get(.ticks) < seen + 2, state.withLock({ $0.state.isRunning }) {
            MonotonicClock.sleep(untilNs: MonotonicClock.now + MediaThread.tickNs)
        }
    }

    // MARK: What is going on

    /// The state of the engine.
    public var statistics: MediaEngineStatistics {
        let (boards, ports) = state.withLock { ($0.state.threads.map(\.figures), $0.state.streams.count) }
        var result = MediaEngineStatistics(pacing: PacingHistogram(boards))
        result.openStreams = ports
        for board in boards {
            result.ticks += board.get(.ticks)
            result.lateTicks += board.get(.lateTicks)
            result.stalls += board.get(.stalls)
            result.busyNs += board.get(.busyNs)
            result.realtimeErrors.append(Int32(truncatingIfNeeded: board.getSigned(.realtimeErrno)))
        }
        return result
    }

    // MARK: Housekeeping

    private func startHousekeeper() {
        housekeeperStops.store(false, ordering: .relaxed)
        // Unretained: `stop`, which `deinit` calls, joins the thread before the engine is gone.
        let context = Unmanaged.passUnretained(self).toOpaque()
        var thread = pthread_t()
        guard pthread_create(&thread, nil, housekeeperMain, context) == 0 else { return }
        housekeeper.withLock { $0 = thread }
    }

    fileprivate func keepHouse() {
        vch_name_this_thread("vchost-media-hk")
        while true {
            var descriptor = pollfd(fd: housekeeperWake, events: Int16(POLLIN), revents: 0)
            // Recordings are emptied every 200 ms; their rings hold more than a second.
            let isRecording = state.withLock { !$0.state.recorders.isEmpty }
            poll(&descriptor, 1, isRecording ? 200 : -1)
            var count: UInt64 = 0
            if descriptor.revents != 0 { _ = read(housekeeperWake, &count, 8) }
            clearAway()
            if housekeeperStops.load(ordering: .acquiring) { return }
        }
    }

    private func clearAway() {
        let recorders = state.withLock { Array($0.state.recorders.values) }
        for recorder in recorders { recorder.drain() }
        let threads = state.withLock { $0.state.threads }
        for thread in threads {
            while let refused = thread.refuse.pop() {
                switch refused {
                case .slot(let slot): discard(slot)
                case .receiver(let receiver):
                    receiver.deinitialize(count: 1)
                    MediaMemory.deallocate(receiver, count: 1)
                case .encoder(let encoder):
                    encoder.deinitialize(count: 1)
                    encoder.deallocate()
                }
            }
        }
    }

    private func discard(_ slot: UnsafeMutablePointer<StreamSlot>) {
        let memory = state.withLock { box -> StreamMemory? in
            guard let memory = box.state.streams.removeValue(forKey: slot) else { return nil }
            if let index = box.state.threadOfSlot.removeValue(forKey: slot) { box.state.streamsOfThread[index] -= 1 }
            if let sockets = memory.sockets {
                sockets.closeBoth()
                box.state.ports.giveBack(port: sockets.port, now: MonotonicClock.now)
            }
            return memory
        }
        // The last reference may be this one; what it frees is freed here, on this thread and outside the lock.
        withExtendedLifetime(memory) {}
    }

    func add(_ recorder: StereoRecorder) {
        state.withLock { $0.state.recorders[ObjectIdentifier(recorder)] = recorder }
        signal(eventDescriptor: housekeeperWake)
    }

    func remove(_ recorder: StereoRecorder) {
        state.withLock { _ = $0.state.recorders.removeValue(forKey: ObjectIdentifier(recorder)) }
    }
}

/// The state of the engine, over all its threads, since it started.
public struct MediaEngineStatistics: Sendable {
    public internal(set) var pacing: PacingHistogram
    public internal(set) var openStreams = 0
    public internal(set) var ticks: UInt64 = 0
    /// Ticks that were run late, because the thread did not get its processor in time.
    public internal(set) var lateTicks: UInt64 = 0
    /// Stalls of more than 100 ms, after which the timelines jumped.
    public internal(set) var stalls: UInt64 = 0
    /// Time spent working.
    public internal(set) var busyNs: UInt64 = 0
    /// For each thread: 0 when it runs with real-time priority, -1 when none was asked for, else the errno of the
    /// refusal (EPERM: the process lacks CAP_SYS_NICE or an RLIMIT_RTPRIO).
    public internal(set) var realtimeErrors: [Int32] = []

    init(pacing: PacingHistogram) { self.pacing = pacing }
}

private func housekeeperMain(_ context: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? {
    Unmanaged<MediaEngine>.fromOpaque(context!).takeUnretainedValue().keepHouse()
    return nil
}
