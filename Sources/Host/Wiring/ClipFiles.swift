// Sentences that were rendered before any call: what a caller hears when every voice has failed.
//
// Files and not a provider's work at start-up: they must be there when nothing else is, an operator can record them
// with a person's voice, and reading them costs milliseconds. `clips/LANGUAGE/NAME.wav`, any rate; `make build`
// renders the English ones with flite.

import Calls
import Control
import Media

final class ClipFiles: ClipLibrary {
    /// By language and rate: both are few, and known before the first call.
    private let clips: [String: [Clip: [Int: [Int16]]]]
    static let ratesHz = [8_000, 16_000]

    /// Reads what is there; `missing` is told each clip of a language that is not.
    init(directory: String, languages: Set<String>, missing: (String) -> Void) {
        var clips: [String: [Clip: [Int: [Int16]]]] = [:]
        if directory.isEmpty { missing("[vchost] clips is not set: when every voice fails, callers hear a tone") }
        for language in languages.map({ Self.key($0) }) {
            for clip in Clip.allCases {
                let path = "\(directory)/\(language)/\(clip.rawValue).wav"
                guard !directory.isEmpty else { continue }
                guard let file = try? WAVFile(path: path) else {
                    missing("\(path) cannot be read: callers hear a tone in its place")
                    continue
                }
                for rate in Self.ratesHz {
                    clips[language, default: [:]][clip, default: [:]][rate] = Resampler.convert(
                        file.samples, from: file.sampleRateHz, to: rate)
                }
            }
        }
        self.clips = clips
    }

    func samples(of clip: Clip, language: String, rateHz: Int) -> [Int16]? {
        clips[Self.key(language)]?[clip]?[rateHz]
    }

    /// "en" of "en-GB": the clips are short enough to be said once for a language.
    private static func key(_ language: String) -> String { String(language.prefix { $0 != "-" }).lowercased() }
}
