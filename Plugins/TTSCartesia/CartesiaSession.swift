// One call's socket to Cartesia: carries out what `CartesiaLine` decides.

import CartesiaLine
import PluginKit

final class CartesiaSession: TextToSpeechSession {
    private let provider: TTSCartesia
    private let host: SessionHost
    private var line: CartesiaLine
    private let rateHz: Int
    private var socket: WebSocket?
    /// How many sockets there were: what an earlier one still says is not heard.
    private var socketCount = 0
    private var outlets: [Int: ClauseOutlet] = [:]
    private var clauseCount = 0
    private var timer: (armed: ScheduledTimer, atMs: UInt64)?

    init(_ provider: TTSCartesia, _ host: SessionHost, _ request: CartesiaRequest) {
        self.provider = provider
        self.host = host
        rateHz = request.format.rateHz
        line = CartesiaLine(request, provider.limits)
        perform(line.prewarm())
    }

    func speak(_ clause: Clause) {
        clauseCount += 1
        outlets[clauseCount] = ClauseOutlet(clause)
        perform(
            line.speak(
                clause.text, clause: clauseCount, request: clause.request, epoch: clause.epoch, nowMs: nowMs))
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

    func close() { socket?.close() }

    private var nowMs: UInt64 { host.clock.nowNs / 1_000_000 }

    private func perform(_ actions: [LineAction]) {
        for action in actions {
            switch action {
            case .connect: connect()
            case .send(let message): send(message)
            case .disconnect:
                socket?.close(code: 1002, reason: "no message of the protocol")
                socket = nil
            case .audio(let id, let samples):
                if let outlet = outlets[id] { follow(outlet.say(samples, rateHz: rateHz), of: id) }
            case .mark(let id, let text, let samples):
                if let outlet = outlets[id] { follow(outlet.mark(text, samples: samples), of: id) }
            case .finish(let id):
                if let outlet = outlets[id] { follow(outlet.end(), of: id) }
            case .fail(let id, let error): outlets.removeValue(forKey: id)?.clause.fail(error)
            case .late: provider.lateChunks.record()
            case .warn(let error): host.log.warning(error.message, (name: "code", value: error.vendorCode))
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
                PluginError(.vendor, "Cartesia sends one clause without end", vendor: "cartesia"))
        }
        perform(line.unwanted(clause: id, nowMs: nowMs))
    }

    private func connect() {
        socketCount += 1
        let number = socketCount
        do throws(PluginError) {
            socket = try host.webSockets.connect(
                provider.url, headers: provider.headers, connectMs: provider.connectMs
            ) { [weak self] event in
                guard let self, socketCount == number else { return }
                heard(event)
            }
        } catch {
            perform(line.closed(error, nowMs: nowMs))
        }
    }

    private func heard(_ event: WebSocketEvent) {
        switch event {
        case .opened: perform(line.opened(nowMs: nowMs))
        case .text(let text): perform(line.received(text, nowMs: nowMs))
        // The vendor sends text alone; what else comes is read as text that it is not.
        case .binary: perform(line.received("", nowMs: nowMs))
        case .writable: break
        case .closed(let code, let reason, let error):
            socket = nil
            perform(line.closed(error, code: code, reason: reason, nowMs: nowMs))
        }
    }

    private func send(_ message: String) {
        guard let socket, socket.send(message) != .sent else { return }
        // 256 KiB wait already: whoever reads so slowly is not there.
        self.socket = nil
        socket.close(code: 1001)
        perform(
            line.closed(
                PluginError(.network, "Cartesia does not take what is sent", isRetryable: true, vendor: "cartesia"),
                nowMs: nowMs))
    }

    /// One timer for the earliest deadline; it is set anew only where that comes sooner than the one that runs.
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
