// Our own sections while they are written out of an old file.

struct HistoricDraft {
    private(set) var sections: [Configuration.Section] = []
    /// Credentials that an old file holds in plain text, by the name that a plugin asks for.
    private(set) var credentials: [String: String] = [:]
    private var known: [String: String] = [:]

    /// Sets a key, and begins its section where there is none yet. Nil sets nothing.
    mutating func set(_ section: String, _ key: String, _ setting: Setting?) {
        guard let setting else { return }
        if let index = sections.firstIndex(where: { $0.name == section }) {
            sections[index].settings[key] = setting
        } else {
            sections.append(Configuration.Section(name: section, source: setting.source, settings: [key: setting]))
        }
    }

    func has(_ section: String) -> Bool { sections.contains { $0.name == section } }

    /// Makes `setting` a secret and `key` of the section a reference to it. Of `names`, those that the plugin may ask
    /// for, the first is taken that is free or has the same value: two flavours may have two keys of one vendor.
    mutating func setSecret(_ section: String, _ key: String, _ names: [String], _ setting: Setting) {
        let name = names.first { known[$0] == nil || known[$0] == setting.text } ?? names[names.count - 1]
        known[name] = setting.text
        set(section, key, Setting("${secret:\(name)}", from: setting.source))
        switch setting.source {
        case .environment(let variable):
            set("secrets", name.lowercased(), Setting("env:\(variable)", from: setting.source))
        default:
            // Without a value it is looked for where it would be by itself, in the variable of its name.
            if !setting.text.isEmpty { credentials[name] = setting.text }
        }
    }
}

extension Setting {
    func map(_ change: (String) -> String) -> Setting { Setting(change(text), from: source) }

    /// Seconds, as these systems count, in whole milliseconds, as we do, within what our key allows.
    func milliseconds(_ range: ClosedRange<Int>) -> Setting {
        map { String(Self.clamp((Double($0) ?? 0) * 1_000, range)) }
    }

    /// A number as a whole one within `range`.
    func whole(_ range: ClosedRange<Int>) -> Setting { map { String(Self.clamp(Double($0) ?? 0, range)) } }

    private static func clamp(_ number: Double, _ range: ClosedRange<Int>) -> Int {
        Int(min(max(number.rounded(), Double(range.lowerBound)), Double(range.upperBound)))
    }
}
