// The configurations of the systems that vchost replaces, told apart by what is in them.
//
// They all came to be called by the same two names (`CONFIG_FILE`, `OAVC_CONFIG_FILE`) and share sections that mean
// different things: `[opensips] port` is the connector's MI port, `[llm]` is an address of a WebSocket or a host and a
// port of gRPC. A version number does not exist in any of them, so it is the combination of sections and keys that
// says which program a file was written for, and with it which defaults hold for what the file leaves out.
//
// A file that has one of vchost's own sections of providers or profiles is never one of these. To guess in such a file
// was refused: a misplaced `[rtp]` would turn a SIP host into an OpenSIPS one without a word.

/// A family of files that existing deployments have.
public enum HistoricDialect: Sendable, Equatable, CaseIterable {
    /// The OpenSIPS AI Voice Connector: `[engine]`, `[opensips]`, `[rtp]` and a section for each flavour.
    case connector
    /// The same with `[vosk]`.
    case vosk
    /// The same with `[SmartSpeech]`.
    case smartSpeech
    /// `opensips-ai-voice-connector.ini` with `[stt]`, `[llm]` and `[tts]` at WebSocket addresses.
    case webSocketServices
    /// `app.ini` with `[asr]`, `[llm]` and `[tts]`, or `[services]`, at hosts and ports of gRPC.
    case grpcServices

    /// What people call the program.
    public var title: String {
        switch self {
        case .connector: "the OpenSIPS AI Voice Connector"
        case .vosk: "the OpenSIPS AI Voice Connector with [vosk]"
        case .smartSpeech: "the OpenSIPS AI Voice Connector with [SmartSpeech]"
        case .webSocketServices: "the OpenSIPS AI Voice Connector with WebSocket services"
        case .grpcServices: "the OpenSIPS AI Voice Connector with gRPC services"
        }
    }

    /// Whether OpenSIPS hands over calls by its MI and events; else it forwards them as a SIP proxy.
    var isBackToBack: Bool { [.connector, .vosk, .smartSpeech].contains(self) }

    /// The dialect of `file`, or nil when it is vchost's own.
    static func of(_ file: INIFile) -> HistoricDialect? {
        let names = Set(file.sections.map(\.name))
        guard !names.contains(where: isOwn) else { return nil }
        func has(_ section: String, _ keys: String...) -> Bool {
            file.sections.contains { $0.name == section && $0.entries.contains { keys.contains($0.key) } }
        }
        if !names.isDisjoint(with: ["SmartSpeech", "SpeechSessionManager"]) { return .smartSpeech }
        if names.contains("vosk") { return .vosk }
        let hasAddress = ["stt", "llm", "tts"].contains { has($0, "url") }
        if !names.isDisjoint(with: ["asr", "services", "intent"])
            || has("opensips", "rtp_bind_ip", "rtp_min_port", "rtp_max_port")
            || !hasAddress && ["llm", "tts"].contains(where: { has($0, "host", "port") })
        {
            return .grpcServices
        }
        if hasAddress || names.contains("oavc") || has("engine", "sip_ip", "sip_port")
            || has("opensips", "sip_ip", "sip_port")
        {
            return .webSocketServices
        }
        let core: Set = ["engine", "opensips", "rtp", "RTP", "openai", "deepgram", "deepgram_native", "azure"]
        return names.isDisjoint(with: core) ? nil : .connector
    }

    /// The dialect of an environment without a file, or nil when it names nothing of these systems.
    static func of(environment: [String: String]) -> HistoricDialect? {
        func isSet(_ names: [String]) -> Bool { names.contains { environment[$0]?.isEmpty == false } }
        if isSet(["MI_IP", "MI_PORT", "EVENT_IP", "EVENT_PORT"]) { return isSet(["VOSK_URL"]) ? .vosk : .connector }
        let grpc = ["EVENT_IP", "EVENT_PORT", "SIP_IP", "SIP_PORT", "RTP_BIND_IP", "RTP_MIN_PORT", "RTP_MAX_PORT"]
        return isSet(grpc.map { "OPENSIPS_" + $0 }) ? .grpcServices : nil
    }

    /// Sections that only vchost has. `[vchost]`, `[media]`, `[server]` and `[secrets]` are not among them: they may
    /// stand in an old file, over what it says.
    private static func isOwn(_ section: String) -> Bool {
        (SettingKey.providerKinds + ["profile", "tool"]).contains { section.hasPrefix($0 + ".") }
    }
}
