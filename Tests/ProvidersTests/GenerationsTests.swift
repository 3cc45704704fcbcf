import Testing

@testable import Providers

/// A machine, its clock, and short words for what is said to it.
private final class Bench {
    var machine: PluginGenerations
    var now: UInt64 = 1_000_000_000_000
    var log: [String] = []

    init(_ change: (inout PluginGenerations.Limits) -> Void = { _ in }) {
        var limits = PluginGenerations.Limits()
        change(&limits)
        machine = PluginGenerations(limits: limits)
    }

    static func facts(
        _ version: String, file: String = "a.so", id: String = "org.test.a", isolation: Manifest.Isolation = .inprocess,
        isExclusive: Bool = false, isShipped: Bool = false
    ) -> PluginFacts {
        PluginFacts(
            file: file, id: id, version: version, sha256: "sha-\(version)", isolation: isolation,
            isExclusive: isExclusive, isShipped: isShipped)
    }

    /// What is to be done, without the lines for the log.
    func say(_ event: PluginGenerations.Event) -> [PluginGenerations.Action] {
        machine.handle(event, at: now).filter { action in
            if case .log(let line) = action {
                log.append(line.message)
                return false
            }
            return true
        }
    }

    func wait(ms: UInt64) -> [PluginGenerations.Action] {
        now += ms * 1_000_000
        return say(.tick)
    }

    /// A whole file lies there: settled, and looked at.
    func put(_ facts: PluginFacts) -> [PluginGenerations.Action] {
        _ = say(.noticed(file: facts.file, .written))
        let look = wait(ms: 250)
        precondition(look.contains(.look(file: facts.file)), "\(look)")
        return say(.looked(file: facts.file, .plugin(facts)))
    }

    func id(_ number: Int, _ plugin: String = "org.test.a") -> GenerationID {
        GenerationID(plugin: plugin, number: number)
    }

    /// From the file to new calls.
    func install(_ facts: PluginFacts, as number: Int) -> [PluginGenerations.Action] {
        _ = put(facts)
        _ = say(.proven(id(number, facts.id), nil))
        _ = say(.prepared(id(number, facts.id), nil))
        return say(.started(id(number, facts.id), nil))
    }

    var current: String? { machine.plugins["org.test.a"]?.current?.facts.version }
    var old: [Generation] { machine.plugins["org.test.a"]?.old ?? [] }
}

private let broken = PluginRefusal(.crashed, "a.so crashed", mend: "Do not use it")

@Suite("A file is looked at when it is whole") struct FileSettlingTests {
    @Test("A file that is written for seconds is looked at after it was closed, once")
    func written() {
        let bench = Bench()
        for _ in 0..<20 {
            #expect(bench.say(.noticed(file: "a.so", .writing)).isEmpty)
            #expect(bench.wait(ms: 500).isEmpty)
        }
        #expect(bench.say(.noticed(file: "a.so", .written)).isEmpty)
        #expect(bench.wait(ms: 150).isEmpty)
        #expect(bench.wait(ms: 100) == [.look(file: "a.so")])
        #expect(bench.wait(ms: 10_000).isEmpty)
    }

    @Test("A writer that falls silent without closing is waited for three seconds")
    func neverClosed() {
        let bench = Bench()
        _ = bench.say(.noticed(file: "a.so", .writing))
        #expect(bench.wait(ms: 2_900).isEmpty)
        #expect(bench.wait(ms: 200) == [.look(file: "a.so")])
    }

    @Test("Half of a library is looked at again, and refused when nobody wrote for ten seconds")
    func halfWritten() {
        let bench = Bench()
        let truncated = PluginRefusal(.truncated, "a.so is truncated", mend: "Copy it again")
        _ = bench.say(.noticed(file: "a.so", .written))
        #expect(bench.wait(ms: 250) == [.look(file: "a.so")])
        for _ in 0..<9 {
            #expect(bench.say(.looked(file: "a.so", .incomplete(truncated))).isEmpty)
            #expect(bench.machine.refusals.isEmpty && bench.log.isEmpty)
            #expect(bench.wait(ms: 1_050) == [.look(file: "a.so")])
        }
        bench.now += 1_000_000_000
        #expect(bench.say(.looked(file: "a.so", .incomplete(truncated))).isEmpty)
        #expect(bench.machine.refusals == ["a.so": truncated])
        #expect(bench.log == ["refused: a.so is truncated. Copy it again."])
        #expect(bench.machine.isSettled)
    }

    @Test("What was read while somebody wrote is not judged")
    func changedMeanwhile() {
        let bench = Bench()
        _ = bench.say(.noticed(file: "a.so", .written))
        #expect(bench.wait(ms: 250) == [.look(file: "a.so")])
        _ = bench.say(.noticed(file: "a.so", .writing))
        #expect(bench.say(.looked(file: "a.so", .refused(broken))).isEmpty)
        #expect(bench.machine.refusals.isEmpty)
        _ = bench.say(.noticed(file: "a.so", .written))
        #expect(bench.wait(ms: 250) == [.look(file: "a.so")])
    }
}

@Suite("Generations of a plugin") struct GenerationsTests {
    @Test("A file that drops in is proven, prepared, started, and then new calls get it")
    func dropIn() {
        let bench = Bench()
        let facts = Bench.facts("1.0")
        #expect(bench.put(facts) == [.prove(bench.id(1), facts)])
        #expect(bench.say(.proven(bench.id(1), nil)) == [.prepare(bench.id(1), facts)])
        #expect(bench.say(.prepared(bench.id(1), nil)) == [.start(bench.id(1))])
        #expect(bench.current == nil && !bench.machine.isSettled)
        #expect(bench.say(.started(bench.id(1), nil)) == [.publish(bench.id(1))])
        #expect(bench.current == "1.0" && bench.machine.isSettled)
    }

    @Test("A shipped plugin needs no proof")
    func shipped() {
        let bench = Bench()
        let facts = Bench.facts("1.0", isShipped: true)
        #expect(bench.put(facts) == [.prepare(bench.id(1), facts)])
    }

    @Test("After an upgrade the old generation drains when its last session is gone, and a downgrade is one too")
    func upgradeAndDowngrade() {
        let bench = Bench()
        _ = bench.machine.adopt(Bench.facts("1.0"), at: bench.now)
        #expect(bench.install(Bench.facts("2.0"), as: 2) == [.publish(bench.id(2))])
        #expect(bench.current == "2.0" && bench.old.map(\.state) == [.retiring])
        // Who had looked the old one up a moment ago may still open his session.
        #expect(bench.wait(ms: 900).isEmpty)
        #expect(bench.wait(ms: 200) == [.drain(bench.id(1))])
        #expect(bench.machine.watched == [bench.id(1)])
        #expect(bench.say(.observed(bench.id(1), sessions: 3, isDrained: false)).isEmpty)
        #expect(bench.say(.observed(bench.id(1), sessions: 0, isDrained: true)) == [.destroy(bench.id(1))])
        _ = bench.say(.destroyed(bench.id(1)))
        #expect(bench.old.isEmpty)
        #expect(bench.install(Bench.facts("1.0"), as: 3) == [.publish(bench.id(3))])
        #expect(bench.current == "1.0")
    }

    @Test("A version that fails a step changes nothing, and one line says why", arguments: 0..<3)
    func broken(step: Int) {
        let bench = Bench()
        _ = bench.machine.adopt(Bench.facts("1.0"), at: bench.now)
        _ = bench.put(Bench.facts("2.0"))
        if step > 0 { _ = bench.say(.proven(bench.id(2), nil)) }
        if step > 1 { _ = bench.say(.prepared(bench.id(2), nil)) }
        let refusal = PluginRefusal(.crashed, "a.so crashed", mend: "Do not use it")
        let event: PluginGenerations.Event =
            switch step {
            case 0: .proven(bench.id(2), refusal)
            case 1: .prepared(bench.id(2), refusal)
            default: .started(bench.id(2), refusal)
            }
        #expect(bench.say(event).isEmpty)
        #expect(bench.current == "1.0" && bench.machine.plugins["org.test.a"]?.next == nil)
        #expect(bench.log == ["refused: a.so crashed; version 1.0 goes on. Do not use it."])
        #expect(bench.machine.plugins["org.test.a"]?.lastEvent == bench.log.last)
    }

    @Test("A file that says the same as before is nothing")
    func unchanged() {
        let bench = Bench()
        _ = bench.machine.adopt(Bench.facts("1.0"), at: bench.now)
        #expect(bench.put(Bench.facts("1.0")).isEmpty)
        #expect(bench.say(.scan(files: ["a.so"])).isEmpty)
        #expect(bench.wait(ms: 250) == [.look(file: "a.so")])
        #expect(bench.say(.looked(file: "a.so", .plugin(Bench.facts("1.0")))).isEmpty)
    }

    @Test("A newer file while one is being proven takes its place")
    func overtaken() {
        let bench = Bench()
        _ = bench.machine.adopt(Bench.facts("1.0"), at: bench.now)
        _ = bench.put(Bench.facts("2.0"))
        #expect(bench.put(Bench.facts("3.0")).isEmpty)
        #expect(bench.say(.proven(bench.id(2), nil)) == [.prove(bench.id(3), Bench.facts("3.0"))])
        _ = bench.say(.proven(bench.id(3), nil))
        _ = bench.say(.prepared(bench.id(3), nil))
        #expect(bench.say(.started(bench.id(3), nil)) == [.publish(bench.id(3))])
        #expect(bench.current == "3.0")
    }

    @Test("What was prepared for a version that was overtaken is destroyed")
    func overtakenAfterPreparation() {
        let bench = Bench()
        _ = bench.put(Bench.facts("2.0"))
        _ = bench.say(.proven(bench.id(1), nil))
        _ = bench.put(Bench.facts("3.0"))
        #expect(bench.say(.prepared(bench.id(1), nil)) == [.destroy(bench.id(1))])
        #expect(bench.say(.destroyed(bench.id(1))) == [.prove(bench.id(2), Bench.facts("3.0"))])
    }

    @Test("A removal is believed after a second; then new calls do not get it, and open sessions go on")
    func removal() {
        let bench = Bench()
        _ = bench.machine.adopt(Bench.facts("1.0"), at: bench.now)
        _ = bench.say(.noticed(file: "a.so", .gone))
        #expect(bench.wait(ms: 250) == [.look(file: "a.so")])
        #expect(bench.say(.looked(file: "a.so", .gone)).isEmpty)
        #expect(bench.current == "1.0")
        #expect(bench.wait(ms: 1_050) == [.withdraw(bench.id(1))])
        #expect(bench.wait(ms: 1_050) == [.drain(bench.id(1))])
        #expect(bench.log == ["removed; open sessions of version 1.0 go on to their end"])
        #expect(bench.say(.observed(bench.id(1), sessions: 0, isDrained: true)) == [.destroy(bench.id(1))])
        _ = bench.say(.destroyed(bench.id(1)))
        #expect(bench.machine.plugins.isEmpty)
    }

    @Test("Remove and copy is an upgrade without a gap, and so is a rename")
    func replacedByRemoval() {
        let bench = Bench()
        _ = bench.machine.adopt(Bench.facts("1.0"), at: bench.now)
        _ = bench.say(.noticed(file: "a.so", .gone))
        _ = bench.wait(ms: 250)
        _ = bench.say(.looked(file: "a.so", .gone))
        let next = Bench.facts("2.0", file: "a-2.so")
        #expect(bench.put(next) == [.prove(bench.id(2), next)])
        #expect(bench.wait(ms: 5_000).isEmpty)
        #expect(bench.current == "1.0")
    }

    @Test("Two files with one id: the second is refused, and takes over when the first goes")
    func duplicate() {
        let bench = Bench()
        _ = bench.machine.adopt(Bench.facts("1.0"), at: bench.now)
        let other = Bench.facts("2.0", file: "b.so")
        #expect(bench.put(other).isEmpty)
        #expect(bench.machine.refusals["b.so"]?.code == .duplicateID)
        _ = bench.say(.noticed(file: "a.so", .gone))
        _ = bench.wait(ms: 250)
        _ = bench.say(.looked(file: "a.so", .gone))
        #expect(bench.wait(ms: 250) == [.look(file: "b.so")])
        #expect(bench.say(.looked(file: "b.so", .plugin(other))) == [.prove(bench.id(2), other)])
        #expect(bench.current == "1.0")
    }

    @Test("Four generations live in process at most; a fifth is refused, and used when one is over")
    func tooMany() {
        let bench = Bench()
        _ = bench.machine.adopt(Bench.facts("1"), at: bench.now)
        for version in 2...4 { _ = bench.install(Bench.facts("\(version)"), as: version) }
        #expect(bench.put(Bench.facts("5")).isEmpty)
        #expect(bench.machine.refusals["a.so"]?.code == .tooManyGenerations)
        #expect(bench.log.last?.contains("restart to reload") == true)
        _ = bench.wait(ms: 1_100)
        #expect(bench.say(.observed(bench.id(1), sessions: 0, isDrained: true)) == [.destroy(bench.id(1))])
        _ = bench.say(.destroyed(bench.id(1)))
        #expect(bench.wait(ms: 250) == [.look(file: "a.so")])
        #expect(bench.say(.looked(file: "a.so", .plugin(Bench.facts("5")))) == [.prove(bench.id(5), Bench.facts("5"))])
        #expect(bench.machine.refusals.isEmpty)
    }

    @Test("Of generations in workers there may be more, but not any number")
    func workers() {
        let bench = Bench()
        for version in 1...16 {
            let facts = Bench.facts("\(version)", isolation: .worker)
            #expect(bench.install(facts, as: version) == [.publish(bench.id(version))])
        }
        #expect(bench.put(Bench.facts("17", isolation: .worker)).isEmpty)
        #expect(bench.machine.refusals["a.so"]?.reason.contains("at most 16 live in workers") == true)
    }

    @Test("After the drain timeout what a generation still serves fails over, once")
    func drainTimeout() {
        let bench = Bench { $0.drainNs = 60_000_000_000 }
        _ = bench.machine.adopt(Bench.facts("1.0"), at: bench.now)
        _ = bench.install(Bench.facts("2.0"), as: 2)
        _ = bench.wait(ms: 1_100)
        _ = bench.wait(ms: 59_000)
        #expect(bench.say(.observed(bench.id(1), sessions: 2, isDrained: false)).isEmpty)
        _ = bench.wait(ms: 2_000)
        #expect(bench.say(.observed(bench.id(1), sessions: 2, isDrained: false)) == [.expire(bench.id(1))])
        #expect(bench.say(.observed(bench.id(1), sessions: 1, isDrained: false)).isEmpty)
        #expect(bench.say(.observed(bench.id(1), sessions: 0, isDrained: true)) == [.destroy(bench.id(1))])
    }

    @Test("A provider without sessions that never says DRAINED is destroyed after ten seconds")
    func neverDrained() {
        let bench = Bench()
        _ = bench.machine.adopt(Bench.facts("1.0"), at: bench.now)
        _ = bench.install(Bench.facts("2.0"), as: 2)
        _ = bench.wait(ms: 1_100)
        #expect(bench.say(.observed(bench.id(1), sessions: 0, isDrained: false)).isEmpty)
        _ = bench.wait(ms: 10_100)
        #expect(bench.say(.observed(bench.id(1), sessions: 0, isDrained: false)) == [.destroy(bench.id(1))])
    }
}

@Suite("A plugin that owns a port") struct ExclusiveGenerationTests {
    private func waiting() -> Bench {
        let bench = Bench()
        _ = bench.machine.adopt(Bench.facts("1.0", isExclusive: true), at: bench.now)
        _ = bench.put(Bench.facts("2.0", isExclusive: true))
        _ = bench.say(.proven(bench.id(2), nil))
        let actions = bench.say(.prepared(bench.id(2), nil))
        precondition(actions.isEmpty, "\(actions)")
        return bench
    }

    @Test("The new version waits for a moment without calls; the old one takes calls until then")
    func waitsForIdle() {
        let bench = waiting()
        #expect(bench.current == "1.0" && bench.machine.watched == [bench.id(1)] && bench.machine.isSettled)
        #expect(bench.say(.observed(bench.id(1), sessions: 7, isDrained: false)).isEmpty)
        _ = bench.wait(ms: 7_200_000)
        #expect(bench.say(.observed(bench.id(1), sessions: 1, isDrained: false)).isEmpty)
        #expect(!bench.machine.isHandingOver)
        #expect(bench.say(.observed(bench.id(1), sessions: 0, isDrained: false)) == [.drain(bench.id(1))])
        #expect(bench.machine.isHandingOver)
        #expect(bench.say(.observed(bench.id(1), sessions: 0, isDrained: true)) == [.destroy(bench.id(1))])
        #expect(bench.say(.destroyed(bench.id(1))) == [.start(bench.id(2))])
        #expect(bench.say(.started(bench.id(2), nil)) == [.publish(bench.id(2))])
        #expect(!bench.machine.isHandingOver)
        #expect(bench.current == "2.0" && bench.old.isEmpty)
    }

    @Test("When the new version does not get its port, the old one is made again without another proof")
    func madeAgain() {
        let bench = waiting()
        _ = bench.say(.observed(bench.id(1), sessions: 0, isDrained: false))
        _ = bench.say(.observed(bench.id(1), sessions: 0, isDrained: true))
        _ = bench.say(.destroyed(bench.id(1)))
        let old = Bench.facts("1.0", isExclusive: true)
        #expect(bench.say(.started(bench.id(2), broken)) == [.prepare(bench.id(3), old)])
        #expect(bench.say(.prepared(bench.id(3), nil)) == [.start(bench.id(3))])
        #expect(bench.say(.started(bench.id(3), nil)) == [.publish(bench.id(3))])
        #expect(bench.current == "1.0" && bench.machine.refusals["a.so"] == broken)
    }

    @Test("A third version takes the place of the one that waits")
    func overtaken() {
        let bench = waiting()
        #expect(bench.put(Bench.facts("3.0", isExclusive: true)) == [.destroy(bench.id(2))])
        let third = Bench.facts("3.0", isExclusive: true)
        #expect(bench.say(.destroyed(bench.id(2))) == [.prove(bench.id(3), third)])
        #expect(bench.current == "1.0")
    }

    @Test("Removed and put back, it starts when the port is free")
    func putBack() {
        let bench = Bench()
        _ = bench.machine.adopt(Bench.facts("1.0", isExclusive: true), at: bench.now)
        _ = bench.say(.noticed(file: "a.so", .gone))
        _ = bench.wait(ms: 250)
        _ = bench.say(.looked(file: "a.so", .gone))
        _ = bench.wait(ms: 1_100)
        _ = bench.wait(ms: 1_100)
        _ = bench.put(Bench.facts("1.0", isExclusive: true))
        _ = bench.say(.proven(bench.id(2), nil))
        #expect(bench.say(.prepared(bench.id(2), nil)).isEmpty)
        #expect(bench.say(.observed(bench.id(1), sessions: 0, isDrained: true)) == [.destroy(bench.id(1))])
        #expect(bench.say(.destroyed(bench.id(1))) == [.start(bench.id(2))])
    }

    @Test("A removal while its successor starts ends the successor too")
    func removedWhileStarting() {
        let bench = Bench()
        _ = bench.put(Bench.facts("1.0"))
        _ = bench.say(.proven(bench.id(1), nil))
        _ = bench.say(.prepared(bench.id(1), nil))
        _ = bench.say(.noticed(file: "a.so", .gone))
        _ = bench.wait(ms: 250)
        _ = bench.say(.looked(file: "a.so", .gone))
        _ = bench.wait(ms: 1_100)
        #expect(bench.say(.started(bench.id(1), nil)) == [.publish(bench.id(1)), .withdraw(bench.id(1))])
        #expect(bench.current == nil)
    }
}

@Suite("Crashes of a plugin that runs") struct CrashedGenerationTests {
    @Test("A crash is a line; one too many takes the plugin out of new calls, and a pardon looks at the file again")
    func quarantine() {
        let bench = Bench()
        _ = bench.machine.adopt(Bench.facts("1.0", isolation: .worker), at: bench.now)
        let what = "crashed (SIGSEGV in speak), restarted, 2 sessions failed over"
        #expect(bench.say(.crashed(sha256: "sha-1.0", what: what, quarantine: nil)).isEmpty)
        #expect(bench.machine.plugins["org.test.a"]?.lastEvent == what)
        let refusal = PluginRefusal(.quarantined, "a.so is in quarantine", mend: "Pardon it")
        #expect(
            bench.say(.crashed(sha256: "sha-1.0", what: what, quarantine: refusal)) == [.withdraw(bench.id(1))])
        #expect(bench.machine.plugins["org.test.a"]?.crashes == 2 && bench.machine.refusals["a.so"] == refusal)
        #expect(
            bench.log.last == what
                + "; 3 crashes within 10 minutes are too many, so a.so is in quarantine. Pardon it.")
        _ = bench.say(.pardoned)
        #expect(bench.wait(ms: 250) == [.look(file: "a.so")])
        let facts = Bench.facts("1.0", isolation: .worker)
        #expect(bench.say(.looked(file: "a.so", .plugin(facts))).contains(.prove(bench.id(2), facts)))
    }

    @Test("What did not start with the host is tried again by a reload")
    func failedAtStart() {
        let bench = Bench()
        bench.machine.adopt(Bench.facts("1.0"), failed: broken)
        #expect(bench.machine.refusals["a.so"] == broken)
        _ = bench.say(.scan(files: ["a.so"]))
        #expect(bench.wait(ms: 250) == [.look(file: "a.so")])
        #expect(
            bench.say(.looked(file: "a.so", .plugin(Bench.facts("1.0")))) == [.prove(bench.id(1), Bench.facts("1.0"))])
    }
}
