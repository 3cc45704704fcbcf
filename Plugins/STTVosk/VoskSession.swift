// One call's stream: the connection, what goes out on it, and when there is another.

import PluginKit
import VoskDialogue

final class VoskSession: SpeechToTextSession {
    enum Phase { case connecting, live, waiting, ended }

    /// How often it is looked after a server that stands still.
    static let tickMs = 500
    /// Messages without an answer; a server that is behind by more must catch up before it gets the next.
    static let awaitedMax = 50
    static let nonsenseMax = 16

    let provider: STTVosk
    let host: SpeechToTextHost
    let language: String
    var audio: ReplayableAudio
    var utterances: StreamedUtterances
    var finalizations: [UInt64: Finalization] = [:]
    /// How many samples the connection had been sent with each message that is not answered yet.
    var awaited: [Int] = []
    /// The number of the utterance that the server has open, and where it began.
    var piece: (id: Int64, start: UInt64) = (0, 0)
    var failures = 0
    var lastReplyNs: UInt64 = 0
    private(set) var phase = Phase.connecting
    private var socket: WebSocket?
    private var doubler: RateDoubler?
    private var lastPushNs: UInt64 = 0
    /// What is there goes out although it is no whole chunk: an answer waits for it.
    private var isFlushing = false
    /// The utterance is to be ended at the server when all is sent.
    private var owesReset = false
    private var nonsense = 0
    private var reportedDrops: UInt64 = 0

    init(_ provider: STTVosk, _ host: SpeechToTextHost) {
        self.provider = provider
        self.host = host
        language = provider.language.isEmpty ? host.language : provider.language
        audio = ReplayableAudio(rateHz: host.rateHz, secondsMax: provider.replaySecondsMax)
        utterances = StreamedUtterances(rateHz: host.rateHz)
        connect()
        tick()
    }

    // MARK: SpeechToTextSession

    func begin(utterance: UInt64, at position: UInt64) { utterances.begin(utterance) }

    func push(_ frame: borrowing AudioFrame) -> Intake {
        audio.append(frame)
        lastPushNs = host.clock.nowNs
        pump()
        return .taken
    }

    func finalize(_ request: Finalization) {
        finalizations[request.request] = request
        utterances.ask(request.request, at: request.position, isTentative: request.isTentative)
        guard !audio.isEmpty else { return deliver(utterances.answer(request: request.request)) }
        isFlushing = true
        if provider.resets, !request.isTentative { owesReset = true }
        pump()
        answerWhatWasHeard()
        let id = request.request
        // Where no timer is left nobody would answer: with what there is, at once.
        if host.timers.after(provider.finalizeMs, { [weak self] in self?.answer(id) }) == nil { answer(id) }
    }

    func cancel() {
        utterances.forgetQuestions()
        finalizations = [:]
    }

    func close() {
        guard phase == .live, provider.sendsEnd, let socket else { return }
        _ = socket.send(VoskSettings.end)
    }

    private func answer(_ request: UInt64) { deliver(utterances.answer(request: request)) }

    // MARK: The connection

    private func connect() {
        phase = .connecting
        do throws(PluginError) {
            socket = try host.webSockets.connect(provider.url, connectMs: provider.connectMs) { [weak self] event in
                self?.arrived(event)
            }
        } catch {
            ended(error)
        }
    }

    private func arrived(_ event: WebSocketEvent) {
        guard phase != .ended else { return }
        switch event {
        case .opened: opened()
        case .text(let text):
            guard let reply = VoskReply(text) else { return heardNonsense() }
            heard(reply)
        case .binary: heardNonsense()
        case .writable: pump()
        case .closed(let code, let reason, let error):
            var error =
                error
                ?? PluginError(
                    .network,
                    "the recogniser at \(provider.url) closed the connection with code \(code)"
                        + (reason.isEmpty ? "" : ": \(reason.prefix(200))") + "; its log says why", isRetryable: true)
            error.vendor = "vosk"
            ended(error)
        }
    }

    private func opened() {
        phase = .live
        lastReplyNs = host.clock.nowNs
        awaited = []
        doubler = provider.rateHz == 16000 && host.rateHz == 8000 ? RateDoubler() : nil
        if provider.isConfigured {
            let rateHz = doubler == nil ? host.rateHz : 16000
            _ = socket?.send(provider.settings.configuration(rateHz: rateHz))
        }
        audio.reconnected()
        piece = (piece.id + 1, audio.position(ofSent: 0))
        pump()
    }

    private func ended(_ error: PluginError) {
        socket = nil
        failures += 1
        guard error.isRetryable, error.code != .quota, failures <= provider.reconnects else { return give(up: error) }
        if phase == .live {
            host.log.warning("\(error.message); connecting again", (name: "attempt", value: String(failures)))
        }
        phase = .waiting
        audio.release(upTo: utterances.disconnected())
        if utterances.hasQuestions { isFlushing = true }
        let delayMs = failures <= 1 ? 0 : min(2000, 125 << failures)
        if host.timers.after(delayMs, { [weak self] in self?.connect() }) == nil { connect() }
    }

    private func give(up error: PluginError) {
        phase = .ended
        finalizations = [:]
        host.fail(error)
    }

    private func heardNonsense() {
        nonsense += 1
        if nonsense == 1 { host.log.warning("\(provider.url) sent something else than Vosk's answers; passed over") }
        guard nonsense >= Self.nonsenseMax else { return }
        give(
            up: PluginError(
                .vendor, "\(provider.url) sends something else than Vosk's answers; correct `url`", vendor: "vosk"))
    }

    // MARK: Sending

    /// Sends what may be sent now.
    func pump() {
        guard phase == .live, let socket else { return }
        let chunk = host.rateHz * provider.chunkMs / 1000
        while audio.unsentSamples >= chunk || (isFlushing && audio.unsentSamples > 0) {
            guard awaited.count < Self.awaitedMax else { break }
            let samples = audio.next(chunk)
            // The doubler remembers what it was given, and may be given it once only.
            var next = doubler
            guard socket.send(next?.doubled(samples) ?? samples) == .sent else { break }
            doubler = next
            audio.sent(samples.count)
            if awaited.isEmpty { lastReplyNs = host.clock.nowNs }
            awaited.append(audio.sentSamples)
        }
        if audio.droppedSamples > reportedDrops {
            reportedDrops = audio.droppedSamples
            host.log.warning(
                "the recogniser was away or behind for longer than `replay_seconds_max`; what was said is lost",
                (name: "droppedSamples", value: String(reportedDrops)))
        }
        guard audio.unsentSamples == 0 else { return }
        isFlushing = false
        if owesReset, socket.send(VoskSettings.reset) == .sent {
            owesReset = false
            awaited.append(audio.sentSamples)
        }
    }

    private func tick() {
        host.timers.after(Self.tickMs) { [weak self] in
            guard let self, phase != .ended else { return }
            let nowNs = host.clock.nowNs
            // The host has paused: the rest of the last chunk is what it waits for.
            if nowNs > lastPushNs + UInt64(Self.tickMs) * 1_000_000 { isFlushing = true }
            pump()
            if phase == .live, !awaited.isEmpty, nowNs > lastReplyNs + UInt64(provider.stallMs) * 1_000_000 {
                lastReplyNs = nowNs
                host.log.warning("\(provider.url) has not answered for \(provider.stallMs) ms; connecting again")
                socket?.close(code: 1001)
            }
            tick()
        }
    }
}
