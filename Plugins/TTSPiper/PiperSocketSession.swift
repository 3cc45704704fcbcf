// One call over the WebSocket service: carries out what `PiperLine` decides.

import PiperAudio
import PluginKit

final class PiperSocketSession: TextToSpeechSession {
    private let provider: TTSPiper
    private let host: SessionHost
    private var line: PiperLine
    private var sockets: [Int: WebSocket] = [:]
    private var outlets: [Int: ClauseOutlet] = [:]
    private var clauseCount = 0
    private var timer: (armed: ScheduledTimer, atMs: UInt64)?

    init(_ provider: TTSPiper, _ host: SessionHost, _ request: PiperSocketRequest, _ limits: PiperLineLimits) {
        self.provider = provider
        self.host = host
        line = PiperLine(request, limits, name: "the voice at \(provider.url)")
        perform(line.prewarm())
    }

    func speak(_ clause: Clause) {
        clauseCount += 1
        outlets[clauseCount] = ClauseOutlet(clause)
        perform(line.speak(clause.text, clause: clauseCount, epoch: clause.epoch, nowMs: nowMs))
    }

    func cancel() {
        outlets = outlets.filter { !$0.value.clause.isFinished }
        perform(line.cancel(olderThan: host.epoch, nowMs: nowMs))
    }

    func creditReturned() {
        for id in outlets.keys.sorted() {
            if let outlet = outlets[id] { follow(outlet.handOver(), of: id) }
        }
    }

    func close() {
        for socket in sockets.values { socket.close() }
    }

    private var nowMs: UInt64 { host.clock.nowNs / 1_000_000 }

    private func perform(_ actions: [PiperLineAction]) {
        for action in actions {
            switch action {
            case .connect(let id): connect(id)
            case .send(let id, let message): send(message, id)
            case .close(let id): sockets.removeValue(forKey: id)?.close()
            case .audio(let id, let samples, let rateHz):
                if let outlet = outlets[id] { follow(outlet.say(samples, rateHz: rateHz), of: id) }
            case .finish(let id):
                if let outlet = outlets[id] { follow(outlet.end(), of: id) }
            case .fail(let id, let error): outlets.removeValue(forKey: id)?.clause.fail(error)
            case .warn(let error): host.log.warning(error.message)
            }
        }
        arm()
    }

    private func follow(_ state: ClauseOutlet.State, of id: Int) {
        guard state != .open, let outlet = outlets.removeValue(forKey: id) else { return }
        switch state {
        case .open, .ended: return
        case .unwanted: break
        case .overflown:
            outlet.clause.fail(
                PluginError(.vendor, "the voice at \(provider.url) sends one clause without end", vendor: "piper"))
        }
        perform(line.unwanted(clause: id, nowMs: nowMs))
    }

    private func connect(_ id: Int) {
        do throws(PluginError) {
            sockets[id] = try host.webSockets.connect(provider.url, connectMs: provider.timeoutMs) {
                [weak self] in self?.heard($0, id)
            }
        } catch {
            perform(line.closed(id, error, nowMs: nowMs))
        }
    }

    private func heard(_ event: WebSocketEvent, _ id: Int) {
        // What a connection says that was closed is not for this call any more.
        guard sockets[id] != nil else { return }
        switch event {
        case .opened: perform(line.opened(id, nowMs: nowMs))
        case .text(let text): perform(line.received(id, text: text, nowMs: nowMs))
        case .binary(let bytes): perform(line.received(id, binary: bytes, nowMs: nowMs))
        case .writable: break
        case .closed(_, _, let error):
            sockets[id] = nil
            perform(line.closed(id, error, nowMs: nowMs))
        }
    }

    private func send(_ message: String, _ id: Int) {
        guard let socket = sockets[id], socket.send(message) != .sent else { return }
        sockets[id] = nil
        socket.close(code: 1001)
        let error = PluginError(
            .network, "the voice at \(provider.url) does not take what is sent", isRetryable: true, vendor: "piper")
        perform(line.closed(id, error, nowMs: nowMs))
    }

    /// One timer for the deadline; it is set anew only where that comes sooner than the one that runs.
    private func arm() {
        guard let deadlineMs = line.nextDeadlineMs else { return }
        if let timer, timer.atMs <= deadlineMs { return }
        timer?.armed.cancel()
        let now = nowMs
        let armed = host.timers.after(deadlineMs > now ? Int(deadlineMs - now) : 0) { [weak self] in
            guard let self else { return }
            timer = nil
            perform(line.tick(nowMs: nowMs))
        }
        timer = armed.map { ($0, deadlineMs) }
    }
}
