// One call as the caller: dials, listens, speaks by its script, and keeps what it found.
//
// One loop of 20 ms steps on one thread: the caller has nothing else to do, and a step is a frame.

import Calls
import Glibc
import JSON
import Media
import Providers

struct CallRun: ~Copyable {
    /// What the caller's side measured of one of its turns.
    struct TurnResult {
        let id: String
        var saidFromNs: UInt64 = 0
        var saidUntilNs: UInt64 = 0
        /// From the end of what was said to the agent's first sound.
        var answerMs: Int?
        /// Of a turn that interrupted: from its first sound to the agent's last one.
        var silencedMs: Int?
    }

    enum Outcome: Equatable {
        case notAnswered(String)
        case ended(byAgent: Bool)
        case tooLong
    }

    private(set) var results: [TurnResult] = []
    private let plan: CallerPlan
    private var script: CallerScript
    private var ear = AgentEar()
    private let leg: OutboundLeg
    private var saying: (index: Int, epoch: UInt64, left: ArraySlice<Int16>)?
    private var epoch: UInt64 = 0
    private var interrupted: Int?
    /// The longest call that a script can mean.
    static let longestNs: UInt64 = 600_000_000_000

    init(_ plan: CallerPlan, leg: OutboundLeg) {
        self.plan = plan
        self.leg = leg
        script = plan.script
    }

    /// Runs the call to its end. `step` is called in each step, with the stream as soon as there is one.
    mutating func run(_ step: (MediaStream?) throws -> Void) rethrows -> Outcome {
        let began = nowNs()
        var isAnswered = false
        var hasHungUp = false
        var next = began
        while nowNs() - began < Self.longestNs {
            for event in leg.takeEvents() {
                switch event {
                case .answered:
                    isAnswered = true
                    script.answered(at: nowNs())
                case .hungUp(let cause, let code, let reason):
                    guard isAnswered else {
                        return .notAnswered(
                            "\(cause)\(code == 0 ? "" : ", \(code)")\(reason.isEmpty ? "" : " \(reason)")")
                    }
                    return .ended(byAgent: !hasHungUp)
                case .lost(let failure): return .notAnswered(failure.message)
                default: break
                }
            }
            try step(leg.stream)
            if isAnswered, let stream = leg.stream {
                listen(stream)
                speak(stream)
                if !hasHungUp, saying == nil {
                    switch script.poll(at: nowNs()) {
                    case .say(let index): begin(index, stream)
                    case .hangUp:
                        hasHungUp = true
                        leg.hangUp()
                    case nil: break
                    }
                }
            }
            next += 20_000_000
            let now = nowNs()
            if next > now { usleep(UInt32((next - now) / 1_000)) }
        }
        return .tooLong
    }

    private mutating func listen(_ stream: MediaStream) {
        while let frame = stream.inboundForCall.next() {
            let change = frame.withSamples { ear.hear($0, at: UInt64(frame.captureNs)) }
            switch change {
            case .began(let at):
                script.agent(speaks: true, at: at)
                if let last = results.indices.last, results[last].answerMs == nil, results[last].saidUntilNs > 0,
                    at > results[last].saidUntilNs
                {
                    results[last].answerMs = Int((at - results[last].saidUntilNs) / 1_000_000)
                }
            case .ended(let at):
                script.agent(speaks: false, at: at)
                if let index = interrupted {
                    results[index].silencedMs = Int(
                        (max(at, results[index].saidFromNs) - results[index].saidFromNs) / 1_000_000)
                    interrupted = nil
                }
            case nil: break
            }
        }
    }

    private mutating func begin(_ index: Int, _ stream: MediaStream) {
        let wav = plan.turns[index].wav
        let samples = Resampler.convert(wav.samples, from: wav.sampleRateHz, to: stream.sampleRateHz) ?? wav.samples
        epoch += 1
        saying = (index, epoch, samples[...])
        results.append(TurnResult(id: plan.turns[index].id, saidFromNs: nowNs()))
        if ear.isSpeaking { interrupted = results.count - 1 }
        speak(stream)
    }

    /// Keeps the playout filled, and notices when the last sample has left.
    private mutating func speak(_ stream: MediaStream) {
        guard var now = saying else { return }
        if !now.left.isEmpty {
            let written = now.left.withUnsafeBufferPointer { stream.write($0, epoch: now.epoch) }
            if case .accepted(let count) = written { now.left = now.left.dropFirst(count) }
            saying = now
            if now.left.isEmpty { stream.finish(epoch: now.epoch) }
        }
        while let event = stream.nextEvent() {
            guard case .playoutDrained(now.epoch, _) = event else { continue }
            saying = nil
            results[results.count - 1].saidUntilNs = nowNs()
            script.finishedSpeaking(at: nowNs())
        }
    }
}

/// Nanoseconds of the one clock.
func nowNs() -> UInt64 { UInt64(MonotonicClock.now) }
