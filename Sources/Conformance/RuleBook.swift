// All rules, in the order in which they are told.
//
// A plain list of lists: a rule that is not named here does not exist, and nothing registers itself.

/// The rules of the contract, and the ids that were given once and are retired.
public enum RuleBook {
    public static let all: [Rule] = groups.flatMap { $0 }

    static let groups: [[Rule]] = [
        manifestRules, fileRules, loadRules, entryRules, tableRules, lifeRules, cancelRules, backpressureRules,
        threadRules, memoryRules, processRules, settingsRules, robustnessRules,
        // The kinds.
        speechToTextRules, speechToTextTextRules, speechToTextFormRules,
        voiceActivityRules, voiceActivityBatchRules, turnRules,
        languageModelRules, languageModelVendorRules, vendorFailureRules, vendorPatienceRules, serviceRules,
        textToSpeechRules, textToSpeechAudioRules, textToSpeechMarkRules,
        telephonyRules, telephonyEndRules, telephonyCallRules, telephonySignallingRules, telephonyFramesRules,
    ]

    /// Ids of rules that are gone; they are never used again.
    static let retired: Set<String> = []

    public static func rule(_ id: String) -> Rule? { byId[id] }

    private static let byId: [String: Rule] = {
        var rules: [String: Rule] = [:]
        for rule in all {
            precondition(rules.updateValue(rule, forKey: rule.id) == nil, "\(rule.id) is there twice")
            precondition(!retired.contains(rule.id), "\(rule.id) is retired")
        }
        return rules
    }()
}
