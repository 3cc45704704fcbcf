// Numbers, not verdicts: `VCHOST_MEASURE=1 swift test --filter Measurements` prints them. The peers are Python programs
// and take most of the time; what stands here is the upper bound of what the services add.

import Glibc
import PluginABI
import Providers
import Testing

@testable import HostServices

@Suite("Measurements", .serialized, .enabled(if: getenv("VCHOST_MEASURE") != nil))
struct Measurements {
    private func report(_ what: String, _ valuesNs: [UInt64]) {
        let sorted = valuesNs.sorted()
        func at(_ share: Double) -> String {
            "\(sorted[min(sorted.count - 1, Int(Double(sorted.count) * share))] / 1_000) µs"
        }
        print("MEASURED \(what): n=\(sorted.count) p50=\(at(0.5)) p90=\(at(0.9)) p99=\(at(0.99))")
    }

    @Test("Start-up")
    func start() {
        report(
            "start of all services",
            (0..<20).map { _ in
                let begun = Monotonic.nowNs()
                let services = HostServices(HostServices.Configuration())
                let took = Monotonic.nowNs() - begun
                services.end()
                return took
            })
    }

    @Test("HTTP round trip over keep-alive")
    func roundTrip() {
        let peer = Peer("http_peer.py")
        let owner = Stage.object()
        report(
            "HTTP round trip",
            (0..<2_000).map { _ in
                let begun = Monotonic.nowNs()
                _ = exchange(owner, "http://127.0.0.1:\(peer.port)/bytes?n=100")
                return Monotonic.nowNs() - begun
            }.dropFirst(20).map { $0 })
        Stage.destroy(owner)
    }

    @Test("Latency of server-sent events, peer's write to plugin's callback")
    func events() {
        let peer = Peer("http_peer.py")
        let owner = Stage.object()
        for streams in [1, 30] {
            let recorders = (0..<streams).map { _ in AnswerRecorder(Answer()) }
            for recorder in recorders {
                startRequest(owner, "http://127.0.0.1:\(peer.port)/sse?count=150&ms=20", into: recorder)
            }
            for recorder in recorders { _ = recorder.wait { $0.isDone } }
            report("SSE latency, \(streams) streams of 50/s", recorders.flatMap { $0.state.latenciesNs })
        }
        Stage.destroy(owner)
    }

    @Test("WebSocket round trip")
    func webSocket() {
        let peer = Peer("ws_peer.py")
        let owner = Stage.object()
        let recorder = ConversationRecorder(Conversation())
        let socket = connectSocket(owner, "ws://127.0.0.1:\(peer.port)/echo", into: recorder)
        _ = recorder.wait { $0.isOpen }
        let frame = [UInt8](repeating: 1, count: 320)
        report(
            "WebSocket echo of 320 bytes",
            (1...2_000).map { number in
                let begun = Monotonic.nowNs()
                _ = sendBytes(socket.handle, frame)
                _ = recorder.wait { $0.messages.count == number }
                return Monotonic.nowNs() - begun
            })
        Stage.destroy(owner)
    }

    @Test("Lateness of timers")
    func timers() {
        let owner = Stage.object()
        let recorder = Recorder<[UInt64]>([])
        var expected: [UInt64] = []
        for round in 0..<20 {
            var timer: vc_handle = 0
            for offset in 1...20 as ClosedRange<UInt64> {
                let at = Monotonic.nowNs() + offset * 1_000_000
                expected.append(at)
                _ = Stage.timer.arm(owner.handle, at, recordFireTime, recorder.context, &timer)
            }
            _ = recorder.wait { $0.count == (round + 1) * 20 }
        }
        report("timer lateness", zip(recorder.state, expected).map { $0 - $1 })
        Stage.destroy(owner)
    }
}

private func recordFireTime(_ context: UnsafeMutableRawPointer?, _ timer: vc_handle) {
    let now = Monotonic.nowNs()
    Recorder<[UInt64]>.of(context).change { $0.append(now) }
}
