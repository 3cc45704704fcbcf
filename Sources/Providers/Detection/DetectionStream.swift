// One call, as its detector sees it: the reader of its audio, what is remembered of it, and where the results go.
//
// Two sides with nothing in common but two atomics: the call's side may set who is speaking and ask for removal, from
// any thread; everything else belongs to the detection thread.

import PluginABI
import Synchronization

/// A call that a `DetectionThread` listens to. Made by `DetectionThread.add`.
public final class DetectionStream: @unchecked Sendable {
    public typealias Sink = @Sendable (SpeechGate.Event) -> Void

    public let rateHz: Int

    // Any thread.
    private let agentSpeaking = Atomic<Bool>(false)

    // Detection thread only.
    let source: any DetectorAudioSource
    let session: UnsafeMutableRawPointer?
    let sink: Sink
    var gate: SpeechGate
    var energy = EnergyDetector()
    var reframer: Reframer
    /// The window under work, and what the energy detector said of it.
    let samples: UnsafeMutablePointer<Int16>
    var window = Reframer.Window(start: 0, end: 0, followsGap: false)
    var energyProbability: Float = 0
    /// The plugin did not see the window before this one.
    var pluginMissedAudio = false
    /// Windows since the energy gate last saw anything.
    var quietWindows = 0

    init(
        source: any DetectorAudioSource, rateHz: Int, windowSamples: Int, session: UnsafeMutableRawPointer?,
        gate: SpeechGate.Configuration, sink: @escaping Sink
    ) {
        self.source = source
        self.rateHz = rateHz
        self.session = session
        self.sink = sink
        self.gate = SpeechGate(configuration: gate, rateHz: rateHz)
        reframer = Reframer(windowSamples: windowSamples)
        samples = .allocate(capacity: windowSamples)
        samples.initialize(repeating: 0, count: windowSamples)
    }

    deinit {
        reframer.deallocate()
        samples.deallocate()
    }

    /// Whether the agent's voice is being played out: it raises the threshold of a start. Any thread; takes effect with
    /// the next window.
    public var isAgentSpeaking: Bool {
        get { agentSpeaking.load(ordering: .relaxed) }
        set { agentSpeaking.store(newValue, ordering: .relaxed) }
    }

    /// Fetches audio until a window is complete; false when there is none.
    func fetchWindow(frame: UnsafeMutablePointer<Int16>) -> Bool {
        while true {
            if let complete = reframer.nextWindow(into: samples) {
                window = complete
                return true
            }
            guard let next = source.nextFrame(into: frame) else { return false }
            reframer.append(frame, count: next.count, position: next.position)
        }
    }

    /// Takes the decision on the window under work.
    func decide(probability: Float) {
        let event = gate.process(
            probability: probability, start: window.start, end: window.end, isAgentSpeaking: isAgentSpeaking)
        if let event { sink(event) }
    }
}
