// Cartesia's voices over one WebSocket for each call.
//
// Of the three ways in which Cartesia speaks only the WebSocket keeps the melody from clause to clause, says when each
// word is spoken, and can be told to stop. What is sent and what it means is decided in `CartesiaLine`.

import CartesiaLine
import JSON
import PluginKit

@c(vc_plugin_entry_v1)
public func entry(_ host: Plugin.Host, _ module: Plugin.Module) -> Plugin.Status {
    Plugin.export(TTSCartesia.self, host, module)
}

final class TTSCartesia: TextToSpeech {
    static let id = "org.vchost.tts-cartesia"

    let url: String
    let headers: [(name: String, value: String)]
    let connectMs: Int
    let limits: LineLimits
    /// Chunks that came after their context was canceled.
    let lateChunks: Metric

    private let model: String
    private let voice: String
    private let language: String
    private let encoding: CartesiaFormat.Encoding
    /// nil: that of the call.
    private let rateHz: Int?
    private let bufferDelayMs: Int
    private let expression: [String: JSONValue]

    init(_ host: ProviderHost) throws(PluginError) {
        let configuration = host.configuration
        url = configuration.text("url") ?? "wss://api.cartesia.ai/tts/websocket"
        guard url.hasPrefix("ws://") || url.hasPrefix("wss://") else {
            throw PluginError(
                .configuration,
                "`url` is \"\(url)\", which is no WebSocket address; write wss://api.cartesia.ai/tts/websocket")
        }
        var headers = [(name: "Cartesia-Version", value: configuration.text("version") ?? "2026-03-01")]
        let key = configuration.text("api_key") ?? "${secret:CARTESIA_API_KEY}"
        if !key.isEmpty { headers.append((name: "Authorization", value: "Bearer \(key)")) }
        self.headers = headers
        model = configuration.text("model") ?? "sonic-3"
        voice = configuration.text("voice") ?? "Katie"
        language = configuration.text("language") ?? ""
        encoding = configuration.text("encoding").flatMap(CartesiaFormat.Encoding.init) ?? .linear
        rateHz = encoding == .muLaw ? 8000 : configuration.integer("sample_rate")
        if encoding == .muLaw, let rate = configuration.integer("sample_rate"), rate != 8000 {
            throw PluginError(
                .configuration,
                "`sample_rate` is \(rate) and `encoding` pcm_mulaw, which has 8000; leave one of them out")
        }
        bufferDelayMs = configuration.integer("max_buffer_delay_ms") ?? 0
        var expression: [String: JSONValue] = [:]
        for key in ["speed", "volume"] {
            if let value = configuration.number(key) { expression[key] = .number(value) }
        }
        if let emotion = configuration.text("emotion"), !emotion.isEmpty { expression["emotion"] = .string(emotion) }
        self.expression = expression

        connectMs = configuration.integer("connect_ms") ?? 5000
        var limits = LineLimits()
        limits.stallMs = UInt64(configuration.integer("timeout_ms") ?? 4000)
        limits.retries = configuration.integer("retries") ?? 1
        limits.isClausewise = configuration.text("context") == "clause"
        self.limits = limits
        lateChunks = host.metrics.counter(
            "cartesia_late_chunks_total", "Chunks of audio that came after their context was canceled.")
    }

    func open(_ host: SessionHost) -> CartesiaSession {
        let chosen = host.configuration.text("voice") ?? ""
        let request = CartesiaRequest(
            model: model, voice: CartesiaVoices.id(of: chosen.isEmpty ? voice : chosen),
            language: language.isEmpty ? CartesiaRequest.language(of: host.language) : language,
            format: CartesiaFormat(encoding, rateHz: rateHz ?? (host.rateHz > 0 ? host.rateHz : 8000)),
            bufferDelayMs: bufferDelayMs, expression: expression)
        return CartesiaSession(self, host, request)
    }
}
