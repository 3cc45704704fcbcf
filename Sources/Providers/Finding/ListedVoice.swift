// The voices that a manifest names under `x-voices`, for people who choose one.
//
// They are the author's word and no promise of the vendor, and seldom all that it has; so an entry that makes no sense
// is left out, where a capability that the host acts upon would be refused.

import JSON

/// A voice that somebody can choose.
public struct ListedVoice: Sendable, Equatable {
    /// What a session's `voice` takes.
    public var id: String
    /// What people call it; its id where it has no other.
    public var name: String
    /// BCP 47, or empty: the voice speaks several.
    public var language: String
    /// "female", "male" or "neutral"; empty: unknown.
    public var gender: String
    public var description: String

    public init(id: String, name: String = "", language: String = "", gender: String = "", description: String = "") {
        self.id = id
        self.name = name.isEmpty ? id : name
        self.language = language
        self.gender = gender
        self.description = description
    }

    /// More than any vendor has today; a list that is longer is cut.
    public static let listMax = 2_000

    /// Whether `text` is its id, or its name in any case.
    public func isCalled(_ text: String) -> Bool { id == text || name.lowercased() == text.lowercased() }
}

extension Capabilities {
    /// `x-voices`, in its order.
    public var voices: [ListedVoice] {
        (all["x-voices"]?.array ?? []).prefix(ListedVoice.listMax).compactMap { entry in
            guard let id = entry["id"]?.string, !id.isEmpty else { return nil }
            func text(_ key: String) -> String { entry[key]?.string ?? "" }
            let words = [text("description"), text("accent")].filter { !$0.isEmpty }
            return ListedVoice(
                id: id, name: text("name"), language: text("language"), gender: text("gender"),
                description: words.joined(separator: "; "))
        }
    }

    /// `voice` as the plugin knows it: an id, or a name in the spelling of the list; what is not listed as it is.
    public func spelling(ofVoice voice: String) -> String {
        let voices = voices
        if voices.contains(where: { $0.id == voice }) { return voice }
        return voices.first { $0.isCalled(voice) }?.name ?? voice
    }

    /// `x-voice-form`: a regular expression of what the vendor's other voices are called; nil: anything.
    public var voiceForm: String? { all["x-voice-form"]?.string }
}
