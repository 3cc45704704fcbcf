// One call over HTTP: clauses in order, two of them under way.

import JSON
import PiperAudio
import PluginKit

final class PiperHTTPSession: TextToSpeechSession {
    /// One that is coming in, and one that is being made.
    static let parallelMax = 2

    let provider: TTSPiper
    let host: SessionHost
    /// What every request says of the voice.
    let voice: [String: JSONValue]
    private var utterances: [Utterance] = []

    init(_ provider: TTSPiper, _ host: SessionHost, voice: [String: JSONValue]) {
        self.provider = provider
        self.host = host
        self.voice = voice
    }

    func speak(_ clause: Clause) {
        utterances.append(Utterance(clause, self))
        advance()
    }

    func cancel() {
        utterances.removeAll { $0.clause.isFinished }
        advance()
    }

    func creditReturned() {
        for utterance in utterances { utterance.handOver() }
        advance()
    }

    /// Starts what may be started. A clause that the host has no room for holds up those behind it.
    func advance() {
        utterances.removeAll { $0.clause.isFinished }
        for utterance in utterances.prefix(Self.parallelMax) { utterance.start() }
    }
}

/// A clause on its way: text out, samples in.
private final class Utterance {
    /// Servers refuse 2,000; a clause of an agent has some hundred.
    static let charactersMax = 1500

    let clause: Clause
    private unowned let session: PiperHTTPSession
    /// What is still to be asked for: the clause, in pieces where it is too long for one request.
    private var texts: [String]
    private var isUnderWay = false
    /// The host wants no more of it, and has not said so by `cancel` yet: it waits for that.
    private var isRefused = false
    private var exchange: HTTPExchange?
    /// Samples that the host had no room for; a piece of text is two minutes at most.
    private var waiting: [(samples: [Int16], rateHz: Int)] = []

    init(_ clause: Clause, _ session: PiperHTTPSession) {
        self.clause = clause
        self.session = session
        texts = Self.pieces(of: clause.text)
    }

    func start() {
        guard !isUnderWay, !isRefused, waiting.isEmpty, !clause.isFinished else { return }
        guard !texts.isEmpty else { return clause.finish() }
        isUnderWay = true
        attempt(texts.removeFirst(), retriesLeft: session.provider.retries)
    }

    /// Gives the host what it had no room for.
    func handOver() {
        while let (samples, rateHz) = waiting.first {
            switch clause.emit(samples, rateHz: rateHz) {
            case .accepted: waiting.removeFirst()
            case .noCredit: return
            case .canceled, .gone: return refused()
            }
        }
    }

    /// What comes after a refusal is refused too: the server need not go on.
    private func refused() {
        isRefused = true
        waiting = []
        exchange?.cancel()
    }

    private func attempt(_ text: String, retriesLeft: Int) {
        var audio = PiperAudio(announcedRateHz: nil)
        var response = HTTPResponse(status: 0, headers: [])
        var refusal: [UInt8] = []
        var hasSamples = false
        func fail(_ error: PluginError) {
            exchange?.cancel()
            // A second attempt after the first sample would say it twice, and one at once is of no use where the server
            // asked to be left alone: the host has other voices.
            let isTransient = error.code == .network || (error.isRetryable && error.code != .quota)
            let isWorthwhile = !hasSamples && retriesLeft > 0 && isTransient && error.retryAfterMs == 0
            isWorthwhile ? attempt(text, retriesLeft: retriesLeft - 1) : clause.fail(error)
        }
        func take(_ samples: [Int16]) {
            guard !samples.isEmpty else { return }
            hasSamples = true
            waiting.append((samples, audio.rateHz))
            handOver()
        }
        do throws(PluginError) {
            exchange = try session.host.http.start(session.provider.request(text, session.voice)) { event in
                do throws(PluginError) {
                    switch event {
                    case .response(let head):
                        response = head
                        audio = PiperAudio(announcedRateHz: PiperAudio.announcedRateHz(head))
                    case .data(let bytes) where response.status == 200: take(try audio.feed(bytes))
                    case .data(let bytes): refusal += bytes.prefix(4096 - min(4096, refusal.count))
                    case .done where response.status == 200:
                        take(try audio.end())
                        self.next()
                    case .done:
                        let (error, isEmptyText) = self.refusal(response, refusal)
                        if isEmptyText { self.next() } else { fail(error) }
                    case .failed(let error): fail(error)
                    }
                } catch {
                    fail(error)
                }
            }
        } catch {
            clause.fail(error)
        }
    }

    private func next() {
        isUnderWay = false
        guard !isRefused else { return }
        if texts.isEmpty && waiting.isEmpty { clause.finish() }
        session.advance()
    }

    /// The error to report; or a text without anything to say in it, a lone dash say, which is no failure.
    private func refusal(_ response: HTTPResponse, _ body: [UInt8]) -> (PluginError, isEmptyText: Bool) {
        let text = String(decoding: body, as: UTF8.self)
        let details = (try? JSONValue(parsing: text))?["error"]
        let code = details?["code"]?.string ?? ""
        let status = response.status
        let mend =
            status == 404 || status == 405 ? "; older servers of Piper take requests at / instead of /synthesize" : ""
        let kind: PluginError.Code =
            switch status {
            case 400, 404, 405, 413, 415: .configuration
            case 401, 403: .authentication
            case 429: .quota
            default: .vendor
            }
        let error = PluginError(
            kind, "the voice at \(session.provider.url) answered \(status): "
                + (details?["message"]?.string ?? String(text.prefix(120))) + mend,
            isRetryable: status == 429 || status >= 500,
            retryAfterMs: response["retry-after"].flatMap { Int($0) }.map { min($0, 3600) * 1000 } ?? 0,
            protocolStatus: status, vendor: "piper", vendorCode: code)
        return (error, code == "empty_text")
    }

    /// The text in pieces that a server takes, cut at spaces.
    static func pieces(of text: String) -> [String] {
        guard text.count > charactersMax else { return [text] }
        var pieces: [String] = []
        var rest = text[...]
        while rest.count > charactersMax {
            let limit = rest.index(rest.startIndex, offsetBy: charactersMax)
            let cut = rest[..<limit].lastIndex(where: \.isWhitespace).map { rest.index(after: $0) } ?? limit
            pieces.append(String(rest[..<cut]))
            rest = rest[cut...]
        }
        if rest.contains(where: { !$0.isWhitespace }) { pieces.append(String(rest)) }
        return pieces
    }
}
