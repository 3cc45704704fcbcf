// What the answers of one model come to. A value: the times are somebody else's.
//
// Medians, because one answer in ten that is slow by chance must not decide, and the 95th percentile beside them,
// because a caller who gets it waits. Tokens a second are those after the first: the wait for the first is the other
// column, and has other causes.

import Calls
import JSON
import Providers

struct ModelResult {
    /// "llm.local", or "llm.local qwen3:4b" where the model was given on the command line.
    let name: String
    let plugin: String
    let model: String
    private(set) var answers = 0
    /// What went wrong, in order; the first is shown.
    private(set) var failures: [String] = []
    private(set) var firstMs: [Double] = []
    private(set) var wholeMs: [Double] = []
    private(set) var tokensPerSecond: [Double] = []
    private(set) var outputTokens = 0
    /// False: the provider says nothing of tokens, and pieces of text were counted in their place.
    private(set) var countsTokens = true
    /// From the first question until it was answered, the loading of the model included.
    var warmUpMs: Double?

    init(name: String, plugin: String, model: String) {
        self.name = name
        self.plugin = plugin
        self.model = model
    }

    mutating func add(_ answer: TimedAnswer) {
        if case .failed(let failure) = answer.end { return fail(failure.message) }
        guard let first = answer.firstNs, let last = answer.lastNs else {
            if case .declined = answer.end { return fail("it declined the question: that is for the next of a chain") }
            return fail("an answer without a word")
        }
        answers += 1
        firstMs.append(Self.ms(first - answer.askedNs))
        wholeMs.append(Self.ms(answer.endNs - answer.askedNs))
        if answer.outputTokens == nil { countsTokens = false }
        let tokens = answer.outputTokens ?? answer.pieces
        outputTokens += tokens
        if tokens > 1, last > first { tokensPerSecond.append(Double(tokens - 1) / (Self.ms(last - first) / 1000)) }
    }

    mutating func fail(_ message: String) { failures.append(message) }

    var medianFirstMs: Double? { Self.quantile(0.5, of: firstMs) }

    /// Whether the first word of the median answer comes in time.
    func meets(targetMs: Int) -> Bool { medianFirstMs.map { $0 <= Double(targetMs) } ?? false }

    /// The quickest first; who did not answer comes last.
    static func isBefore(_ one: ModelResult, _ other: ModelResult) -> Bool {
        (one.medianFirstMs ?? .infinity, one.name) < (other.medianFirstMs ?? .infinity, other.name)
    }

    /// The smallest value that so many of all are not above (nearest rank); nil of none.
    static func quantile(_ share: Double, of values: [Double]) -> Double? {
        guard !values.isEmpty else { return nil }
        let rank = Int((share * Double(values.count)).rounded(.up))
        return values.sorted()[max(0, min(values.count, rank) - 1)]
    }

    private static func ms(_ ns: UInt64) -> Double { Double(ns) / 1_000_000 }
}
