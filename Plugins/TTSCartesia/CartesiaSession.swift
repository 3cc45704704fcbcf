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
        outlets[clauseCount] = ClauseOutlet(clause, rateHz)
        perform(
            line.speak(
                clause.text, clause: clauseCount, request: clause.request, epoch: clause.epoch, nowMs: nowMs))
    }

    func cancel() {
        outlets = outlets.filter { !$0.value.clause.isFinished }
        perform(line.cancel(olderThan: host.epoch, nowMs: nowMs))
    }

    func creditReturned() {
        for id in outlets.keys.sorted() { handOver(id) }
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
                outlets[id]?.waiting.append(.audio(samples))
                handOver(id)
            case .mark(let id, let text, let samples):
                outlets[id]?.waiting.append(.mark(text, samples))
                handOver(id)
            case .finish(let id):
                outlets[id]?.waiting.append(.end)
                handOver(id)
            case .fail(let id, let error): outlets.removeValue(forKey: id)?.clause.fail(error)
            case .late: provider.lateChunks.record()
            case .warn(let error): host.log.warning(error.message, (name: "code", value: error.vendorCode))
            }
        }
        arm()
    }

    private func handOver(_ id: Int) {
        guard let outlet = outlets[id] else { return }
        switch outlet.handOver() {
        case .waits: break
        case .ended: outlets[id] = nil
        case .unwanted:
            outlets[id] = nil
            perform(line.unwanted(clause: id, nowMs: nowMs))
        case .tooMuch:
            outlets[id] = nil
            outlet.clause.fail(
                PluginError(
                    .vendor, "Cartesia sent more than \(ClauseOutlet.samplesMax) samples for one clause",
                    vendor: "cartesia"))
            perform(line.unwanted(clause: id, nowMs: nowMs))
        }
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
            let said = reason.isEmpty ? "" : ": \(reason)"
            perform(
                line.closed(
                    error ?? PluginError(
                        .network, "Cartesia closed the connection with \(code)\(said)", isRetryable: true,
                        vendor: "cartesia", vendorCode: String(code)), nowMs: nowMs))
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

/// What is to be said of a clause, and waits for the host's credit.
final class ClauseOutlet {
    enum Piece {
        case audio([Int16])
        case mark(Range<Int>, Range<Int>)
        case end
    }
    enum Result { case waits, ended, unwanted, tooMuch }

    /// Five minutes at 48 kHz, for one clause: beyond that it is no speech.
    static let samplesMax = 300 * 48000

    let clause: Clause
    var waiting: [Piece] = []
    private let rateHz: Int
    private var samples = 0

    init(_ clause: Clause, _ rateHz: Int) {
        self.clause = clause
        self.rateHz = rateHz
    }

    func handOver() -> Result {
        while let piece = waiting.first {
            switch piece {
            case .audio(let audio):
                switch clause.emit(audio, rateHz: rateHz) {
                case .accepted: break
                case .noCredit: return waiting.count > 4096 ? .tooMuch : .waits
                case .canceled, .gone: return .unwanted
                }
                samples += audio.count
                if samples > Self.samplesMax { return .tooMuch }
            case .mark(let text, let audio): clause.mark(text, samples: audio)
            case .end:
                clause.finish()
                return .ended
            }
            waiting.removeFirst()
        }
        return .waits
    }
}
