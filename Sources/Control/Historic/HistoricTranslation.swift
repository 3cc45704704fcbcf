// An old file and its environment in, our own settings and warnings out: a pure function of values, so that every file
// that somebody may have can stand in a test beside what becomes of it.
//
// The translation happens before everything else that the host does with a configuration. From there on an old file is
// an ordinary one: `VCHOST__SECTION__KEY` overrides it, the manifests judge it, `config show` prints it. The other way,
// readers of old keys all over the host, was refused: each of them would have to know five programs.

public struct HistoricTranslation: Sendable {
    public let dialect: HistoricDialect
    /// In our own words.
    public let sections: [Configuration.Section]
    /// What means nothing any more, and what had to be decided.
    public let problems: [SettingProblem]
    /// Credentials that the file holds in plain text, by the name that a plugin asks for.
    let credentials: [String: String]

    /// Nil when neither the file nor, without a file, the environment is of a system that vchost replaces.
    public init?(file: INIFile?, environment: [String: String]) {
        let dialect = file.map { HistoricDialect.of($0) } ?? HistoricDialect.of(environment: environment)
        guard let dialect else { return nil }
        self.dialect = dialect
        var reading = HistoricReading(dialect, file: file, environment: environment)
        var draft = HistoricDraft()
        if dialect.isBackToBack {
            BackToBackTranslation.core(&reading, &draft)
            FlavourTranslation.flavours(&reading, &draft)
        } else {
            ProxiedTranslation.core(&reading, &draft)
            dialect == .grpcServices
                ? GRPCServicesTranslation.services(&reading, &draft)
                : WebSocketServicesTranslation.services(&reading, &draft)
        }
        Self.logging(&reading, &draft)
        reading.warnOfTheRest()
        sections = draft.sections
        problems = reading.problems
        credentials = draft.credentials
    }

    private static func logging(_ reading: inout HistoricReading, _ draft: inout HistoricDraft) {
        for (section, key) in [("general", "loglevel"), ("logging", "level"), ("app", "log_level")] {
            let variables = reading.file == nil ? ["LOG_LEVEL"] : []
            guard let level = reading.value(section, [key], variables) else { continue }
            let names = [
                "debug": "debug", "info": "info", "warn": "warning", "warning": "warning", "error": "error",
                "critical": "error", "fatal": "error",
            ]
            guard let name = names[level.text.lowercased()] else {
                reading.warn(level.source, "\(key) is \"\(level.text)\", which is no level; info is taken")
                continue
            }
            draft.set("vchost", "log_level", level.map { _ in name })
        }
    }
}

/// Providers that several of the old programs need and none of them names.
enum HistoricStandIn {
    /// A voice of this machine, and behind it the one that needs nothing: for flavours whose vendor's voices vchost
    /// does not speak with.
    static func voices(_ draft: inout HistoricDraft, _ source: SettingSource) -> String {
        draft.set("tts.local", "plugin", Setting("TTSPiper", from: source))
        draft.set("tts.flite", "plugin", Setting("TTSFlite", from: source))
        return "tts.local, tts.flite"
    }

    static func recogniser(_ draft: inout HistoricDraft, _ source: SettingSource) -> String {
        draft.set("stt.local", "plugin", Setting("STTFasterWhisper", from: source))
        return "stt.local"
    }

    static func model(_ draft: inout HistoricDraft, _ source: SettingSource) -> String {
        draft.set("llm.local", "plugin", Setting("LLMOpenAI", from: source))
        return "llm.local"
    }
}
