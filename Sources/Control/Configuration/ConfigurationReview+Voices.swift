// A profile's `voice` against what the plugins take: a misspelt name is told at the start, with the names that there
// are, and not by a vendor in the first call.

import JSON
import Providers

extension ConfigurationReview {
    /// - Parameter provider: what a section's plugin is called, and says of itself; nil when it cannot be used.
    static func problems(
        ofVoiceIn profile: String, _ configuration: Configuration,
        provider: (String) -> (plugin: String, declaration: ProviderDeclaration)?
    ) -> [SettingProblem] {
        let source = configuration.setting(profile, "voice").source
        let choice = VoiceChoice(
            configuration.list(profile, "voice"), chain: configuration.list(profile, "tts"))
        var problems = choice.objections.map {
            SettingProblem(.error, source, "[\(profile)] voice \($0)")
        }
        for (name, voice) in choice.voices.sorted(by: { $0.key < $1.key }) {
            // One that is not there is told of elsewhere, and may come later.
            guard let (plugin, declaration) = provider(name),
                let judgement = judge(voice, of: "\(plugin) of [\(name)]", declaration)
            else { continue }
            problems.append(SettingProblem(judgement.severity, source, "[\(profile)] \(judgement.text)"))
        }
        return problems
    }

    private static func judge(
        _ voice: String, of provider: String, _ declaration: ProviderDeclaration
    ) -> (severity: SettingProblem.Severity, text: String)? {
        guard declaration.session.properties["voice"] != nil else {
            return (.error, "voice is \"\(voice)\", and \(provider) has no voices to choose from")
        }
        do throws(Providers.ConfigurationError) {
            _ = try declaration.session.validate(["voice": .string(voice)])
        } catch {
            return (.error, "voice of \(provider): \(error.problems.map(\.message).joined(separator: "; "))")
        }
        let known = declaration.capabilities.voices
        guard !known.isEmpty, !known.contains(where: { $0.isCalled(voice) }) else { return nil }
        if let form = declaration.capabilities.voiceForm, let expression = try? Regex(form) {
            if (try? expression.wholeMatch(in: voice)) ?? nil != nil { return nil }
            return (.error, sentence(voice, provider, known) + "; any other is given by its id")
        }
        return (.warning, sentence(voice, provider, known) + "; its server is asked for it all the same")
    }

    private static func sentence(_ voice: String, _ provider: String, _ known: [ListedVoice]) -> String {
        let hint = Spelling.nearest(to: voice, among: known.map(\.name)).map { ", did you mean \($0)?" } ?? ":"
        return "voice is \"\(voice)\", which \(provider) does not list\(hint) "
            + "There are \(known.map(\.name).joined(separator: ", "))"
    }
}
