import Glibc
import PluginABI
import Providers
import Synchronization
import Testing

@testable import HostServices

@Suite("Timers")
struct TimerTests {
    @Test("The queue gives out what is due, in the order of time and then of arming")
    func queue() {
        var queue = TimerQueue()
        for (identifier, at) in [(1, 30), (2, 10), (3, 20), (4, 10), (5, 40)] as [(UInt64, UInt64)] {
            queue.arm(identifier, atNs: at)
        }
        queue.disarm(3)
        #expect(queue.nextNs == 10 && queue.count == 4)
        #expect(queue.due(now: 9) == [])
        #expect(queue.due(now: 35) == [2, 4, 1])
        #expect(queue.nextNs == 40 && queue.due(now: 40) == [5] && queue.nextNs == nil)
    }

    @Test("The queue keeps its order through ten thousand random timers, and forgets the disarmed")
    func queueAtRandom() {
        var queue = TimerQueue()
        var times: [UInt64: UInt64] = [:]
        for identifier in 0..<10_000 as Range<UInt64> {
            times[identifier] = UInt64.random(in: 0..<1_000)
            queue.arm(identifier, atNs: times[identifier]!)
        }
        for identifier in 0..<10_000 as Range<UInt64> where identifier % 3 != 0 {
            queue.disarm(identifier)
            times[identifier] = nil
        }
        var last: UInt64 = 0
        while let next = queue.nextNs {
            for identifier in queue.due(now: next) {
                #expect(times[identifier]! >= last && times[identifier]! <= next)
                last = times.removeValue(forKey: identifier)!
            }
        }
        #expect(times.isEmpty && queue.count == 0)
    }

    @Test("A timer fires once, not early, under its owner's lock, and is stale by then")
    func fire() {
        let owner = Stage.object()
        let recorder = Recorder<[UInt64]>([])
        var timer: vc_handle = 0
        let at = Monotonic.nowNs() + 30_000_000
        #expect(Stage.timer.arm(owner.handle, at, recordFire, recorder.context, &timer) == status(VC_OK))
        #expect(recorder.wait { $0.count == 1 })
        #expect(recorder.state[0] >= at)
        #expect(Stage.timer.disarm(timer) == status(VC_E_STALE))
        Stage.destroy(owner)
    }

    @Test("Timers fire in the order of their times")
    func order() {
        let owner = Stage.object()
        let recorder = Recorder<[UInt64]>([])
        let start = Monotonic.nowNs()
        var timer: vc_handle = 0
        for offset in [40, 10, 30, 20] as [UInt64] {
            _ = Stage.timer.arm(owner.handle, start + offset * 1_000_000, recordFire, recorder.context, &timer)
        }
        #expect(recorder.wait { $0.count == 4 })
        #expect(recorder.state == recorder.state.sorted())
        Stage.destroy(owner)
    }

    @Test("A timer that was disarmed while its owner was busy does not fire")
    func disarm() {
        let owner = Stage.object()
        let recorder = Recorder<[UInt64]>([])
        owner.control {
            var timer: vc_handle = 0
            _ = Stage.timer.arm(owner.handle, Monotonic.nowNs(), recordFire, recorder.context, &timer)
            sleep(milliseconds: 30)  // it is due and waits for the lock
            #expect(Stage.timer.disarm(timer) == status(VC_OK))
        }
        sleep(milliseconds: 50)
        #expect(recorder.state.isEmpty)
        Stage.destroy(owner)
    }

    @Test("An owner has 64 timers and no more, and may arm another from within the 64th")
    func limit() {
        let owner = Stage.object()
        let recorder = Recorder<[UInt64]>([])
        var timer: vc_handle = 0
        let later = Monotonic.nowNs() + 60_000_000
        for _ in 0..<64 {
            #expect(Stage.timer.arm(owner.handle, later, recordFire, recorder.context, &timer) == status(VC_OK))
        }
        #expect(Stage.timer.arm(owner.handle, later, recordFire, recorder.context, &timer) == status(VC_E_AGAIN))
        #expect(recorder.wait { $0.count == 64 })
        #expect(Stage.timer.arm(owner.handle, 0, recordFire, recorder.context, &timer) == status(VC_OK))
        #expect(recorder.wait { $0.count == 65 })
        Stage.destroy(owner)
    }

    @Test("Timers die with their owner")
    func die() {
        let recorder = Recorder<[UInt64]>([])
        for round in 0..<50 {
            let owner = Stage.object(plugin: "die")
            var timer: vc_handle = 0
            for offset in 0..<10 as Range<UInt64> {
                _ = Stage.timer.arm(
                    owner.handle, Monotonic.nowNs() + offset * 200_000, recordFire, recorder.context, &timer)
            }
            usleep(UInt32(round * 20))
            var firedThen = 0
            Stage.destroy(owner) { firedThen = recorder.state.count }
            usleep(2_500)
            #expect(recorder.state.count == firedThen)
        }
    }
}

@Suite("Tasks")
struct TaskTests {
    @Test("A task runs once, on another thread")
    func run() {
        let owner = Stage.object()
        let recorder = Recorder<[UInt64]>([])
        #expect(Stage.task.run(owner.handle, recordThread, recorder.context) == status(VC_OK))
        #expect(recorder.wait { $0.count == 1 })
        #expect(recorder.state[0] != UInt64(pthread_self()))
        Stage.destroy(owner)
    }

    @Test("The owner is not destroyed while its task runs, and tasks that have not begun are forgotten")
    func destroy() {
        // Tasks of its own, so that other tests' tasks are not in the way.
        let service = TaskService(threadCount: 2)
        let owner = Stage.object()
        let recorder = Recorder(TaskState())
        for _ in 0..<3 { #expect(service.run(owner: owner, waitForGate, context: recorder.context) == status(VC_OK)) }
        #expect(recorder.wait { $0.begun == 1 })  // one provider gets half of the threads
        owner.end()
        #expect(!service.waitUntilIdle(owner.handle, timeoutMs: 50))
        recorder.change { $0.isOpen = true }
        #expect(service.waitUntilIdle(owner.handle, timeoutMs: 5_000))
        #expect(recorder.state.ended == 1)
        sleep(milliseconds: 50)
        #expect(recorder.state.begun == 1)
        service.stop()
        Stage.destroy(owner)
    }

    @Test("256 tasks of a provider wait and no more, and another provider's runs in between")
    func limit() {
        let service = TaskService(threadCount: 2)
        let busy = Stage.object(name: "stt.busy")
        let other = Stage.object(name: "stt.other")
        let recorder = Recorder(TaskState())
        let quick = Recorder<[UInt64]>([])
        #expect(service.run(owner: busy, waitForGate, context: recorder.context) == status(VC_OK))
        #expect(recorder.wait { $0.begun == 1 })
        for _ in 0..<256 { #expect(service.run(owner: busy, waitForGate, context: recorder.context) == status(VC_OK)) }
        #expect(service.run(owner: busy, waitForGate, context: recorder.context) == status(VC_E_AGAIN))
        #expect(service.run(owner: other, recordThread, context: quick.context) == status(VC_OK))
        #expect(quick.wait { $0.count == 1 })
        #expect(recorder.state.begun == 1)
        recorder.change { $0.isOpen = true }
        #expect(recorder.wait { $0.ended == 257 })
        service.stop()
        Stage.destroy(busy)
        Stage.destroy(other)
    }
}

private struct TaskState: Sendable {
    var begun = 0
    var ended = 0
    var isOpen = false
}

private func recordFire(_ context: UnsafeMutableRawPointer?, _ timer: vc_handle) {
    Recorder<[UInt64]>.of(context).change { $0.append(Monotonic.nowNs()) }
}

private func recordThread(_ context: UnsafeMutableRawPointer?) {
    Recorder<[UInt64]>.of(context).change { $0.append(UInt64(pthread_self())) }
}

private func waitForGate(_ context: UnsafeMutableRawPointer?) {
    let recorder = Recorder<TaskState>.of(context)
    recorder.change { $0.begun += 1 }
    _ = recorder.wait(seconds: 30) { $0.isOpen }
    recorder.change { $0.ended += 1 }
}
