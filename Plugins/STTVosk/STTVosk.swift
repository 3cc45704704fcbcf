// Vosk, behind its own WebSocket server.
//
// The server finds utterances by the pauses in what it hears, so it gets all of the call. It answers every message of
// audio with exactly one of its own, and by that the session knows to the sample how far it has heard: a question of
// the host is answered at the moment when all that was said before it is in.

import PluginKit
import VoskDialogue

@c(vc_plugin_entry_v1)
public func entry(_ host: Plugin.Host, _ module: Plugin.Module) -> Plugin.Status {
    Plugin.export(STTVosk.self, host, module)
}

final class STTVosk: SpeechToText {
    static let id = "org.vchost.stt-vosk"

    let url: String
    let settings: VoskSettings
    /// What the server is told of the rate; nil: the call's.
    let rateHz: Int?
    let language: String
    let isConfigured: Bool
    let resets: Bool
    let sendsEnd: Bool
    let connectMs: Int
    let reconnects: Int
    let replaySecondsMax: Int
    let chunkMs: Int
    let finalizeMs: Int
    let stallMs: Int

    init(_ host: ProviderHost) throws(PluginError) {
        let configuration = host.configuration
        url = configuration.text("url") ?? "ws://127.0.0.1:2700"
        guard url.hasPrefix("ws://") || url.hasPrefix("wss://") else {
            throw PluginError(
                .configuration, "`url` is \"\(url)\", which is no WebSocket address; write ws://127.0.0.1:2700")
        }
        var settings = VoskSettings()
        settings.words = configuration.flag("words") ?? true
        settings.alternatives = configuration.integer("max_alternatives") ?? 0
        settings.phrases = configuration.texts("phrase_list") ?? []
        settings.model = configuration.text("model") ?? ""
        self.settings = settings
        rateHz = configuration.integer("sample_rate").flatMap { $0 > 0 ? $0 : nil }
        language = configuration.text("language") ?? ""
        isConfigured = configuration.flag("send_config") ?? true
        resets = configuration.flag("reset") ?? false
        sendsEnd = configuration.flag("send_eof") ?? true
        connectMs = configuration.integer("connect_ms") ?? 5000
        reconnects = configuration.integer("reconnects") ?? 4
        replaySecondsMax = configuration.integer("replay_seconds_max") ?? 15
        chunkMs = configuration.integer("chunk_ms") ?? 100
        finalizeMs = configuration.integer("finalize_ms") ?? 1500
        stallMs = configuration.integer("stall_ms") ?? 8000
    }

    func open(_ host: SpeechToTextHost) throws(PluginError) -> VoskSession {
        guard host.rateHz == 8000 || host.rateHz == 16000 else {
            throw PluginError(.unsupported, "a session at \(host.rateHz) Hz; this recogniser takes 8000 and 16000")
        }
        return VoskSession(self, host)
    }
}
