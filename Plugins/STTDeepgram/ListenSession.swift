// One call's stream: the connection, what goes out on it, and when there is another.

import DeepgramListen
import PluginKit

final class ListenSession: SpeechToTextSession {
    /// A recogniser is connected and does not hear yet; hears; is waited for; or there will be none any more.
    enum Phase { case connecting, live, waiting, ended }

    /// What may be sent at once, and is sent at a higher pace only after it.
    static let burstMs = 1000
    /// A connection that was shorter than this counts as a failure, whatever the reason.
    static let shortMs = 5000
    /// Nonsense that is borne before the connection is given up.
    static let nonsenseMax = 16

    let provider: STTDeepgram
    let host: SpeechToTextHost
    let plan: ListenPlan
    var audio: ReplayableAudio
    var utterances: StreamedUtterances
    var finalizations: [UInt64: Finalization] = [:]
    /// Flux has begun a turn that it has not ended.
    var isTurnOpen = false
    /// The text of the latest eager end, until the turn ends or goes on.
    var eagerText: String?
    /// Connections that failed since a recogniser last heard something.
    var failures = 0
    var lastHeardNs: UInt64 = 0
    private(set) var phase = Phase.connecting
    var socket: WebSocket?
    var pace: SendingPace
    private var openedNs: UInt64 = 0
    var lastPushNs: UInt64 = 0
    var lastSentNs: UInt64 = 0
    /// What is there goes out although it is no whole chunk: an answer waits for it.
    var isFlushing = false
    /// Nova is to be asked for what it has when all is sent.
    var owesFinalize = false
    private var nonsense = 0
    var reportedDrops: UInt64 = 0
    /// Why the vendor said it would close, ahead of doing it.
    var announced: ListenFailure?

    init(_ provider: STTDeepgram, _ host: SpeechToTextHost) {
        self.provider = provider
        self.host = host
        plan = ListenPlan(provider.settings, language: host.language, rateHz: host.rateHz)
        audio = ReplayableAudio(rateHz: host.rateHz, secondsMax: provider.replaySecondsMax)
        utterances = StreamedUtterances(rateHz: host.rateHz)
        pace = SendingPace(rateHz: host.rateHz, factor: provider.catchUp, burstMs: Self.burstMs)
        connect()
        tick()
    }

    // MARK: SpeechToTextSession

    func begin(utterance: UInt64, at position: UInt64) {
        utterances.begin(utterance)
        eagerText = nil
    }

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
        if plan.interface == .nova { owesFinalize = true }
        pump()
        if plan.interface == .flux, provider.forcesEndOfTurn, !request.isTentative, isTurnOpen {
            _ = socket?.send(#"{"type":"ForceEndTurn"}"#)
        }
        // Where no timer is left nobody would answer: with what there is, at once.
        let id = request.request
        if host.timers.after(provider.finalizeMs, { [weak self] in self?.answer(id) }) == nil { answer(id) }
    }

    func cancel() {
        utterances.forgetQuestions()
        finalizations = [:]
    }

    func close() {
        guard phase == .live, let socket else { return }
        isFlushing = true
        pump()
        _ = socket.send(#"{"type":"CloseStream"}"#)
    }

    private func answer(_ request: UInt64) { deliver(utterances.answer(request: request)) }

    // MARK: The connection

    private func connect() {
        phase = .connecting
        openedNs = host.clock.nowNs
        do throws(PluginError) {
            socket = try host.webSockets.connect(plan.url, headers: provider.headers, connectMs: provider.connectMs) {
                [weak self] event in self?.arrived(event)
            }
        } catch {
            ended(ListenFailure(closeCode: 0, reason: "", error: error))
        }
    }

    private func arrived(_ event: WebSocketEvent) {
        guard phase != .ended else { return }
        switch event {
        case .opened:
            // Flux says itself when it is there.
            if plan.interface == .nova { connected() } else { awaitConnected() }
        case .text(let text):
            guard let message = ListenMessage(text) else { return heardNonsense() }
            if case .error(let code, let message) = message {
                let failure = ListenFailure(code: code, message: message)
                if failure.isWorthAnother { announced = failure } else { give(up: failure.error) }
            } else {
                heard(message)
            }
        case .binary: heardNonsense()
        case .writable: pump()
        case .closed(let code, let reason, let error):
            ended(announced ?? ListenFailure(closeCode: code, reason: reason, error: error))
        }
    }

    private func awaitConnected() {
        let began = socket
        host.timers.after(provider.connectMs) { [weak self] in
            guard let self, phase == .connecting, socket === began else { return }
            socket?.close()
        }
    }

    /// The recogniser hears now.
    func connected() {
        guard phase == .connecting else { return }
        phase = .live
        lastSentNs = host.clock.nowNs
        lastHeardNs = lastSentNs
        pace = SendingPace(rateHz: host.rateHz, factor: provider.catchUp, burstMs: Self.burstMs)
        audio.reconnected()
        pump()
    }

    private func ended(_ failure: ListenFailure) {
        socket = nil
        announced = nil
        guard failure.isWorthAnother else { return give(up: failure.error) }
        let lastedMs = (host.clock.nowNs - openedNs) / 1_000_000
        let wasIdle = phase == .live && audio.isEmpty && lastedMs >= Self.shortMs
        failures += wasIdle ? 0 : 1
        guard failures <= provider.reconnects else { return give(up: failure.error) }
        if phase == .live {
            host.log.warning("\(failure.error.message); connecting again", (name: "attempt", value: String(failures)))
        }
        phase = .waiting
        isTurnOpen = false
        audio.release(upTo: utterances.disconnected())
        if utterances.hasQuestions { (isFlushing, owesFinalize) = (true, plan.interface == .nova) }
        // At once for the first time, for that is most often all there is to it.
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
        if nonsense == 1 { host.log.warning("Deepgram sent something else than its messages; it was passed over") }
        guard nonsense >= Self.nonsenseMax else { return }
        give(
            up: PluginError(
                .vendor, "\(provider.settings.url) sends something else than Deepgram's messages; correct `url`",
                vendor: "deepgram"))
    }
}
