// Deepgram, over its two streaming interfaces: Flux, which decides turns, and Nova, for the languages that Flux lacks.
//
// The recogniser hears all of the call, silence too: Flux ends turns by it, and Nova finds pauses. The contract's
// utterances are made of what it says (`StreamedUtterances`); audio that it made no words of yet is kept
// (`ReplayableAudio`), so a connection that breaks in the middle of a sentence costs a moment and not the sentence.

import DeepgramListen
import PluginKit

@c(vc_plugin_entry_v1)
public func entry(_ host: Plugin.Host, _ module: Plugin.Module) -> Plugin.Status {
    Plugin.export(STTDeepgram.self, host, module)
}

final class STTDeepgram: SpeechToText {
    static let id = "org.vchost.stt-deepgram"

    let settings: ListenSettings
    let headers: [(name: String, value: String)]
    let connectMs: Int
    let reconnects: Int
    let replaySecondsMax: Int
    let catchUp: Double
    let chunkMs: Int
    let finalizeMs: Int
    let keepAliveMs: Int
    let forcesEndOfTurn: Bool

    init(_ host: ProviderHost) throws(PluginError) {
        let configuration = host.configuration
        var settings = ListenSettings()
        settings.url = configuration.text("url") ?? settings.url
        guard settings.url.hasPrefix("ws://") || settings.url.hasPrefix("wss://"), !settings.url.contains("?") else {
            throw PluginError(
                .configuration,
                "`url` is \"\(settings.url)\", which is no WebSocket address; write wss://api.deepgram.com")
        }
        settings.model = configuration.text("model") ?? settings.model
        settings.modelMultilingual = configuration.text("model_multilingual") ?? settings.modelMultilingual
        settings.modelOther = configuration.text("model_other") ?? settings.modelOther
        settings.fluxLanguages = configuration.texts("flux_languages") ?? []
        settings.language = configuration.text("language") ?? ""
        settings.encoding = configuration.text("encoding") ?? "auto"
        settings.keyterms = configuration.texts("keyterms") ?? []
        guard settings.keyterms.count <= ListenPlan.keytermsMax else {
            throw PluginError(
                .configuration,
                "`keyterms` has \(settings.keyterms.count) terms; Deepgram takes \(ListenPlan.keytermsMax)")
        }
        settings.endOfTurnThreshold = configuration.number("eot_threshold")
        settings.eagerThreshold = configuration.number("eager_eot_threshold") ?? 0
        if let threshold = settings.endOfTurnThreshold, settings.eagerThreshold > threshold {
            throw PluginError(
                .configuration,
                "`eager_eot_threshold` is \(settings.eagerThreshold), above `eot_threshold`, which is \(threshold)")
        }
        settings.endOfTurnTimeoutMs = configuration.integer("eot_timeout_ms")
        settings.endpointingMs = configuration.integer("endpointing_ms") ?? settings.endpointingMs
        settings.utteranceEndMs = configuration.integer("utterance_end_ms") ?? settings.utteranceEndMs
        guard settings.utteranceEndMs == 0 || settings.utteranceEndMs >= 1000 else {
            throw PluginError(
                .configuration,
                "`utterance_end_ms` is \(settings.utteranceEndMs); Deepgram takes 1000 and more, and 0 is off")
        }
        settings.punctuates = configuration.flag("punctuate") ?? true
        settings.smartFormat = configuration.flag("smart_format") ?? false
        settings.numerals = configuration.flag("numerals") ?? false
        settings.filtersProfanity = configuration.flag("profanity_filter") ?? false
        settings.optsOut = configuration.flag("mip_opt_out") ?? false
        settings.tag = configuration.text("tag") ?? ""
        self.settings = settings

        let key = configuration.text("api_key") ?? ""
        let scheme = configuration.text("auth") == "bearer" ? "Bearer" : "Token"
        headers = key.isEmpty ? [] : [(name: "Authorization", value: "\(scheme) \(key)")]
        connectMs = configuration.integer("connect_ms") ?? 4000
        reconnects = configuration.integer("reconnects") ?? 4
        replaySecondsMax = configuration.integer("replay_seconds_max") ?? 15
        catchUp = configuration.number("catch_up") ?? 1.25
        chunkMs = configuration.integer("chunk_ms") ?? 80
        finalizeMs = configuration.integer("finalize_ms") ?? 1500
        keepAliveMs = configuration.integer("keep_alive_ms") ?? 4000
        forcesEndOfTurn = configuration.flag("force_end_turn") ?? false
    }

    func open(_ host: SpeechToTextHost) throws(PluginError) -> ListenSession {
        guard host.rateHz == 8000 || host.rateHz == 16000 else {
            throw PluginError(.unsupported, "a session at \(host.rateHz) Hz; this recogniser takes 8000 and 16000")
        }
        return ListenSession(self, host)
    }
}
