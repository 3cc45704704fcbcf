import Synchronization

@testable import Calls

/// A clock that stands until it is pushed.
final class VirtualClock: Sendable {
    private let time = Mutex(Instant(nanoseconds: 1_000_000_000))

    var now: Instant { time.withLock { $0 } }

    func advance(_ milliseconds: Int) {
        time.withLock { $0 = $0.advanced(byMs: milliseconds) }
    }
}

/// All doors of a call in one: a playout that is heard sample by sample, and providers that follow a script.
final class ScriptedCall: CallAudio, CallTelephony, CallTools, ClipLibrary, CallObserver, SessionFactory {
    struct State {
        var epoch: UInt64 = 0
        var flushedTo: UInt64 = 0
        var played: UInt64 = 0
        var queue: [Int16] = []
        var isPaused = false
        var heardEpochs: [UInt64] = []
        var inbound: [(position: UInt64, samples: [Int16])] = []
        var inboundPosition: UInt64 = 0
        var pushed: [UInt64] = []
        var begins: [UInt64] = []
        var requests: [LanguageModelRequest] = []
        var spoken: [(voice: String, ticket: Ticket, text: String)] = []
        var credits = 0
        var cancels: [UInt64] = []
        var closed: [String] = []
        var isClosed = false
        var hangUp: HangUpReason?
        var record: CallRecord?
        var answer = ["It is noon. ", "Anything else?"]
        var words = "what time is it"
        var deadVoices: Set<String> = []
        var names = ProviderChains(speechToText: ["s0"], languageModel: ["l0"], textToSpeech: ["t0", "t1"])
    }

    let state = Mutex(State())
    let inboundRateHz = 8_000
    let outboundRateHz = 8_000

    var now: State { state.withLock { $0 } }

    // MARK: Audio

    /// Twenty milliseconds pass on the wire.
    func frame() {
        state.withLock { state in
            state.inbound.append((state.inboundPosition, [Int16](repeating: 1, count: 160)))
            state.inboundPosition += 160
            guard !state.isPaused, !state.queue.isEmpty else { return }
            let count = min(160, state.queue.count)
            state.queue.removeFirst(count)
            state.played += UInt64(count)
            state.heardEpochs.append(state.epoch)
        }
    }

    func write(_ samples: UnsafeBufferPointer<Int16>, epoch: UInt64) -> Int {
        state.withLock { state in
            if epoch < state.flushedTo { return samples.count }
            if epoch > state.epoch {
                state.epoch = epoch
                state.played = 0
            }
            let count = min(samples.count, 16_000 - state.queue.count)
            state.queue += samples.prefix(count)
            return count
        }
    }

    func pausePlayout() { state.withLock { $0.isPaused = true } }
    func resumePlayout() { state.withLock { $0.isPaused = false } }

    func flush(olderThan epoch: UInt64) {
        state.withLock { state in
            state.queue = []
            state.flushedTo = epoch
            state.isPaused = false
        }
    }

    func progress() -> PlayoutProgress {
        state.withLock {
            PlayoutProgress(epoch: $0.epoch, playedSamples: $0.played, queuedSamples: UInt64($0.queue.count))
        }
    }

    func drainInbound(_ body: (UnsafeBufferPointer<Int16>, UInt64) -> Void) {
        let frames = state.withLock { state in
            defer { state.inbound = [] }
            return state.inbound
        }
        for frame in frames { frame.samples.withUnsafeBufferPointer { body($0, frame.position) } }
    }

    func close() { state.withLock { $0.isClosed = true } }

    // MARK: The other doors

    func hangUp(_ reason: HangUpReason) { state.withLock { $0.hangUp = reason } }
    func transfer(to target: String) {}
    func sendDTMF(_ digits: String) {}
    func run(_ call: ToolCall, ticket: Ticket, for identity: CallIdentity, mailbox: CallMailbox) {
        mailbox.post(.toolResult(ticket, call: call.id, .json("{}")))
    }
    func samples(of clip: Clip, language: String, rateHz: Int) -> [Int16]? { nil }
    func note(_ entry: LedgerEntry, of call: CallIdentity) {}
    func log(_ line: CallLogLine, of call: CallIdentity) {}
    func ended(_ record: CallRecord, of call: CallIdentity) { state.withLock { $0.record = record } }

    // MARK: Sessions

    func chains(for call: CallIdentity) -> ProviderChains { now.names }

    func open(
        _ provider: Provider, for call: CallIdentity, inboundRateHz: Int, outboundRateHz: Int, mailbox: CallMailbox
    ) {
        let session = ScriptedSession(script: self, provider: provider, mailbox: mailbox)
        let opened: OpenedSession =
            switch provider.kind {
            case .speechToText: .speechToText(session)
            case .languageModel: .languageModel(session)
            case .textToSpeech: .textToSpeech(session)
            case .turn: .turn(session)
            }
        if mailbox.opened(provider, opened) != .accepted { session.close() }
    }
}

final class ScriptedSession: SpeechToTextSession, LanguageModelSession, TextToSpeechSession, TurnSession {
    let script: ScriptedCall
    let provider: Provider
    let mailbox: CallMailbox
    let wantsSilence = false
    private let utterance = Atomic<UInt64>(0)

    init(script: ScriptedCall, provider: Provider, mailbox: CallMailbox) {
        self.script = script
        self.provider = provider
        self.mailbox = mailbox
    }

    func begin(at position: UInt64) { script.state.withLock { $0.begins.append(position) } }

    func push(_ samples: UnsafeBufferPointer<Int16>, at position: UInt64) -> Handover {
        script.state.withLock { $0.pushed.append(position) }
        return .accepted
    }

    func finalize(request: UInt64, tentative: Bool) {
        if tentative {
            let number = utterance.add(1, ordering: .relaxed).newValue
            let words = script.now.words
            if !words.isEmpty { mailbox.post(.transcript(Transcript(utterance: number, text: words, isFinal: false))) }
        }
        mailbox.post(.finalized(request: request))
    }

    func request(_ request: LanguageModelRequest) {
        script.state.withLock { $0.requests.append(request) }
        for delta in script.now.answer { mailbox.post(.languageModel(request.ticket, .delta(delta))) }
        mailbox.post(.languageModel(request.ticket, .done(.stop)))
    }

    func toolResult(_ ticket: Ticket, call: String, json: String) {}

    func speak(_ ticket: Ticket, text: String, last: Bool) {
        guard !text.isEmpty else { return }
        script.state.withLock { $0.spoken.append((provider.name, ticket, text)) }
        if script.now.deadVoices.contains(provider.name) {
            mailbox.failed(provider, nil, ProviderFailure(code: .crashed, retryable: false, message: "gone"))
            return
        }
        let samples = [Int16](repeating: 7, count: text.utf8.count * 500)
        _ = samples.withUnsafeBufferPointer { mailbox.audio($0, from: provider, ticket) }
        mailbox.post(.speech(ticket, .done))
    }

    func credit(samples: Int) { script.state.withLock { $0.credits += samples } }
    func decide(text: String, at position: UInt64) {}
    func cancel(olderThan epoch: UInt64) { script.state.withLock { $0.cancels.append(epoch) } }
    func close() { script.state.withLock { $0.closed.append(provider.name) } }
}
