// What goes out: audio as it comes, at a pace that the vendor allows, and something in pauses.
//
// The host may pause, and a recogniser without audio hangs up after ten seconds. Flux's open turn would never end
// either: silence ends it.

import DeepgramListen
import PluginKit

extension ListenSession {
    /// How often it is looked after silence and what could not be sent.
    static let tickMs = 500
    /// Until a pause of the host is filled: more than a late frame.
    static let padAfterMs = 400
    /// A turn that the host left open is not filled with silence for longer: Flux ends it after 10 s at the latest.
    static let padMsMax = 15_000
    /// Flux says something to each quarter of a second of audio; where it is silent for so long it stands still.
    static let stallMs = 8000

    /// Sends what may be sent now.
    func pump() {
        guard phase == .live, let socket else { return }
        let nowNs = host.clock.nowNs
        let chunk = host.rateHz * provider.chunkMs / 1000
        while audio.unsentSamples >= chunk || (isFlushing && audio.unsentSamples > 0) {
            let samples = audio.next(chunk)
            guard pace.allowed(now: nowNs) >= samples.count,
                socket.send(SampleCoding.bytes(samples, plan.encoding)) == .sent
            else { break }
            audio.sent(samples.count)
            pace.sent(samples.count)
            lastSentNs = nowNs
        }
        if audio.droppedSamples > reportedDrops {
            reportedDrops = audio.droppedSamples
            host.log.warning(
                "the recogniser was away for longer than `replay_seconds_max`; what was said then is lost",
                (name: "droppedSamples", value: String(reportedDrops)))
        }
        guard audio.unsentSamples == 0 else { return }
        isFlushing = false
        if owesFinalize, socket.send(#"{"type":"Finalize"}"#) == .sent { owesFinalize = false }
    }

    func tick() {
        host.timers.after(Self.tickMs) { [weak self] in
            guard let self, phase != .ended else { return }
            pump()
            keepAlive()
            lookForStall()
            tick()
        }
    }

    private func keepAlive() {
        let nowNs = host.clock.nowNs
        let silentMs = (nowNs - min(nowNs, lastSentNs)) / 1_000_000
        guard phase == .live, let socket, silentMs >= Self.padAfterMs else { return }
        if audio.unsentSamples > 0 {
            isFlushing = true
            return pump()
        }
        let pausedMs = (nowNs - min(nowNs, lastPushNs)) / 1_000_000
        if plan.interface == .flux, isTurnOpen || utterances.hasQuestions, pausedMs < Self.padMsMax {
            for _ in 0..<Self.tickMs / provider.chunkMs { pad(socket, nowNs) }
        } else if silentMs >= provider.keepAliveMs {
            // A KeepAlive counts only when audio came before it, and Flux has none.
            if plan.interface == .flux || audio.sentSamples == 0 {
                pad(socket, nowNs)
            } else if socket.send(#"{"type":"KeepAlive"}"#) == .sent {
                lastSentNs = nowNs
            }
        }
    }

    private func lookForStall() {
        let nowNs = host.clock.nowNs
        // Where little was sent there is nothing to say.
        guard phase == .live, plan.interface == .flux, let socket, audio.sentSamples >= 2 * host.rateHz,
            lastSentNs + UInt64(Self.stallMs) * 500_000 > nowNs,
            nowNs > lastHeardNs + UInt64(Self.stallMs) * 1_000_000
        else { return }
        lastHeardNs = nowNs
        announced = ListenFailure(code: "NET-0000", message: "it said nothing for \(Self.stallMs) ms")
        socket.close(code: 1001)
    }

    private func pad(_ socket: WebSocket, _ nowNs: UInt64) {
        let count = host.rateHz * provider.chunkMs / 1000
        guard pace.allowed(now: nowNs) >= count,
            socket.send(SampleCoding.silence(count, plan.encoding)) == .sent
        else { return }
        audio.padded(count)
        pace.sent(count)
        lastSentNs = nowNs
    }
}
