// Which connection carries which question.
//
// The service answers one question after the other on a connection and has no word for "stop". So a question that
// nobody wants any more costs its connection: whatever is still written to it would be taken for the next answer.
// That is why there is always one connection more than is needed. A barge-in closes the busy one, the next question
// goes out on the spare at once, and the one after that is opened behind its back, so that nobody waits for a
// handshake. A value: what to do comes out of it, and a driver does it.

/// The connections of one call.
public struct LlamaPool: Sendable {
    public enum Action: Sendable, Equatable {
        case connect(Int)
        case send(question: UInt64, on: Int)
        case close(Int)
        /// Call `reconnect` in so many milliseconds.
        case wait(ms: Int)
        /// There is no connection, and there will be none soon.
        case fail(question: UInt64)
    }

    /// Of the eight that a session may have; the others are closing, which takes two seconds.
    static let connectionsMax = 4
    private static let backoffMs = [250, 500, 1_000, 2_000, 5_000]

    private enum Use: Equatable { case connecting, idle, busy(UInt64) }

    private var uses: [Int: Use] = [:]
    private var waiting: [UInt64] = []
    private var latest = 0
    private var failures = 0
    private var isWaiting = false
    /// From the first question on.
    private var wantsSpare = false

    public init() {}

    /// The call begins: a connection is made while it rings.
    public mutating func begin() -> [Action] { replenished() }

    public mutating func ask(_ question: UInt64) -> [Action] {
        wantsSpare = true
        waiting.append(question)
        // Whoever waits for words is worth an attempt at once, whatever happened before.
        isWaiting = false
        return replenished()
    }

    public mutating func opened(_ connection: Int) -> [Action] {
        guard uses[connection] == .connecting else { return [] }
        failures = 0
        uses[connection] = .idle
        return replenished()
    }

    /// A connection could not be made, or has ended. `lost` is the question that it carried.
    public mutating func closed(_ connection: Int) -> (lost: UInt64?, actions: [Action]) {
        guard let use = uses.removeValue(forKey: connection) else { return (nil, []) }
        if case .busy(let question) = use { return (question, replenished()) }
        failures += 1
        var actions: [Action] = []
        if use == .connecting, !uses.values.contains(.connecting) {
            actions = waiting.map { .fail(question: $0) }
            waiting = []
        }
        // One attempt at a time until one succeeds.
        if !uses.values.contains(where: { $0 == .idle || $0 == .connecting }), !isWaiting {
            isWaiting = true
            actions.append(.wait(ms: Self.backoffMs[min(failures, Self.backoffMs.count) - 1]))
        }
        return (nil, actions)
    }

    /// The time of `.wait` is over.
    public mutating func reconnect() -> [Action] {
        guard isWaiting else { return [] }
        isWaiting = false
        return replenished()
    }

    /// The answer on a connection is complete: it may carry another.
    public mutating func finished(_ connection: Int) -> [Action] {
        guard case .busy? = uses[connection] else { return [] }
        uses[connection] = .idle
        return replenished()
    }

    /// Nobody wants this answer any more.
    public mutating func abandon(_ question: UInt64) -> [Action] {
        waiting.removeAll { $0 == question }
        guard let connection = uses.first(where: { $0.value == .busy(question) })?.key else { return [] }
        uses[connection] = nil
        return [.close(connection)] + replenished()
    }

    /// The question whose answer a connection carries.
    public func question(on connection: Int) -> UInt64? {
        if case .busy(let question)? = uses[connection] { question } else { nil }
    }

    /// Gives waiting questions to idle connections, and opens what is lacking.
    private mutating func replenished() -> [Action] {
        var actions: [Action] = []
        for connection in uses.keys.sorted() where uses[connection] == .idle && !waiting.isEmpty {
            let question = waiting.removeFirst()
            uses[connection] = .busy(question)
            actions.append(.send(question: question, on: connection))
        }
        guard !isWaiting else { return actions }
        let free = uses.values.count { $0 == .idle || $0 == .connecting }
        let isFirst = uses.isEmpty
        let lacking = waiting.count + (wantsSpare || isFirst ? 1 : 0) - free
        for _ in 0..<max(0, min(lacking, Self.connectionsMax - uses.count)) {
            latest += 1
            uses[latest] = .connecting
            actions.append(.connect(latest))
        }
        return actions
    }
}
