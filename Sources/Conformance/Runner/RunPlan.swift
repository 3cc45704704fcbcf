// Which rule runs when: a machine without clocks and threads, asked for the next rule and told each result.
//
// A rule that builds on others waits for them, and is skipped when one of them failed: "the session hung" behind "the
// library does not load" would be noise. Rules that measure time wait for everything else and run one at a time, so
// that nothing of ours disturbs them. Otherwise the order is that of the book, and only the speed of the machine decides
// what runs beside what; no rule can notice, because each has a process of its own.

/// One rule for one plugin and provider.
struct RunItem: Sendable {
    let rule: Rule
    /// Index into the run's subjects.
    let subject: Int
    /// Index into the manifest's providers; nil for a rule about the file.
    let provider: Int?
}

/// The rules of a run, in their order.
struct RunPlan: Sendable {
    enum Step: Sendable, Equatable {
        case run(Int)
        /// Nothing can start before something else ends.
        case wait
        case finished
    }

    private enum State: Sendable {
        case waiting, running
        case ended(RuleResult)
    }

    let items: [RunItem]
    private let needs: [[Int]]
    private let dependents: [[Int]]
    private var states: [State]
    /// How many of an item's needs have not ended.
    private var open: [Int]
    /// Those that can start, the first of the book first.
    private var ready: [Int] = []
    private var nextReady = 0
    private var timed: [Int] = []
    private var nextTimed = 0
    private var running = 0
    private var unended: Int
    /// What a result says as its provider.
    private let providerOf: @Sendable (RunItem) -> String

    init(_ items: [RunItem], providerOf: @escaping @Sendable (RunItem) -> String) {
        self.items = items
        self.providerOf = providerOf
        struct Key: Hashable {
            let rule: String
            let subject: Int
            let provider: Int?
        }
        var indexes: [Key: Int] = [:]
        for (index, item) in items.enumerated() {
            indexes[Key(rule: item.rule.id, subject: item.subject, provider: item.provider)] = index
        }
        var dependents = [[Int]](repeating: [], count: items.count)
        needs = items.enumerated().map { index, item in
            let found = item.rule.needs.filter { $0 != item.rule.id }.compactMap { need in
                indexes[Key(rule: need, subject: item.subject, provider: item.provider)]
                    ?? indexes[Key(rule: need, subject: item.subject, provider: nil)]
            }
            for need in found { dependents[need].append(index) }
            return found
        }
        self.dependents = dependents
        states = items.map { _ in .waiting }
        open = needs.map(\.count)
        unended = items.count
        for index in items.indices where open[index] == 0 { makeReady(index) }
    }

    /// What to do next. After `.run(index)` there must be a `finish(index, …)`.
    mutating func next() -> Step {
        if nextReady < ready.count {
            defer { nextReady += 1 }
            return start(ready[nextReady])
        }
        if unended == 0 { return .finished }
        // Alone: nothing else runs, and nothing else can.
        if running == 0, nextTimed < timed.count {
            defer { nextTimed += 1 }
            return start(timed[nextTimed])
        }
        precondition(running > 0, "rules need each other in a circle: \(stuck)")
        return .wait
    }

    /// Takes a result. Those that can no longer say anything are ended with it, and returned.
    mutating func finish(_ index: Int, _ result: RuleResult) -> [RuleResult] {
        running -= 1
        var skipped: [RuleResult] = []
        end(index, result, &skipped)
        return skipped
    }

    /// In the order of the items; nothing of what has not ended.
    var results: [(item: RunItem, result: RuleResult)] {
        zip(items, states).compactMap { item, state in
            if case .ended(let result) = state { (item, result) } else { nil }
        }
    }

    // MARK: Steps

    private mutating func start(_ index: Int) -> Step {
        states[index] = .running
        running += 1
        return .run(index)
    }

    private mutating func makeReady(_ index: Int) {
        if items[index].rule.clock == .real { timed.append(index) } else { ready.append(index) }
    }

    private mutating func end(_ index: Int, _ result: RuleResult, _ skipped: inout [RuleResult]) {
        states[index] = .ended(result)
        unended -= 1
        for dependent in dependents[index] {
            open[dependent] -= 1
            // Only when all have ended, so that the reason does not depend on which ended first.
            guard open[dependent] == 0 else { continue }
            guard let blocker = needs[dependent].lazy.compactMap(blocker).first else {
                makeReady(dependent)
                continue
            }
            var skip = RuleResult(items[dependent].rule, provider: providerOf(items[dependent]), status: .skip)
            skip.blockedBy = blocker
            skip.why = "\(blocker) failed"
            skipped.append(skip)
            end(dependent, skip, &skipped)
        }
    }

    /// The rule that failed, when this need or one of its own did. A need that was skipped because a capability is
    /// missing blocks nothing.
    private func blocker(_ need: Int) -> String? {
        guard case .ended(let result) = states[need] else { return nil }
        if result.status == .fail || result.status.isLoss { return result.rule }
        return result.blockedBy.isEmpty ? nil : result.blockedBy
    }

    private var stuck: String {
        zip(items, states).compactMap { item, state in
            if case .waiting = state { item.rule.id } else { nil }
        }.joined(separator: ", ")
    }
}
