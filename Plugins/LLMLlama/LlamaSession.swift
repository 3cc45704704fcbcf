// One call's connections and questions: does what `LlamaPool` decides.

import ChatStream
import LlamaSocket
import PluginKit

final class LlamaSession: LanguageModelSession {
    private let provider: LLMLlama
    private let host: SessionHost
    private let request: LlamaRequest
    private var pool = LlamaPool()
    private var sockets: [Int: WebSocket] = [:]
    /// By a number of our own: the host may ask the same request again.
    private var asked: [UInt64: LlamaQuestion] = [:]
    private var latest: UInt64 = 0
    /// Why the latest connection could not be had.
    private var problem: PluginError?

    init(_ provider: LLMLlama, _ host: SessionHost) {
        self.provider = provider
        self.host = host
        request = provider.request(language: host.language)
    }

    func begin() { follow(pool.begin()) }

    func answer(_ question: Question) {
        guard let frame = request.frame(messages: question.messages, options: question.options) else {
            return question.fail(
                PluginError(.argument, "\(provider.vendor) answers only what a caller said, and nothing was said"))
        }
        latest += 1
        let asked = LlamaQuestion(question, frame, retriesLeft: provider.retries, sentencesMax: provider.sentencesMax)
        self.asked[latest] = asked
        limit(latest, asked)
        follow(pool.ask(latest))
    }

    func cancel() {
        for (number, asked) in asked where asked.question.isFinished { abandon(number) }
    }

    func close() {
        for socket in sockets.values { socket.close() }
        for asked in asked.values { asked.timers.forEach { $0.cancel() } }
        asked = [:]
    }

    // MARK: What the pool decides

    private func follow(_ actions: [LlamaPool.Action]) {
        for action in actions {
            switch action {
            case .connect(let connection): connect(connection)
            case .send(let number, let connection): send(number, on: connection)
            case .close(let connection): sockets.removeValue(forKey: connection)?.close()
            case .wait(let ms):
                host.timers.after(ms) { [weak self] in
                    guard let self else { return }
                    follow(pool.reconnect())
                }
            case .fail(let number):
                fail(
                    number,
                    problem ?? PluginError(.network, "\(provider.vendor) cannot be reached", isRetryable: true))
            }
        }
    }

    private func connect(_ connection: Int) {
        do throws(PluginError) {
            sockets[connection] = try host.webSockets.connect(provider.url, connectMs: provider.connectMs) {
                [weak self] event in self?.heard(event, on: connection)
            }
        } catch {
            problem = error
            let (_, actions) = pool.closed(connection)
            follow(actions)
        }
    }

    private func send(_ number: UInt64, on connection: Int) {
        guard let asked = asked[number], let socket = sockets[connection] else { return }
        // A connection that takes nothing is as good as closed; `closed` follows and asks elsewhere.
        if socket.send(asked.frame) != .sent { socket.close() }
    }

    // MARK: What the service says

    private func heard(_ event: WebSocketEvent, on connection: Int) {
        switch event {
        case .opened: follow(pool.opened(connection))
        case .text(let text): heard(LlamaFrame(text), on: connection)
        case .binary: heard(.nonsense, on: connection)
        case .writable: break
        case .closed(let code, let reason, let error):
            sockets[connection] = nil
            let end = "closed the connection\(code > 0 ? " with \(code)" : "")\(reason.isEmpty ? "" : " (\(reason))")"
            problem = error ?? PluginError(.network, "\(provider.vendor) \(end)", isRetryable: true)
            let (lost, actions) = pool.closed(connection)
            follow(actions)
            if let lost { failed(lost, problem!) }
        }
    }

    private func heard(_ frame: LlamaFrame, on connection: Int) {
        // What comes without a question, or for one that is over, is nobody's.
        guard let number = pool.question(on: connection), let asked = asked[number] else { return }
        switch frame {
        case .chunk(let text):
            guard let words = asked.thoughts.pass(text) else { return }
            say(words, number, asked)
        case .done:
            if let words = asked.thoughts.end() { say(words, number, asked) }
            forget(number)
            asked.question.finish(.stop)
            follow(pool.finished(connection))
        case .error(let message):
            follow(pool.finished(connection))
            failed(
                number,
                PluginError(
                    .vendor, "\(provider.vendor) refused: \(message.prefix(300))",
                    isRetryable: message.hasPrefix("Processing error"), vendor: "llama",
                    vendorCode: String(message.prefix { $0 != ":" }.prefix(60))))
        case .context(let characters):
            host.log.debug("documents were found for the question", (name: "characters", value: String(characters)))
        case .nonsense:
            failed(number, PluginError(.vendor, "\(provider.vendor) sent a frame that is no part of an answer"))
        }
    }

    private func say(_ text: String, _ number: UInt64, _ asked: LlamaQuestion) {
        let (words, isOver) = asked.limit.pass(text)
        if !asked.hasOutput {
            asked.hasOutput = true
            asked.timers.first?.cancel()
        }
        switch asked.question.emit(.delta(words)) {
        case .accepted where isOver: end(number, .stop)
        case .accepted: break
        case .noCredit: end(number, .length)
        case .canceled, .gone: abandon(number)
        }
    }

    // MARK: How a question ends

    /// The service writes on; its connection is given up.
    private func end(_ number: UInt64, _ reason: AnswerEnd) {
        asked[number]?.question.finish(reason)
        abandon(number)
    }

    private func abandon(_ number: UInt64) {
        forget(number)
        follow(pool.abandon(number))
    }

    /// Asks once more where nothing was said yet.
    private func failed(_ number: UInt64, _ error: PluginError) {
        guard let asked = asked[number] else { return }
        guard error.isRetryable, !asked.hasOutput, asked.retriesLeft > 0, !asked.question.isFinished else {
            return fail(number, error)
        }
        asked.retriesLeft -= 1
        host.log.info("asking once more", (name: "after", value: error.message))
        follow(pool.abandon(number))
        follow(pool.ask(number))
    }

    private func fail(_ number: UInt64, _ error: PluginError) {
        let question = asked[number]?.question
        abandon(number)
        question?.fail(error)
    }

    private func forget(_ number: UInt64) {
        asked.removeValue(forKey: number)?.timers.forEach { $0.cancel() }
    }

    /// The service has no limits of its own.
    private func limit(_ number: UInt64, _ asked: LlamaQuestion) {
        for (ms, what) in [(provider.firstTokenMs, "begin"), (provider.timeoutMs, "end")] {
            let timer = host.timers.after(ms) { [weak self] in
                guard let self else { return }
                let message = "\(provider.vendor) did not \(what) its answer within \(ms) ms"
                fail(number, PluginError(.timeout, message, isRetryable: true))
            }
            if let timer { asked.timers.append(timer) }
        }
    }
}
