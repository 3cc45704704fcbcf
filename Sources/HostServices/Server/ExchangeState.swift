// One request and its answer, as a value: who answered first, and whether libmicrohttpd has to be woken for it.
//
// Four may want to answer: the plugin, the deadline, the end of the route's owner, and the end of the host. The first
// one counts, and only that one may resume the connection, because libmicrohttpd ends the process when a connection is
// resumed twice or after its end.

struct ExchangeState<Answer> {
    enum Phase { case received, waiting, answered, over }

    /// What whoever gives an answer has to do.
    enum Given: Equatable {
        /// Somebody else was first, or the client is gone.
        case tooLate
        /// It is kept; the listener's thread will find it.
        case kept
        /// It is kept, and the connection must be resumed.
        case resume
    }

    private(set) var phase = Phase.received
    private var answer: Answer?

    mutating func give(_ answer: Answer) -> Given {
        switch phase {
        case .received:
            self.answer = answer
            phase = .answered
            return .kept
        case .waiting:
            self.answer = answer
            phase = .answered
            return .resume
        case .answered, .over:
            return .tooLate
        }
    }

    /// The connection was suspended. False when an answer was there already, and it must be resumed at once.
    mutating func suspended() -> Bool {
        guard phase == .received else { return false }
        phase = .waiting
        return true
    }

    var isOpen: Bool { phase == .received || phase == .waiting }

    /// The answer, once.
    mutating func take() -> Answer? {
        guard phase == .answered else { return nil }
        phase = .over
        defer { answer = nil }
        return answer
    }

    /// The client is gone. Gives the answer that nobody will see.
    mutating func abandon() -> Answer? {
        defer {
            phase = .over
            answer = nil
        }
        return answer
    }
}
