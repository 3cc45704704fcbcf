// `[stt]`, `[llm]` and `[tts]` at WebSocket addresses, and `[openai]` where the program had it.

enum WebSocketServicesTranslation {
    private static let profile = "profile.default"

    static func services(_ reading: inout HistoricReading, _ draft: inout HistoricDraft) {
        draft.set(profile, "match", Setting("*", from: .historic(reading.dialect)))
        let url = reading.value("stt", ["url"], or: "ws://vosk-server:2700")
        LocalFlavours.recogniser("default", url, &reading, &draft)
        LocalFlavours.setEnd("default", "stt", "send_eof", &reading, &draft)
        LocalFlavours.setRate("default", reading.number("stt", ["sample_rate"]), &reading, &draft)
        LocalFlavours.turkish("default", .historic(reading.dialect), &draft)
        languageModels(&reading, &draft)
        voice(&reading, &draft)
        draft.set(profile, "greeting", Setting(HistoricWords.greeting, from: .historic(reading.dialect)))
        draft.set(profile, "prompt", Setting(HistoricWords.prompt, from: .historic(reading.dialect)))
        if let isOn = reading.flag("interruption", ["enabled"]) {
            draft.set(
                profile, "barge_in", Setting(isOn ? "yes" : "no", from: reading.source(of: "interruption")))
        }
    }

    private static func languageModels(_ reading: inout HistoricReading, _ draft: inout HistoricDraft) {
        var chain = ["llm.default"]
        let url = reading.value("llm", ["url"], or: "ws://llm-turkish-server:8765")
            ?? Setting("", from: .historic(reading.dialect))
        let isWebSocket = url.text.hasPrefix("ws:") || url.text.hasPrefix("wss:")
        let isOllama = !isWebSocket && (url.text.contains(":11434") || url.text.contains("/api/"))
        let plugin = isWebSocket ? "LLMLlama" : isOllama ? "LLMOllama" : "LLMOpenAI"
        draft.set("llm.default", "plugin", Setting(plugin, from: url.source))
        draft.set("llm.default", "url", url)
        draft.set("llm.default", "temperature", reading.number("llm", ["temperature"], or: "0.2"))
        draft.set(
            "llm.default", isOllama ? "num_predict" : "max_tokens",
            reading.number("llm", ["max_tokens"], or: "80")?.whole(1...100_000))
        let model = reading.value("llm", ["model"])
        // The WebSocket service has one model and is never told which.
        if isWebSocket, let model {
            reading.warn(model.source, "[llm] model is not sent: the WebSocket service has one model")
        } else {
            draft.set("llm.default", "model", model)
        }
        if openAI(&reading, &draft) { chain.insert("llm.openai", at: 0) }
        draft.set(profile, "llm", Setting(chain.joined(separator: ", "), from: url.source))
    }

    /// `[openai]` with `disabled = false` is asked first, and the service stays as the alternative. Without `disabled`
    /// the section is one that most of these files have and no program read.
    private static func openAI(_ reading: inout HistoricReading, _ draft: inout HistoricDraft) -> Bool {
        for name in ["openai", "deepgram", "azure"] where reading.flag(name, ["disabled"]) == true {
            reading.leave(name)
        }
        guard reading.has("openai"), reading.flag("openai", ["disabled"]) == false else { return false }
        let source = reading.source(of: "openai")
        guard let key = reading.value("openai", ["key"], ["OPENAI_API_KEY"]) else {
            reading.leave("openai")
            reading.warn(source, "[openai] is left out: OPENAI_API_KEY is not set; [llm] answers alone")
            return false
        }
        draft.set("llm.openai", "plugin", Setting("LLMOpenAI", from: source))
        draft.set("llm.openai", "url", Setting("https://api.openai.com/v1", from: source))
        draft.set("llm.openai", "model", reading.value("openai", ["model"], or: "gpt-4o"))
        draft.set("llm.openai", "temperature", reading.number("openai", ["temperature"], or: "0.2"))
        draft.set(
            "llm.openai", "max_tokens", reading.number("openai", ["max_tokens"], or: "80")?.whole(1...100_000))
        if let share = reading.number("openai", ["top_p"], or: "0.7") {
            draft.set("llm.openai", "extra", share.map { "{\"top_p\": \($0)}" })
        }
        draft.setSecret("llm.openai", "api_key", ["OPENAI_API_KEY"], key)
        return true
    }

    private static func voice(_ reading: inout HistoricReading, _ draft: inout HistoricDraft) {
        let url = reading.value("tts", ["url"], or: "ws://piper-tts-server:8000/tts")
        draft.set("tts.default", "plugin", Setting("TTSPiper", from: url?.source ?? .historic(reading.dialect)))
        draft.set("tts.default", "url", url)
        draft.set("tts.default", "voice", reading.value("tts", ["voice"], or: "tr_TR-dfki-medium"))
        let rate = reading.number("tts", ["sample_rate"])
        if url?.text.hasPrefix("ws") == true {
            draft.set("tts.default", "generation", Setting("5", from: url?.source ?? .historic(reading.dialect)))
            draft.set("tts.default", "socket_rate", rate)
        } else {
            draft.set("tts.default", "sample_rate", rate)
        }
        draft.set(profile, "tts", Setting("tts.default", from: url?.source ?? .historic(reading.dialect)))
    }
}
