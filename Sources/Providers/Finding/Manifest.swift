// What a plugin says about itself, read without running it.
//
// A manifest is a JSON document in the section `.vchost.manifest` of the library (`docs/manifest.md` describes it for
// authors). Reading is strict: an unknown key is far more often a misspelt one than one of the future, so it is
// refused, but for keys that begin with "x-", which belong to whoever writes them. What a later version adds comes with
// a higher `manifest` number or under `capabilities` of a kind that this host does not know.
//
// Only `JSONDecoder`'s absence needs a word: it reports the first problem, in words about Swift types, and it drags
// Foundation into the start of the host. The author of a manifest wants the key and what is expected there.

import JSON

/// Identity, demands and providers of a plugin.
public struct Manifest: Sendable, Equatable {
    public struct ABI: Sendable, Equatable {
        public var major: Int
        public var minor: Int
        /// The oldest host on which the plugin runs.
        public var hostMinorMin: Int
    }

    public struct Runtime: Sendable, Equatable {
        public enum StandardLibrary: String, Sendable, CaseIterable { case shared, `static` }

        /// "c", "c++", "swift", "rust", ...
        public var language: String
        /// The version of the toolchain; needed for Swift with the shared runtime.
        public var toolchain: String?
        public var standardLibrary: StandardLibrary?
    }

    public enum Isolation: String, Sendable, CaseIterable { case inprocess, worker }

    /// "org.acme.stt": the plugin's name in configurations and logs.
    public var id: String
    public var version: String
    public var title: String
    /// An SPDX expression.
    public var license: String
    public var abi: ABI
    public var runtime: Runtime
    /// Where the author wants it to run; the operator decides.
    public var isolation: Isolation?
    /// Names of the secrets that it may ask for.
    public var secrets: [String]
    /// Origins to which it connects.
    public var network: [String]
    /// Files that it reads: absolute, or relative to the installation.
    public var files: [String]
    public var providers: [ProviderDeclaration]
}

/// One provider of a manifest.
public struct ProviderDeclaration: Sendable, Equatable {
    /// "vc.stt/1". `PluginKind(rawValue:)` knows the kinds of this host; others are listed and ignored.
    public var kind: String
    public var id: String
    public var capabilities: Capabilities
    /// Of a section of the configuration.
    public var configuration: ConfigurationSchema
    /// Of the settings that a session may be opened with.
    public var session: ConfigurationSchema
    /// From `open` or `start` to READY.
    public var readyTimeoutMs: Int

    public var knownKind: PluginKind? { PluginKind(rawValue: kind) }

    /// Three seconds: a connection with TLS to the far side of the world takes one.
    public static let readyTimeoutMsDefault = 3_000
    /// A local model may take a minute to load; what takes longer has hung.
    public static let readyTimeoutMsMax = 120_000
}

/// The kinds of this host.
public enum PluginKind: String, Sendable, CaseIterable {
    case telephony = "vc.telephony/1"
    case voiceActivity = "vc.vad/1"
    case speechToText = "vc.stt/1"
    case turn = "vc.turn/1"
    case languageModel = "vc.llm/1"
    case textToSpeech = "vc.tts/1"
}

/// What a provider can do, as far as its kind asks.
public struct Capabilities: Sendable, Equatable {
    public enum Profile: String, Sendable, CaseIterable { case signalling, frames }
    /// How finely a voice says where its words are.
    public enum Marks: String, Sendable, CaseIterable { case word, clause, piece }

    /// Sample rates that it takes, or gives, without the host's resampling.
    public var ratesHz: [Int] = [8_000, 16_000]
    /// "s16", "pcmu", "pcma", "f32". Every plugin takes "s16".
    public var formats: [String] = ["s16"]
    /// BCP 47; empty: any, or unknown.
    public var languages: [String] = []
    /// Of a telephony provider.
    public var profile: Profile?
    /// Of a language model: requests of all its sessions that it works on at once.
    public var parallelRequests: Int?
    /// Of a voice; nil: none.
    public var marks: Marks?
    /// Everything, as it was written: flags (`flag`), and whatever a later kind has.
    public var all: JSONValue = [:]

    /// Whether `name` is true: "partials", "words", "tentative", "turns", "tools", ...
    public func flag(_ name: String) -> Bool { all[name]?.bool ?? false }
}
