// Which voices of its providers a profile speaks with: `voice = Katie`, or one for each provider of the chain,
// `voice = tts.cartesia: Katie, tts.google: Kore`.
//
// A voice belongs to a provider: the next one in the chain knows nothing of it, and speaks with its own unless it has
// an entry, too. A bare name is the first provider's, which is what one who has a single provider writes.

struct VoiceChoice {
    /// By the provider's section, "tts.cartesia".
    private(set) var voices: [String: String] = [:]
    /// What cannot be meant, as the rest of a sentence about the key.
    private(set) var objections: [String] = []

    /// - Parameters:
    ///   - entries: the key's value, cut at its commas.
    ///   - chain: the profile's voices in their order.
    init(_ entries: [String], chain: [String]) {
        for entry in entries {
            guard let (provider, voice) = read(entry, chain) else { continue }
            guard !voice.isEmpty else {
                objections.append("says \"\(entry)\" without a voice behind the colon")
                continue
            }
            guard voices[provider] == nil else {
                objections.append("names two voices of \(provider)")
                continue
            }
            voices[provider] = voice
        }
    }

    private mutating func read(_ entry: String, _ chain: [String]) -> (provider: String, voice: String)? {
        if let colon = entry.firstIndex(of: ":") {
            let name = String(entry[..<colon].trimmed)
            let voice = String(entry[entry.index(after: colon)...].trimmed)
            if chain.contains(name) { return (name, voice) }
            if chain.contains("tts.\(name)") {
                objections.append("says \"\(entry)\"; write tts.\(name): \(voice)")
                return nil
            }
            // Any other colon is a part of some vendor's name of a voice.
            if name.hasPrefix("tts.") {
                let hint = Spelling.nearest(to: name, among: chain).map { "; did you mean \($0)?" } ?? ""
                objections.append("is for \(name), which is none of the profile's voices\(hint)")
                return nil
            }
        }
        // A profile without a voice is refused for that.
        return chain.first.map { ($0, entry) }
    }
}
