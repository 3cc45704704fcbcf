// An old file and the environment of its program, read key by key; what nobody took in the end is told.
//
// The precedence is the old one: the file, then the environment, then the program's default. Each setting keeps the
// place that it came from, so that `config show` names the line of the old file, and a wrong value is reported there.

struct HistoricReading {
    let dialect: HistoricDialect
    let file: INIFile?
    let environment: [String: String]
    private(set) var problems: [SettingProblem] = []
    /// "section/key" of what somebody asked for.
    private var taken: Set<String> = []

    init(_ dialect: HistoricDialect, file: INIFile?, environment: [String: String]) {
        self.dialect = dialect
        self.file = file
        self.environment = environment
    }

    func has(_ section: String) -> Bool { file?.sections.contains { $0.name == section } ?? false }

    func has(_ section: String, _ key: String) -> Bool { entry(section, key) != nil }

    /// The line of a section, or the dialect where it is not in the file.
    func source(of section: String) -> SettingSource {
        guard let file, let found = file.sections.first(where: { $0.name == section }) else {
            return .historic(dialect)
        }
        return .file(path: file.path, line: found.line)
    }

    /// Words as they are: the first of `keys` that the file has, else the first of `variables` that is set, else the
    /// program's default. An empty value counts as none.
    mutating func words(
        _ section: String, _ keys: [String], _ variables: [String] = [], or builtIn: String? = nil
    ) -> Setting? {
        var found: Setting?
        for key in keys {
            guard let file, let entry = entry(section, key) else { continue }
            taken.insert("\(section)/\(key)")
            guard found == nil, !entry.value.isEmpty else { continue }
            found = Setting(entry.value, from: .file(path: file.path, line: entry.line))
        }
        return found ?? variable(variables) ?? builtIn.map { Setting($0, from: .historic(dialect)) }
    }

    /// A number, a name or an address: a comment behind it is ignored with a warning, as these files have it.
    mutating func value(
        _ section: String, _ keys: [String], _ variables: [String] = [], or builtIn: String? = nil
    ) -> Setting? {
        guard let found = words(section, keys), let bare = withoutComment(found, keys[0]) else {
            return words("", [], variables, or: builtIn)
        }
        return bare
    }

    /// A number; what is none is told and counts as not written, which is what the old programs made of it.
    mutating func number(
        _ section: String, _ keys: [String], _ variables: [String] = [], or builtIn: String? = nil
    ) -> Setting? {
        guard let found = value(section, keys, variables) else { return words("", [], [], or: builtIn) }
        guard Double(found.text) == nil else { return found }
        let fallback = words("", [], [], or: builtIn)
        warn(
            found.source,
            "\(keys[0]) is \"\(found.text)\" and no number; "
                + (fallback.map { "\($0.text) is taken" } ?? "it was ignored"))
        return fallback
    }

    /// The connector's own idea of a switch: its words, or any whole number but 0.
    mutating func flag(_ section: String, _ keys: [String], _ variables: [String] = []) -> Bool? {
        guard let found = value(section, keys, variables) else { return nil }
        return SettingKey.flag(found.text) ?? Int(found.text).map { $0 != 0 }
    }

    /// A section that is switched off: nothing of it is missed.
    mutating func leave(_ section: String) {
        for entry in file?.sections.first(where: { $0.name == section })?.entries ?? [] {
            taken.insert("\(section)/\(entry.key)")
        }
    }

    mutating func warn(_ source: SettingSource, _ message: String) {
        problems.append(SettingProblem(.warning, source, message))
    }

    /// The end: a warning for every key and every known variable that means nothing any more.
    mutating func warnOfTheRest() {
        var told: Set<Int> = []
        for section in file?.sections ?? [] where Configuration.keys(of: section.name) == nil {
            if section.name == "secrets" { continue }
            for entry in section.entries where !taken.contains("\(section.name)/\(entry.key)") {
                // A key of [DEFAULT] stands in every section.
                guard told.insert(entry.line).inserted else { continue }
                let reason = HistoricReasons.reason(section.name, entry.key, dialect)
                warn(.file(path: file?.path ?? "", line: entry.line), "[\(section.name)] \(entry.key): \(reason)")
            }
        }
        for (name, reason) in HistoricReasons.variables(dialect) where environment[name]?.isEmpty == false {
            warn(.environment(name), reason)
        }
    }

    // MARK: -

    private func entry(_ section: String, _ key: String) -> INIFile.Entry? {
        file?.sections.first { $0.name == section }?.entries.first { $0.key == key }
    }

    private func variable(_ names: [String]) -> Setting? {
        for name in names {
            if let value = environment[name], !value.isEmpty { return Setting(value, from: .environment(name)) }
        }
        return nil
    }

    private mutating func withoutComment(_ setting: Setting, _ key: String) -> Setting? {
        let isAllComment = setting.text.hasPrefix("#") || setting.text.hasPrefix(";")
        guard let bare = isAllComment ? "" : setting.withoutTrailingComment else { return setting }
        warn(
            setting.source,
            "the comment behind \(key) belongs to the value in this format; it was ignored, give it a line of its own")
        return bare.isEmpty ? nil : Setting(bare, from: setting.source)
    }
}
