// The work of a detection thread without the thread: rounds, batches, the energy gate and the fallback.
//
// A round takes from each call every window that is complete and hands them to the plugin together, by rate and at most
// 32 at once: a neural detector needs a third of the time for a window that comes in company. Calls are on different
// phases of their 20 ms, so a round every 5 ms finds them spread evenly, and no window waits longer than that.
//
// The energy detector looks at every window first. It costs a fraction of the neural one, it is the answer when the
// plugin has none, and with `skipsSilence` it is the gate: while it hears nothing at all, and has not for a third of a
// second, the plugin is not asked. The window after that carries no VC_VAD_ROW_RESET. What the plugin missed was more
// of the same silence that it heard last, and a model that remembers the line's silence finds the next word sooner than
// one that remembers nothing: measured with Silero on 60 prompts, 20 to 50 ms sooner in the median.
//
// All memory is taken when a call is added; a round takes none. Not thread-safe: whoever owns it runs it on one thread.

import PluginABI

final class DetectionEngine {
    static let batchRowsMax = 32
    /// Windows of one call that a round works off. After a stall a call catches up at 8 windows in 5 ms; what its ring
    /// could not hold is a gap.
    static let windowsPerRoundMax = 8

    let configuration: DetectionConfiguration
    private let detector: DetectorTable?
    private let clock: () -> UInt64
    private let log: (String) -> Void

    private(set) var streams: [DetectionStream] = []
    private(set) var statistics = DetectionStatistics()
    private var health = DetectorHealth()

    private let rows: UnsafeMutablePointer<vc_vad_row>
    private var rowStreams: [DetectionStream?]
    private var rowCount = 0
    private let frame: UnsafeMutablePointer<Int16>

    /// `clock` is the host's clock in nanoseconds, that of every deadline. Without a `detector` the energy detector
    /// decides alone.
    init(
        detector: DetectorTable?, configuration: DetectionConfiguration, clock: @escaping () -> UInt64,
        log: @escaping (String) -> Void
    ) {
        self.detector = detector
        self.configuration = configuration
        self.clock = clock
        self.log = log
        rows = .allocate(capacity: Self.batchRowsMax)
        rows.initialize(repeating: vc_vad_row(), count: Self.batchRowsMax)
        rowStreams = Array(repeating: nil, count: Self.batchRowsMax)
        frame = .allocate(capacity: Reframer.frameSamplesMax)
        frame.initialize(repeating: 0, count: Reframer.frameSamplesMax)
    }

    deinit {
        rows.deallocate()
        frame.deallocate()
    }

    func add(_ stream: DetectionStream) { streams.append(stream) }

    func remove(_ stream: DetectionStream) {
        guard let index = streams.firstIndex(where: { $0 === stream }) else { return }
        streams.swapAt(index, streams.count - 1)
        streams.removeLast()
        statistics.gaps += stream.reframer.gaps
    }

    /// Works off what has come in.
    func round() {
        statistics.rounds += 1
        round(rateHz: 8000)
        round(rateHz: 16000)
    }

    private func round(rateHz: Int) {
        for _ in 0..<Self.windowsPerRoundMax {
            var foundAny = false
            for stream in streams where stream.rateHz == rateHz {
                guard stream.fetchWindow(frame: frame) else { continue }
                foundAny = true
                take(stream)
                if rowCount == Self.batchRowsMax { runBatch(rateHz: rateHz) }
            }
            // A session stands in a batch at most once, so a call's next window goes into the next one.
            runBatch(rateHz: rateHz)
            guard foundAny else { return }
        }
    }

    /// Decides on a window that needs no plugin; puts it into the batch otherwise.
    private func take(_ stream: DetectionStream) {
        statistics.windows += 1
        if stream.window.followsGap {
            stream.energy = EnergyDetector()
            stream.pluginMissedAudio = true
        }
        stream.energyProbability = stream.energy.process(stream.samples, rateHz: stream.rateHz)
        guard let detector, detector.windowSamples(rateHz: stream.rateHz) > 0 else {
            stream.decide(probability: stream.energyProbability)
            return
        }
        if configuration.skipsSilence, isPlainlySilent(stream) {
            statistics.skippedWindows += 1
            stream.decide(probability: stream.energyProbability)
            return
        }
        guard health.mayAsk(now: clock()) else {
            fallBack(stream)
            return
        }
        rows[rowCount] = vc_vad_row(
            session: stream.session, samples: UnsafePointer(stream.samples), probability: 0,
            flags: stream.pluginMissedAudio ? UInt32(VC_VAD_ROW_RESET) : 0)
        rowStreams[rowCount] = stream
        rowCount += 1
    }

    private func isPlainlySilent(_ stream: DetectionStream) -> Bool {
        guard stream.energyProbability < configuration.silenceBelow, stream.gate.isQuiet else {
            stream.quietWindows = 0
            return false
        }
        stream.quietWindows += 1
        return stream.quietWindows > configuration.silentWindowsUntilSkip
    }

    private func fallBack(_ stream: DetectionStream) {
        statistics.fallbackWindows += 1
        stream.pluginMissedAudio = true
        stream.decide(probability: stream.energyProbability)
    }

    private func runBatch(rateHz: Int) {
        guard rowCount > 0, let detector else { return }
        let begin = clock()
        let deadline = begin + configuration.deadlineNs
        var batch = vc_vad_batch()
        batch.size = sizeOnTheLine(vc_vad_batch.self)
        batch.rate_hz = UInt32(rateHz)
        batch.samples = UInt32(detector.windowSamples(rateHz: rateHz))
        batch.row_count = UInt32(rowCount)
        batch.row_stride = UInt32(MemoryLayout<vc_vad_row>.stride)
        batch.rows = rows
        batch.deadline_ns = deadline
        let status = detector.process(detector.provider, &batch)
        let end = clock()
        statistics.count(batchOf: rowCount, elapsedNs: end - begin)
        settle(status: status, isLate: end > deadline, now: end)
        rowCount = 0
    }

    /// Takes the batch's decisions: the plugin's where they can be used, else the energy detector's.
    private func settle(status: vc_status, isLate: Bool, now: UInt64) {
        var isUsable = status == vc_status(VC_OK)
        for row in 0..<rowCount where isUsable {
            let probability = rows[row].probability
            isUsable = probability >= 0 && probability <= 1  // false for a NaN too
        }
        if !isUsable { statistics.failedBatches += 1 } else if isLate { statistics.lateBatches += 1 }
        for row in 0..<rowCount {
            guard let stream = rowStreams[row] else { continue }
            rowStreams[row] = nil
            if isUsable && !isLate {
                stream.pluginMissedAudio = false
                stream.decide(probability: rows[row].probability)
            } else {
                fallBack(stream)
            }
        }
        report(isUsable && !isLate ? health.succeeded() : health.faulted(now: now), status: status, isLate: isLate)
    }

    private func report(_ change: DetectorHealth.Change?, status: vc_status, isLate: Bool) {
        switch change {
        case nil: break
        case .recovered:
            log("\(configuration.name): the detector works again; it decides from here on")
        case .restsFor(let ms):
            let deadlineMs = configuration.deadlineNs / 1_000_000
            let reason =
                status != vc_status(VC_OK)
                ? "failed with status \(status)"
                : isLate ? "took longer than \(deadlineMs) ms" : "answered with probabilities that are not within 0…1"
            log(
                "\(configuration.name): the detector \(reason), \(DetectorHealth.faultsUntilRest) batches in a row; "
                    + "the built-in energy detector decides instead; next trial in \(ms) ms, then ever less often")
        }
    }
}
