// What a recogniser answered, in the form in which rules look at it.

import PluginABI
import Providers

/// A TRANSCRIPT.
struct HeardText {
    let event: RecordedEvent
    let utterance: UInt64
    let start: UInt64
    let end: UInt64
    let text: String
    let isFinal: Bool
    let confidence: Float
    let stability: Float
    let words: [RecordedEvent.Word]

    init?(_ event: RecordedEvent) {
        guard
            case .transcript(let utterance, let start, let end, let text, _, let isFinal, let confidence,
                let stability, let words) = event.body
        else { return nil }
        self.event = event
        self.utterance = utterance
        self.start = start
        self.end = end
        self.text = text
        self.isFinal = isFinal
        self.confidence = confidence
        self.stability = stability
        self.words = words
    }

    /// Whether it says anything.
    var hasWords: Bool { text.contains { !$0.isWhitespace } }
}

/// A recogniser's own opinion on the turn.
struct HeardTurn {
    let turn: Int
    let text: String

    init?(_ event: RecordedEvent) {
        guard case .turn(_, _, let text, let turn, _) = event.body else { return nil }
        self.turn = Int(turn)
        self.text = text
    }
}

/// What came between a question and 200 ms after its answer.
struct Heard {
    /// `finalize`'s.
    let status: vc_status
    let events: [RecordedEvent]

    var texts: [HeardText] { events.compactMap(HeardText.init) }
    var finals: [HeardText] { texts.filter { $0.isFinal && $0.hasWords } }
    var partials: [HeardText] { texts.filter { !$0.isFinal } }
    var ends: [RecordedEvent] { events.filter { $0.type == VC_EVENT_FINALIZED } }
    var failure: RecordedEvent.Failure? { events.compactMap(\.failure).first }

    /// Finals, for a rule that says nothing without one.
    func needFinals() throws -> [HeardText] {
        guard !finals.isEmpty else { throw NotApplicable("no words were recognised in what the bench says") }
        return finals
    }
}

extension BenchSession {
    /// Finalizes, and gives what has come since the event number `first`. An answer is any FINALIZED or ERROR: whose id
    /// it carries, another rule asks.
    func finalized(_ request: UInt64? = nil, since first: Int? = nil, flags: UInt32 = 0) -> Heard {
        let first = first ?? events.count
        let asked = events.count
        let status = finalize(request ?? nextRequest(), flags: flags)
        if status == VC_OK {
            _ = bench.wait(ms: 20_000) {
                events.dropFirst(asked).contains { $0.type == VC_EVENT_FINALIZED || $0.failure != nil }
            }
        }
        bench.advance(ms: 200)
        return Heard(status: status, events: Array(events.dropFirst(first)))
    }

    /// Speech of `ms` as utterance `number`, as a call says it, and its final text.
    func hear(_ number: UInt64 = 1, ms: Int = 1_200, request: UInt64? = nil) -> Heard {
        let first = events.count
        begin(number)
        pushInTime(bench.speech(rateHz: rateHz, ms: ms))
        return finalized(request, since: first)
    }

    /// Audio that nobody recognises: time that passes on the line.
    func pushSilence(ms: Int) { pushInTime(bench.silence(rateHz: rateHz, ms: ms)) }

    /// "1.204 s".
    func seconds(_ position: UInt64) -> String { secondsText(position, rateHz) }
}

func secondsText(_ position: UInt64, _ rateHz: Int) -> String {
    let ms = position.multipliedReportingOverflow(by: 1_000)
    guard !ms.overflow else { return "sample \(position)" }
    let text = String(ms.partialValue / UInt64(max(rateHz, 1)))
    let padded = String(repeating: "0", count: max(0, 4 - text.count)) + text
    return padded.dropLast(3) + "." + padded.suffix(3) + " s"
}
