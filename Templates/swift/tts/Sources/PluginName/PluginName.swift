// plugin-name: a voice that a server speaks. PluginKit keeps the contract: order, marks, cancelling, credit, closing.
//
// A provider is shared by all calls, so it is constant. A session belongs to one call, and nothing in it is ever
// concurrent: answers of the server come as calls of the session, one after the other.

import PluginKit

@c(vc_plugin_entry_v1)
public func entry(_ host: Plugin.Host, _ module: Plugin.Module) -> Plugin.Status {
    Plugin.export(PluginName.self, host, module)
}

final class PluginName: TextToSpeech {
    static let id = "org.example.plugin-name"

    let url: String

    init(_ host: ProviderHost) throws(PluginError) {
        url = host.configuration.text("url") ?? ""
        guard !url.isEmpty else {
            throw PluginError(.configuration, "`url` is empty; name the speech server's address")
        }
        // Yours: further settings, as the manifest's `config` declares them.
    }

    func open(_ host: SessionHost) -> PluginNameSession { PluginNameSession(self, host) }
}

final class PluginNameSession: TextToSpeechSession {
    private let provider: PluginName
    private let host: SessionHost

    init(_ provider: PluginName, _ host: SessionHost) {
        self.provider = provider
        self.host = host
        // A handshake takes longer than a caller likes to wait.
        host.http.prewarm(provider.url)
    }

    func speak(_ clause: Clause) {
        let answer = Answer(rateHz: host.rateHz), reply = Reply()
        do {
            try host.http.start(question(clause)) { event in
                switch event {
                case .response(let response): reply.begin(response)
                case .data(let bytes):
                    guard reply.take(bytes) else { return }
                    if clause.emit(answer.samples(bytes), rateHz: answer.rateHz) == .noCredit {
                        clause.fail(PluginError(.vendor, "the server's answer is longer than 4 MiB, and was cut off"))
                    }
                case .done: if let problem = reply.end() { clause.fail(problem) } else { clause.finish() }
                case .failed(let error): clause.fail(error)
                }
            }
        } catch {
            clause.fail(error)
        }
    }

    private func question(_ clause: Clause) -> HTTPRequest {
        // Yours: the question, as the vendor wants it put, and how long its answer may take to begin, and to end. As
        // it stands, the text is sent as it is. A credential is named in a header and in the manifest's `secrets`; the
        // host puts it in, and the plugin never sees it: ("Authorization", "Bearer ${secret:ACME_API_KEY}").
        HTTPRequest(
            "POST", "\(provider.url)?rate=\(host.rateHz)", headers: [("Content-Type", "text/plain; charset=utf-8")],
            body: .text(clause.text), deadlineMs: 30_000, firstByteMs: 3_000)
    }
}

/// One answer of the server, as it comes.
private final class Answer {
    let rateHz: Int
    /// Bytes that came before.
    private var received = 0
    /// The first half of a sample whose second has yet to come.
    private var half: UInt8?

    init(rateHz: Int) { self.rateHz = rateHz }

    func samples(_ bytes: [UInt8]) -> [Int16] {
        // Yours: take out what is audio; `received` bytes of this answer came before these. As it stands, all of it is:
        // 16 bit samples, little-endian, one channel, at the rate that was asked for.
        let audio = bytes[...]
        received += bytes.count
        var samples: [Int16] = []
        samples.reserveCapacity(audio.count / 2 + 1)
        for byte in audio {
            if let low = half {
                samples.append(Int16(bitPattern: UInt16(low) | UInt16(byte) << 8))
                half = nil
            } else {
                half = byte
            }
        }
        return samples
    }
}
