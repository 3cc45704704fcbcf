// Piper, behind its own HTTP server or ours (`services/piper`).
//
// Piper is GPL, so it stays in a process of its own. It makes a whole sentence before the first sample leaves, so what
// makes it fast is to ask early: while one clause is coming in the next one is being made, and no more than that,
// because a barge-in throws away whatever was made too soon.

import JSON
import PiperAudio
import PluginKit

@c(vc_plugin_entry_v1)
public func entry(_ host: Plugin.Host, _ module: Plugin.Module) -> Plugin.Status {
    Plugin.export(TTSPiper.self, host, module)
}

final class TTSPiper: TextToSpeech {
    static let id = "org.vchost.tts-piper"

    let url: String
    /// What every request says of the voice.
    let voice: [String: JSONValue]
    let timeoutMs: Int
    let retries: Int

    init(_ host: ProviderHost) throws(PluginError) {
        let configuration = host.configuration
        let address = configuration.text("url") ?? "http://127.0.0.1:8103/synthesize"
        guard address.hasPrefix("http://") || address.hasPrefix("https://") else {
            throw PluginError(
                .configuration,
                "`url` is \"\(address)\", which is no http address; write http://127.0.0.1:8103/synthesize")
        }
        // Piper's own server does not look at the query, and answers with a WAV file: both are understood.
        let isStreamed = configuration.flag("stream") ?? true
        url = isStreamed ? address + (address.contains("?") ? "&" : "?") + "stream=1" : address

        var voice: [String: JSONValue] = [:]
        for key in ["voice", "speaker"] {
            if let value = configuration.text(key), !value.isEmpty { voice[key] = .string(value) }
        }
        for key in ["length_scale", "noise_scale", "noise_w_scale"] {
            if let value = configuration.number(key) { voice[key] = .number(value) }
        }
        for key in ["speaker_id", "sample_rate"] {
            if let value = configuration.integer(key) { voice[key] = .integer(Int64(value)) }
        }
        self.voice = voice
        timeoutMs = configuration.integer("timeout_ms") ?? 10000
        retries = configuration.integer("retries") ?? 1
    }

    func open(_ host: SessionHost) -> PiperSession {
        host.http.prewarm(url)
        return PiperSession(self, host)
    }

    func request(_ text: String) -> HTTPRequest {
        var fields = voice
        fields["text"] = .string(text)
        return HTTPRequest(
            "POST", url, headers: [(name: "Content-Type", value: "application/json")],
            body: .text(JSONValue.object(fields).text), deadlineMs: timeoutMs)
    }
}
