// `[vosk]` and `[SmartSpeech]`: Vosk, Piper and, in the later one, the Llama service, on the operator's own machines.

enum LocalFlavours {
    static func vosk(_ reading: inout HistoricReading, _ draft: inout HistoricDraft) {
        let source = reading.source(of: "vosk")
        let url = reading.value("vosk", ["url"], ["VOSK_URL"], or: "ws://localhost:2700")
        recogniser("vosk", url, &reading, &draft)
        setRate("vosk", reading.number("vosk", ["sample_rate"], ["VOSK_SAMPLE_RATE"]), &reading, &draft)
        setEnd("vosk", "vosk", "send_eof", &reading, &draft)
        piper(
            "vosk", generation: 2, host: reading.value("vosk", ["host"], ["TTS_HOST"], or: "localhost"),
            port: reading.number("vosk", ["port"], ["TTS_PORT"], or: "8000"),
            voice: reading.value("vosk", ["voice"], ["TTS_VOICE"], or: "tr_TR-fahrettin-medium"), &draft)
        reading.warn(
            source,
            "[vosk] names no language model; [llm.local] answers, LLMOpenAI at its own default address. Another: "
                + "VCHOST__LLM_LOCAL__URL")
        draft.set("profile.vosk", "llm", Setting(HistoricStandIn.model(&draft, source), from: source))
        turkish("vosk", source, &draft)
        turns("vosk", ["vosk"], &reading, &draft)
        if let isOn = reading.flag("vosk", ["enable_barge_in"]) {
            draft.set("profile.vosk", "barge_in", Setting(isOn ? "yes" : "no", from: source))
        }
    }

    /// - Parameter name: the section's, which had two.
    static func smartSpeech(_ name: String, _ reading: inout HistoricReading, _ draft: inout HistoricDraft) {
        let source = reading.source(of: name)
        let sections = [name, "SpeechSessionManager"]
        /// The first of the two sections that has the key.
        func place(_ keys: String...) -> String {
            sections.first { section in keys.contains { reading.has(section, $0) } } ?? name
        }
        recogniser(name, reading.value(place("url"), ["url"], or: "ws://vosk-server:2700"), &reading, &draft)
        let rate = reading.number(place("stt_target_sample_rate"), ["stt_target_sample_rate"])
        setRate(name, rate, &reading, &draft)
        for key in ["send_eof", "stt_send_eof"] { setEnd(name, place(key), key, &reading, &draft) }
        piper(
            name, generation: 3, host: reading.value(place("host"), ["host"], or: "piper-tts-server"),
            port: reading.number(place("port"), ["port"], or: "8000"),
            voice: reading.value(place("tts_voice", "voice"), ["tts_voice", "voice"], or: "tr_TR-fahrettin-medium"),
            &draft)
        let llm = "llm.\(name)"
        draft.set(llm, "plugin", Setting("LLMLlama", from: source))
        draft.set(llm, "form", Setting("prompt", from: source))
        draft.set(llm, "url", reading.value(place("llm_server_uri"), ["llm_server_uri"], or: "ws://localhost:8765"))
        draft.set(
            llm, "max_tokens",
            reading.number(place("llm_max_tokens"), ["llm_max_tokens"], or: "256")?.whole(1...100_000))
        draft.set(llm, "temperature", reading.number(place("llm_temperature"), ["llm_temperature"], or: "0.7"))
        draft.set("profile.\(name)", "llm", Setting(llm, from: source))
        turkish(name, source, &draft)
        draft.set(
            "profile.\(name)", "prompt",
            reading.words(place("llm_system_prompt"), ["llm_system_prompt"], or: HistoricWords.prompt))
        turns(name, sections, &reading, &draft)
        let hold = reading.number(place("barge_in_threshold_seconds"), ["barge_in_threshold_seconds"], or: "1.5")
        draft.set("profile.\(name)", "barge_in_ms", hold?.milliseconds(60...2000))
    }

    // MARK: Shared with the later programs

    static func recogniser(
        _ name: String, _ url: Setting?, _ reading: inout HistoricReading, _ draft: inout HistoricDraft
    ) {
        guard let url else { return }
        draft.set("stt.\(name)", "plugin", Setting("STTVosk", from: url.source))
        draft.set("stt.\(name)", "url", url)
        draft.set("profile.\(name)", "stt", Setting("stt.\(name)", from: url.source))
    }

    /// What Vosk's server is told; anything else never worked over a telephone.
    static func setRate(
        _ name: String, _ rate: Setting?, _ reading: inout HistoricReading, _ draft: inout HistoricDraft
    ) {
        guard let rate else { return }
        guard ["8000", "16000"].contains(rate.text) else {
            return reading.warn(
                rate.source,
                "Vosk is sent 8000 or 16000 samples a second and not \(rate.text); the call's rate is taken")
        }
        draft.set("stt.\(name)", "sample_rate", rate)
    }

    static func setEnd(
        _ name: String, _ section: String, _ key: String, _ reading: inout HistoricReading,
        _ draft: inout HistoricDraft
    ) {
        guard let setting = reading.value(section, [key]), let isOn = SettingKey.flag(setting.text) else { return }
        draft.set("stt.\(name)", "send_eof", setting.map { _ in isOn ? "true" : "false" })
    }

    /// - Parameter generation: which of the clients that its server has had.
    private static func piper(
        _ name: String, generation: Int, host: Setting?, port: Setting?, voice: Setting?, _ draft: inout HistoricDraft
    ) {
        guard let host, let port else { return }
        draft.set("tts.\(name)", "plugin", Setting("TTSPiper", from: host.source))
        draft.set("tts.\(name)", "generation", Setting(String(generation), from: host.source))
        draft.set("tts.\(name)", "url", host.map { "ws://\($0):\(port.text)/tts" })
        draft.set("tts.\(name)", "voice", voice)
        draft.set("profile.\(name)", "tts", Setting("tts.\(name)", from: host.source))
    }

    static func turkish(_ name: String, _ source: SettingSource, _ draft: inout HistoricDraft) {
        draft.set("profile.\(name)", "language", Setting("tr-TR", from: source))
        draft.set("vad.silero", "plugin", Setting("VADSilero", from: source))
        draft.set("profile.\(name)", "vad", Setting("vad.silero", from: source))
    }

    private static func turns(
        _ name: String, _ sections: [String], _ reading: inout HistoricReading, _ draft: inout HistoricDraft
    ) {
        let section = sections.first { reading.has($0, "vad_min_silence_ms") } ?? sections[0]
        let silence = reading.number(section, ["vad_min_silence_ms"])
        draft.set("profile.\(name)", "end_of_turn_ms", silence?.whole(100...3000))
    }
}

/// What the Turkish programs said by themselves, where the file says nothing.
enum HistoricWords {
    static let greeting = "Merhaba, size nasıl yardımcı olabilirim?"
    static let prompt = """
        Telefonda müşterilere yardım eden bir asistansın. En çok yirmi sözcükle, kısa ve resmî Türkçe cümlelerle cevap \
        ver. Yalnız okunacak metni yaz; simge, yabancı sözcük ve ünlem işareti kullanma.
        """
}
