import Testing

@testable import Media

@Suite("Symmetric RTP")
struct SourceLatchTests {
    private let signalled = SocketAddress(host: "192.0.2.1", port: 4_000)!
    private let observed = SocketAddress(host: "198.51.100.9", port: 61_000)!
    private let attacker = SocketAddress(host: "203.0.113.66", port: 5_555)!

    private func latch() -> SourceLatch {
        var latch = SourceLatch()
        latch.negotiate(signalled, now: 0)
        return latch
    }

    @Test("Before anything arrives we send where the SDP says")
    func beginning() {
        var latch = latch()
        #expect(latch.destination() == signalled)
    }

    @Test("The signalled source wins with its first packet, and nobody moves it any more")
    func signalledSource() {
        var latch = latch()
        #expect(latch.judge(signalled, ssrc: 1, now: 1) == .acceptNewSource)
        for _ in 0..<100 { #expect(latch.judge(attacker, ssrc: 1, now: 2) == .ignore) }
        #expect(latch.destination() == signalled)
    }

    @Test("Another source is on probation for three packets, without a single packet from us")
    func probation() {
        var latch = latch()
        for _ in 0..<3 {
            #expect(latch.judge(observed, ssrc: 1, now: 1) == .onProbation)
            #expect(latch.destination() == signalled)
        }
        #expect(latch.judge(observed, ssrc: 1, now: 1) == .acceptNewSource)
        #expect(latch.destination() == observed)
    }

    @Test("Two sources in turn, or one with changing SSRCs, never pass the probation")
    func interleaved() {
        var latch = latch()
        for index in 0..<50 {
            #expect(latch.judge(index % 2 == 0 ? observed : attacker, ssrc: 1, now: 1) == .onProbation)
        }
        for index in 0..<50 { #expect(latch.judge(attacker, ssrc: UInt32(index), now: 1) == .onProbation) }
        #expect(latch.destination() == signalled)
    }

    @Test("The window closes five seconds after the first stranger, and thirty after the negotiation")
    func window() {
        var early = latch()
        _ = early.judge(attacker, ssrc: 1, now: 0)
        #expect(early.judge(observed, ssrc: 1, now: 5_000_000_001) == .ignore)
        var late = latch()
        #expect(late.judge(observed, ssrc: 1, now: 29_000_000_000) == .onProbation)
        var tooLate = latch()
        #expect(tooLate.judge(observed, ssrc: 1, now: 30_000_000_001) == .ignore)
        // The signalled source is welcome at any time.
        #expect(tooLate.judge(signalled, ssrc: 1, now: 90_000_000_000) == .acceptNewSource)
    }

    @Test("A forged source cannot make us send more than it sent, but for ten seconds of allowance")
    func reflector() {
        var latch = latch()
        for _ in 0..<4 { _ = latch.judge(observed, ssrc: 1, now: 1) }
        var sent = 0
        for _ in 0..<10_000 where latch.destination() != nil { sent += 1 }
        #expect(sent == SourceLatch.allowance)
        #expect(latch.judge(observed, ssrc: 1, now: 2) == .accept)
        #expect(latch.destination() == observed)
        #expect(latch.destination() == nil)
    }

    @Test("A report that quotes our SSRC proves a learnt source")
    func proof() {
        var latch = latch()
        for _ in 0..<4 { _ = latch.judge(observed, ssrc: 1, now: 1) }
        latch.prove(from: attacker)
        for _ in 0..<SourceLatch.allowance { _ = latch.destination() }
        #expect(latch.destination() == nil)
        latch.prove(from: SocketAddress(host: "198.51.100.9", port: 61_001)!)
        for _ in 0..<2_000 { #expect(latch.destination() == observed) }
    }

    @Test("A refresh with the same address does not open the window again; a moved address does")
    func renegotiation() {
        var latch = latch()
        for _ in 0..<4 { _ = latch.judge(observed, ssrc: 1, now: 1) }
        latch.negotiate(signalled, now: 10)
        for _ in 0..<10 { #expect(latch.judge(attacker, ssrc: 1, now: 11) == .ignore) }
        let moved = SocketAddress(host: "192.0.2.2", port: 4_000)!
        latch.negotiate(moved, now: 20)
        #expect(latch.destination() == moved)
        #expect(latch.judge(moved, ssrc: 2, now: 21) == .acceptNewSource)
    }

    @Test("Addresses compare by host and port, in both families")
    func addresses() {
        #expect(SocketAddress(host: "2001:db8::1", port: 1) == SocketAddress(host: "2001:DB8:0::1", port: 1))
        #expect(SocketAddress(host: "2001:db8::1", port: 1) != SocketAddress(host: "2001:db8::2", port: 1))
        #expect(SocketAddress(host: "192.0.2.1", port: 1) != SocketAddress(host: "192.0.2.1", port: 2))
        #expect(SocketAddress(host: "example.com", port: 1) == nil)
        #expect(SocketAddress(host: "0.0.0.0", port: 9)!.isUnspecified)
        #expect(SocketAddress(host: "::", port: 9)!.isUnspecified)
    }
}
