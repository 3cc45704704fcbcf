// Which detector listens to which call: one thread for each detector of the configuration, and one with the built-in
// energy detector for profiles that name none, or whose detector is not there.

import Calls
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

    private let threads: [String: (thread: DetectionThread, provider: VoiceActivityProvider)]
    private let builtIn: DetectionThread
    private let logger: Logger

    /// - Parameter providers: detectors that are running, by the name of their section.
    init(_ providers: [String: VoiceActivityProvider], logger: Logger) throws {
        self.logger = logger
        var threads: [String: (thread: DetectionThread, provider: VoiceActivityProvider)] = [:]
        for (name, provider) in providers {
            let thread = DetectionThread(
                detector: DetectorTable(ops: provider.ops, provider: provider.state),
                configuration: DetectionConfiguration(name: name)
            ) { logger.warning($0, of: LogSubject(name: name)) }
            try thread.start()
            threads[name] = (thread, provider)
        }
        self.threads = threads
        builtIn = DetectionThread(detector: nil, configuration: DetectionConfiguration(name: "energy")) { _ in }
        try builtIn.start()
    }

    /// Listens to a stream. `heard` is called on the detector's thread.
    func listen(
        to stream: MediaStream, call: String, detector: String?, heard: @escaping @Sendable (VoiceEvent) -> Void
    ) -> Listening? {
        let source = StreamSource(stream.inboundForDetector)
        let rateHz = stream.sampleRateHz
        let sink: DetectionStream.Sink = { heard(VoiceEvent($0)) }
        if let detector, let (thread, provider) = threads[detector] {
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
