// Rounds under a virtual clock, with a detector whose answers the test decides.

import PluginABI
import Synchronization
import Testing

@testable import Providers

/// A detector that answers what it is told to, and remembers what it was asked.
private final class ScriptedDetector {
    var probability: Float = 0
    var status = vc_status(VC_OK)
    var takesNs: UInt64 = 0
    var now: UInt64 = 0
    var batches: [(rateHz: Int, sessions: [Int], resets: [Bool])] = []
    let ops: UnsafeMutablePointer<vc_vad_provider_ops>

    init() {
        ops = .allocate(capacity: 1)
        ops.initialize(
            to: vc_vad_provider_ops(
                size: UInt32(MemoryLayout<vc_vad_provider_ops>.size), window_8k: 256, window_16k: 512, reserved: 0,
                process: scriptedProcess))
    }

    deinit { ops.deallocate() }

    var table: DetectorTable { DetectorTable(ops: ops, provider: Unmanaged.passUnretained(self).toOpaque())! }
}

private func scriptedProcess(_ provider: UnsafeMutableRawPointer?, _ batch: UnsafePointer<vc_vad_batch>) -> vc_status {
    let detector = Unmanaged<ScriptedDetector>.fromOpaque(provider!).takeUnretainedValue()
    let rows = UnsafeMutableBufferPointer(start: batch.pointee.rows, count: Int(batch.pointee.row_count))
    detector.batches.append(
        (
            Int(batch.pointee.rate_hz), rows.map { Int(bitPattern: $0.session) },
            rows.map { $0.flags & UInt32(VC_VAD_ROW_RESET) != 0 }
        ))
    for index in rows.indices { rows[index].probability = detector.probability }
    detector.now += detector.takesNs
    return detector.status
}

/// Frames that the test put there.
private final class ScriptedSource: DetectorAudioSource {
    var frames: [(samples: [Int16], position: UInt64)] = []
    var position: UInt64 = 0

    /// Adds whole windows of the same kind, as one frame each.
    func add(windows: Int, samples: Int = 256, amplitude: Int16) {
        for _ in 0..<windows {
            let window = (0..<samples).map { Int16($0 % 16 < 8 ? amplitude : -amplitude) }
            frames.append((window, position))
            position += UInt64(samples)
        }
    }

    func nextFrame(into samples: UnsafeMutablePointer<Int16>) -> DetectorFrame? {
        guard !frames.isEmpty else { return nil }
        let frame = frames.removeFirst()
        samples.update(from: frame.samples, count: frame.samples.count)
        return DetectorFrame(count: frame.samples.count, position: frame.position)
    }
}

private final class Heard: Sendable {
    let events = Mutex<[SpeechGate.Event]>([])
    var all: [SpeechGate.Event] { events.withLock { $0 } }
}

@Suite("Detection engine")
struct DetectionEngineTests {
    private let detector = ScriptedDetector()
    private let log = Lines()

    private final class Lines { var lines: [String] = [] }

    private func makeEngine(
        skipsSilence: Bool = false, usesDetector: Bool = true
    ) -> DetectionEngine {
        var configuration = DetectionConfiguration(name: "vad.test")
        configuration.skipsSilence = skipsSilence
        return DetectionEngine(
            detector: usesDetector ? detector.table : nil, configuration: configuration,
            clock: { [detector] in detector.now }, log: { [log] in log.lines.append($0) })
    }

    private func makeStream(
        _ source: ScriptedSource, _ heard: Heard = Heard(), id: Int = 1, rateHz: Int = 8000
    ) -> DetectionStream {
        DetectionStream(
            source: source, rateHz: rateHz, windowSamples: rateHz == 8000 ? 256 : 512,
            session: UnsafeMutableRawPointer(bitPattern: id), gate: .init(),
            sink: { event in heard.events.withLock { $0.append(event) } })
    }

    @Test("Calls are batched by rate, at most 32 in one batch")
    func batches() {
        let engine = makeEngine()
        for id in 1...40 {
            let source = ScriptedSource()
            source.add(windows: 1, amplitude: 3000)
            engine.add(makeStream(source, id: id))
        }
        for id in 41...43 {
            let source = ScriptedSource()
            source.add(windows: 1, samples: 512, amplitude: 3000)
            engine.add(makeStream(source, id: id, rateHz: 16000))
        }
        engine.round()
        #expect(detector.batches.map(\.rateHz) == [8000, 8000, 16000])
        #expect(detector.batches.map(\.sessions.count) == [32, 8, 3])
        #expect(Set(detector.batches.flatMap(\.sessions)) == Set(1...43))
        #expect(engine.statistics.rows == 43 && engine.statistics.batches == 3)
    }

    @Test("A call that has fallen behind stands once in each batch, and catches up")
    func catchesUp() {
        let engine = makeEngine()
        let late = ScriptedSource()
        let punctual = ScriptedSource()
        late.add(windows: 3, amplitude: 3000)
        punctual.add(windows: 1, amplitude: 3000)
        engine.add(makeStream(late, id: 1))
        engine.add(makeStream(punctual, id: 2))
        engine.round()
        #expect(detector.batches.map(\.sessions) == [[1, 2], [1], [1]])
        #expect(late.frames.isEmpty)
    }

    @Test("The plugin's probabilities become events with positions")
    func events() {
        let engine = makeEngine()
        let source = ScriptedSource()
        let heard = Heard()
        engine.add(makeStream(source, heard))
        source.add(windows: 4, amplitude: 0)
        engine.round()
        detector.probability = 0.95
        source.add(windows: 2, amplitude: 0)
        engine.round()
        detector.probability = 0
        source.add(windows: 7, amplitude: 0)
        engine.round()
        #expect(heard.all.first == .started(position: 1024, examined: 1536))
        #expect(heard.all.last == .stopped(speechEnd: 1536, examined: UInt64(13 * 256)))
        #expect(heard.all.count == 8)
    }

    @Test("A silent line is not shown to the plugin, which keeps what it remembers of it")
    func skipsSilence() {
        let engine = makeEngine(skipsSilence: true)
        let source = ScriptedSource()
        engine.add(makeStream(source))
        for _ in 0..<5 {
            source.add(windows: 6, amplitude: 0)
            engine.round()
        }
        #expect(detector.batches.count == 10)
        #expect(engine.statistics.skippedWindows == 20)
        source.add(windows: 2, amplitude: 4000)
        engine.round()
        #expect(detector.batches.count == 12)
        #expect(detector.batches[10].resets == [false] && detector.batches[11].resets == [false])
    }

    @Test("A window after missing audio carries a reset")
    func gapResets() {
        let engine = makeEngine()
        let source = ScriptedSource()
        engine.add(makeStream(source))
        source.add(windows: 1, amplitude: 4000)
        source.position += 1000
        source.add(windows: 2, amplitude: 4000)
        engine.round()
        #expect(detector.batches.map(\.resets) == [[false], [true], [false]])
    }

    @Test("While the gate holds speech the plugin hears every window, however silent")
    func neverSkipsWithinSpeech() {
        let engine = makeEngine(skipsSilence: true)
        let source = ScriptedSource()
        let heard = Heard()
        engine.add(makeStream(source, heard))
        detector.probability = 0.9
        for _ in 0..<5 {
            source.add(windows: 8, amplitude: 0)
            engine.round()
        }
        #expect(engine.statistics.skippedWindows == 0)
        #expect(heard.all == [.started(position: 0, examined: 512)])
    }

    @Test("A plugin that fails three times rests, the energy detector decides, and it is found again when it works")
    func fallback() {
        let engine = makeEngine()
        let source = ScriptedSource()
        let heard = Heard()
        engine.add(makeStream(source, heard))
        detector.status = vc_status(VC_E_INTERNAL)
        source.add(windows: 4, amplitude: 4000)
        engine.round()
        #expect(detector.batches.count == 3)
        #expect(heard.all == [.started(position: 0, examined: 512)])
        #expect(log.lines.count == 1 && log.lines[0].contains("vad.test") && log.lines[0].contains("-32"))
        #expect(engine.statistics.failedBatches == 3 && engine.statistics.fallbackWindows == 4)

        // A failed trial doubles the rest and says nothing more.
        detector.now += 1_000_000_000
        source.add(windows: 2, amplitude: 4000)
        engine.round()
        #expect(detector.batches.count == 4 && log.lines.count == 1)
        detector.now += 1_999_999_999
        source.add(windows: 1, amplitude: 4000)
        engine.round()
        #expect(detector.batches.count == 4)

        detector.status = vc_status(VC_OK)
        detector.now += 1
        source.add(windows: 2, amplitude: 4000)
        engine.round()
        #expect(detector.batches.count == 6)
        #expect(detector.batches[4].resets == [true] && detector.batches[5].resets == [false])
        #expect(log.lines.count == 2)
    }

    @Test("A batch after its deadline counts as late and the energy detector decides")
    func late() {
        let engine = makeEngine()
        let source = ScriptedSource()
        engine.add(makeStream(source))
        detector.takesNs = 20_000_001
        detector.probability = 0.9
        source.add(windows: 2, amplitude: 0)
        engine.round()
        #expect(engine.statistics.lateBatches == 2 && engine.statistics.fallbackWindows == 2)
        #expect(engine.statistics.longestBatchNs == 20_000_001)
    }

    @Test("A probability that is none is a fault of the plugin", arguments: [Float.nan, -0.1, 1.5, .infinity])
    func nonsense(probability: Float) {
        let engine = makeEngine()
        let source = ScriptedSource()
        let heard = Heard()
        engine.add(makeStream(source, heard))
        detector.probability = probability
        source.add(windows: 3, amplitude: 0)
        engine.round()
        #expect(engine.statistics.failedBatches == 3 && heard.all.isEmpty && log.lines.count == 1)
    }

    @Test("Without a plugin the energy detector decides alone")
    func alone() {
        let engine = makeEngine(usesDetector: false)
        let source = ScriptedSource()
        let heard = Heard()
        engine.add(makeStream(source, heard))
        source.add(windows: 4, amplitude: 0)
        source.add(windows: 3, amplitude: 4000)
        engine.round()
        #expect(heard.all == [.started(position: 1024, examined: 1536)])
        #expect(engine.statistics.fallbackWindows == 0)
    }

    @Test("A call that was removed is asked nothing more")
    func removed() {
        let engine = makeEngine()
        let source = ScriptedSource()
        let stream = makeStream(source)
        engine.add(stream)
        engine.remove(stream)
        source.add(windows: 1, amplitude: 4000)
        engine.round()
        #expect(detector.batches.isEmpty && source.frames.count == 1)
    }
}
