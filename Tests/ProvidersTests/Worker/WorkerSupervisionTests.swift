import Testing

@testable import Providers

@Suite("When a worker is started, and when no more") struct WorkerSupervisionTests {
    private func ms(_ value: Int) -> UInt64 { UInt64(value) * 1_000_000 }

    /// Ends and waits until the next start; gives the pause in milliseconds.
    private func pause(_ supervision: inout WorkerSupervision, isCrash: Bool, at now: inout UInt64) -> Int? {
        _ = supervision.ended(isCrash: isCrash, now: now)
        for waited in 0..<20_000 where supervision.tick(now: now + ms(waited)) == [.spawn] {
            now += ms(waited)
            return waited
        }
        return nil
    }

    @Test("Pauses before a new start double from 0.1 s to 10 s")
    func backoff() {
        var supervision = WorkerSupervision()
        var now = ms(5)
        #expect(supervision.start(now: now) == [.spawn])
        let pauses = (0..<9).map { _ in pause(&supervision, isCrash: false, at: &now) }
        #expect(pauses == [100, 200, 400, 800, 1_600, 3_200, 6_400, 10_000, 10_000])
    }

    @Test("A worker that ran for a minute begins its pauses anew, and one that did not goes on with them")
    func calm() {
        var supervision = WorkerSupervision()
        var now = ms(5)
        _ = supervision.start(now: now)
        supervision.handshook(now: now)
        #expect(pause(&supervision, isCrash: false, at: &now) == 100)
        supervision.handshook(now: now)
        now += ms(59_999)
        #expect(pause(&supervision, isCrash: false, at: &now) == 200)
        supervision.handshook(now: now)
        now += ms(60_000)
        #expect(pause(&supervision, isCrash: false, at: &now) == 100)
    }

    @Test("The third crash in ten minutes is one too many; a start that fails without a crash does not count")
    func quarantine() {
        var supervision = WorkerSupervision()
        var now = ms(5)
        _ = supervision.start(now: now)
        #expect(supervision.ended(isCrash: true, now: now) == [.report(isTooMany: false)])
        now += ms(100)
        #expect(supervision.tick(now: now) == [.spawn])
        #expect(supervision.ended(isCrash: false, now: now) == [])
        now += ms(200)
        #expect(supervision.tick(now: now) == [.spawn])
        #expect(supervision.ended(isCrash: true, now: now) == [.report(isTooMany: false)])
        now += ms(400)
        #expect(supervision.tick(now: now) == [.spawn])
        #expect(supervision.ended(isCrash: true, now: now) == [.report(isTooMany: true)])
        #expect(supervision.phase == .quarantined)
        #expect(supervision.tick(now: now + ms(3_600_000)) == [])
        #expect(supervision.start(now: now) == [])
    }

    @Test("Crashes that are ten minutes apart are forgotten")
    func forgotten() {
        var supervision = WorkerSupervision()
        var now = ms(5)
        _ = supervision.start(now: now)
        for _ in 0..<10 {
            #expect(supervision.ended(isCrash: true, now: now) == [.report(isTooMany: false)])
            now += ms(300_000)
            #expect(supervision.tick(now: now) == [.spawn])
        }
    }

    @Test("A process that does not shake hands is killed once, and the end that follows counts as a crash")
    func handshake() {
        var supervision = WorkerSupervision()
        _ = supervision.start(now: 0)
        #expect(supervision.tick(now: ms(1_999)) == [])
        #expect(supervision.tick(now: ms(2_000)) == [.kill("no handshake within 2000 ms")])
        #expect(supervision.tick(now: ms(2_001)) == [])
        #expect(supervision.ended(isCrash: true, now: ms(2_002)) == [.report(isTooMany: false)])
    }

    @Test("A worker that was stopped ends without a word and is not started again")
    func stopped() {
        var supervision = WorkerSupervision()
        _ = supervision.start(now: 0)
        supervision.stop()
        #expect(supervision.ended(isCrash: true, now: 1) == [])
        #expect(supervision.tick(now: ms(100_000)) == [])
    }
}

@Suite("How a worker that hangs is found") struct WorkerLivenessTests {
    @Test("A slot that does not return hangs after two heartbeats, and loading a model after seven")
    func call() {
        var liveness = WorkerLiveness()
        #expect(liveness.tick(answered: 0, callBegunNs: 5, slot: .push, periodMs: 300) == .alive(beat: 1))
        #expect(liveness.tick(answered: 0, callBegunNs: 5, slot: .push, periodMs: 300) == .alive(beat: 2))
        #expect(
            liveness.tick(answered: 0, callBegunNs: 5, slot: .push, periodMs: 300)
                == .hung("push did not return within 600 ms"))
        var loading = WorkerLiveness()
        for beat in 1...7 {
            #expect(
                loading.tick(answered: 0, callBegunNs: 5, slot: .create, periodMs: 300) == .alive(beat: UInt64(beat)))
        }
        guard case .hung = loading.tick(answered: 0, callBegunNs: 5, slot: .create, periodMs: 300) else {
            Issue.record("it does not hang")
            return
        }
    }

    @Test("Many calls, each of them short, are no hang, whenever one is looked at")
    func busy() {
        var liveness = WorkerLiveness()
        for number in 1...100 {
            guard case .alive = liveness.tick(answered: 0, callBegunNs: UInt64(number), slot: .push, periodMs: 300)
            else {
                Issue.record("it hangs at \(number)")
                return
            }
        }
    }

    @Test("Heartbeats without an answer are a hang at the third, and one that is late is none")
    func silence() {
        var liveness = WorkerLiveness()
        #expect(liveness.tick(answered: 0, callBegunNs: 0, slot: .none, periodMs: 300) == .alive(beat: 1))
        #expect(liveness.tick(answered: 0, callBegunNs: 0, slot: .none, periodMs: 300) == .alive(beat: 2))
        #expect(liveness.tick(answered: 1, callBegunNs: 0, slot: .none, periodMs: 300) == .alive(beat: 3))
        #expect(liveness.tick(answered: 1, callBegunNs: 0, slot: .none, periodMs: 300) == .alive(beat: 4))
        #expect(liveness.tick(answered: 1, callBegunNs: 0, slot: .none, periodMs: 300) == .alive(beat: 5))
        #expect(
            liveness.tick(answered: 1, callBegunNs: 0, slot: .none, periodMs: 300)
                == .hung("no answer to 3 heartbeats"))
    }
}
