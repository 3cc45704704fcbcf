// One call's conversation with the WebSocket service of Piper.
//
// The protocol has no number for an utterance and no cancel: what a connection says belongs to the last text that was
// sent on it, until `end`. So a connection has one clause at a time, and whatever leaves it in doubt what comes next
// (an interruption, an error, silence) ends that connection. A second one is kept open beside it, or the caller would
// wait for a handshake after each interruption; the one that was closed is replaced behind it.
//
// As a value: what happens goes in with its time, what is to be done comes out.

import PluginKit

public struct PiperLine: Sendable {
    private struct Connection: Sendable {
        let id: Int
        var isOpen = false
        /// It says the first clause.
        var isSpeaking = false
        var rateHz: Int
        /// Half a sample.
        var rest: UInt8?
    }

    private struct Waiting: Sendable {
        let id: Int
        let text: String
        let epoch: UInt64
        var attempts = 0
        var hasAudio = false
    }

    private let request: PiperSocketRequest
    private let limits: PiperLineLimits
    private let name: String
    /// Oldest first; at most one speaks, and it says the first clause.
    private var connections: [Connection] = []
    private var clauses: [Waiting] = []
    private var connectionCount = 0
    /// A spare could not be had: not asked for again before one is open.
    private var isSpareRefused = false
    /// When the clause that is said is given up.
    public private(set) var nextDeadlineMs: UInt64?

    /// - Parameter name: whom errors name.
    public init(_ request: PiperSocketRequest, _ limits: PiperLineLimits, name: String) {
        self.request = request
        self.limits = limits
        self.name = name
    }

    // MARK: From the host

    /// The call begins: connections are there before the first word.
    public mutating func prewarm() -> [PiperLineAction] { refill() }

    public mutating func speak(_ text: String, clause: Int, epoch: UInt64, nowMs: UInt64) -> [PiperLineAction] {
        clauses.append(Waiting(id: clause, text: text, epoch: epoch))
        return goOn(nowMs)
    }

    /// Whatever is older than `epoch` is over.
    public mutating func cancel(olderThan epoch: UInt64, nowMs: UInt64) -> [PiperLineAction] {
        let isInterrupted = clauses.first.map { $0.epoch < epoch } ?? false
        clauses.removeAll { $0.epoch < epoch }
        return (isInterrupted ? endSpeaking() : []) + goOn(nowMs)
    }

    /// The host takes no more of a clause.
    public mutating func unwanted(clause: Int, nowMs: UInt64) -> [PiperLineAction] {
        let isFirst = clauses.first?.id == clause
        clauses.removeAll { $0.id == clause }
        return (isFirst ? endSpeaking() : []) + goOn(nowMs)
    }

    // MARK: From a connection

    public mutating func opened(_ id: Int, nowMs: UInt64) -> [PiperLineAction] {
        guard let index = index(id) else { return [] }
        connections[index].isOpen = true
        isSpareRefused = false
        return goOn(nowMs)
    }

    public mutating func closed(_ id: Int, _ error: PluginError?, nowMs: UInt64) -> [PiperLineAction] {
        guard let index = index(id) else { return [] }
        let connection = connections.remove(at: index)
        if !connection.isOpen { isSpareRefused = true }
        let failure =
            error
            ?? PluginError(.network, "\(name) closed the connection", isRetryable: true, vendor: "piper")
        if connection.isSpeaking { return giveUp(failure, nowMs) }
        // With another connection left, this one is no loss; without one, whoever waits has waited in vain.
        if !clauses.isEmpty && connections.isEmpty { return giveUp(failure, nowMs) }
        return clauses.isEmpty && error != nil ? [.warn(failure)] : []
    }

    public mutating func received(_ id: Int, text: String, nowMs: UInt64) -> [PiperLineAction] {
        guard let index = index(id) else { return [] }
        guard let message = PiperSocketMessage(parsing: text) else {
            return doubt(
                index, PluginError(.vendor, "\(name) sent text that is no JSON; is `url` that of a Piper service?"),
                nowMs)
        }
        // Before the first request it is a greeting, and after `end` it means nothing.
        guard connections[index].isSpeaking else { return [] }
        nextDeadlineMs = nowMs + limits.stallMs
        switch message {
        case .begins(let rateHz):
            if let rateHz { connections[index].rateHz = rateHz }
            return []
        case .ends: return said(index, nowMs)
        case .refused(let words):
            return doubt(index, PluginError(.vendor, "\(name) answered: \(words)", vendor: "piper"), nowMs)
        case .other: return []
        }
    }

    public mutating func received(_ id: Int, binary: [UInt8], nowMs: UInt64) -> [PiperLineAction] {
        guard let index = index(id), connections[index].isSpeaking, let clause = clauses.first else { return [] }
        nextDeadlineMs = nowMs + limits.stallMs
        let bytes = (connections[index].rest.map { [$0] } ?? []) + binary
        connections[index].rest = bytes.count % 2 == 1 ? bytes.last : nil
        guard bytes.count > 1 else { return [] }
        clauses[0].hasAudio = true
        let samples = (0..<bytes.count / 2).map {
            Int16(truncatingIfNeeded: Int(bytes[2 * $0]) | Int(bytes[2 * $0 + 1]) << 8)
        }
        return [.audio(clause: clause.id, samples, rateHz: connections[index].rateHz)]
    }

    /// The time of `nextDeadlineMs` has come.
    public mutating func tick(nowMs: UInt64) -> [PiperLineAction] {
        guard let deadline = nextDeadlineMs, deadline <= nowMs else { return [] }
        nextDeadlineMs = nil
        guard let index = connections.firstIndex(where: \.isSpeaking) else { return [] }
        return doubt(
            index,
            PluginError(.timeout, "\(name) was silent for \(limits.stallMs) ms", isRetryable: true, vendor: "piper"),
            nowMs)
    }

    // MARK: Connections

    private func index(_ id: Int) -> Int? { connections.firstIndex { $0.id == id } }

    /// Says the next clause if there is somebody to say it, and sees to it that there is.
    private mutating func goOn(_ nowMs: UInt64) -> [PiperLineAction] {
        var actions: [PiperLineAction] = []
        if let clause = clauses.first, !connections.contains(where: \.isSpeaking),
            let index = connections.firstIndex(where: \.isOpen)
        {
            connections[index].isSpeaking = true
            connections[index].rateHz = request.rateHz
            connections[index].rest = nil
            nextDeadlineMs = nowMs + limits.stallMs
            actions.append(.send(connections[index].id, request.message(clause.text)))
        }
        return actions + refill()
    }

    private mutating func refill() -> [PiperLineAction] {
        var actions: [PiperLineAction] = []
        let wanted = isSpareRefused ? (clauses.isEmpty ? 0 : 1) : 1 + limits.spares
        while connections.count < wanted {
            connectionCount += 1
            connections.append(Connection(id: connectionCount, rateHz: request.rateHz))
            actions.append(.connect(connectionCount))
        }
        return actions
    }

    /// Closes the connection that speaks: what it still has to say is of no use.
    private mutating func endSpeaking() -> [PiperLineAction] {
        nextDeadlineMs = nil
        guard let index = connections.firstIndex(where: \.isSpeaking) else { return [] }
        return [.close(connections.remove(at: index).id)]
    }

    // MARK: Ends

    private mutating func said(_ index: Int, _ nowMs: UInt64) -> [PiperLineAction] {
        nextDeadlineMs = nil
        connections[index].isSpeaking = false
        var actions = [PiperLineAction.finish(clause: clauses.removeFirst().id)]
        if !request.generation.keepsConnection { actions.append(.close(connections.remove(at: index).id)) }
        return actions + goOn(nowMs)
    }

    /// Nobody knows what this connection says next.
    private mutating func doubt(_ index: Int, _ error: PluginError, _ nowMs: UInt64) -> [PiperLineAction] {
        let connection = connections.remove(at: index)
        return [.close(connection.id)] + (connection.isSpeaking ? giveUp(error, nowMs) : goOn(nowMs))
    }

    /// The first clause was not said: once more, or not at all.
    private mutating func giveUp(_ error: PluginError, _ nowMs: UInt64) -> [PiperLineAction] {
        nextDeadlineMs = nil
        guard let clause = clauses.first else { return goOn(nowMs) }
        let mayHelp = error.code == .network || (error.isRetryable && error.code != .quota)
        guard mayHelp, !clause.hasAudio, clause.attempts < limits.retries else {
            clauses.removeFirst()
            return [.fail(clause: clause.id, error)] + goOn(nowMs)
        }
        clauses[0].attempts += 1
        return goOn(nowMs)
    }
}
