// What a use of a session looked like, for rules that compare two of them.

import JSON
import PluginABI
import Providers

extension BenchSession {
    /// The events that answer `request`, without what differs between two requests of the same words.
    func signature(of request: UInt64) -> [String] {
        var audio = 0
        var text = ""
        var others: [String] = []
        for event in answers(to: request) where event.answer == vc_status(VC_OK) {
            switch event.body {
            case .audio(let frame): audio += frame.samples.count
            case .delta(let part): text += part
            case .transcript(_, _, _, let said, _, let isFinal, _, _, _):
                if isFinal { others.append("TRANSCRIPT \(said)") }
            case .spoken(let reason, let samples): others.append("TTS_DONE \(reason) \(samples)")
            case .answered(let reason): others.append("LLM_DONE \(reason)")
            case .failure(let failure): others.append("ERROR \(statusName(failure.code))")
            case .verdict(let probability, _): others.append("VERDICT \(probability)")
            case .mark(let start, let end, let from, let to): others.append("MARK \(start) \(end) \(from) \(to)")
            default: others.append(event.name)
            }
        }
        return ["\(audio) samples", text] + others
    }

    /// Asks for something whose answer cannot end, because the host takes nothing of it.
    @discardableResult
    func askAndStall() throws -> UInt64 {
        world.monitor.locked { object.creditEvents = 0 }
        let request = try askAtLength()
        bench.advance(ms: 1_000)
        return request
    }

    /// Asks for the same, until its first part is there.
    @discardableResult
    func askAndStream() throws -> UInt64 {
        let request = try askAtLength()
        _ = bench.wait(ms: 5_000) {
            answers(to: request).contains { $0.type == VC_EVENT_AUDIO || $0.type == VC_EVENT_DELTA }
        }
        return request
    }

    private func askAtLength() throws -> UInt64 {
        let request = nextRequest()
        switch bench.kind {
        case .textToSpeech: speak(request, "One two three four five six seven eight nine ten.")
        case .languageModel: ask(request, [["role": "user", "content": "Hello."]])
        default: throw NotApplicable("only voices and language models stream")
        }
        return request
    }

    /// Takes everything again.
    func flow() {
        world.monitor.locked { object.creditEvents = nil }
        credit(events: 1_000, bytes: 1 << 20)
    }
}

extension Bench {
    /// Runs `body` on a thread of its own and waits for it.
    func elsewhere<Result>(_ body: @escaping () throws -> Result) throws -> Result {
        let thread = BenchThread { try body() as Any }
        guard thread.join(ms: 10_000) else {
            throw Violation("a call on another thread", expected: "an end within 10 s", got: "none")
        }
        return try thread.outcome!.get() as! Result
    }
}
