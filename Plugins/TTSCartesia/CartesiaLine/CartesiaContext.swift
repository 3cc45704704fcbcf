// A context of the vendor's: the clauses of one turn, spoken with one breath.
//
// The vendor keeps the melody of a context from text to text, so the clauses of a turn go into one. Its audio comes as
// one stream; where a clause ends is told by `flush_done`, which follows each text because nothing is buffered.

/// A clause on its way.
struct LineClause: Sendable, Equatable {
    let id: Int
    let text: String
    /// Of the contract: pieces of one request are joined as they are, others with a space.
    let request: UInt64
    /// How often it was sent in vain.
    var attempts = 0
    var isSent = false
    /// Samples that were handed over.
    var samples = 0
    var marks: WordMarks

    init(id: Int, text: String, request: UInt64) {
        self.id = id
        self.text = text
        self.request = request
        marks = WordMarks(text)
    }

    /// As it was before it was sent, `attempts` later.
    func anew(attempts: Int) -> LineClause {
        var clause = LineClause(id: id, text: text, request: request)
        clause.attempts = attempts
        return clause
    }
}

struct CartesiaContext: Sendable {
    let id: String
    let epoch: UInt64
    /// Those that are not said to their end, oldest first. The first is the one whose audio comes.
    var clauses: [LineClause] = []
    /// The last text that was sent, and its request: what the next one is joined to.
    var last: (text: String, request: UInt64)?
    /// A clause of it was said to the end, so what goes wrong now may be its age.
    var hasSpoken = false
    /// Samples of the clauses that were said.
    var saidSamples = 0
    /// Half a sample.
    var rest: UInt8?
    /// When it is given up, or ended for want of more text.
    var deadlineMs: UInt64?

    var isIdle: Bool { clauses.isEmpty }
    /// The vendor knows of it.
    var isBegun: Bool { last != nil }

    init(id: String, epoch: UInt64) {
        self.id = id
        self.epoch = epoch
    }

    /// The text as it is sent: two clauses need a space between them, or the vendor reads "done.Next" as one word.
    func joined(_ clause: LineClause) -> String {
        guard let last, last.request != clause.request, last.text.last?.isWhitespace == false,
            clause.text.first?.isWhitespace == false
        else { return clause.text }
        return " " + clause.text
    }
}
