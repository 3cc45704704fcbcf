// What a vendor sent of a clause, and the host has no room for yet.
//
// A vendor behind a WebSocket sends when it likes, and nobody can tell it to wait. So what comes is kept, in order,
// until the host has credit: audio, marks, and the end of the clause, which must not overtake its audio. The bound
// is for a vendor that never ends.

/// The way of one clause's audio to the host, for voices whose vendor pushes.
public final class ClauseOutlet {
    /// What became of the clause.
    public enum State: Sendable, Equatable {
        /// More may come.
        case open
        /// Everything is handed over, its end included.
        case ended
        /// The host wants no more of it.
        case unwanted
        /// The vendor sent more than any speech has.
        case overflown
    }

    private enum Piece {
        case audio([Int16], rateHz: Int)
        case mark(Range<Int>, Range<Int>)
        case end
    }

    public let clause: Clause
    private let samplesMax: Int
    private var waiting: [Piece] = []
    private var samples = 0

    /// - Parameter samplesMax: more than this is no clause; five minutes at 48 kHz unless said.
    public init(_ clause: Clause, samplesMax: Int = 300 * 48_000) {
        self.clause = clause
        self.samplesMax = samplesMax
    }

    /// As `Clause.emit`, but nothing is refused.
    public func say(_ audio: [Int16], rateHz: Int) -> State {
        samples += audio.count
        guard samples <= samplesMax else { return .overflown }
        waiting.append(.audio(audio, rateHz: rateHz))
        return handOver()
    }

    /// As `Clause.mark`, behind the audio that came before it.
    public func mark(_ stretch: Range<Int>, samples: Range<Int>) -> State {
        waiting.append(.mark(stretch, samples))
        return handOver()
    }

    /// As `Clause.finish`, behind everything.
    public func end() -> State {
        waiting.append(.end)
        return handOver()
    }

    /// Hands over what the host takes: to be called when credit returned.
    public func handOver() -> State {
        var count = 0
        defer { waiting.removeFirst(count) }
        for piece in waiting {
            switch piece {
            case .audio(let audio, let rateHz):
                switch clause.emit(audio, rateHz: rateHz) {
                case .accepted: break
                case .noCredit: return .open
                case .canceled, .gone: return .unwanted
                }
            case .mark(let stretch, let samples): clause.mark(stretch, samples: samples)
            case .end:
                count += 1
                clause.finish()
                return .ended
            }
            count += 1
        }
        return .open
    }
}
