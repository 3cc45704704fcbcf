// How well the detectors find the speech of a person: the gate, the engine and the built plugins together.
//
// Measured and printed, and held to limits with room to spare: the figures of one run are in the plugins' README.md.

import Glibc
import PluginABI
import Synchronization
import Testing

@testable import Providers

private final class RecordedCall: DetectorAudioSource {
    private let samples: [Int16]
    private var position = 0
    var limit = 0

    init(_ samples: [Int16]) { self.samples = samples }

    func nextFrame(into destination: UnsafeMutablePointer<Int16>) -> DetectorFrame? {
        guard position + 160 <= min(limit, samples.count) else { return nil }
        samples.withUnsafeBufferPointer { destination.update(from: $0.baseAddress! + position, count: 160) }
        defer { position += 160 }
        return DetectorFrame(count: 160, position: UInt64(position))
    }
}

/// What became of the stretches of speech. All times in ms; positive is late.
private struct Accuracy: CustomStringConvertible {
    var missed = 0
    var invented = 0
    var splits = 0
    var onset: [Int] = []
    var declared: [Int] = []
    var offset: [Int] = []

    init(_ events: [SpeechGate.Event], of call: Recordings.Call) {
        var found: [(start: Int, examined: Int, end: Int)] = []
        for event in events {
            switch event {
            case .started(let position, let examined): found.append((Int(position), Int(examined), Int.max))
            case .stopped(let end, _): found[found.count - 1].end = Int(end)
            case .silence: break
            }
        }
        var used = 0
        for speech in call.speech {
            let own = found.filter { $0.end > speech.start - 2400 && $0.start < speech.end + 1600 }
            guard let first = own.first, let last = own.last else { missed += 1; continue }
            used += own.count
            splits += own.count - 1
            onset.append((first.start - speech.start) / 8)
            declared.append((first.examined - speech.start) / 8)
            offset.append((min(last.end, call.samples.count) - speech.end) / 8)
        }
        invented = found.count - used
    }

    static func percentile(_ values: [Int], _ part: Double) -> Int {
        values.isEmpty ? 0 : values.sorted()[min(values.count - 1, Int(part * Double(values.count)))]
    }

    var description: String {
        func spread(_ values: [Int]) -> String {
            "\(Self.percentile(values, 0.1))/\(Self.percentile(values, 0.5))/\(Self.percentile(values, 0.9))/"
                + "\(Self.percentile(values, 1))"
        }
        return "missed \(missed), invented \(invented), split \(splits); p10/p50/p90/max ms: onset \(spread(onset)), "
            + "declared \(spread(declared)), offset \(spread(offset))"
    }
}

private final class EventLog: Sendable {
    let events = Mutex<[SpeechGate.Event]>([])
}

/// Runs a call through an engine, 20 ms of audio at a time, on the real clock.
private func listen(
    to call: Recordings.Call, with detector: DetectorTable?, session: UnsafeMutableRawPointer? = nil,
    skipsSilence: Bool = true
) -> (Accuracy, DetectionStatistics) {
    var configuration = DetectionConfiguration(name: "vad.test")
    configuration.skipsSilence = skipsSilence
    // A machine that is busy with other tests must not turn this into a test of the fallback.
    configuration.deadlineNs = 5_000_000_000
    let engine = DetectionEngine(detector: detector, configuration: configuration, clock: monotonicNs, log: { _ in })
    let log = EventLog()
    let source = RecordedCall(call.samples)
    engine.add(
        DetectionStream(
            source: source, rateHz: 8000, windowSamples: 256, session: session, gate: .init(),
            sink: { event in log.events.withLock { $0.append(event) } }))
    while source.limit < call.samples.count {
        source.limit += 160
        engine.round()
    }
    return (Accuracy(log.events.withLock { $0 }, of: call), engine.statistics)
}

private let needsRecordings: Comment = "the recordings are not in .cache/recordings: run services/recordings"
private let needsModel: Comment = "ONNX Runtime or the model is not in .cache/models: run services/setup"

@Suite("Recorded speech")
struct RecordedSpeechTests {
    @Test(
        "The energy detector finds every prompt of a quiet line and invents none",
        .enabled(if: Recordings.areThere, needsRecordings))
    func energy() {
        let call = Recordings.call(prompts: 30, noiseDBFS: -60)
        let (accuracy, _) = listen(to: call, with: nil)
        print("energy, noise -60 dBFS: \(accuracy)")
        #expect(accuracy.missed == 0 && accuracy.invented == 0)
        #expect(Accuracy.percentile(accuracy.declared, 0.9) <= 160)
        #expect(abs(Accuracy.percentile(accuracy.offset, 0.5)) <= 100)
    }

    @Test(
        "Silero behind the energy gate finds every prompt of a quiet, a noisy and a faint line and invents none",
        .enabled(if: Recordings.areThere, needsRecordings), .enabled(if: SileroPaths.areThere, needsModel),
        arguments: [(-60.0, 0.0), (-45.0, -10.0), (-60.0, -15.0)])
    func silero(noise: Double, gain: Double) throws {
        let plugin = try PluginUnderTest("VADSilero")
        let provider = try plugin.makeProvider(texts: SileroPaths.settings)
        try provider.start()
        try #require(provider.object.wait(for: Int(VC_EVENT_READY)), "\(provider.object.events)")
        defer { provider.destroy() }
        let session = try provider.openSession(rateHz: 8000)
        defer { session.close() }
        let table = try #require(DetectorTable(ops: provider.vad, provider: provider.state))
        let call = Recordings.call(prompts: 30, noiseDBFS: noise, gainDB: gain)
        let (accuracy, statistics) = listen(to: call, with: table, session: session.session.state)
        let skipped = 100 * statistics.skippedWindows / statistics.windows
        print("silero, noise \(noise) dBFS, speech \(gain) dB, \(skipped) % of windows skipped: \(accuracy)")
        #expect(accuracy.missed == 0 && accuracy.invented == 0 && accuracy.splits <= 6)
        #expect(statistics.fallbackWindows == 0)
        #expect(Accuracy.percentile(accuracy.declared, 0.9) <= 220)
        #expect(abs(Accuracy.percentile(accuracy.offset, 0.5)) <= 120)
    }
}
