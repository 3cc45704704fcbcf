// Piper, behind its own HTTP server, ours (`services/piper`), or the WebSocket service of the systems before this one.
//
// Piper is GPL, so it stays in a process of its own. It makes a whole sentence before the first sample leaves, so what
// makes it fast is to ask early: while one clause is coming in the next one is being made, and no more than that,
// because a barge-in throws away whatever was made too soon. The WebSocket service takes one clause at a time.

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
    /// It is that of a WebSocket service, and not of an HTTP server.
    private let isSocket: Bool
    /// What every request says of the voice.
    private let voice: [String: JSONValue]
    private let generation: PiperGeneration
    private let spares: Int
    /// Of samples about which the WebSocket service says nothing.
    private let socketRateHz: Int
    let timeoutMs: Int
    let retries: Int

    init(_ host: ProviderHost) throws(PluginError) {
        let configuration = host.configuration
        let address = configuration.text("url") ?? "http://127.0.0.1:8103/synthesize"
        isSocket = address.hasPrefix("ws://") || address.hasPrefix("wss://")
        guard isSocket || address.hasPrefix("http://") || address.hasPrefix("https://") else {
            throw PluginError(
                .configuration,
                "`url` is \"\(address)\", which is neither an http nor a ws address; write"
                    + " http://127.0.0.1:8103/synthesize or ws://127.0.0.1:8000/tts")
        }
        // Piper's own server does not look at the query, and answers with a WAV file: both are understood.
        let isStreamed = !isSocket && configuration.flag("stream") ?? true
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
        generation = configuration.integer("generation").flatMap(PiperGeneration.init) ?? .third
        spares = configuration.integer("spare_connections") ?? 1
        socketRateHz = configuration.integer("socket_rate") ?? 22050
    }

    func open(_ host: SessionHost) -> PiperSession {
        // A voice that is chosen for the call counts, and then the provider's.
        var chosen = voice
        if let name = host.configuration.text("voice"), !name.isEmpty { chosen["voice"] = .string(name) }
        guard isSocket else {
            host.http.prewarm(url)
            return PiperSession(PiperHTTPSession(self, host, voice: chosen))
        }
        var limits = PiperLineLimits()
        limits.stallMs = UInt64(timeoutMs)
        limits.retries = retries
        limits.spares = spares
        let request = PiperSocketRequest(
            generation, voice: chosen["voice"]?.string ?? "",
            wishedRateHz: chosen["sample_rate"]?.integer.map { Int($0) } ?? socketRateHz, rateHz: socketRateHz)
        return PiperSession(PiperSocketSession(self, host, request, limits))
    }

    func request(_ text: String, _ voice: [String: JSONValue]) -> HTTPRequest {
        var fields = voice
        fields["text"] = .string(text)
        return HTTPRequest(
            "POST", url, headers: [(name: "Content-Type", value: "application/json")],
            body: .text(JSONValue.object(fields).text), deadlineMs: timeoutMs)
    }
}
