// The configuration against the plugins that are there: every provider's section typed by its manifest, every profile's
// names found, every secret in place.
//
// `vchost config check` prints what this finds and the host starts with what it made; so a configuration that passes
// the check is the one that runs.

import Glibc
import JSON
import Providers

public struct ConfigurationReview: Sendable {
    /// In the order of the file. Sections with errors are not among them.
    public private(set) var providers: [ProviderSection] = []
    /// All that is wrong, that of the configuration itself included.
    public private(set) var problems: [SettingProblem]

    /// Errors of sections that a plugin was found for, by its id.
    private var objections: [String: [SettingProblem]] = [:]
    /// Sections whose plugin is not there, or was refused.
    private var absent: [(section: String, problem: SettingProblem, isForbidden: Bool)] = []
    private let configuration: Configuration
    private let registry: PluginRegistry

    public init(_ configuration: Configuration, registry: PluginRegistry, environment: [String: String]) {
        self.configuration = configuration
        self.registry = registry
        problems = configuration.problems
        for section in configuration.sections
        where SettingKey.providerKinds.contains(section.kind) && section.name != section.kind {
            review(section, environment)
        }
        for profile in configuration.sections(of: "profile") { review(profile: profile) }
        problems += Self.problems(ofTools: configuration) { missing($0, environment) }
        for (section, problem, isForbidden) in absent {
            problems.append(judge(problem, absent: section, isForbidden))
        }
        problems.sort { $0.source.place < $1.source.place }
    }

    public var hasErrors: Bool { problems.contains { $0.severity == .error } }

    /// What sections that name a plugin of this id have wrong.
    public func objections(to plugin: LoadedPlugin) -> [SettingProblem] { objections[plugin.id] ?? [] }

    public func provider(named name: String) -> ProviderSection? { providers.first { $0.name == name } }

    // MARK: A provider's section

    private mutating func review(_ section: Configuration.Section, _ environment: [String: String]) {
        guard let named = section.settings["plugin"], !named.text.isEmpty else {
            problems.append(
                SettingProblem(
                    .error, section.source,
                    "[\(section.name)] names no plugin; add `plugin = NAME`, one of `vchost plugins list`"))
            return
        }
        guard let kind = PluginKind(rawValue: "vc.\(section.kind)/1") else { return }
        guard let (plugin, declaration) = find(named, kind, in: section) else { return }
        let before = problems.count
        defer {
            objections[plugin.id, default: []] += problems[before...].filter { $0.severity == .error }
        }
        var given: [String: String] = [:]
        let ours = Set(SettingKey.provider.map(\.name))
        for (key, setting) in section.settings where !ours.contains(key) { given[key] = setting.text }
        let isolation = isolation(of: plugin, section)
        given = stripped(given, section, declaration.configuration)
        guard hasSecrets(of: plugin, section, environment) else { return }
        do throws(Providers.ConfigurationError) {
            let value = try declaration.configuration.apply(
                to: given, over: plugin.sidecar.settings[declaration.id] ?? [:])
            providers.append(
                ProviderSection(
                    name: section.name, kind: kind, plugin: plugin, declaration: declaration, configuration: value,
                    isolation: isolation))
        } catch {
            for problem in error.problems {
                let source = section.settings[problem.key]?.source ?? section.source
                problems.append(SettingProblem(.error, source, "[\(section.name)] \(problem.key): \(problem.message)"))
            }
        }
    }

    private mutating func isolation(of plugin: LoadedPlugin, _ section: Configuration.Section) -> Manifest.Isolation {
        guard let setting = section.settings["isolation"], !setting.text.isEmpty else { return plugin.defaultIsolation }
        let text = setting.withoutTrailingComment ?? setting.text
        guard let isolation = Manifest.Isolation(rawValue: text) else {
            problems.append(
                SettingProblem(
                    .error, setting.source,
                    "[\(section.name)] isolation is \"\(text)\"; choose one of inprocess, worker"))
            return plugin.defaultIsolation
        }
        return isolation
    }

    private mutating func find(
        _ named: Setting, _ kind: PluginKind, in section: Configuration.Section
    ) -> (LoadedPlugin, ProviderDeclaration)? {
        let name = named.withoutTrailingComment ?? named.text
        if let plugin = registry.plugin(named: name) {
            if let declaration = plugin.provider(kind) { return (plugin, declaration) }
            let offers = plugin.manifest.providers.map(\.kind).joined(separator: ", ")
            problems.append(
                SettingProblem(
                    .error, named.source, "[\(section.name)] \(name) provides \(offers) and no \(kind.rawValue)"))
        } else if let provider = registry.plugins.lazy.compactMap({ plugin in
            plugin.provider(kind, id: name).map { (plugin, $0) }
        }).first {
            return provider
        } else if let entry = registry.entry(named: name), case .refused(let refusal) = entry.state {
            absent.append(
                (
                    section.name, SettingProblem(.error, named.source, "[\(section.name)] \(refusal)"),
                    [.quarantined, .notProven].contains(refusal.code)
                ))
        } else {
            let names = registry.plugins.filter { $0.provider(kind) != nil }.map { Self.stem($0.path) }
            let hint = Spelling.nearest(to: name, among: names).map { "; did you mean \($0)?" } ?? ""
            absent.append(
                (
                    section.name,
                    SettingProblem(
                        .error, named.source,
                        "[\(section.name)] there is no plugin \(name) in \(registry.directory)\(hint)"), false
                ))
        }
        return nil
    }

    /// A plugin may come later, or have been removed while the host ran: that is an error only where nothing stands in.
    /// One that is in quarantine, or that a newer host finds fault with, was there when the configuration was written,
    /// and must not keep the host down.
    private func judge(_ problem: SettingProblem, absent section: String, _ isForbidden: Bool) -> SettingProblem {
        let works = Set(providers.map(\.name))
        let kind = String(section.prefix { $0 != "." })
        // Nothing stands in for a telephony plugin, and no profile names one.
        guard kind != "telephony" else { return problem }
        let isNeeded = configuration.sections(of: "profile").contains { profile in
            let chain = configuration.list(profile.name, kind)
            return chain.contains(section) && !chain.contains(where: works.contains)
        }
        // Without a detector or a judge of turns the built-in ones work.
        guard !isNeeded || isForbidden || ["vad", "turn"].contains(kind) else { return problem }
        return SettingProblem(
            .warning, problem.source, "\(problem.message); its profiles go on with their others until it is there")
    }

    /// Comments behind numbers and switches, ignored with a warning as in the host's own sections.
    private mutating func stripped(
        _ given: [String: String], _ section: Configuration.Section, _ schema: ConfigurationSchema
    ) -> [String: String] {
        var given = given
        for (key, text) in given {
            guard let type = schema.properties[key]?.type, [.integer, .number, .boolean].contains(type),
                let setting = section.settings[key], let bare = setting.withoutTrailingComment, bare != text
            else { continue }
            given[key] = bare
            problems.append(
                SettingProblem(
                    .warning, setting.source, "the comment behind \(key) was ignored; give it a line of its own"))
        }
        return given
    }

    /// `${secret:NAME}` in a setting needs a secret that the plugin's manifest lists and the operator has set. A
    /// section without its secret is as one without its plugin: the chain goes on without it, if there is another.
    private mutating func hasSecrets(
        of plugin: LoadedPlugin, _ section: Configuration.Section, _ environment: [String: String]
    ) -> Bool {
        var missesSome = false
        for (key, setting) in section.settings.sorted(by: { $0.key < $1.key }) {
            for name in Self.secretNames(in: setting.text) {
                let isListed = plugin.manifest.secrets.contains(name)
                let objection =
                    isListed
                    ? missing(name, environment)
                    : "\(plugin.id) has no such secret; its manifest lists "
                        + plugin.manifest.secrets.joined(separator: ", ")
                guard let objection else { continue }
                let problem = SettingProblem(
                    .error, setting.source, "[\(section.name)] \(key): the secret \(name): \(objection)")
                if isListed {
                    absent.append((section.name, problem, false))
                    missesSome = true
                } else {
                    problems.append(problem)
                }
            }
        }
        return !missesSome
    }

    /// Why a secret cannot be had, or nil.
    private func missing(_ name: String, _ environment: [String: String]) -> String? {
        if configuration.credential(name) != nil { return nil }
        let reference = configuration.secretReference(name)
        if reference.hasPrefix("env:") {
            let variable = String(reference.dropFirst(4))
            return environment[variable] == nil ? "the variable \(variable) is not set" : nil
        }
        guard reference.hasPrefix("file:") else {
            return "[secrets] \(name.lowercased()) is neither env:NAME nor file:PATH"
        }
        let path = String(reference.dropFirst(5))
        return access(path, R_OK) == 0 ? nil : "\(path) cannot be read: \(String(cString: strerror(errno)))"
    }

    static func secretNames(in text: String) -> [String] {
        text.split(separator: "${secret:", omittingEmptySubsequences: false).dropFirst().compactMap { rest in
            rest.firstIndex(of: "}").map { String(rest[..<$0]) }
        }
    }

    // MARK: A profile

    private mutating func review(profile: Configuration.Section) {
        for kind in ["stt", "llm", "tts", "turn", "vad"] {
            let setting = configuration.setting(profile.name, kind)
            for name in configuration.list(profile.name, kind) {
                guard configuration[name] == nil || !name.hasPrefix("\(kind).") else { continue }
                let known = configuration.sections(of: kind).map(\.name)
                let hint =
                    Spelling.nearest(to: name, among: known).map { "did you mean \($0)?" }
                    ?? (known.isEmpty ? "write a section [\(kind).NAME]" : "there are \(known.joined(separator: ", "))")
                problems.append(
                    SettingProblem(
                        .error, setting.source, "[\(profile.name)] \(kind): there is no section [\(name)]; \(hint)"))
            }
        }
        problems += Self.problems(ofToolsIn: profile.name, configuration)
        problems += Self.problems(ofVoiceIn: profile.name, configuration) { name in
            provider(named: name).map { ($0.plugin.id, $0.declaration) }
        }
        for kind in ["stt", "llm", "tts"] where configuration.list(profile.name, kind).isEmpty {
            problems.append(
                SettingProblem(
                    .error, profile.source, "[\(profile.name)] has no \(kind); name at least one section [\(kind).NAME]"
                ))
        }
    }

    private static func stem(_ path: String) -> String {
        let name = path.split(separator: "/").last.map(String.init) ?? path
        return name.hasSuffix(".so") ? String(name.dropLast(3)) : name
    }
}
