// `[openai]`, `[deepgram]`, `[deepgram_native]` and `[azure]`.
//
// The chain of the connector and ours differ where a vendor did two things at once (OpenAI's Realtime, Deepgram's
// agent) and where vchost does not speak with a vendor's voices. There the nearest thing that works is taken, and the
// warning says which and where to choose another.

enum CloudFlavours {
    static func openAI(
        _ credentials: [String: Setting], _ reading: inout HistoricReading, _ draft: inout HistoricDraft
    ) {
        let source = reading.source(of: "openai")
        draft.set("stt.openai", "plugin", Setting("STTFasterWhisper", from: source))
        draft.set("stt.openai", "form", Setting("openai", from: source))
        draft.set("stt.openai", "url", Setting("https://api.openai.com/v1/audio/transcriptions", from: source))
        // What the connector had the Realtime API transcribe with.
        draft.set("stt.openai", "model", Setting("whisper-1", from: source))
        let key = credentials["OPENAI_API_KEY"] ?? Setting("", from: source)
        draft.setSecret("stt.openai", "api_key", ["OPENAI_API_KEY"], key)
        draft.set("profile.openai", "stt", Setting("stt.openai", from: source))

        let wanted = reading.value("openai", ["model"], ["OPENAI_API_MODEL"])
        var model = wanted ?? Setting("gpt-4o", from: .historic(reading.dialect))
        if model.text.contains("realtime") {
            reading.warn(
                model.source,
                "model \(model.text) hears and speaks itself, which vchost does not use: gpt-4o answers in text; "
                    + "choose another by VCHOST__LLM_OPENAI__MODEL")
            model = model.map { _ in "gpt-4o" }
        }
        languageModel("openai", model, key, &reading, &draft)
        draft.set(
            "llm.openai", "temperature", reading.number("openai", ["temperature"], ["OPENAI_TEMPERATURE"]))
        let limit = reading.value("openai", ["max_tokens"], ["OPENAI_MAX_TOKENS"])
        draft.set("llm.openai", "max_tokens", limit?.map { $0 == "inf" ? "0" : $0 }.whole(0...100_000))
        voices("openai", "OpenAI's", &reading, &draft, keys: ["voice", "openai_voice"], ["OPENAI_VOICE"])
        words("openai", &reading, &draft, welcome: "OPENAI_WELCOME_MSG", instructions: "OPENAI_INSTRUCTIONS")
        let silence = reading.number("openai", ["turn_detection_silence_ms"], ["OPENAI_TURN_DETECT_SILENCE_MS"])
        draft.set("profile.openai", "end_of_turn_ms", silence?.whole(100...3000))
        transfers("openai", &reading, &draft)
    }

    static func deepgram(
        _ credentials: [String: Setting], _ reading: inout HistoricReading, _ draft: inout HistoricDraft
    ) {
        deepgramRecogniser("deepgram", "DEEPGRAM_SPEECH_MODEL", credentials, &reading, &draft)
        let model = reading.value("deepgram", ["chatgpt_model"], ["CHATGPT_API_MODEL"], or: "gpt-4o")
        languageModel("deepgram", model, credentials["OPENAI_API_KEY"], &reading, &draft)
        voices("deepgram", "Deepgram's", &reading, &draft, keys: ["voice"], ["DEEPGRAM_VOICE"])
        words("deepgram", &reading, &draft, welcome: "DEEPGRAM_WELCOME_MSG", instructions: "DEEPGRAM_INSTRUCTIONS")
    }

    static func deepgramNative(
        _ credentials: [String: Setting], _ reading: inout HistoricReading, _ draft: inout HistoricDraft
    ) {
        let name = "deepgram_native"
        deepgramRecogniser(name, "DEEPGRAM_NATIVE_SPEECH_MODEL", credentials, &reading, &draft)
        let url = reading.value(name, ["llm_url"], ["DEEPGRAM_LLM_URL"])
        let model = reading.value(name, ["llm_model"], ["DEEPGRAM_LLM_MODEL"], or: "gpt-4o")
        languageModel(name, model, credentials["OPENAI_API_KEY"], &reading, &draft)
        draft.set("llm.\(name)", "url", url)
        voices(name, "Deepgram's", &reading, &draft, keys: ["voice"], ["DEEPGRAM_NATIVE_VOICE"])
        words(name, &reading, &draft, welcome: "DEEPGRAM_NATIVE_WELCOME_MSG", instructions: "DEEPGRAM_INSTRUCTIONS")
    }

    static func azure(
        _ credentials: [String: Setting], _ reading: inout HistoricReading, _ draft: inout HistoricDraft
    ) {
        let source = reading.source(of: "azure")
        reading.warn(
            source,
            "[azure]: vchost does not use Azure's speech; [stt.local] recognises and [tts.local] speaks, on this "
                + "machine")
        _ = reading.value("azure", ["key"], ["AZURE_KEY"])
        _ = reading.value("azure", ["region"], ["AZURE_REGION"])
        draft.set(
            "profile.azure", "language", reading.value("azure", ["language"], ["AZURE_LANGUAGE"], or: "en-US"))
        draft.set("profile.azure", "stt", Setting(HistoricStandIn.recogniser(&draft, source), from: source))
        let model = reading.value("azure", ["chatgpt_model"], ["CHATGPT_API_MODEL"], or: "gpt-4o")
        languageModel("azure", model, credentials["OPENAI_API_KEY"], &reading, &draft)
        voices("azure", "Azure's", &reading, &draft, keys: ["voice"], ["AZURE_VOICE"])
        words("azure", &reading, &draft, welcome: "AZURE_WELCOME_MSG", instructions: "AZURE_INSTRUCTIONS")
    }

    // MARK: Shared

    private static func deepgramRecogniser(
        _ name: String, _ modelVariable: String, _ credentials: [String: Setting], _ reading: inout HistoricReading,
        _ draft: inout HistoricDraft
    ) {
        let source = reading.source(of: name)
        let section = "stt.\(name)"
        draft.set(section, "plugin", Setting("STTDeepgram", from: source))
        let inherits = name == "deepgram" ? [] : ["deepgram"]
        func inherited(_ key: String, _ variable: String, or builtIn: String) -> Setting? {
            for section in [name] + inherits {
                if let found = reading.value(section, [key]) { return found }
            }
            return reading.value("", [], [variable], or: builtIn)
        }
        draft.set(section, "model", inherited("speech_model", modelVariable, or: "nova-3"))
        let language = inherited("language", "DEEPGRAM_LANGUAGE", or: "en-US")
        draft.set(section, "language", language)
        draft.set("profile.\(name)", "language", language)
        draft.setSecret(
            section, "api_key", ["DEEPGRAM_API_KEY"], credentials["DEEPGRAM_API_KEY"] ?? Setting("", from: source))
        draft.set("profile.\(name)", "stt", Setting(section, from: source))
    }

    private static func languageModel(
        _ name: String, _ model: Setting?, _ key: Setting?, _ reading: inout HistoricReading,
        _ draft: inout HistoricDraft
    ) {
        let source = reading.source(of: name)
        let section = "llm.\(name)"
        draft.set(section, "plugin", Setting("LLMOpenAI", from: source))
        draft.set(section, "url", Setting("https://api.openai.com/v1", from: source))
        draft.set(section, "model", model)
        draft.setSecret(
            section, "api_key", ["OPENAI_API_KEY", "LLM_API_KEY", "GROQ_API_KEY"], key ?? Setting("", from: source))
        draft.set("profile.\(name)", "llm", Setting(section, from: source))
    }

    private static func voices(
        _ name: String, _ whose: String, _ reading: inout HistoricReading, _ draft: inout HistoricDraft,
        keys: [String], _ variables: [String]
    ) {
        let source = reading.source(of: name)
        let voice = reading.value(name, keys, variables)
        reading.warn(
            voice?.source ?? source,
            "[\(name)]\(voice.map { " voice \($0.text)" } ?? ""): vchost does not speak with \(whose) voices; "
                + "[tts.local] speaks, and [tts.flite] where it cannot")
        draft.set("profile.\(name)", "tts", Setting(HistoricStandIn.voices(&draft, source), from: source))
    }

    private static func words(
        _ name: String, _ reading: inout HistoricReading, _ draft: inout HistoricDraft, welcome: String,
        instructions: String
    ) {
        let profile = "profile.\(name)"
        draft.set(profile, "greeting", reading.words(name, ["welcome_message"], [welcome]))
        let inherited = name == "deepgram_native" ? reading.words("deepgram", ["instructions"]) : nil
        draft.set(profile, "prompt", reading.words(name, ["instructions"]) ?? inherited
            ?? reading.words("", [], [instructions]))
    }

    private static func transfers(_ name: String, _ reading: inout HistoricReading, _ draft: inout HistoricDraft) {
        let profile = "profile.\(name)"
        let target = reading.value(name, ["transfer_to"], ["OPENAI_TRANSFER_TO"])
        draft.set(profile, "transfer_to", target)
        draft.set(
            profile, "tools",
            Setting(target == nil ? "end_call" : "end_call, transfer_call", from: reading.source(of: name)))
        if let by = reading.value(name, ["transfer_by"], ["OPENAI_TRANSFER_BY"]) {
            reading.warn(by.source, "transfer_by: a transfer is always in the name of the called address")
        }
        if let files = reading.value(name, ["tools"], ["OPENAI_TOOLS"]) {
            reading.warn(
                files.source,
                "tools: vchost runs no Python; declare each function of \(files.text) as [tool.NAME] with its url")
        }
    }
}
