// The connector's flavours: each becomes a profile with a recogniser, a language model and a voice.
//
// A flavour answers the users that its `match` takes, else the user of its own name; the rest is spread over all
// flavours that are enabled. A flavour whose key is nowhere is left out with a warning, as long as another one is
// there: a key that was never set must not keep the host down.

enum FlavourTranslation {
    private struct Flavour {
        let name: String
        /// In the order of the file, and behind it those that the environment alone enables.
        let order: Int
        let match: Setting?
        let credentials: [String: Setting]
        let missing: [String]
    }

    /// Keys that a flavour cannot do without: our name of the secret, its keys in the file, its variables.
    private static let needs: [String: [(secret: String, keys: [String], variables: [String])]] = [
        "openai": [("OPENAI_API_KEY", ["key", "openai_key"], ["OPENAI_API_KEY"])],
        "deepgram": [
            ("DEEPGRAM_API_KEY", ["key"], ["DEEPGRAM_API_KEY"]),
            ("OPENAI_API_KEY", ["chatgpt_key", "openai_key"], ["CHATGPT_API_KEY", "OPENAI_API_KEY"]),
        ],
        "deepgram_native": [
            ("DEEPGRAM_API_KEY", ["key"], ["DEEPGRAM_API_KEY"]),
            ("OPENAI_API_KEY", ["llm_key", "llm_auth"], ["DEEPGRAM_LLM_KEY", "CHATGPT_API_KEY", "OPENAI_API_KEY"]),
        ],
        "azure": [
            ("OPENAI_API_KEY", ["chatgpt_key", "openai_key"], ["CHATGPT_API_KEY", "OPENAI_API_KEY"])
        ],
    ]
    private static let ownVariable = [
        "openai": "OPENAI_API_KEY", "deepgram": "DEEPGRAM_API_KEY", "azure": "AZURE_KEY", "vosk": "VOSK_URL",
    ]

    static func flavours(_ reading: inout HistoricReading, _ draft: inout HistoricDraft) {
        var flavours: [Flavour] = []
        for name in names(reading) {
            let isDisabled = reading.flag(name, ["disabled"], ["\(name.uppercased())_DISABLE"]) ?? false
            guard !isDisabled else {
                reading.leave(name)
                continue
            }
            flavours.append(flavour(name, flavours.count, &reading))
        }
        let usable = flavours.filter(\.missing.isEmpty)
        if !usable.isEmpty {
            for flavour in flavours where !flavour.missing.isEmpty {
                reading.warn(
                    reading.source(of: flavour.name),
                    "[\(flavour.name)] is left out: \(flavour.missing.joined(separator: " and ")) is set nowhere")
                reading.leave(flavour.name)
            }
            flavours = usable
        }
        guard !flavours.isEmpty else {
            return reading.warn(.historic(reading.dialect), "no flavour is enabled: nobody answers a call")
        }
        // Whom a `match` takes is decided before names are.
        for flavour in flavours.filter({ $0.match != nil }) + flavours.filter({ $0.match == nil }) {
            translate(flavour, &reading, &draft)
        }
        draft.set(
            "vchost", "default_profile",
            Setting(flavours.map(\.name).joined(separator: ", "), from: .historic(reading.dialect)))
    }

    private static func names(_ reading: HistoricReading) -> [String] {
        let known = ["openai", "deepgram", "deepgram_native", "azure", "vosk", "SmartSpeech", "SpeechSessionManager"]
        var names = (reading.file?.sections.map(\.name) ?? []).filter(known.contains)
        if names.contains("SmartSpeech") { names.removeAll { $0 == "SpeechSessionManager" } }
        for name in known where !names.contains(name) {
            guard let variable = ownVariable[name], reading.environment[variable]?.isEmpty == false else { continue }
            // VOSK_URL counts only where the program knew the flavour.
            if name != "vosk" || reading.dialect == .vosk { names.append(name) }
        }
        return names
    }

    private static func flavour(_ name: String, _ order: Int, _ reading: inout HistoricReading) -> Flavour {
        var credentials: [String: Setting] = [:]
        var missing: [String] = []
        for need in needs[name] ?? [] {
            // What [deepgram] says holds for [deepgram_native] too.
            let found = reading.value(name, need.keys, [])
                ?? (name == "deepgram_native" && need.secret == "DEEPGRAM_API_KEY"
                    ? reading.value("deepgram", need.keys, []) : nil)
                ?? reading.value("", [], need.variables)
            credentials[need.secret] = found
            if found == nil { missing.append("\(need.keys[0]) or \(need.variables[0])") }
        }
        return Flavour(
            name: name, order: order, match: reading.value(name, ["match"]), credentials: credentials,
            missing: missing)
    }

    private static func translate(_ flavour: Flavour, _ reading: inout HistoricReading, _ draft: inout HistoricDraft) {
        let name = flavour.name
        let profile = "profile.\(name)"
        let source = reading.source(of: name)
        draft.set(profile, "match", Setting(name.lowercased(), from: source))
        draft.set(profile, "match_regex", flavour.match)
        switch name {
        case "openai":
            CloudFlavours.openAI(flavour.credentials, &reading, &draft)
        case "deepgram":
            CloudFlavours.deepgram(flavour.credentials, &reading, &draft)
        case "deepgram_native":
            CloudFlavours.deepgramNative(flavour.credentials, &reading, &draft)
        case "azure":
            CloudFlavours.azure(flavour.credentials, &reading, &draft)
        case "vosk":
            LocalFlavours.vosk(&reading, &draft)
        default:
            LocalFlavours.smartSpeech(name, &reading, &draft)
        }
    }
}
