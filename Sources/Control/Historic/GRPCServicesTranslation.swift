// `[asr]`, `[llm]` and `[tts]`, or `[services]` of the program's README, at hosts and ports of gRPC.
//
// Nothing but `[opensips]` of the README's file was ever read, yet operators have such files; where both spellings
// stand, the one that the program read counts.

enum GRPCServicesTranslation {
    private static let profile = "profile.default"

    static func services(_ reading: inout HistoricReading, _ draft: inout HistoricDraft) {
        draft.set(profile, "match", Setting("*", from: .historic(reading.dialect)))
        draft.set(profile, "language", Setting("tr-TR", from: .historic(reading.dialect)))
        draft.set(profile, "stt", service("stt", "STTGrpc", old: "asr", port: "50051", &reading, &draft))
        let hasIntent = reading.has("intent") && !reading.has("llm") && !reading.has("services", "llm_port")
        draft.set(
            profile, "llm",
            hasIntent
                ? intent(&reading, &draft)
                : service("llm", "LLMGrpc", old: "llm", port: "50052", &reading, &draft))
        draft.set(profile, "tts", service("tts", "TTSGrpc", old: "tts", port: "50053", &reading, &draft))
        draft.set(profile, "prompt", reading.words("session", ["system_prompt"], or: HistoricWords.prompt))
        draft.set(profile, "greeting", reading.words("session", ["welcome_message"], or: HistoricWords.greeting))
        let bare = reading.file == nil ? ["AUDIO_SILENCE_TIMEOUT_MS"] : []
        let silence = reading.number("audio", ["silence_timeout_ms"], bare)
        draft.set(profile, "end_of_turn_max_ms", silence?.whole(200...6000))
    }

    /// Writes [KIND.default] and returns its name.
    private static func service(
        _ kind: String, _ plugin: String, old: String, port builtInPort: String, _ reading: inout HistoricReading,
        _ draft: inout HistoricDraft
    ) -> Setting {
        let variables = reading.file == nil ? ["\(old.uppercased())_SERVICE_HOST"] : []
        let portVariables = reading.file == nil ? ["\(old.uppercased())_SERVICE_PORT"] : []
        let documentedHost = reading.value("services", ["\(old)_host"], or: "localhost")
        let documentedPort = reading.number("services", ["\(old)_port"], or: builtInPort)
        let host = reading.value(old, ["host"], variables) ?? documentedHost ?? Setting("localhost", from: .builtIn)
        let port = reading.number(old, ["port"], portVariables) ?? documentedPort
        let section = "\(kind).default"
        draft.set(section, "plugin", Setting(plugin, from: host.source))
        draft.set(section, "address", host.map { "\($0):\(port?.text ?? builtInPort)" })
        // A recogniser hears for the whole call; its own waits are bounded by its plugin.
        if kind != "stt" {
            draft.set(section, "timeout_ms", reading.number(old, ["timeout"])?.milliseconds(100...60_000))
        }
        return Setting(section, from: host.source)
    }

    /// The program that had an intent service in the place of a language model.
    private static func intent(_ reading: inout HistoricReading, _ draft: inout HistoricDraft) -> Setting {
        let source = reading.source(of: "intent")
        reading.leave("intent")
        reading.warn(
            source,
            "[intent]: vchost asks no intent service; [llm.local] answers, LLMOpenAI at its own default address. "
                + "Written answers are what LLMRules is for")
        return Setting(HistoricStandIn.model(&draft, source), from: source)
    }
}
