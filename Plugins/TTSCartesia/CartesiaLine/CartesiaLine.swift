// One session's conversation with Cartesia: which contexts there are, what is sent in them, and whose audio it is that
// comes.
//
// A value without a socket or a clock: what happens goes in with its time, what is to be done comes out. The socket is
// opened when the call begins and kept, because a new one costs the caller a round trip or three; the vendor closes it
// after five idle minutes, and then the next clause opens it again. A clause of which nothing was heard is sent once
// more after a failure; one that was begun is not, because its beginning would be heard twice.
//
// A cancel is one message, and the socket stays. Chunks that were on their way come all the same: their context is no
// longer known here, so they are dropped, and counted.

import PluginKit

/// What is to be done.
public enum LineAction: Sendable, Equatable {
    case connect
    case send(String)
    /// Speaks nonsense: the socket is of no use any more.
    case disconnect
    case audio(clause: Int, [Int16])
    /// Bytes of the clause's text, samples of its audio.
    case mark(clause: Int, text: Range<Int>, samples: Range<Int>)
    case finish(clause: Int)
    case fail(clause: Int, PluginError)
    /// A chunk of a context that is over.
    case late
    case warn(PluginError)
}

public struct LineLimits: Sendable, Equatable {
    /// Longest silence of the vendor while something is asked of it.
    public var stallMs: UInt64 = 4000
    /// A context without text is ended before the vendor lets it expire, one second after its last audio.
    public var idleMs: UInt64 = 600
    /// Further attempts while nothing of a clause was heard.
    public var retries = 1
    /// Texts that are sent before the audio of the first is there: one that comes, one that is made. What is made too
    /// soon is thrown away, and paid for, when the caller interrupts.
    public var aheadMax = 2
    /// Each clause has a context of its own.
    public var isClausewise = false

    public init() {}
}

public struct CartesiaLine: Sendable {
    enum Phase: Sendable { case closed, connecting, open }

    let request: CartesiaRequest
    let limits: LineLimits
    private(set) var phase = Phase.closed
    /// Oldest first.
    var contexts: [CartesiaContext] = []
    private var contextCount = 0

    public init(_ request: CartesiaRequest, _ limits: LineLimits) {
        self.request = request
        self.limits = limits
    }

    /// When `tick` is to be called.
    public var nextDeadlineMs: UInt64? { contexts.compactMap(\.deadlineMs).min() }

    // MARK: From the host

    /// The call begins: the socket is there before the first word.
    public mutating func prewarm() -> [LineAction] { connectIfClosed() }

    public mutating func speak(
        _ text: String, clause: Int, request: UInt64, epoch: UInt64, nowMs: UInt64
    ) -> [LineAction] {
        place(LineClause(id: clause, text: text, request: request), epoch: epoch)
        return sendWhatIsDue(nowMs)
    }

    /// Whatever is older than `epoch` is over.
    public mutating func cancel(olderThan epoch: UInt64, nowMs: UInt64) -> [LineAction] {
        let over = contexts.filter { $0.epoch < epoch }
        contexts.removeAll { $0.epoch < epoch }
        return over.flatMap(cancelMessage) + sendWhatIsDue(nowMs)
    }

    /// The host takes no more of a clause, and has not said why yet. Its turn is over.
    public mutating func unwanted(clause: Int, nowMs: UInt64) -> [LineAction] {
        guard let index = contexts.firstIndex(where: { $0.clauses.contains { $0.id == clause } }) else { return [] }
        return cancelMessage(contexts.remove(at: index)) + sendWhatIsDue(nowMs)
    }

    // MARK: From the socket

    public mutating func opened(nowMs: UInt64) -> [LineAction] {
        phase = .open
        return sendWhatIsDue(nowMs)
    }

    /// - Parameter error: nil after a proper close, of which `code` and `reason` are told.
    public mutating func closed(
        _ error: PluginError?, code: Int = 0, reason: String = "", nowMs: UInt64
    ) -> [LineAction] {
        phase = .closed
        let words = "Cartesia closed the connection with \(code)" + (reason.isEmpty ? "" : ": \(reason)")
        let failure =
            error
            ?? PluginError(.network, words, isRetryable: true, vendor: "cartesia", vendorCode: String(code))
        let asked = contexts.filter { !$0.isIdle }
        // Nobody waits for anything: five idle minutes, or a connection that was made ahead of its need.
        guard !asked.isEmpty else {
            contexts = []
            return error.map { [.warn($0)] } ?? []
        }
        contexts = []
        return asked.flatMap { giveUp($0, failure, isConnectionLost: true) } + sendWhatIsDue(nowMs)
    }

    public mutating func received(_ text: String, nowMs: UInt64) -> [LineAction] {
        guard let message = CartesiaMessage(parsing: text) else { return nonsense(nowMs) }
        switch message {
        case .chunk(let id, let bytes):
            guard let index = heard(id, nowMs), !contexts[index].isIdle else { return [.late] }
            return audio(bytes, in: index)
        case .words(let id, let words):
            guard let index = heard(id, nowMs), !contexts[index].isIdle else { return [] }
            return take(words, in: index)
        case .flushed(let id):
            guard let index = heard(id, nowMs), contexts[index].clauses.first?.isSent == true else { return [] }
            let actions = endClause(in: index, nowMs)
            return actions + sendWhatIsDue(nowMs)
        case .done(let id):
            guard let index = heard(id, nowMs) else { return [] }
            return ended(index, nowMs)
        case .refused(let id, let error): return refused(id, error, nowMs)
        case .other: return []
        }
    }

    /// The time of `nextDeadlineMs` has come.
    public mutating func tick(nowMs: UInt64) -> [LineAction] {
        var actions: [LineAction] = []
        while let index = contexts.firstIndex(where: { $0.deadlineMs.map { $0 <= nowMs } ?? false }) {
            let context = contexts.remove(at: index)
            if context.isIdle {
                actions.append(.send(request.end(of: context.id)))
            } else {
                actions += cancelMessage(context)
                actions += giveUp(
                    context,
                    PluginError(
                        .timeout, "Cartesia was silent for \(limits.stallMs) ms", isRetryable: true,
                        vendor: "cartesia"))
            }
        }
        return actions + sendWhatIsDue(nowMs)
    }

    // MARK: Sending

    /// Into the context of the turn, or into a new one.
    mutating func place(_ clause: LineClause, epoch: UInt64) {
        if !limits.isClausewise, let last = contexts.indices.last, contexts[last].epoch == epoch {
            contexts[last].clauses.append(clause)
        } else {
            contextCount += 1
            contexts.append(CartesiaContext(id: "turn-\(contextCount)", epoch: epoch))
            contexts[contexts.count - 1].clauses.append(clause)
        }
    }

    mutating func sendWhatIsDue(_ nowMs: UInt64) -> [LineAction] {
        guard contexts.contains(where: { !$0.isIdle }) else { return [] }
        guard phase == .open else { return connectIfClosed() }
        var underWay = contexts.reduce(0) { $0 + $1.clauses.filter(\.isSent).count }
        var actions: [LineAction] = []
        for index in contexts.indices {
            for number in contexts[index].clauses.indices
            where underWay < limits.aheadMax && !contexts[index].clauses[number].isSent {
                let clause = contexts[index].clauses[number]
                actions.append(
                    .send(
                        request.generation(
                            contexts[index].joined(clause), in: contexts[index].id, isContinued: !limits.isClausewise)))
                contexts[index].clauses[number].isSent = true
                contexts[index].last = (clause.text, clause.request)
                contexts[index].deadlineMs = nowMs + limits.stallMs
                underWay += 1
            }
        }
        return actions
    }

    private mutating func connectIfClosed() -> [LineAction] {
        guard phase == .closed else { return [] }
        phase = .connecting
        return [.connect]
    }

    private func cancelMessage(_ context: CartesiaContext) -> [LineAction] {
        phase == .open && context.isBegun ? [.send(CartesiaRequest.cancel(context.id))] : []
    }
}
