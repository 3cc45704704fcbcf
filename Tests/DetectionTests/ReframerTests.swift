import Providers
import Testing

@Suite("Reframer")
struct ReframerTests {
    /// A frame whose samples are their own positions.
    private func append(_ reframer: inout Reframer, _ count: Int, at position: Int) {
        let samples = (position..<position + count).map { Int16(truncatingIfNeeded: $0) }
        reframer.append(samples, count: count, position: UInt64(position))
    }

    private func windows(_ reframer: inout Reframer) -> [(window: Reframer.Window, first: Int16, last: Int16)] {
        var found: [(Reframer.Window, Int16, Int16)] = []
        var samples = [Int16](repeating: 0, count: reframer.windowSamples)
        while let window = reframer.nextWindow(into: &samples) { found.append((window, samples[0], samples.last!)) }
        return found
    }

    @Test("Eight frames of 20 ms are five windows of 32, with every sample at its position")
    func eightFramesAreFiveWindows() {
        var reframer = Reframer(windowSamples: 256)
        defer { reframer.deallocate() }
        var all: [(window: Reframer.Window, first: Int16, last: Int16)] = []
        for index in 0..<8 {
            append(&reframer, 160, at: 1000 + index * 160)
            all += windows(&reframer)
        }
        #expect(all.count == 5)
        for (index, item) in all.enumerated() {
            let start = 1000 + index * 256
            #expect(item.window == .init(start: UInt64(start), end: UInt64(start + 256), followsGap: false))
            #expect(Int(item.first) == start && Int(item.last) == start + 255)
        }
        #expect(reframer.gaps == 0 && reframer.discardedSamples == 0)
    }

    @Test("A window never spans a gap, and the one after it says so")
    func gapStartsANewWindow() {
        var reframer = Reframer(windowSamples: 256)
        defer { reframer.deallocate() }
        append(&reframer, 160, at: 0)
        append(&reframer, 160, at: 320)
        append(&reframer, 160, at: 480)
        let all = windows(&reframer)
        #expect(all.count == 1)
        #expect(all[0].window == .init(start: 320, end: 576, followsGap: true))
        #expect(all[0].first == 320)
        #expect(reframer.gaps == 1 && reframer.discardedSamples == 160)
        append(&reframer, 320, at: 640)
        #expect(windows(&reframer).map(\.window.followsGap) == [false])
    }

    @Test("A frame that comes twice is taken once, and one that overlaps with its new part")
    func overlapIsDropped() {
        var reframer = Reframer(windowSamples: 256)
        defer { reframer.deallocate() }
        append(&reframer, 160, at: 0)
        append(&reframer, 160, at: 0)
        append(&reframer, 160, at: 120)
        #expect(windows(&reframer).map(\.window) == [.init(start: 0, end: 256, followsGap: false)])
        #expect(reframer.discardedSamples == 200 && reframer.gaps == 0)
    }

    @Test("A frame longer than a window is several windows")
    func longFrame() {
        var reframer = Reframer(windowSamples: 256)
        defer { reframer.deallocate() }
        append(&reframer, 160, at: 0)
        append(&reframer, 960, at: 160)
        #expect(windows(&reframer).map(\.window.start) == [0, 256, 512, 768])
    }
}
