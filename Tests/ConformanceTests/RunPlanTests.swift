import Testing

@testable import Conformance

@Suite("The plan decides what runs when, and nothing else does")
struct RunPlanTests {
    private func plan(_ rules: [Rule]) -> RunPlan {
        RunPlan(rules.map { RunItem(rule: $0, subject: 0, provider: 0) }) { _ in "p" }
    }

    @Test("Rules that measure wait for all others, and for each other")
    func alone() {
        let rules: [Rule] = [.fake("a", clock: .real), .fake("b"), .fake("c", clock: .real)]
        var plan = plan(rules)
        #expect(plan.next() == .run(1))
        #expect(plan.next() == .wait)
        _ = plan.finish(1, RuleResult(rules[1], provider: "p", status: .pass))
        #expect(plan.next() == .run(0))
        #expect(plan.next() == .wait)
        _ = plan.finish(0, RuleResult(rules[0], provider: "p", status: .pass))
        #expect(plan.next() == .run(2))
        _ = plan.finish(2, RuleResult(rules[2], provider: "p", status: .pass))
        #expect(plan.next() == .finished)
    }

    @Test("The reason of a skip is the first need in the rule's own order, whichever ended first", arguments: [[0, 1], [1, 0]])
    func reason(_ order: [Int]) {
        let rules: [Rule] = [.fake("a"), .fake("b"), .fake("c", needs: ["VC-FAKE-b", "VC-FAKE-a"])]
        var plan = plan(rules)
        _ = (plan.next(), plan.next())
        var skipped: [RuleResult] = []
        for index in order { skipped += plan.finish(index, RuleResult(rules[index], provider: "p", status: .fail)) }
        #expect(skipped.map(\.why) == ["VC-FAKE-b failed"])
        #expect(plan.next() == .finished)
        #expect(plan.results.map(\.result.status) == [.fail, .fail, .skip])
    }

    @Test("A need that is skipped for a missing capability, warns, or is not selected blocks nothing")
    func unblocked() {
        let rules: [Rule] = [.fake("a"), .fake("b", .should), .fake("c", needs: ["VC-FAKE-a", "VC-FAKE-b", "VC-FAKE-none", "VC-FAKE-c"])]
        var plan = plan(rules)
        _ = (plan.next(), plan.next())
        _ = plan.finish(0, RuleResult(rules[0], provider: "p", status: .skip))
        _ = plan.finish(1, RuleResult(rules[1], provider: "p", status: .warn))
        #expect(plan.next() == .run(2))
    }

    @Test("A budget is looked at again when it could be reached at the earliest")
    func budget() {
        var budget = ProbeBudget()
        budget.cpuMs = 3_000
        budget.wallMs = 10_000
        #expect(budget.step(cpuMs: 1_000, wallMs: 500, cores: 2) == .wait(ms: 1_000))
        #expect(budget.step(cpuMs: 0, wallMs: 9_990, cores: 1) == .wait(ms: 10))
        #expect(budget.step(cpuMs: 2_999, wallMs: 5_000, cores: 8) == .wait(ms: 5))
        #expect(budget.step(cpuMs: 3_000, wallMs: 10_000, cores: 2) == .expired(.cpu))
        #expect(budget.step(cpuMs: 10, wallMs: 10_000, cores: 2) == .expired(.wall))
        #expect(budget.step(cpuMs: 10, wallMs: 10_000, cores: 2, crowding: 4) == .wait(ms: 1_495))
        #expect(budget.step(cpuMs: 10, wallMs: 40_000, cores: 2, crowding: 4) == .expired(.wall))
        budget.scale = 2
        #expect(budget.step(cpuMs: 3_000, wallMs: 10_000, cores: 2) == .wait(ms: 1_500))
    }

    @Test("A verdict is read wherever the pipe cuts it")
    func verdictInPieces() {
        let text = "n1 note {\"name\":\"p99\",\"value\":\"1\"}\nn1 fail {\"what\":\"a b\",\"expected\":\"c\",\"got\":\"d\"}\nn2 done\nn1 done\nn1 fail {}\n"
        for cut in 1..<text.utf8.count {
            var reader = VerdictReader(nonce: "n1")
            let bytes = Array(text.utf8)
            #expect(reader.take(bytes[..<cut]) && reader.take(bytes[cut...]))
            #expect(reader.verdict.isDone)
            #expect(reader.verdict.violation == Violation("a b", expected: "c", got: "d"))
            #expect(reader.verdict.foreignLines == 2, "another's done, and what came after the end")
        }
        var unfinished = VerdictReader(nonce: "n1")
        _ = unfinished.take(Array("n1 done".utf8)[...])
        #expect(!unfinished.verdict.isDone, "a line ends with its line break")
    }
}
