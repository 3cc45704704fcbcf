import Glibc
import Testing

@testable import Media

@Suite("Resampling and files")
struct AudioTests {
    private func energy(_ samples: ArraySlice<Int16>) -> Double {
        (samples.reduce(0.0) { $0 + Double($1) * Double($1) } / Double(samples.count)).squareRoot()
    }

    @Test(
        "Every rate in use becomes every rate of a call, at its length and loudness",
        arguments: [8_000, 11_025, 16_000, 22_050, 24_000, 44_100, 48_000], [8_000, 16_000, 48_000])
    func rates(from: Int, to: Int) throws {
        let input = tone(hertz: 440, count: from, rate: from)
        let output = try #require(Resampler.convert(input, from: from, to: to))
        #expect(abs(output.count - to) <= 2)
        let expected = tone(hertz: 440, count: to, rate: to)
        let middle = to / 10..<to * 9 / 10
        let error = zip(output[middle], expected[middle]).map { Double($0) - Double($1) }
        let noise = (error.reduce(0) { $0 + $1 * $1 } / Double(error.count)).squareRoot()
        #expect(noise < 60, "noise \(noise)")
    }

    @Test("A signal in pieces comes out as the signal in one piece")
    func pieces() throws {
        let input = tone(hertz: 600, count: 22_050, rate: 22_050)
        let whole = try #require(Resampler(from: 22_050, to: 8_000))
        let cut = try #require(Resampler(from: 22_050, to: 8_000))
        var atOnce: [Int16] = []
        var inPieces: [Int16] = []
        withSamples(input) { whole.process($0, into: &atOnce) }
        whole.flush(into: &atOnce)
        var random = SplitMix(seed: 3)
        var rest = input[...]
        while !rest.isEmpty {
            let count = min(rest.count, Int.random(in: 1...700, using: &random))
            withSamples(Array(rest.prefix(count))) { cut.process($0, into: &inPieces) }
            rest = rest.dropFirst(count)
        }
        cut.flush(into: &inPieces)
        #expect(inPieces == atOnce)
    }

    @Test("Rates that make no sense are refused")
    func refused() {
        #expect(Resampler(from: 0, to: 8_000) == nil)
        #expect(Resampler(from: 8_000, to: 1_000_000) == nil)
    }

    @Test("Doubling and halving keep a voice and lose what would alias")
    func halfBand() {
        var doubler = HalfBandFilter()
        var halver = HalfBandFilter()
        let input = tone(hertz: 1_000, count: 1_600)
        var wide = [Int16](repeating: 0, count: 3_200)
        doubler.double(input, count: 1_600, into: &wide)
        #expect(abs(energy(wide[200...]) / energy(input[200...]) - 1) < 0.05)
        var back = [Int16](repeating: 0, count: 1_600)
        halver.halve(wide, count: 3_200, into: &back)
        #expect(abs(energy(back[200...]) / energy(input[200...]) - 1) < 0.05)
        var other = HalfBandFilter()
        let high = tone(hertz: 6_000, count: 3_200, rate: 16_000)
        other.halve(high, count: 3_200, into: &back)
        #expect(energy(back[200...]) < energy(high[200...]) / 50)
    }

    @Test("A file is read as it was written", arguments: [1, 2])
    func wav(channels: Int) throws {
        let path = "/tmp/vchost-wav-\(getpid())-\(channels).wav"
        defer { unlink(path) }
        let file = WAVFile(sampleRateHz: 16_000, channels: channels, samples: [0, 1, -1, .max, .min, 77])
        try file.write(to: path)
        #expect(try WAVFile(path: path) == file)
    }

    @Test("A length that a crashed recorder left wrong is corrected; other formats are named")
    func crookedFiles() throws {
        var bytes = WAVFile(sampleRateHz: 8_000, samples: [1, 2, 3]).bytes
        bytes.replaceSubrange(40..<44, with: [0xFF, 0xFF, 0xFF, 0xFF])
        #expect(try WAVFile(bytes: bytes, path: "x").samples == [1, 2, 3])
        bytes[34] = 8
        #expect(throws: WAVError.self) { try WAVFile(bytes: bytes, path: "x") }
        #expect(throws: WAVError.notWAV("x")) { try WAVFile(bytes: Array("RIFF".utf8), path: "x") }
        #expect(throws: WAVError.self) { try WAVFile(path: "/nonexistent/x.wav") }
    }
}
