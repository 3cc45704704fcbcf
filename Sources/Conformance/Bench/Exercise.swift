// The plain use of each kind: what a rule about lives, memory or threads does with a session when it does not matter
// what is asked, as long as something is.

import Glibc
import JSON
import PluginABI
import Providers

extension BenchSession {
    /// Uses the session once, as a call would, and waits until the answer is complete.
    ///
    /// Throws a `Violation` only when nothing can be asked at all. What came is in `events`.
    @discardableResult
    public func exercise() throws -> UInt64 {
        let request = nextRequest()
        switch bench.kind {
        case .speechToText:
            begin(request)
            pushInTime(bench.speech(rateHz: rateHz, ms: 600))
            try check(finalize(request), "finalize")
            waitForEnd(of: request, VC_EVENT_FINALIZED)
        case .textToSpeech:
            try check(speak(request, "Hello there."), "speak")
            waitForEnd(of: request, VC_EVENT_TTS_DONE)
        case .languageModel:
            try check(ask(request, [["role": "user", "content": "Hello."]]), "request")
            waitForEnd(of: request, VC_EVENT_LLM_DONE)
        case .turn:
            for frame in bench.speech(rateHz: rateHz, ms: 200).frames(of: rateHz / 50) { push(frame) }
            transcript("That is all.")
            try check(decide(request), "decide")
            waitForEnd(of: request, VC_EVENT_VERDICT)
        case .voiceActivity:
            let window = try detector().window(rateHz)
            for part in bench.speech(rateHz: rateHz, ms: 640).frames(of: window) { _ = try probability(part) }
        case .telephony: try exerciseCall()
        }
        return request
    }

    private func check(_ status: vc_status, _ slot: String) throws {
        guard status == VC_OK else { throw Violation(slot, expected: "VC_OK", got: statusName(status)) }
    }

    /// Whether what ends `request` came, or an ERROR for it.
    @discardableResult
    public func waitForEnd(of request: UInt64, _ type: Int, ms: Int = 20_000) -> Bool {
        bench.wait(ms: ms) {
            events.contains {
                $0.request == request && ($0.type == type || $0.type == VC_EVENT_ERROR)
                    || ($0.failure?.isFatal ?? false)
            }
        }
    }

    // MARK: Detectors

    struct Detector {
        let ops: vc_vad_provider_ops

        func window(_ rateHz: Int) throws -> Int {
            let window = Int(rateHz == 16_000 ? ops.window_16k : ops.window_8k)
            guard window > 0 else {
                throw Violation("vc_vad_provider_ops", expected: "a window at \(rateHz) Hz", got: "0")
            }
            return window
        }
    }

    func detector() throws -> Detector {
        guard let ops = provider.table.pointee.kind_ops?.assumingMemoryBound(to: vc_vad_provider_ops.self).pointee,
            ops.process != nil
        else { throw Violation("vc_provider.kind_ops", expected: "vc_vad_provider_ops with `process`", got: "NULL") }
        return Detector(ops: ops)
    }

    /// A window of this session alone.
    func probability(_ samples: [Int16], reset: Bool = false) throws -> Float {
        try provider.process([(self, samples, reset)])[0]
    }

    // MARK: Telephony

    /// Answers and ends the call that this session was opened for. One that is over cannot be answered again.
    private func exerciseCall() throws {
        guard !events.contains(where: { $0.type == VC_EVENT_HANGUP }) else { return }
        try check(answer(), "answer")
        // Short, because a plugin with sockets of its own lives on the machine's time, and nothing is judged here.
        _ = bench.wait(ms: 1_000) { events.contains { [VC_EVENT_ANSWERED, VC_EVENT_HANGUP].contains($0.type) } }
        bench.advance(ms: 100)
        hangup()
        _ = bench.wait(ms: 1_000) { events.contains { $0.type == VC_EVENT_HANGUP } }
    }
}

extension BenchProvider {
    /// The next incoming call, as the provider announces it; the scripted peer makes one when the provider is up.
    func waitForIncoming(ms: Int = 10_000, after known: Int = 0) -> RecordedEvent? {
        _ = bench.wait(ms: ms) { events.filter { $0.type == VC_EVENT_INCOMING }.count > known }
        return events.filter { $0.type == VC_EVENT_INCOMING }.dropFirst(known).first
    }

    /// A session for the plain use of the kind: for telephony that of the call that comes in.
    public func plainSession(_ options: SessionOptions = SessionOptions()) throws -> BenchSession {
        guard bench.kind == .telephony, options.key.isEmpty, options.direction == UInt32(VC_CALL_INBOUND) else {
            return try session(options)
        }
        let known = sessions.count
        _ = try bench.begin("incoming")
        guard let incoming = waitForIncoming(after: known),
            case .incoming(let key, _, _, _, _, _, _) = incoming.body
        else { throw Violation("the peer calls", expected: "INCOMING within 10 s", got: "none") }
        var options = options
        options.key = key
        return try session(options)
    }
}

extension Array where Element == Int16 {
    /// Whole stretches of `count`.
    func frames(of count: Int) -> [[Int16]] {
        Swift.stride(from: 0, to: self.count - count + 1, by: count).map { Array(self[$0..<$0 + count]) }
    }
}
