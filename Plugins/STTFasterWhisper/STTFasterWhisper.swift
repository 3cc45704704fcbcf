// Whisper, behind a server that takes whole utterances: ours (`services/whisper`), any with OpenAI's transcriptions, or
// Wyoming's behind its HTTP wrapper.
//
// The host asks tentatively, while it is still deciding whether the caller is done, and again when it knows. The second
// answer is the first where only silence lies between: recognition has then run beside the decision, and costs the
// caller nothing.

import PluginKit
import UtteranceAudio

@c(vc_plugin_entry_v1)
public func entry(_ host: Plugin.Host, _ module: Plugin.Module) -> Plugin.Status {
    Plugin.export(STTFasterWhisper.self, host, module)
}

final class STTFasterWhisper: SpeechToText {
    static let id = "org.vchost.stt-faster-whisper"

    enum Form: String { case raw, openAI = "openai", verbose, wyoming }

    let url: String
    let form: Form
    let model: String
    let language: String
    let prompt: String
    let hotwords: String
    let apiKey: String
    let timeoutMs: Int
    let utteranceSecondsMax: Int
    let retries: Int

    init(_ host: ProviderHost) throws(PluginError) {
        let configuration = host.configuration
        url = configuration.text("url") ?? "http://127.0.0.1:8101/v1/audio/transcriptions"
        guard url.hasPrefix("http://") || url.hasPrefix("https://") else {
            throw PluginError(
                .configuration,
                "`url` is \"\(url)\", which is no http address; write http://127.0.0.1:8101/v1/audio/transcriptions")
        }
        form = Form(rawValue: configuration.text("form") ?? "raw") ?? .raw
        model = configuration.text("model") ?? ""
        language = configuration.text("language") ?? ""
        prompt = configuration.text("prompt") ?? ""
        hotwords = configuration.text("hotwords") ?? ""
        apiKey = configuration.text("api_key") ?? ""
        timeoutMs = configuration.integer("timeout_ms") ?? 5000
        utteranceSecondsMax = configuration.integer("utterance_seconds_max") ?? 60
        retries = configuration.integer("retries") ?? 1
    }

    func open(_ host: SpeechToTextHost) -> WhisperSession {
        host.http.prewarm(url)
        return WhisperSession(self, host)
    }

    /// The request for one utterance.
    func request(_ samples: [Int16], rateHz: Int, language: String) -> HTTPRequest {
        var request = HTTPRequest("POST", url, deadlineMs: timeoutMs)
        switch form {
        case .wyoming:
            request.url = asking(language)
            request.headers = [(name: "Content-Type", value: "audio/wav")]
            request.body = .bytes(Waveform.wav(samples, rateHz: rateHz))
        case .raw:
            request.url = asking(language)
            request.headers = [(name: "Content-Type", value: "audio/L16;rate=\(rateHz);channels=1")]
            request.body = .samples(samples)
        case .openAI, .verbose:
            var fields = [(name: "response_format", value: form == .verbose ? "verbose_json" : "json")]
            if form == .verbose {
                for unit in ["segment", "word"] { fields.append((name: "timestamp_granularities[]", value: unit)) }
            }
            if !model.isEmpty { fields.append((name: "model", value: model)) }
            if !language.isEmpty { fields.append((name: "language", value: language)) }
            if !prompt.isEmpty { fields.append((name: "prompt", value: prompt)) }
            if !hotwords.isEmpty { fields.append((name: "hotwords", value: hotwords)) }
            let form = Waveform.form(fields: fields, wav: Waveform.wav(samples, rateHz: rateHz))
            request.headers = [(name: "Content-Type", value: form.contentType)]
            request.body = .bytes(form.body)
        }
        if !apiKey.isEmpty { request.headers.append((name: "Authorization", value: "Bearer \(apiKey)")) }
        return request
    }

    private func asking(_ language: String) -> String {
        language.isEmpty ? url : url + (url.contains("?") ? "&" : "?") + "language=\(language)"
    }
}
