// Tells calls that their streams have something for them.
//
// The media thread may not take the lock of a mailbox, and must not ring once for each of a thousand calls; so all
// streams share one event descriptor, which the engine writes to at most once a tick, and this thread looks which
// calls it was for. It rests 4 ms between two looks: every call's frame comes at its own moment of the 20 ms, and
// without the rest the thread would wake a thousand times a second to find one frame each time. A recogniser does not
// notice 4 ms.

import CPlatform
import Calls
import Glibc
import Media
import Providers
import Synchronization

final class FramePump: Sendable {
    private struct Source: Sendable {
        let stream: MediaStream
        let mailbox: CallMailbox
        let detection: DetectionStream?
        let transport: FrameTransport?
        let event: @Sendable (MediaEvent) -> Void
    }

    private static let restUs: UInt32 = 4_000

    private let sources = Mutex<[UInt64: Source]>([:])
    private let next = Atomic<UInt64>(1)
    private let isStopping = Atomic<Bool>(false)

    /// To be given to the engine as the wake descriptor of events and of the call's frames.
    let wake: Int32

    init() {
        wake = eventfd(0, Int32(EFD_CLOEXEC))
        precondition(wake >= 0, "eventfd failed with \(errno): raise the limit of open files")
        var thread = pthread_t()
        let created = pthread_create(&thread, nil, framePumpThread, Unmanaged.passRetained(self).toOpaque())
        precondition(created == 0, "pthread_create failed with \(created): raise the limit of threads")
        pthread_detach(thread)
    }

    /// From here on the mailbox hears of the stream's frames, and `event` of its events, on this thread.
    /// The detector is told whether the agent is being heard, since its echo must not pass for the caller. `transport`
    /// is given the agent's frames where the plugin carries them.
    func add(
        _ stream: MediaStream, mailbox: CallMailbox, detection: DetectionStream?, transport: FrameTransport? = nil,
        event: @escaping @Sendable (MediaEvent) -> Void
    ) -> UInt64 {
        let number = next.wrappingAdd(1, ordering: .relaxed).oldValue
        sources.withLock {
            $0[number] = Source(
                stream: stream, mailbox: mailbox, detection: detection, transport: transport, event: event)
        }
        return number
    }

    func remove(_ number: UInt64) { _ = sources.withLock { $0.removeValue(forKey: number) } }

    func stop() {
        isStopping.store(true, ordering: .relaxed)
        var one: UInt64 = 1
        _ = write(wake, &one, 8)
    }

    fileprivate func run() {
        while !isStopping.load(ordering: .relaxed) {
            var count: UInt64 = 0
            _ = read(wake, &count, 8)
            // A copy of references: what a source does may add or remove one.
            for source in sources.withLock({ Array($0.values) }) {
                source.transport?.send()
                if source.stream.inboundForCall.count > 0 { source.mailbox.inboundReady() }
                source.detection?.isAgentSpeaking = source.stream.playoutBacklog > 0
                while let event = source.stream.nextEvent() { source.event(event) }
            }
            usleep(Self.restUs)
        }
    }
}

private func framePumpThread(_ context: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? {
    vch_name_this_thread("frame pump")
    Unmanaged<FramePump>.fromOpaque(context!).takeRetainedValue().run()
    return nil
}
