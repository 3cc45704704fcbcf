// The sizes that each minor version of the contract had: what a host that plays an older one writes into `size`.
//
// Made from `Sources/PluginABI/abi.toml` by `scripts/abi-gate write`, which is where a change begins; a gate of
// `scripts/test` fails when the two differ. A struct keeps its size until its next entry.

extension ABIHistory {
    /// Of the headers in this tree.
    public static let headers = ABIHistory(
        sizes: [
            "vc_clock": [(0, 24)],
            "vc_config": [(0, 40)],
            "vc_create": [(0, 48)],
            "vc_error": [(0, 72)],
            "vc_frame": [(0, 72)],
            "vc_host": [(0, 24)],
            "vc_http": [(0, 32)],
            "vc_http_events": [(0, 32)],
            "vc_http_request": [(0, 80)],
            "vc_llm_ops": [(0, 24)],
            "vc_llm_request": [(0, 72)],
            "vc_log": [(0, 24)],
            "vc_media": [(0, 48)],
            "vc_metrics": [(0, 24)],
            "vc_module": [(0, 24)],
            "vc_open": [(0, 112)],
            "vc_provider": [(0, 88)],
            "vc_secret": [(0, 16)],
            "vc_server": [(0, 32)],
            "vc_server_request": [(0, 104)],
            "vc_session": [(0, 32)],
            "vc_session_ops": [(0, 40)],
            "vc_stt_ops": [(0, 32)],
            "vc_task": [(0, 16)],
            "vc_telephony_frames_ops": [(0, 32)],
            "vc_telephony_open": [(0, 72)],
            "vc_telephony_ops": [(0, 64)],
            "vc_telephony_provider_ops": [(0, 16)],
            "vc_timer": [(0, 24)],
            "vc_trace": [(0, 32)],
            "vc_tts_ops": [(0, 16)],
            "vc_turn_ops": [(0, 32)],
            "vc_vad_batch": [(0, 40)],
            "vc_vad_provider_ops": [(0, 24)],
            "vc_ws": [(0, 32)],
            "vc_ws_connect": [(0, 56)],
            "vc_ws_events": [(0, 40)],
        ],
        services: [
            "vc.clock/1": ("vc_clock", 0),
            "vc.config/1": ("vc_config", 0),
            "vc.http/1": ("vc_http", 0),
            "vc.log/1": ("vc_log", 0),
            "vc.media/1": ("vc_media", 0),
            "vc.metrics/1": ("vc_metrics", 0),
            "vc.secret/1": ("vc_secret", 0),
            "vc.server/1": ("vc_server", 0),
            "vc.task/1": ("vc_task", 0),
            "vc.timer/1": ("vc_timer", 0),
            "vc.trace/1": ("vc_trace", 0),
            "vc.ws/1": ("vc_ws", 0),
        ])
}
