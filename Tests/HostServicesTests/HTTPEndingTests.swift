// How requests end before their time: cancelled, outdated, orphaned. The promise is that nothing is called afterwards.

import Glibc
import JSON
import PluginABI
import Providers
import Synchronization
import Testing

@testable import HostServices

@Suite("HTTP requests that end early")
struct HTTPEndingTests {
    static let peer = Peer("http_peer.py")
    let origin = "http://127.0.0.1:\(peer.port)"

    @Test("Cancelling closes the connection, which is what tells the vendor")
    func cancelCloses() {
        let owner = Stage.object()
        let peer = Peer("http_peer.py")
        let recorder = AnswerRecorder(Answer())
        let started = startRequest(owner, "http://127.0.0.1:\(peer.port)/stall", into: recorder)
        sleep(milliseconds: 150)
        #expect(Stage.http.cancel(started.handle) == status(VC_OK))
        var left: Int64 = 0
        for _ in 0..<50 where left == 0 {
            sleep(milliseconds: 20)
            left = exchange(owner, "http://127.0.0.1:\(peer.port)/counters").json["left"]?.integer ?? 0
        }
        #expect(left == 1 && recorder.state.calls == 0)
        Stage.destroy(owner)
    }

    @Test("A new epoch ends the requests of the older ones, and only those, without a further call")
    func epoch() {
        let owner = Stage.object()
        let (old, new, lasting) = (AnswerRecorder(Answer()), AnswerRecorder(Answer()), AnswerRecorder(Answer()))
        startRequest(owner, "\(origin)/sse?count=200&ms=5", into: old, epoch: 0)
        startRequest(owner, "\(origin)/sse?count=20&ms=5", into: new, epoch: 1)
        startRequest(owner, "\(origin)/sse?count=20&ms=5", into: lasting, epoch: .max)
        #expect(old.wait { $0.chunks > 3 })
        // The raiser holds the object, as a call into it does; so the count cannot move between the two lines.
        let callsThen = owner.control {
            owner.epoch.store(1, ordering: .sequentiallyConsistent)
            return old.state.calls
        }
        Stage.services.epochRaised(of: owner)
        #expect(new.wait { $0.isDone } && lasting.wait { $0.isDone })
        #expect(old.state.calls == callsThen && !old.state.isDone)
        #expect(new.state.failure == nil && lasting.state.failure == nil)
        #expect(startRequest(owner, "\(origin)/echo", into: old, epoch: 0).status == status(VC_E_CANCELED))
        Stage.destroy(owner)
    }

    @Test("An epoch that nobody announced ends the callbacks all the same")
    func epochWithoutHook() {
        let owner = Stage.object()
        let recorder = AnswerRecorder(Answer())
        startRequest(owner, "\(origin)/sse?count=100&ms=5", into: recorder, epoch: 0)
        #expect(recorder.wait { $0.chunks > 3 })
        let callsThen = owner.control {
            owner.epoch.store(7, ordering: .sequentiallyConsistent)
            return recorder.state.calls
        }
        sleep(milliseconds: 200)
        #expect(recorder.state.calls == callsThen)
        Stage.destroy(owner)
    }

    @Test("Nothing is called after cancel, however the data races with it")
    func cancelRace() {
        let owner = Stage.object()
        var recorders: [AnswerRecorder] = []
        for round in 0..<150 {
            let recorder = AnswerRecorder(Answer())
            recorders.append(recorder)
            let started = startRequest(owner, "\(origin)/bytes?n=300000", into: recorder)
            // Each round somewhere else in the answer.
            usleep(UInt32(round * 40))
            let callsThen = owner.control {
                _ = Stage.http.cancel(started.handle)
                return recorder.state.calls
            }
            usleep(500)
            #expect(recorder.state.calls == callsThen)
        }
        // Long after, and with the object's lock free.
        let total = recorders.reduce(0) { $0 + $1.state.calls }
        sleep(milliseconds: 300)
        #expect(recorders.reduce(0) { $0 + $1.state.calls } == total)
        #expect(recorders.contains { $0.state.isDone } || total > 0)
        Stage.destroy(owner)
    }

    @Test("Nothing is called on an object that was destroyed with requests under way")
    func destroyRace() {
        for round in 0..<60 {
            let owner = Stage.object(plugin: "destroyRace")
            // The plugin's memory: freed in `destroy`, so a later call would be a use after free. Here it is a flag.
            let recorder = AnswerRecorder(Answer())
            for _ in 0..<8 { startRequest(owner, "\(origin)/sse?count=50&ms=1", into: recorder) }
            usleep(UInt32(round * 300))
            var callsThen = 0
            Stage.destroy(owner) { callsThen = recorder.state.calls }
            usleep(2_000)
            #expect(recorder.state.calls == callsThen)
            #expect(startRequest(owner, "\(origin)/echo", into: recorder).status == status(VC_E_STALE))
        }
        #expect(Stage.services.http.count < 200)
    }

    @Test("A request may be cancelled from within its own callback, and a new one started there")
    func cancelWithin() {
        let owner = Stage.object()
        let recorder = AnswerRecorder(Answer())
        startRequest(owner, "\(origin)/sse?count=50&ms=2", into: recorder, onData: cancelOnData)
        #expect(recorder.wait { $0.chunks == 1 })
        sleep(milliseconds: 100)
        #expect(recorder.state.chunks == 1 && !recorder.state.isDone)
        Stage.destroy(owner)
    }

    @Test("A plugin that hangs in a callback stops its own answers and nobody else's")
    func stuckPlugin() {
        let gate = Recorder(false)
        let stuck = (0..<6).map { _ in Stage.object(plugin: "stuckPlugin.hangs") }
        let recorders = stuck.map { _ in AnswerRecorder(Answer()) }
        // Every session of the plugin hangs: somebody sits in each object.
        let threads = stuck.map { object in
            ServiceThread("hangs") { object.control { _ = gate.wait { $0 } } }
        }
        sleep(milliseconds: 50)
        for (object, recorder) in zip(stuck, recorders) { startRequest(object, "\(origin)/echo", into: recorder) }
        sleep(milliseconds: 100)
        let other = Stage.object(plugin: "stuckPlugin.works")
        #expect(exchange(other, "\(origin)/echo").status == 200)
        #expect(recorders.allSatisfy { $0.state.calls == 0 })
        gate.change { $0 = true }
        for recorder in recorders { #expect(recorder.wait { $0.isDone }) }
        for thread in threads { thread.join() }
        for object in stuck + [other] { Stage.destroy(object) }
    }
}

private func cancelOnData(_ context: UnsafeMutableRawPointer?, _ request: vc_handle, _ bytes: vc_str) {
    recordData(context, request, bytes)
    _ = Stage.http.cancel(request)
}
