// The thread itself, with the built plugin and real time: few windows, and no assertion about how long anything takes.

import Glibc
import PluginABI
import Providers
import Synchronization
import Testing

/// A voice that is all there at once.
private final class Recording: DetectorAudioSource {
    private let samples: [Int16]
    private var position = 0

    init(_ samples: [Int16]) { self.samples = samples }

    func nextFrame(into destination: UnsafeMutablePointer<Int16>) -> DetectorFrame? {
        guard position + 160 <= samples.count else { return nil }
        samples.withUnsafeBufferPointer { destination.update(from: $0.baseAddress! + position, count: 160) }
        defer { position += 160 }
        return DetectorFrame(count: 160, position: UInt64(position))
    }
}

@Suite("Detection thread")
struct DetectionThreadTests {
    @Test("Forty calls come and go while the thread runs, and each hears its own caller")
    func manyCalls() throws {
        let plugin = try PluginUnderTest("VADEnergy")
        let provider = try plugin.makeProvider()
        let table = try #require(DetectorTable(ops: provider.vad, provider: provider.state))
        let thread = DetectionThread(
            detector: table, configuration: DetectionConfiguration(name: "vad.test"), log: { _ in })
        try thread.start()
        let started = Mutex<[UInt64]>([])
        let removed = Atomic<Int>(0)
        var open: [(SessionUnderTest, DetectionStream)] = []
        for call in 0..<40 {
            let session = try provider.openSession(rateHz: 8000)
            let silence = [Double](repeating: 0, count: 4000 + call * 256)
            let sound = Sounds.samples(
                silence + Sounds.babble(dBFS: -20, count: 4000), Sounds.noise(dBFS: -60, count: 16000))
            let stream = try #require(
                thread.add(source: Recording(sound), rateHz: 8000, session: session.session.state) { event in
                    if case .started(let position, _) = event { started.withLock { $0.append(position) } }
                })
            open.append((session, stream))
        }
        for _ in 0..<2000 where started.withLock({ $0.count }) < 40 { usleep(5000) }
        #expect(started.withLock { Set($0).count } == 40)
        for (_, stream) in open { thread.remove(stream) { removed.wrappingAdd(1, ordering: .relaxed) } }
        for _ in 0..<2000 where removed.load(ordering: .relaxed) < 40 { usleep(5000) }
        let removedCount = removed.load(ordering: .relaxed)
        #expect(removedCount == 40)
        for (session, _) in open { session.close() }
        let stopped = Atomic<Bool>(false)
        thread.stop { stopped.store(true, ordering: .relaxed) }
        for _ in 0..<2000 where !stopped.load(ordering: .relaxed) { usleep(5000) }
        let hasStopped = stopped.load(ordering: .relaxed)
        #expect(hasStopped)
        #expect(thread.statistics.rows > 0 && thread.statistics.meanRows <= 32)
        provider.destroy()
    }

    @Test("A call that is removed after the stop is answered all the same")
    func removeAfterStop() throws {
        let thread = DetectionThread(
            detector: nil, configuration: DetectionConfiguration(name: "vad.test"), log: { _ in })
        try thread.start()
        let stream = try #require(thread.add(source: Recording([]), rateHz: 8000, session: nil) { _ in })
        let answers = Mutex<[String]>([])
        thread.stop { answers.withLock { $0.append("stop") } }
        for _ in 0..<2000 where answers.withLock({ $0.isEmpty }) { usleep(5000) }
        thread.remove(stream) { answers.withLock { $0.append("remove") } }
        for _ in 0..<2000 where answers.withLock({ $0.count }) < 2 { usleep(5000) }
        #expect(answers.withLock { $0 } == ["stop", "remove"])
    }

    @Test("A rate that no detector takes is refused")
    func refusesRate() {
        let thread = DetectionThread(
            detector: nil, configuration: DetectionConfiguration(name: "vad.test"), log: { _ in })
        #expect(thread.add(source: Recording([]), rateHz: 44100, session: nil) { _ in } == nil)
    }
}
