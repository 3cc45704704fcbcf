// How a detector is run, and what it has done.

/// How a detection thread runs its detector.
public struct DetectionConfiguration: Sendable, Equatable {
    /// The section of the configuration, "vad.silero": who to name in a log line.
    public var name: String
    /// How long after the audio a round begins: the longest time that a window waits for company.
    public var roundNs: UInt64 = 5_000_000
    /// The time that a batch may take. A window comes every 32 ms; past 20 ms there is no room for the next batch.
    public var deadlineNs: UInt64 = 20_000_000
    /// Leave out the plugin for windows in which the energy detector hears nothing.
    public var skipsSilence = true
    /// Nothing: a probability below this one, some 5 dB above the line's noise.
    public var silenceBelow: Float = 0.05
    /// Windows of nothing before the plugin is left out: 320 ms, so that it hears the whole of every pause.
    public var silentWindowsUntilSkip = 10

    public init(name: String) { self.name = name }
}

/// What a detection thread has done since it began.
public struct DetectionStatistics: Sendable, Equatable {
    public internal(set) var rounds: UInt64 = 0
    /// Windows of all calls, each counted in one or none of the three that follow.
    public internal(set) var windows: UInt64 = 0
    /// Given to the plugin.
    public internal(set) var rows: UInt64 = 0
    /// Not given to the plugin, because there was nothing to hear.
    public internal(set) var skippedWindows: UInt64 = 0
    /// Decided by the energy detector, because the plugin had failed or was late.
    public internal(set) var fallbackWindows: UInt64 = 0
    public internal(set) var batches: UInt64 = 0
    public internal(set) var lateBatches: UInt64 = 0
    public internal(set) var failedBatches: UInt64 = 0
    /// Time in the plugin, all batches and the longest.
    public internal(set) var batchNs: UInt64 = 0
    public internal(set) var longestBatchNs: UInt64 = 0
    /// Gaps in the audio of calls that have ended.
    public internal(set) var gaps: UInt64 = 0

    public init() {}

    public var meanRows: Double { batches == 0 ? 0 : Double(rows) / Double(batches) }
    public var meanWindowMicroseconds: Double { rows == 0 ? 0 : Double(batchNs) / Double(rows) / 1000 }

    mutating func count(batchOf rowCount: Int, elapsedNs: UInt64) {
        batches += 1
        rows += UInt64(rowCount)
        batchNs += elapsedNs
        longestBatchNs = max(longestBatchNs, elapsedNs)
    }
}
