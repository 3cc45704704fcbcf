// From a case that fails to one in which nothing can be left out: delta debugging (Zeller and Hildebrandt, "Simplifying
// and isolating failure-inducing input", 2002), over steps and then over what a step and the case say.
//
// What is tried is tried in batches, since each try is a process and the machine has several processors. The first of a
// batch that still fails is taken, in the order of the batch: so the result does not depend on which ended first.

import JSON
import Providers

/// Shortens a case as long as it fails in the same way.
struct FuzzMinimiser {
    /// Probes that one case may cost. A case of forty steps takes a hundred.
    static let triesMax = 600

    let kind: PluginKind
    let canBeTentative: Bool
    /// Tries cases at once: which of them fail in the same way.
    let fails: ([FuzzCase]) throws -> [Bool]
    private(set) var tries = 0

    init(kind: PluginKind, canBeTentative: Bool, fails: @escaping ([FuzzCase]) throws -> [Bool]) {
        self.kind = kind
        self.canBeTentative = canBeTentative
        self.fails = fails
    }

    mutating func minimise(_ found: FuzzCase) throws -> FuzzCase {
        var least = found
        while tries < Self.triesMax {
            let before = least
            least = try withoutSteps(least)
            least = try simpler(least)
            if least == before { break }
        }
        return least
    }

    /// Takes stretches out, half of the steps first, single steps at last.
    private mutating func withoutSteps(_ start: FuzzCase) throws -> FuzzCase {
        var least = start
        var size = max(1, least.steps.count / 2)
        while true {
            let candidates = stride(from: 0, to: least.steps.count, by: size).map { begin in
                var candidate = least
                candidate.steps.removeSubrange(begin..<min(begin + size, least.steps.count))
                return candidate.legal(kind, canBeTentative: canBeTentative)
            }
            if let shorter = try first(candidates, shorterThan: least) {
                least = shorter
                size = max(1, min(size, least.steps.count / 2))
            } else if size > 1 {
                size /= 2
            } else {
                return least
            }
        }
    }

    /// What a case can do without, one after another.
    private mutating func simpler(_ start: FuzzCase) throws -> FuzzCase {
        var least = start
        var index = 0
        while index < FuzzCase.simplifications(least).count, tries < Self.triesMax {
            let candidate = FuzzCase.simplifications(least)[index].legal(kind, canBeTentative: canBeTentative)
            if candidate != least, candidate.steps.count == least.steps.count, try attempt([candidate])[0] {
                least = candidate
            } else {
                index += 1
            }
        }
        return least
    }

    private mutating func first(_ candidates: [FuzzCase], shorterThan least: FuzzCase) throws -> FuzzCase? {
        for begin in stride(from: 0, to: candidates.count, by: 4) {
            guard tries < Self.triesMax else { return nil }
            let batch = candidates[begin..<min(begin + 4, candidates.count)].filter {
                $0.steps.count < least.steps.count
            }
            if let place = try attempt(Array(batch)).firstIndex(of: true) { return batch[place] }
        }
        return nil
    }

    private mutating func attempt(_ candidates: [FuzzCase]) throws -> [Bool] {
        guard !candidates.isEmpty else { return [] }
        tries += candidates.count
        return try fails(candidates)
    }
}

extension FuzzCase {
    /// The case with one thing less each.
    static func simplifications(_ whole: FuzzCase) -> [FuzzCase] {
        var list: [FuzzCase] = []
        func add(_ change: (inout FuzzCase) -> Void) {
            var copy = whole
            change(&copy)
            if copy != whole { list.append(copy) }
        }
        add { $0.settings = .object([:]) }
        add { $0.guards = [] }
        add { $0.latencyMs = 0 }
        add { $0.lateMs = 0 }
        add { $0.rounds = 1 }
        add { $0.renumberSessions() }
        for index in whole.steps.indices {
            add { $0.steps[index].isElsewhere = false }
            switch whole.steps[index].verb {
            case .speak:
                add { $0.steps[index].text = "Hello." }
                add { $0.steps[index].count = 0 }
            case .transcript: add { $0.steps[index].text = "Hello." }
            case .push, .play: add { $0.steps[index].text = "silence" }
            case .ask:
                add { $0.steps[index].value = ["messages": FuzzTexts.conversations[0], "tools": [], "options": [:]] }
            case .advance: add { $0.steps[index].count = 100 }
            default: break
            }
        }
        return list
    }
}

extension FuzzCase {
    /// Sessions as if those that were left out had never been.
    fileprivate mutating func renumberSessions() {
        // Batches name their sessions by bits.
        guard !steps.contains(where: { $0.verb == .detect }) else { return }
        let numbers = steps.filter { $0.verb == .open }.map(\.session)
        for index in steps.indices {
            if let place = numbers.firstIndex(of: steps[index].session) { steps[index].session = place }
        }
    }
}
