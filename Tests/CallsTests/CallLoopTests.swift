import Glibc
import Synchronization
import Testing

@testable import Calls

@Suite("A call in its loop")
struct CallLoopTests {
    private struct Bench {
        let clock = VirtualClock()
        let script = ScriptedCall()
        let loop: CallLoop
        let mailbox: CallMailbox

        init(_ policy: CallPolicy = CallPolicy(language: .english)) {
            loop = CallLoop(clock: { [clock] in clock.now })
            mailbox = loop.add(Bench.identity, policy: policy, edges: Bench.edges(script))
            loop.turn()
        }

        static let identity = CallIdentity(id: "1", profile: "p", caller: "a", callee: "b")

        static func edges(_ script: ScriptedCall) -> CallEdges {
            CallEdges(
                audio: script, telephony: script, sessions: script, tools: script, clips: script, observer: script)
        }

        func pass(_ milliseconds: Int) {
            for _ in 0..<(milliseconds / 20) {
                clock.advance(20)
                script.frame()
                mailbox.inboundReady()
                loop.turn()
            }
        }

        func says(_ milliseconds: Int = 600) {
            mailbox.post(.voice(.started(position: script.now.inboundPosition)))
            pass(milliseconds)
            let end = script.now.inboundPosition
            pass(200)
            mailbox.post(.voice(.stopped(speechEnd: end, examined: script.now.inboundPosition)))
            pass(20)
        }
    }

    @Test("A turn goes through the mailbox from speech to sound")
    func turn() throws {
        let bench = Bench()
        bench.mailbox.post(.answered)
        bench.pass(1_000)
        bench.says()
        bench.pass(4_000)
        #expect(bench.script.now.spoken.map(\.text) == ["It is noon. ", "Anything else?"])
        bench.mailbox.post(.hungUp(.caller))
        bench.loop.turn()
        let record = try #require(bench.script.now.record)
        #expect(record.lines.map(\.text) == ["what time is it", "It is noon. Anything else?"])
        let response = try #require(record.turns.first?.responseMs)
        #expect(response <= 380, "the host adds a frame or two to the 320 ms of silence, and took \(response) ms")
    }

    @Test("The recogniser hears half a second from before the detected start, and every frame after it")
    func preRoll() {
        let bench = Bench()
        bench.mailbox.post(.answered)
        bench.pass(2_000)
        let start = bench.script.now.inboundPosition
        bench.says()
        let pushed = bench.script.now.pushed
        #expect(bench.script.now.begins == [start - 4_000])
        #expect(pushed.first == start - 4_000)
        #expect(zip(pushed, pushed.dropFirst()).allSatisfy { $0 + 160 == $1 })
    }

    @Test("After a commit nothing of the old epoch is accepted, queued or heard")
    func commit() throws {
        let bench = Bench()
        bench.script.state.withLock { $0.answer = ["This is a rather long answer about many things that take time."] }
        bench.mailbox.post(.answered)
        bench.pass(200)
        bench.says()
        bench.pass(2_200)
        let old = try #require(bench.script.now.spoken.last?.ticket)
        // Queued before the commit, looked at after it.
        bench.mailbox.post(.voice(.started(position: bench.script.now.inboundPosition)))
        bench.mailbox.post(.transcript(Transcript(utterance: 9, text: "stop please", isFinal: false)))
        let late = [Int16](repeating: 9, count: 800)
        _ = late.withUnsafeBufferPointer { bench.mailbox.audio($0, from: Provider(
            kind: .textToSpeech, index: 0, name: "t0"), old) }
        bench.loop.turn()
        #expect(bench.script.now.queue.isEmpty)
        let refused = late.withUnsafeBufferPointer { bench.mailbox.audio($0, from: Provider(
            kind: .textToSpeech, index: 0, name: "t0"), old) }
        #expect(refused == .canceled)
        #expect(bench.mailbox.post(.speech(old, .done)) == .canceled)
        #expect(bench.script.now.cancels.last == bench.mailbox.epoch)
        let heard = bench.script.now.heardEpochs.count
        bench.pass(300)
        #expect(bench.script.now.heardEpochs.count == heard)
    }

    @Test("A voice gets two seconds of credit, and more as it is heard")
    func credit() throws {
        let bench = Bench()
        bench.script.state.withLock { $0.answer = [] }
        var policy = CallPolicy(language: .english)
        policy.greeting.text = "Hello."
        let mailbox = bench.loop.add(Bench.identity, policy: policy, edges: Bench.edges(bench.script))
        bench.loop.turn()
        mailbox.post(.answered)
        bench.loop.turn()
        let ticket = try #require(bench.script.now.spoken.last?.ticket)
        let chunk = [Int16](repeating: 1, count: 8_000)
        let voice = Provider(kind: .textToSpeech, index: 0, name: "t0")
        let outcomes = (0..<4).map { _ in chunk.withUnsafeBufferPointer { mailbox.audio($0, from: voice, ticket) } }
        #expect(outcomes == [.accepted, .accepted, .full, .full])
    }

    @Test("The room that a dead voice leaves behind is its successor's")
    func roomOfTheDead() {
        let script = ScriptedCall()
        let voice = Provider(kind: .textToSpeech, index: 0, name: "t0")
        var sound = AgentSound(rateHz: 8_000)
        sound.append([Int16](repeating: 1_000, count: 16_000), from: voice)
        sound.pump(into: script, epoch: 1)
        #expect(sound.advanced(to: 400) == 400)
        sound.closed(voice)
        #expect(sound.advanced(to: 8_000) == 7_600)
        let credit = sound.takeCredit()
        #expect(credit.count == 1 && credit.first?.0 == nil && credit.first?.1 == 8_000)
    }

    @Test("A dead voice is replaced and heard within 1.5 s")
    func deadVoice() {
        let bench = Bench()
        bench.script.state.withLock { $0.deadVoices = ["t0"] }
        bench.mailbox.post(.answered)
        bench.says()
        bench.pass(300)
        #expect(bench.script.now.spoken.map(\.voice).suffix(2) == ["t1", "t1"])
        #expect(!bench.script.now.heardEpochs.isEmpty)
    }

    @Test("When the call is over its doors are closed, its timers are gone and its mailbox says so")
    func end() {
        let bench = Bench()
        bench.mailbox.post(.answered)
        bench.says()
        bench.pass(500)
        bench.mailbox.post(.hungUp(.caller))
        bench.loop.turn()
        #expect(bench.loop.count == 0 && bench.loop.timerCount == 0)
        #expect(bench.script.now.isClosed && bench.script.now.hangUp == nil)
        #expect(Set(bench.script.now.closed) == ["s0", "l0", "t0", "t1"])
        #expect(bench.mailbox.post(.answered) == .stale)
    }

    @Test("A flood of provider events cannot keep a hang-up out")
    func flood() {
        let bench = Bench()
        bench.mailbox.post(.answered)
        while bench.mailbox.post(.turnProbability(0, position: 0)) == .accepted {}
        #expect(bench.mailbox.post(.turnProbability(0, position: 0)) == .full)
        #expect(bench.mailbox.post(.hungUp(.caller)) == .accepted)
        bench.loop.turn()
        #expect(bench.loop.count == 0)
    }

    @Test("A loop that stops ends its calls, and also one that comes too late")
    func stop() {
        let bench = Bench()
        bench.mailbox.post(.answered)
        bench.loop.turn()
        bench.loop.stop()
        let late = ScriptedCall()
        _ = bench.loop.add(Bench.identity, policy: CallPolicy(language: .english), edges: Bench.edges(late))
        bench.loop.turn()
        #expect(bench.loop.count == 0)
        #expect(bench.script.now.hangUp == .shutdown && late.now.hangUp == .shutdown)
    }

    @Test("Timers fire in order, move when armed again, and die with their call")
    func timers() {
        var timers = LoopTimers()
        for seed in UInt64(1)...50 {
            var random = SeededRandom(seed: seed)
            var expected: [LoopTimers.Key: Instant] = [:]
            for _ in 0..<200 {
                let key = LoopTimers.Key(
                    call: Int.random(in: 0...5, using: &random),
                    id: TimerID(.call, UInt8.random(in: 0...5, using: &random)))
                if random.chance(30) {
                    timers.cancel(key)
                    expected[key] = nil
                } else {
                    let at = Instant(nanoseconds: UInt64.random(in: 1...1_000, using: &random))
                    timers.arm(key, at: at)
                    expected[key] = at
                }
            }
            timers.cancelAll(of: 3)
            expected = expected.filter { $0.key.call != 3 }
            #expect(timers.count == expected.count && timers.count(of: 3) == 0, "seed \(seed)")
            var last = Instant.origin
            while let next = timers.next, let key = timers.popDue(at: next) {
                #expect(expected.removeValue(forKey: key) == next && next >= last, "seed \(seed)")
                last = next
            }
            #expect(expected.isEmpty, "seed \(seed)")
        }
    }

    @Test("A hundred calls on a real thread, ended from other threads, leave nothing behind")
    func realThread() {
        let loop = CallLoop()
        loop.start()
        let scripts = (0..<100).map { _ in ScriptedCall() }
        let mailboxes = scripts.map {
            loop.add(Bench.identity, policy: CallPolicy(language: .english), edges: Bench.edges($0))
        }
        for mailbox in mailboxes {
            mailbox.post(.answered)
            mailbox.post(.voice(.started(position: 0)))
            mailbox.inboundReady()
            mailbox.post(.hungUp(.caller))
        }
        // At most five seconds on a busy machine; it ends as soon as the calls have.
        for _ in 0..<500 where loop.count > 0 { usleep(10_000) }
        #expect(loop.count == 0 && loop.timerCount == 0)
        #expect(scripts.allSatisfy { $0.now.record != nil })
        loop.stop()
    }
}
