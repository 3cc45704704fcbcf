// `vchost voices`: which voices there are to choose from, and `vchost voices preview`: what one sounds like.

import Calls
import Control
import HostServices
import JSON
import Media
import Providers

enum VoicesCommand: Command {
    static let name = "voices"
    static let summary = "list the voices that profiles can choose from, and hear one"

    private static let options = [
        Option("--language", "TAG", "list: only voices that speak it; preview: what is spoken, else the voice's own"),
        Option("--text", "TEXT", "what a preview says; a greeting unless it is given"),
        Option("--out", "FILE.wav", "where a preview is written to, beside the cache"),
        Option("--offline", "list what the plugins' manifests name, and ask no vendor"),
        Option("--fresh", "ask the provider even where the preview was heard before"),
        Option("--config", "FILE", "the configuration; vchost.ini when it is not given and exists"),
        Option("--plugins", "DIRECTORY", "where the plugins are; plugins.d, or those installed"),
        Option("--json", "for programs"),
    ]

    static let help = """
        usage: vchost voices [tts.NAME ...] [--language TAG] [--json] [--config FILE]
               vchost voices preview tts.NAME [VOICE] [--text TEXT] [--language TAG] [--out FILE.wav] [--json]

        Lists the voices of the [tts.NAME] sections of the configuration, all of them or those that are named: those of
        the plugin's manifest, which a profile's `voice` takes by name or by id, and those that the vendor lists when it
        is asked, by id. A vendor that does not answer is a line below the table. A preview speaks through the plugin as
        a call would, with the section's own voice where none is named, and is kept in the state directory: the second
        time nobody is asked.

        \(Arguments.help(options))

        Exit status: 0 done, 1 the voice could not be heard, 2 usage.
        """

    static func run(_ words: [String]) throws -> Int32 {
        let arguments = try Arguments(words, options: options)
        defer { HostServices.stop() }
        let providers = try ConfiguredProviders(kind: "tts", of: arguments)
        guard arguments.positional.first == "preview" else {
            for option in ["--text", "--out", "--fresh"] where arguments.has(option) {
                throw UsageError(message: "\(option) is for `voices preview`")
            }
            return try list(arguments, providers)
        }
        return try preview(arguments, providers)
    }

    // MARK: The list

    private static func list(_ arguments: Arguments, _ providers: ConfiguredProviders) throws -> Int32 {
        var sections: [ProviderSection] = []
        var remarks: [(provider: String, text: String)] = []
        for name in try providers.names(arguments.positional) {
            do throws(SettingsError) { sections.append(try providers.section(name)) } catch {
                remarks.append((name, error.message))
            }
        }
        providers.lendSecrets(of: sections)
        var voices: [OfferedVoice] = []
        for section in sections {
            let listed = section.declaration.capabilities.voices
            let answer = arguments.has("--offline") ? nil : VendorVoices.ask(section)
            let known = Set(listed.map(\.id))
            let others = (answer?.voices ?? []).filter { !known.contains($0.id) }
            let theirs = Set((answer?.voices ?? []).map(\.id))
            voices += listed.map {
                OfferedVoice(provider: section.name, voice: $0, source: theirs.contains($0.id) ? .vendor : .manifest)
            }
            voices += others.map { OfferedVoice(provider: section.name, voice: $0, source: .vendor) }
            if let problem = answer?.problem, !problem.isEmpty {
                remarks.append((section.name, problem))
            } else if listed.isEmpty, others.isEmpty {
                remarks.append((section.name, "there is no list of its voices"))
            }
        }
        let table = VoiceTable(voices, remarks: remarks, language: arguments["--language"] ?? "")
        print(arguments.has("--json") ? table.json.text + "\n" : table.text, terminator: "")
        return 0
    }

    // MARK: A preview

    private static func preview(_ arguments: Arguments, _ providers: ConfiguredProviders) throws -> Int32 {
        let words = Array(arguments.positional.dropFirst())
        guard (1...2).contains(words.count) else { throw UsageError(message: "say `voices preview tts.NAME VOICE`") }
        let section = try providers.section(try providers.names(words.prefix(1))[0])
        guard words.count == 1 || section.declaration.session.properties["voice"] != nil else {
            throw SettingsError(.invalid, "\(section.plugin.id) of [\(section.name)] has no voices to choose from")
        }
        let capabilities = section.declaration.capabilities
        let voice = words.count == 1 ? "" : capabilities.spelling(ofVoice: words[1])
        let heard = voice.isEmpty ? section.configuration["voice"]?.string ?? "" : voice
        let listed = capabilities.voices.first { $0.isCalled(heard) }
        let spoken = arguments["--language"] ?? listed?.language ?? ""
        let language = spoken.isEmpty ? "en" : spoken
        let text = arguments["--text"] ?? PreviewRequest.text(for: language)
        guard !text.isEmpty, text.utf8.count <= PreviewRequest.textBytesMax else {
            throw UsageError(
                message: "--text wants 1 to \(PreviewRequest.textBytesMax) bytes, and has \(text.utf8.count)")
        }
        providers.lendSecrets(of: [section])

        let cache = providers.sources.stateDirectory.map { PreviewCache(directory: $0 + "/previews") }
        let request = PreviewRequest(section, voice: voice, language: language, text: text)
        if arguments.has("--fresh") { cache?.forget(request) }
        let preview: VoicePreviews.Preview
        do throws(ProviderFailure) {
            preview = try VoicePreviews(cache: cache).preview(request) { speak throws(ProviderFailure) in
                try ProviderInstance.run(section, log: providers.log, speak)
            }
        } catch {
            let code = error.vendorCode.isEmpty ? "" : " (\(error.vendorCode))"
            VCHost.complain("\(section.name) cannot be heard: \(error.message)\(code)")
            return 1
        }
        if let problem = preview.problem { VCHost.complain("the preview is not kept: \(problem)") }
        if let path = arguments["--out"] { try preview.file.write(to: path) }
        guard let path = arguments["--out"] ?? preview.path else {
            throw SettingsError(.invalid, "the preview was kept nowhere; say where with --out FILE.wav")
        }
        let seconds = Double(preview.file.samples.count) / Double(preview.file.sampleRateHz)
        let tenths = Int((seconds * 10).rounded())
        if arguments.has("--json") {
            let report: JSONValue = [
                "provider": .string(section.name), "voice": .string(voice), "language": .string(language),
                "text": .string(text), "file": .string(path), "fromCache": .bool(preview.isFromCache),
                "sampleRateHz": .integer(Int64(preview.file.sampleRateHz)),
                "durationMs": .integer(Int64((seconds * 1_000).rounded())),
            ]
            print(report.text)
        } else {
            let source = preview.isFromCache ? "heard before" : "spoken by \(section.name)"
            print("\(path): \(tenths / 10).\(tenths % 10) s at \(preview.file.sampleRateHz) Hz, \(source)")
        }
        return 0
    }
}
