// What the host works with: the file, overridden by the environment, with everything that is wrong about both.
//
// Loading never fails half-way. All problems are collected, so that `vchost config check` shows each with its place,
// and the host refuses to start on errors only, with the same text. Values stay text here; whoever uses one asks for
// its type, and providers' values are typed by the schema in their plugin's manifest.

public struct Configuration: Sendable {
    public struct Section: Sendable {
        public let name: String
        public let source: SettingSource
        public internal(set) var settings: [String: Setting]

        /// "stt" of [stt.local]; the whole name where there is no dot.
        public var kind: String { String(name.prefix { $0 != "." }) }
    }

    /// In the order of the file.
    public private(set) var sections: [Section] = []
    public private(set) var problems: [SettingProblem] = []
    /// What the file was written for, when it was not vchost.
    public private(set) var dialect: HistoricDialect?
    private var credentials: [String: String] = [:]

    /// No file: everything is as built in, but for the environment.
    public init(environment: [String: String] = [:]) {
        translate(nil, environment)
        applyEnvironment(environment)
        check()
    }

    /// Reads `file` and then `VCHOST__SECTION__KEY` from `environment`.
    public init(file: INIFile, environment: [String: String] = [:]) {
        translate(file, environment)
        for mistake in file.mistakes {
            // The old readers looked at a value when they needed it, and most of these they never needed.
            let severity: SettingProblem.Severity = mistake.isOfValue && dialect != nil ? .warning : .error
            problems.append(SettingProblem(severity, .file(path: mistake.path, line: mistake.line), mistake.message))
        }
        for section in file.sections {
            if dialect != nil, Self.keys(of: section.name) == nil, section.name != "secrets" { continue }
            let settings = section.entries.map {
                ($0.key, Setting($0.value, from: .file(path: file.path, line: $0.line)))
            }
            let merged = Dictionary(settings, uniquingKeysWith: { first, _ in first })
            if let index = sections.firstIndex(where: { $0.name == section.name }) {
                // What a second section of the name says is refused; what an old file came to is overridden.
                sections[index].settings.merge(merged) { first, second in dialect == nil ? first : second }
            } else {
                sections.append(
                    Section(name: section.name, source: .file(path: file.path, line: section.line), settings: merged))
            }
        }
        applyEnvironment(environment)
        check()
    }

    // MARK: Reading

    public subscript(section: String) -> Section? { sections.first { $0.name == section } }

    /// The sections of a kind, [profile.…] for "profile".
    public func sections(of kind: String) -> [Section] { sections.filter { $0.kind == kind && $0.name != kind } }

    /// The effective setting of one of the host's own keys, from the file, the environment or the table of defaults.
    public func setting(_ section: String, _ key: String) -> Setting {
        if let set = self[section]?.settings[key] { return set }
        guard let known = Self.keys(of: section)?.first(where: { $0.name == key }) else {
            preconditionFailure("[\(section)] \(key) is not in the table of keys")
        }
        return Setting(known.builtIn, from: .builtIn)
    }

    public func text(_ section: String, _ key: String) -> String { setting(section, key).text }

    /// A number that `check` has accepted, or the default where it has not.
    public func integer(_ section: String, _ key: String) -> Int {
        Int(setting(section, key).text) ?? Int(builtIn(section, key)) ?? 0
    }

    public func flag(_ section: String, _ key: String) -> Bool {
        SettingKey.flag(setting(section, key).text) ?? SettingKey.flag(builtIn(section, key)) ?? false
    }

    public func list(_ section: String, _ key: String) -> [String] {
        setting(section, key).text.split(whereSeparator: { $0 == "," || $0 == "\n" }).map { String($0.trimmed) }
            .filter { !$0.isEmpty }
    }

    /// Where a secret is to be found, "env:NAME" or "file:PATH": what [secrets] says, else the variable of its name.
    public func secretReference(_ name: String) -> String {
        self["secrets"]?.settings[name.lowercased()]?.text ?? "env:\(name)"
    }

    /// A secret that a file of another system holds in plain text, unless [secrets] names a better place.
    public func credential(_ name: String) -> String? {
        self["secrets"]?.settings[name.lowercased()] == nil ? credentials[name] : nil
    }

    private func builtIn(_ section: String, _ key: String) -> String {
        Self.keys(of: section)?.first { $0.name == key }?.builtIn ?? ""
    }

    /// The table of a section that the host reads itself; nil for a provider's or an unknown one.
    static func keys(of section: String) -> [SettingKey]? {
        SettingKey.sections.first { name, _ in
            name.hasSuffix(".") ? section.hasPrefix(name) && section.count > name.count : section == name
        }?.keys
    }

    /// A file of a system that vchost replaces, in our words.
    private mutating func translate(_ file: INIFile?, _ environment: [String: String]) {
        guard let translation = HistoricTranslation(file: file, environment: environment) else { return }
        dialect = translation.dialect
        sections = translation.sections
        problems = translation.problems
        credentials = translation.credentials
    }

    // MARK: The environment

    /// `VCHOST__STT_LOCAL__URL` sets `url` of [stt.local]: dots and dashes of a section's name are underscores there.
    private mutating func applyEnvironment(_ environment: [String: String]) {
        for (variable, value) in environment.sorted(by: { $0.key < $1.key }) where variable.hasPrefix("VCHOST__") {
            let parts = variable.dropFirst("VCHOST__".count).split(separator: "__", maxSplits: 1)
            let source = SettingSource.environment(variable)
            guard parts.count == 2 else {
                problems.append(
                    SettingProblem(.error, source, "write VCHOST__SECTION__KEY, as in VCHOST__MEDIA__PORT_MIN"))
                continue
            }
            let wanted = parts[0].lowercased()
            let index =
                sections.firstIndex { Self.variableName(of: $0.name) == wanted }
                ?? addSection(named: wanted, from: source)
            guard let index else {
                problems.append(
                    SettingProblem(.error, source, "there is no section whose name reads \"\(wanted)\" in a variable"))
                continue
            }
            sections[index].settings[parts[1].lowercased()] = Setting(value, from: source)
        }
    }

    private mutating func addSection(named name: String, from source: SettingSource) -> Int? {
        guard SettingKey.sections.contains(where: { $0.name == name }) else { return nil }
        sections.append(Section(name: name, source: source, settings: [:]))
        return sections.count - 1
    }

    private static func variableName(of section: String) -> String {
        String(section.lowercased().map { $0 == "." || $0 == "-" ? "_" : $0 })
    }

    // MARK: What the host can judge alone

    /// Unknown sections and keys, and wrong values of the host's own keys. Providers' sections are judged with their
    /// plugins' manifests (`ConfigurationReview`).
    private mutating func check() {
        for index in sections.indices {
            let section = sections[index]
            // Its keys are the secrets of the plugins.
            if section.name == "secrets" { continue }
            guard let keys = Self.keys(of: section.name) else {
                if !SettingKey.providerKinds.contains(section.kind) || section.name == section.kind {
                    problems.append(SettingProblem(.error, section.source, unknownSection(section.name)))
                }
                continue
            }
            for (name, setting) in section.settings.sorted(by: { $0.key < $1.key }) {
                guard let key = keys.first(where: { $0.name == name }) else {
                    let hint = Spelling.nearest(to: name, among: keys.map(\.name)).map { "; did you mean \($0)?" } ?? ""
                    problems.append(
                        SettingProblem(.error, setting.source, "[\(section.name)] has no key \(name)\(hint)"))
                    continue
                }
                judge(setting, of: key, in: index)
            }
        }
    }

    private mutating func judge(_ setting: Setting, of key: SettingKey, in section: Int) {
        guard let objection = key.objection(to: setting.text) else { return }
        // A comment behind a value is part of it in this dialect, and stands in files of the field all the same.
        if let stripped = setting.withoutTrailingComment, key.objection(to: stripped) == nil {
            sections[section].settings[key.name]?.text = stripped
            problems.append(
                SettingProblem(
                    .warning, setting.source,
                    "the comment behind \(key.name) belongs to the value in this format; it was ignored, "
                        + "give it a line of its own"))
            return
        }
        problems.append(SettingProblem(.error, setting.source, "[\(sections[section].name)] \(objection)"))
    }

    private func unknownSection(_ name: String) -> String {
        let known = SettingKey.sections.map(\.name) + ["secrets"] + SettingKey.providerKinds.map { $0 + "." }
        return "[\(name)] is no section of vchost; there are "
            + known.map { $0.hasSuffix(".") ? "[\($0)NAME]" : "[\($0)]" }.joined(separator: ", ")
    }
}
