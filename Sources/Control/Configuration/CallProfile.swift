// A profile: how the host behaves in the calls that it answers under a number or a name.

import Calls

public struct CallProfile: Sendable {
    public let name: String
    /// Called numbers and names that it answers, with * for anything.
    public let patterns: [String]
    /// A regular expression for the beginning of the called name, in small letters; empty for none.
    public let expression: String
    public let policy: CallPolicy
    public let chains: ProviderChains
    /// What it speaks with, by the provider's section; those that are not in it speak with their own.
    public let voices: [String: String]
    /// The section of its detector, or nil for the built-in one.
    public let detector: String?
    /// What its language models may call: built-in names, and sections "tool.NAME".
    public let tools: [String]
    /// Where a transfer goes; empty: wherever the model says.
    public let transferTarget: String

    /// Of a configuration that has passed its review.
    public init(_ section: Configuration.Section, in configuration: Configuration) {
        name = String(section.name.dropFirst("profile.".count))
        func list(_ key: String) -> [String] { configuration.list(section.name, key) }
        func integer(_ key: String) -> Int { configuration.integer(section.name, key) }
        patterns = list("match")
        expression = configuration.text(section.name, "match_regex")
        chains = ProviderChains(
            speechToText: list("stt"), languageModel: list("llm"), textToSpeech: list("tts"), turn: list("turn"))
        voices = VoiceChoice(list("voice"), chain: list("tts")).voices
        detector = list("vad").first
        tools = list("tools")
        transferTarget = configuration.text(section.name, "transfer_to")

        var policy = CallPolicy(language: .named(configuration.text(section.name, "language")))
        policy.systemPrompt = configuration.text(section.name, "prompt")
        policy.greeting.text = configuration.text(section.name, "greeting")
        policy.greeting.isProtected = configuration.flag(section.name, "greeting_protected")
        policy.endpointing.completeMs = integer("end_of_turn_ms")
        policy.endpointing.incompleteMs = max(integer("end_of_turn_max_ms"), integer("end_of_turn_ms"))
        policy.endpointing.digitsMs = integer("digits_ms")
        policy.speculation.isEnabled = configuration.flag(section.name, "early_start")
        policy.bargeIn.isEnabled = configuration.flag(section.name, "barge_in")
        policy.bargeIn.commitSpeechMs = integer("barge_in_ms")
        policy.bargeIn.falseAlarmMs = integer("resume_ms")
        policy.noInput.waitsMs = [integer("no_input_ms"), integer("no_input_ms")]
        policy.failover.bridgeMs = integer("bridge_ms")
        policy.callMaxMs = integer("call_max_s") * 1_000
        policy.tools.timeoutsMs = [:]
        for name in tools {
            guard name.hasPrefix("tool.") else {
                // A built-in one answers at once.
                policy.tools.timeoutsMs?[name] = 1_000
                continue
            }
            policy.tools.timeoutsMs?[String(name.dropFirst(5))] = configuration.integer(name, "timeout_ms")
            let bytesMax = configuration.integer(name, "result_bytes_max")
            policy.tools.resultBytesMax = max(policy.tools.resultBytesMax, bytesMax)
        }
        self.policy = policy
    }

    /// Whether the profile answers for `callee`, an address as the protocol writes it: "sip:desk@example.org",
    /// "+9021...".
    public func answers(_ callee: String) -> Bool {
        let user = Self.user(of: callee)
        return patterns.contains { Self.matches($0[...], user[...]) || Self.matches($0[...], callee[...]) }
            || isExpected(user)
    }

    /// As Python's `re.match` has it: from the first character, not to the last. Compiled for each call, of which there
    /// are some a second: a compiled expression may not be shared between threads.
    private func isExpected(_ user: String) -> Bool {
        guard !expression.isEmpty, let expression = try? Regex(expression) else { return false }
        return (try? expression.prefixMatch(in: user.lowercased())) != nil
    }

    /// What stands before the @ of a SIP address, without its scheme; a number as it is.
    static func user(of address: String) -> String {
        var text = address[...]
        for scheme in ["sip:", "sips:", "tel:"] where text.lowercased().hasPrefix(scheme) {
            text = text.dropFirst(scheme.count)
            break
        }
        return String(text.prefix { $0 != "@" && $0 != ";" })
    }

    private static func matches(_ pattern: Substring, _ text: Substring) -> Bool {
        guard let first = pattern.first else { return text.isEmpty }
        if first == "*" {
            let rest = pattern.dropFirst()
            return matches(rest, text) || (!text.isEmpty && matches(pattern, text.dropFirst()))
        }
        return text.first == first && matches(pattern.dropFirst(), text.dropFirst())
    }
}

extension [CallProfile] {
    /// The profile for a called address: the first whose pattern takes it, else the default. Of several defaults a
    /// called user always gets the same one, after a restart too.
    public func profile(for callee: String, defaults: [String]) -> CallProfile? {
        if let answering = first(where: { $0.answers(callee) }) { return answering }
        guard !defaults.isEmpty else { return first }
        let place = Self.fnv1a(CallProfile.user(of: callee).lowercased()) % UInt64(defaults.count)
        return first { $0.name == defaults[Int(place)] }
    }

    /// The hash of Fowler, Noll and Vo, which does not differ from process to process as the language's own does.
    private static func fnv1a(_ text: String) -> UInt64 {
        text.utf8.reduce(0xcbf2_9ce4_8422_2325) { ($0 ^ UInt64($1)) &* 0x100_0000_01b3 }
    }
}
