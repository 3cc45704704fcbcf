// plugin-name: a recogniser that is a server. PluginKit keeps the contract: order, cancelling, credit, closing.
//
// A provider is shared by all calls, so it is constant. A session belongs to one call, and nothing in it is ever
// concurrent: answers of the server come as calls of the session, one after the other.
//
// The caller's audio is kept from the beginning of the utterance, and `finalize` sends what there is of it. Silence is
// not sent: it costs money, and recognisers hear words in it.

import PluginKit

@c(vc_plugin_entry_v1)
public func entry(_ host: Plugin.Host, _ module: Plugin.Module) -> Plugin.Status {
    Plugin.export(PluginName.self, host, module)
}

final class PluginName: SpeechToText {
    static let id = "org.example.plugin-name"

    let url: String

    init(_ host: ProviderHost) throws(PluginError) {
        url = host.configuration.text("url") ?? ""
        guard !url.isEmpty else {
            throw PluginError(.configuration, "`url` is empty; name the recogniser's address")
        }
        // Yours: further settings, as the manifest's `config` declares them.
    }

    func open(_ host: SpeechToTextHost) -> PluginNameSession { PluginNameSession(self, host) }
}

final class PluginNameSession: SpeechToTextSession {
    /// More than a minute without a pause is a radio: of it only the last minute is kept.
    private static let secondsMax = 60
    /// Below this level there is no voice.
    private static let quiet = 200

    private let provider: PluginName
    private let host: SpeechToTextHost
    private var utterance: UInt64 = 0
    /// Where the utterance begins, and where the samples do that are kept: positions.
    private var start: UInt64 = 0
    private var base: UInt64 = 0
    private var samples: [Int16] = []

    init(_ provider: PluginName, _ host: SpeechToTextHost) {
        self.provider = provider
        self.host = host
        // A handshake takes longer than a caller likes to wait.
        host.http.prewarm(provider.url)
    }

    func begin(utterance: UInt64, at position: UInt64) {
        forget(before: position)
        self.utterance = utterance
        start = max(position, base)
    }

    func push(_ frame: borrowing AudioFrame) -> Intake {
        // A gap, or the beginning.
        if frame.position != base + UInt64(samples.count) {
            base = frame.position
            samples = []
        }
        // A second at a time, so that a long utterance is not moved with each frame.
        if samples.count > Self.secondsMax * host.rateHz { forget(before: base + UInt64(host.rateHz)) }
        frame.append(to: &samples)
        start = max(start, base)
        return .taken
    }

    func finalize(_ request: Finalization) {
        let to = min(request.position, base + UInt64(samples.count))
        let from = min(start, to)
        let said = samples.dropFirst(Int(max(from, base) - base)).prefix(Int(to - from))
        if !request.isTentative { start = to }
        guard said.contains(where: { $0.magnitude > Self.quiet }) else { return request.finish() }

        let transcript = Transcript("", utterance: utterance, start: from, end: to)
        var text: [UInt8] = []
        let reply = Reply()
        do {
            try host.http.start(question(Array(said))) { event in
                switch event {
                case .response(let response): reply.begin(response)
                case .data(let bytes): if reply.take(bytes) { text += bytes }
                case .done:
                    if let problem = reply.end() { return request.fail(problem) }
                    var transcript = transcript
                    guard let words = words(text) else {
                        return request.fail(PluginError(.vendor, "the server's answer is no text in UTF-8"))
                    }
                    transcript.text = words
                    if !transcript.text.isEmpty { request.emit(transcript) }
                    request.finish()
                case .failed(let error): request.fail(error)
                }
            }
        } catch {
            request.fail(error)
        }
    }

    private func question(_ samples: [Int16]) -> HTTPRequest {
        // Yours: the question, as the vendor wants it put, and how long its answer may take to begin, and to end. As it
        // stands, the audio is sent as it is, 16 bit samples, little-endian. A credential is named in a header and in
        // the manifest's `secrets`; the host puts it in, and the plugin never sees it:
        // ("Authorization", "Bearer ${secret:ACME_API_KEY}").
        HTTPRequest(
            "POST", "\(provider.url)?rate=\(host.rateHz)", headers: [("Content-Type", "application/octet-stream")],
            body: .samples(samples), deadlineMs: 30_000, firstByteMs: 3_000)
    }

    private func forget(before position: UInt64) {
        guard position > base else { return }
        samples.removeFirst(min(Int(position - base), samples.count))
        base = position
    }
}

/// nil: it is no text.
private func words(_ answer: [UInt8]) -> String? {
    // Yours: take out what is text. As it stands, all of it is.
    String(validating: answer, as: UTF8.self)
}
