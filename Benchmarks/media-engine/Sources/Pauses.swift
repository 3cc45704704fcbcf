// Streams that hum, are paused, and hum on: from the decision to the end of the last frame that could be heard, as the
// engine tells it in each stream's statistics.

import Media

struct Pauses {
    private static let humMs: Int64 = 400
    private static let silentMs: Int64 = 150
    private static let tone: [Int16] = (0..<160).map { $0 / 18 % 2 == 0 ? 1_000 : -1_000 }

    private var isPaused: [Bool]
    private var next: [Int64]
    private(set) var latenciesUs: [Int] = []

    init(streams: Int) {
        isPaused = Array(repeating: false, count: streams)
        // Prime steps: no two streams are paused together for long, nor on one place of their 20 ms.
        next = (0..<streams).map { MonotonicClock.now + 1_000_000_000 + Int64($0 * 7_919_000 % 550_000_000) }
    }

    mutating func step(_ streams: [MediaStream]) {
        let now = MonotonicClock.now
        for index in streams.indices {
            let stream = streams[index]
            if stream.playoutBacklog < 800 { _ = Self.tone.withUnsafeBufferPointer { stream.write($0, epoch: 1) } }
            guard now >= next[index] else { continue }
            if isPaused[index] {
                // Written when the pause took effect, long ago.
                latenciesUs.append(Int(stream.statistics.pauseLatencyMs * 1_000))
                stream.resume()
            } else {
                stream.pause()
            }
            isPaused[index].toggle()
            let lastsMs = isPaused[index] ? Self.silentMs : Self.humMs
            next[index] = now + lastsMs * 1_000_000 + Int64(index * 104_729 % 20_000_000)
        }
    }
}
