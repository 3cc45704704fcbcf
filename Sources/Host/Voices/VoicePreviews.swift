// Hearing a voice before a caller does: from the cache, and else from the provider.
//
// The provider is asked for only when it is needed, by a closure: a command makes one, which takes a second, and a host
// that runs has one already.

import Calls
import JSON
import Media
import Providers

/// Everything that decides how a preview sounds.
struct PreviewRequest: Sendable, Equatable {
    let plugin: String
    let version: String
    /// The settings of the provider's section, as JSON: its model and its speed are heard, too.
    let settings: String
    let voice: String
    /// BCP 47.
    let language: String
    let text: String

    /// Two or three sentences. A longer text is no preview, and is paid for by the letter.
    static let textBytesMax = 1_000

    init(_ section: ProviderSection, voice: String, language: String, text: String) {
        self.init(
            plugin: section.declaration.id, version: section.plugin.manifest.version,
            settings: section.configuration.text, voice: voice, language: language, text: text)
    }

    init(plugin: String, version: String, settings: String, voice: String, language: String, text: String) {
        self.plugin = plugin
        self.version = version
        self.settings = settings
        self.voice = voice
        self.language = language
        self.text = text
    }

    /// The name of its file: a hash, since a text may hold anything.
    var key: String {
        // JSON, so that no two requests read the same when they are put together.
        let parts = [plugin, version, settings, voice, language, text].map { JSONValue.string($0) }
        return SHA256.hex(Array(JSONValue.array(parts).text.utf8))
    }

    /// What is said when nothing else is asked for.
    static func text(for language: String) -> String {
        language.hasPrefix("tr")
            ? "Merhaba, ben telefonda sizinle konuşacak olan sesim. Size nasıl yardımcı olabilirim?"
            : "Hello, this is the voice that will speak with you on the telephone. How can I help you?"
    }
}

struct VoicePreviews {
    struct Preview {
        let file: WAVFile
        /// It was heard before, and nobody was asked.
        let isFromCache: Bool
        /// Where it is kept; nil: nowhere, for want of a directory or for what `problem` says.
        let path: String?
        let problem: String?
    }

    /// Nil keeps nothing.
    let cache: PreviewCache?
    /// A minute of speech from a slow voice; what takes longer has hung.
    var timeoutMs = 60_000

    /// - Parameter speaking: lends a running provider, if one is needed.
    func preview(
        _ request: PreviewRequest,
        speaking: ((ProviderInstance) throws(ProviderFailure) -> SpokenText) throws(ProviderFailure) -> SpokenText
    ) throws(ProviderFailure) -> Preview {
        if let cache, let file = cache.find(request) {
            return Preview(file: file, isFromCache: true, path: cache.path(of: request), problem: nil)
        }
        let spoken = try speaking { instance throws(ProviderFailure) in
            let trial = try TextToSpeechTrial(instance, voice: request.voice, language: request.language)
            defer { trial.close() }
            return try trial.speak(request.text, timeoutMs: timeoutMs)
        }
        let file = WAVFile(sampleRateHz: spoken.sampleRateHz, samples: spoken.samples)
        let problem = cache.flatMap { $0.keep(file, of: request) }
        return Preview(
            file: file, isFromCache: false, path: problem == nil ? cache?.path(of: request) : nil, problem: problem)
    }
}
