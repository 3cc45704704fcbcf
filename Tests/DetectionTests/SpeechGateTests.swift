// The gate under a virtual clock: the clock of audio is the position of its samples.

import Providers
import Testing

@Suite("Speech gate")
struct SpeechGateTests {
    /// Feeds windows of 32 ms at 8 kHz and returns what the gate says, window by window.
    private func events(
        _ probabilities: [Float], configuration: SpeechGate.Configuration = .init(), agentSpeaking: Bool = false
    ) -> [SpeechGate.Event?] {
        var gate = SpeechGate(configuration: configuration, rateHz: 8000)
        return probabilities.enumerated().map { index, probability in
            gate.process(
                probability: probability, start: UInt64(index * 256), end: UInt64((index + 1) * 256),
                isAgentSpeaking: agentSpeaking)
        }
    }

    @Test("Speech is declared with its second window and begins with its first")
    func startIsBackDated() {
        #expect(events([0, 0.1, 0.9, 0.9, 0.9]) == [nil, nil, nil, .started(position: 512, examined: 1024), nil])
    }

    @Test("One loud window is a click and not speech")
    func clickIsIgnored() {
        #expect(events([0, 0.99, 0, 0, 0.99, 0.2, 0.99, 0]).allSatisfy { $0 == nil })
    }

    @Test("A weak window within a beginning neither helps nor harms")
    func weakWindowKeepsTheCandidate() {
        #expect(events([0.7, 0.5, 0.7]) == [nil, nil, .started(position: 0, examined: 768)])
    }

    @Test("A beginning that drags on begins anew")
    func candidateExpires() {
        let weak = [Float](repeating: 0.5, count: 30)
        #expect(events([0.7] + weak + [0.7]).allSatisfy { $0 == nil })
        #expect(
            events([0.7] + weak + [0.7, 0.7]).last == .started(position: UInt64(31 * 256), examined: UInt64(33 * 256)))
    }

    @Test("A pause is reported with each window, and speech ends where its last window did")
    func stopIsBackDated() {
        let all = events([0.9, 0.9, 0.9] + [Float](repeating: 0.1, count: 8))
        let pauses = (1...6).map {
            SpeechGate.Event.silence(durationMs: UInt32($0 * 32), speechEnd: 768, examined: UInt64(768 + $0 * 256))
        }
        #expect(Array(all[3..<9]) == pauses.map { $0 })
        #expect(all[9] == .stopped(speechEnd: 768, examined: UInt64(10 * 256)))
        #expect(all[10] == nil)
    }

    @Test("Between the thresholds speech goes on, and does not begin")
    func hysteresis() {
        #expect(events([0.5, 0.5, 0.5, 0.5]).allSatisfy { $0 == nil })
        let all = events([0.9, 0.9] + [Float](repeating: 0.4, count: 20))
        #expect(all.compactMap { $0 } == [.started(position: 0, examined: 512)])
    }

    @Test("Speech after a pause shorter than the stop is the same speech")
    func pauseWithinSpeech() {
        let all = events([0.9, 0.9, 0.1, 0.1, 0.1, 0.9, 0.9])
        #expect(all.compactMap { $0 }.count == 4)  // the start and three reports of silence
        #expect(all[5] == nil && all[6] == nil)
    }

    @Test("While the agent speaks a start needs more certainty, and more time where that is configured")
    func echoGuard() {
        #expect(events([0.7, 0.7, 0.7, 0.7, 0.7], agentSpeaking: true).allSatisfy { $0 == nil })
        #expect(events([0.8, 0.8], agentSpeaking: true) == [nil, .started(position: 0, examined: 512)])
        var patient = SpeechGate.Configuration()
        patient.startHoldMsWhileAgentSpeaks = 96
        #expect(
            events([0.8, 0.8, 0.8, 0.8], configuration: patient, agentSpeaking: true)
                == [nil, nil, .started(position: 0, examined: 768), nil])
    }

    @Test("Audio that is missing counts as silence, and ends speech when it is long enough")
    func gapEndsSpeech() {
        var gate = SpeechGate(rateHz: 8000)
        _ = gate.process(probability: 0.9, start: 0, end: 256, isAgentSpeaking: false)
        _ = gate.process(probability: 0.9, start: 256, end: 512, isAgentSpeaking: false)
        let event = gate.process(probability: 0, start: 8000, end: 8256, isAgentSpeaking: false)
        #expect(event == .stopped(speechEnd: 512, examined: 8256))
    }

    @Test("The configured silence decides when speech has ended", arguments: [(100, 4), (200, 7), (500, 16)])
    func stopSilence(stopMs: Int, windows: Int) {
        var configuration = SpeechGate.Configuration()
        configuration.stopSilenceMs = UInt32(stopMs)
        let all = events([0.9, 0.9] + [Float](repeating: 0, count: 20), configuration: configuration)
        #expect(all[1 + windows] == .stopped(speechEnd: 512, examined: UInt64((2 + windows) * 256)))
    }

    @Test("Starts and stops alternate and never go back, whatever the probabilities", arguments: 0..<50)
    func startsAndStopsAlternate(seed: Int) {
        var random = SplitMix(state: UInt64(seed))
        var gate = SpeechGate(rateHz: 16000)
        var position: UInt64 = 0
        var lastEdge: UInt64 = 0
        var isSpeaking = false
        for _ in 0..<2000 {
            if random.next() % 100 == 0 { position += random.next() % 20000 }
            let probability = Float(random.next() % 1000) / 999
            let event = gate.process(
                probability: probability, start: position, end: position + 512,
                isAgentSpeaking: random.next() % 2 == 0)
            position += 512
            switch event {
            case nil: break
            case .started(let start, let examined):
                #expect(!isSpeaking && start >= lastEdge && examined == position)
                isSpeaking = true
                lastEdge = start
            case .silence(_, let end, let examined):
                #expect(isSpeaking && end >= lastEdge && examined == position)
            case .stopped(let end, let examined):
                #expect(isSpeaking && end >= lastEdge && examined == position)
                isSpeaking = false
                lastEdge = end
            }
            #expect(gate.isSpeaking == isSpeaking)
        }
    }
}

/// A random generator with a seed: a failure can be had again.
struct SplitMix {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }
}
