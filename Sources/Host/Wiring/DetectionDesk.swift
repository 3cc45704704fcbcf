// Which detector listens to which call: one thread for each detector of the configuration, and one with the built-in
// energy detector for profiles that name none, or whose detector is not there.

import Calls
import Dispatch
import HostServices
import Media
import Providers
import Synchronization

final class DetectionDesk: Sendable {
    /// A call that is being listened to.
    struct Listening: Sendable {
        let thread: DetectionThread
        let stream: DetectionStream
        let memory: VoiceActivityMemory?
    }

    private struct Detector {
        let thread: DetectionThread
        let provider: VoiceActivityProvider
    }

    private struct State {
        /// What new calls get, by the name of the section.
        var current: [String: Detector] = [:]
        /// All that run, those included that only old calls listen to.
        var running: [ObjectIdentifier: Detector] = [:]
    }

    private let state = Mutex(State())
    private let builtIn: DetectionThread
    private let logger: Logger

    init(logger: Logger) throws {
        self.logger = logger
        builtIn = DetectionThread(detector: nil, configuration: DetectionConfiguration(name: "energy")) { _ in }
        try builtIn.start()
    }

    /// New calls are listened to by this detector, on a thread of its own.
    func use(_ provider: VoiceActivityProvider) {
        let name = provider.instance.name
        let thread = DetectionThread(
            detector: DetectorTable(ops: provider.ops, provider: provider.state),
            configuration: DetectionConfiguration(name: name)
        ) { [logger] in logger.warning($0, of: LogSubject(name: name)) }
        do {
            try thread.start()
        } catch {
            return logger.error("\(error)", of: LogSubject(name: name))
        }
        state.withLock { state in
            state.current[name] = Detector(thread: thread, provider: provider)
            state.running[ObjectIdentifier(provider.instance)] = Detector(thread: thread, provider: provider)
        }
    }

    /// New calls do not get it any more.
    func withdraw(_ instance: ProviderInstance) {
        state.withLock { state in
            if state.current[instance.name]?.provider.instance === instance { state.current[instance.name] = nil }
        }
    }

    /// Ends the thread of a detector to which no call listens; waits for the round that is under way.
    func stop(_ instance: ProviderInstance) {
        withdraw(instance)
        guard let detector = state.withLock({ $0.running.removeValue(forKey: ObjectIdentifier(instance)) }) else {
            return
        }
        let ended = DispatchSemaphore(value: 0)
        detector.thread.stop { ended.signal() }
        if ended.wait(timeout: .now() + .seconds(5)) == .timedOut {
            logger.error("is stuck in its plugin", of: LogSubject(name: instance.name))
        }
    }

    /// Listens to a stream. `heard` is called on the detector's thread.
    func listen(
        to stream: MediaStream, call: String, detector: String?, heard: @escaping @Sendable (VoiceEvent) -> Void
    ) -> Listening? {
        let source = StreamSource(stream.inboundForDetector)
        let rateHz = stream.sampleRateHz
        let sink: DetectionStream.Sink = { heard(VoiceEvent($0)) }
        if let detector, let chosen = state.withLock({ $0.current[detector] }) {
            let (thread, provider) = (chosen.thread, chosen.provider)
            do throws(ProviderFailure) {
                let memory = try provider.open(call: call, rateHz: rateHz) { [logger] failure in
                    logger.error("\(failure.message)", of: LogSubject(name: detector, call: call))
                }
                if let listening = thread.add(source: source, rateHz: rateHz, session: memory.state, sink: sink) {
                    return Listening(thread: thread, stream: listening, memory: memory)
                }
                memory.close()
                logger.warning(
                    "\(detector) has no window for \(rateHz) Hz; the energy detector listens",
                    of: LogSubject(name: detector, call: call))
            } catch {
                logger.warning(
                    "\(error.message); the energy detector listens", of: LogSubject(name: detector, call: call))
            }
        }
        return builtIn.add(source: source, rateHz: rateHz, session: nil, sink: sink).map {
            Listening(thread: builtIn, stream: $0, memory: nil)
        }
    }

    func stop(_ listening: Listening) {
        listening.thread.remove(listening.stream) { listening.memory?.close() }
    }
}

extension VoiceEvent {
    /// A pause within speech is what the conversation knows as a window in which nobody speaks.
    init(_ event: SpeechGate.Event) {
        switch event {
        case .started(let position, _): self = .started(position: position)
        case .silence(_, _, let examined): self = .probability(0, position: examined)
        case .stopped(let speechEnd, let examined): self = .stopped(speechEnd: speechEnd, examined: examined)
        }
    }
}

/// The detector's end of a stream.
private final class StreamSource: DetectorAudioSource {
    private let reader: InboundReader

    init(_ reader: InboundReader) { self.reader = reader }

    func nextFrame(into samples: UnsafeMutablePointer<Int16>) -> DetectorFrame? {
        guard let frame = reader.next() else { return nil }
        return frame.withSamples { from in
            samples.update(from: from.baseAddress!, count: from.count)
            return DetectorFrame(count: from.count, position: frame.position)
        }
    }
}
