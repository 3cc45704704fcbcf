import PluginABI
import Providers
import Testing

@Suite("Energy detector")
struct EnergyDetectorTests {
    private func probabilities(_ samples: [Int16], rateHz: Int = 8000) -> [Float] {
        var detector = EnergyDetector()
        let window = rateHz == 8000 ? 256 : 512
        return samples.withUnsafeBufferPointer { all in
            stride(from: 0, through: all.count - window, by: window).map {
                detector.process(all.baseAddress! + $0, rateHz: rateHz)
            }
        }
    }

    private let second = 8000

    @Test("A voice over a noisy line is speech and the line alone is not", arguments: [8000, 16000])
    func voiceOverNoise(rateHz: Int) {
        let quiet = Sounds.noise(dBFS: -55, count: 3 * rateHz)
        let voice = [Double](repeating: 0, count: rateHz) + Sounds.babble(dBFS: -25, count: rateHz, rateHz: rateHz)
        let all = probabilities(Sounds.samples(quiet, voice), rateHz: rateHz)
        #expect(all[2..<31].allSatisfy { $0 < 0.1 })
        #expect(all[33..<61].filter { $0 > 0.6 }.count > 20)
        #expect(all[64...].allSatisfy { $0 < 0.1 })
    }

    @Test("Mains hum is not speech, and does not hide it")
    func hum() {
        let hum = Sounds.tones([50], dBFS: -22, count: 4 * second)
        let harmonics = Sounds.tones([100, 150], dBFS: -45, count: 4 * second)
        let noise = Sounds.noise(dBFS: -60, count: 4 * second)
        let voice = [Double](repeating: 0, count: 3 * second) + Sounds.babble(dBFS: -22, count: second)
        let all = probabilities(Sounds.samples(hum, harmonics, noise, voice))
        #expect(all[..<93].allSatisfy { $0 < 0.35 })
        #expect(all[94...].filter { $0 > 0.6 }.count > 20)
    }

    @Test("Keys are not speech, not even where a window holds only part of one")
    func keys() {
        var sound = [Double](repeating: 0, count: second)
        for (row, column) in [(697.0, 1209.0), (770.0, 1336.0), (852.0, 1477.0), (941.0, 1633.0), (955.0, 1312.0)] {
            // The last one is 941 and 1336 Hz, off by the 1.5 and 1.8 % that a receiver must still take.
            sound += Sounds.tones([row, column], dBFS: -15, count: 800)
            sound += [Double](repeating: 0, count: 480)
        }
        let all = probabilities(Sounds.samples(sound, Sounds.noise(dBFS: -60, count: sound.count)))
        #expect(all[..<51].allSatisfy { $0 < 0.35 })
        // A short rest of a key that is off is as wide as a click, and the gate takes it for one.
        #expect(zip(all, all.dropFirst()).allSatisfy { min($0, $1) < 0.35 })
    }

    @Test("After a jump of the noise by 20 dB the line is quiet again within 2.5 s, after a fall at once")
    func levelChanges() {
        let sound =
            Sounds.noise(dBFS: -60, count: 4 * second) + Sounds.noise(dBFS: -40, count: 4 * second)
            + Sounds.noise(dBFS: -60, count: second)
        let all = probabilities(Sounds.samples(sound))
        #expect(all[..<125].allSatisfy { $0 < 0.2 })
        #expect(all[126] > 0.6)
        #expect(all[(125 + 79)...].allSatisfy { $0 < 0.2 })
    }

    @Test("A caller who speaks with the first sample is heard")
    func speaksAtOnce() {
        let all = probabilities(Sounds.samples(Sounds.babble(dBFS: -25, count: second)))
        #expect(all[..<6].contains { $0 > 0.6 })
    }

    @Test("Digital silence is not speech and full scale is not an error")
    func extremes() {
        #expect(probabilities([Int16](repeating: 0, count: 2560)).allSatisfy { $0 < 0.05 })
        let square = (0..<25600).map { Int16(($0 / 8) % 2 == 0 ? 32767 : -32768) }
        #expect(probabilities(square).allSatisfy { $0 >= 0 && $0 <= 1 })
    }

    @Test("The plugin and the built-in detector give the same probabilities", arguments: [8000, 16000])
    func pluginAgrees(rateHz: Int) throws {
        let plugin = try PluginUnderTest("VADEnergy")
        let provider = try plugin.makeProvider()
        defer { provider.destroy() }
        let session = try provider.openSession(rateHz: rateHz)
        defer { session.close() }
        let sound = Sounds.samples(
            Sounds.noise(dBFS: -50, count: 6 * rateHz),
            [Double](repeating: 0, count: rateHz) + Sounds.babble(dBFS: -25, count: 2 * rateHz, rateHz: rateHz)
                + Sounds.tones([770, 1336], dBFS: -20, count: rateHz, rateHz: rateHz))
        let own = probabilities(sound, rateHz: rateHz)
        let window = rateHz == 8000 ? 256 : 512
        #expect(own.contains { $0 > 0.9 } && own.contains { $0 < 0.1 })
        for (index, expected) in own.enumerated() {
            let samples = Array(sound[index * window..<(index + 1) * window])
            let probability = try #require(try provider.probabilities([(session, samples)], rateHz: rateHz).first)
            #expect(abs(probability - expected) < 1e-3, "window \(index)")
        }
    }

    @Test("After a reset the plugin answers as in a new call")
    func pluginReset() throws {
        let plugin = try PluginUnderTest("VADEnergy")
        let provider = try plugin.makeProvider()
        defer { provider.destroy() }
        let session = try provider.openSession(rateHz: 8000)
        defer { session.close() }
        let loud = Array(Sounds.samples(Sounds.noise(dBFS: -22, count: 256)))
        let first = try provider.probabilities([(session, loud)], rateHz: 8000)
        for _ in 0..<100 { _ = try provider.probabilities([(session, loud)], rateHz: 8000) }
        let adapted = try provider.probabilities([(session, loud)], rateHz: 8000)
        #expect(adapted[0] < 0.1 && first[0] > 0.5)
        #expect(try provider.probabilities([(session, loud)], rateHz: 8000, flags: UInt32(VC_VAD_ROW_RESET)) == first)
    }

    @Test("The plugin refuses a rate and a window that it does not take")
    func pluginRefuses() throws {
        let plugin = try PluginUnderTest("VADEnergy")
        let provider = try plugin.makeProvider()
        defer { provider.destroy() }
        #expect(throws: PluginRefusal.self) { try provider.openSession(rateHz: 44100) }
        let session = try provider.openSession(rateHz: 8000)
        defer { session.close() }
        #expect(throws: PluginRefusal(code: vc_status(VC_E_ARGUMENT), message: "")) {
            try provider.probabilities([(session, [Int16](repeating: 0, count: 160))], rateHz: 8000)
        }
    }
}
