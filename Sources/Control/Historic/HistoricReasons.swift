// Why a key of an old file means nothing any more: one sentence each, for the warning that names its file and line.

enum HistoricReasons {
    static func reason(_ section: String, _ key: String, _ dialect: HistoricDialect) -> String {
        if let exact = exact["\(section)/\(key)"] { return exact }
        if section == "RTP" || section == "VAD" || section == "vad" {
            return section == "RTP" ? "[rtp] is there and counts" : ownTurns
        }
        if let ours = byKey[key] { return ours }
        if let whole = sections[section] { return whole }
        return "nothing reads it; it was of no effect before, or came from elsewhere"
    }

    /// Variables that set nothing any more, where they are set.
    static func variables(_ dialect: HistoricDialect) -> [(String, String)] {
        let unread: [String] =
            switch dialect {
            case .webSocketServices:
                [
                    "VOSK_WEBSOCKET_URL", "LLAMA_WEBSOCKET_URL", "LLAMA_MODEL", "PIPER_WEBSOCKET_URL",
                    "AUDIO_SAMPLE_RATE", "AUDIO_CHANNELS", "AUDIO_FORMAT", "SYSTEM_PROMPT", "SYSTEM_MESSAGE",
                    "WELCOME_MESSAGE", "CONVERSATION_LANGUAGE", "CONVERSATION_MAX_TURNS", "VAD_CONFIDENCE",
                    "VAD_START_SECS", "VAD_STOP_SECS", "VAD_MIN_VOLUME", "ENABLE_INTERRUPTIONS", "PIPELINE_TIMEOUT",
                ]
            case .grpcServices:
                [
                    "ASR_SERVICE_URL", "LLM_SERVICE_URL", "TTS_SERVICE_URL", "OPENSIPS_HOST", "OPENSIPS_PORT",
                    "RTP_PORT_RANGE_START", "RTP_PORT_RANGE_END", "CORE_LOG_LEVEL", "DEVELOPMENT_MODE",
                    "CORE_HOT_RELOAD",
                ]
            default: []
            }
        return unread.map { ($0, "\($0) was read by no program before and is not read now; the file is") }
    }

    private static let ownTurns =
        "vchost has its own detectors and its own end of turn: see end_of_turn_ms and barge_in_ms of a profile"
    private static let ownRate = "each provider is given the rate that it takes; the host resamples"
    private static let ownBounds = "vchost reconnects and bounds its waits by itself"
    private static let ownLog = "vchost writes its log to standard error; whoever starts it keeps it"

    private static let exact = [
        "engine/rtp_ip": "the address for SDP is `ip` of [rtp]",
        "engine/bind_ip": "no program read it; the address for RTP is `bind_ip` of [rtp]",
        "engine/metrics_port": "there is no such endpoint; docs/operating.md tells what the host reports",
        "opensips/mi_transport": "calls come by SIP here, and MI is not used",
        "opensips/host": "calls come by SIP here, and MI is not used",
        "opensips/ip": "calls come by SIP here, and MI is not used",
        "opensips/port": "calls come by SIP here, and MI is not used",
        "llm/timeout": "no program read it; first_token_ms and the chain of the profile bound the wait",
        "llm/stream": "answers always stream",
        "llm/top_p": "no program read it",
        "tts/host": "`url` of [tts] counts",
        "tts/port": "`url` of [tts] counts",
        "stt/model": "the service has its model",
        "openai/url": "the Realtime address is not used: OpenAI is asked for text",
        "openai/turn_detection_type": ownTurns,
        "openai/turn_detection_threshold": ownTurns,
        "openai/turn_detection_prefix_ms": ownTurns,
        "deepgram/disable": "the connector reads `disabled`, and so does vchost",
        "openai/disable": "the connector reads `disabled`, and so does vchost",
        "azure/disable": "the connector reads `disabled`, and so does vchost",
        "interruption/min_words_strategy": ownTurns,
        "performance/max_concurrent_sessions": "no program read it; calls_max of [vchost] is the bound",
        "session/max_conversation_length": "no program read it; the history is bounded by the host",
        "general/logfile": ownLog,
        "logging/file": ownLog,
        "logging/format": ownLog,
        "audio/vad_threshold": ownTurns,
    ]

    private static let byKey: [String: String] = [
        "bypass_vad": ownTurns, "use_vad": ownTurns, "vad_threshold": ownTurns, "vad_min_speech_ms": ownTurns,
        "vad_buffer_chunk_ms": ownTurns, "vad_buffer_max_seconds": ownTurns, "vad_aggressiveness": ownTurns,
        "speech_detection_threshold": ownTurns, "silence_detection_threshold": ownTurns,
        "silence_frames_threshold": ownTurns, "speech_frames_threshold": ownTurns, "use_adaptive_vad": ownTurns,
        "auto_calibration": ownTurns, "webrtc_aggressiveness": ownTurns, "calibration_window_ms": ownTurns,
        "speech_timeout_seconds": ownTurns, "silence_timeout_seconds": ownTurns,
        "stale_partial_timeout_seconds": ownTurns, "barge_in_threshold": ownTurns,
        "vad_final_buffer_wait_factor": ownTurns, "vad_final_buffer_wait_additive_s": ownTurns,
        "vad_final_buffer_wait_max_wait_s": ownTurns, "vad_final_buffer_max_wait_s": ownTurns,
        "sample_rate": ownRate, "channels": ownRate, "stt_channels": ownRate, "tts_target_output_rate": ownRate,
        "websocket_timeout": ownBounds, "timeout": ownBounds, "max_retries": ownBounds,
        "reconnect_delay": ownBounds, "max_reconnect_attempts": ownBounds, "stt_max_reconnect_attempts": ownBounds,
        "stt_receive_error_sleep_s": ownBounds, "stt_reconnect_backoff_base": ownBounds,
        "stt_reconnect_max_backoff_s": ownBounds, "max_queue_size": ownBounds,
        "rtp_receive_buffer_size": "the media engine has its own buffers",
        "rtp_sender_stop_timeout": "the media engine ends at once",
        "debug": "log_level of [vchost] says how much is logged",
        "test_mode_wav": "`vchost call` is a caller for tests", "test_wav_path": "`vchost call` is a caller for tests",
        "buffer_audio": "recordings of [vchost] keeps both sides",
    ]

    private static let sections: [String: String] = [
        "oavc": "no program read it; `sip_port` of [engine] counts",
        "sip": "no program read it; `sip_port` of [engine] counts",
        "ai": "the sections of the file say it all",
        "audio": ownRate, "pipeline": "no program read it; a profile has the settings of a conversation",
        "interruption": ownTurns,
        "performance": "no program read it; docs/configuration.md has the bounds of the host",
        "app": "no program read it",
        "deepgram": "no program read it in this file", "azure": "no program read it in this file",
        "openai": "no program read it in this file",
    ]
}
