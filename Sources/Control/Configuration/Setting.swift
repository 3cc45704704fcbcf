// A value and where it came from. Every place that shows or refuses a value can then say which file and line to change.

/// Where an effective value comes from. Later cases override earlier ones.
public enum SettingSource: Sendable, Equatable, CustomStringConvertible {
    case builtIn
    /// What the program did by itself that an old file was written for.
    case historic(HistoricDialect)
    case file(path: String, line: Int)
    case environment(String)

    public var description: String {
        switch self {
        case .builtIn: "default"
        case .historic(let dialect): "default of \(dialect.title)"
        case .file(let path, let line): "\(path):\(line)"
        case .environment(let name): "environment \(name)"
        }
    }
}

extension SettingSource {
    /// For lists in the order of the file; what has no line comes first.
    var place: Int { if case .file(_, let line) = self { line } else { 0 } }
}

/// One effective value, as text.
public struct Setting: Sendable, Equatable {
    public var text: String
    public var source: SettingSource

    public init(_ text: String, from source: SettingSource) {
        self.text = text
        self.source = source
    }

    /// The value without a comment behind it. Only for values that cannot contain " #" or " ;": numbers, switches,
    /// addresses, names. Nil when there is none.
    var withoutTrailingComment: String? {
        for mark in [" #", " ;", "\t#", "\t;"] {
            if let range = text.firstRange(of: mark) { return String(text[..<range.lowerBound][...].trimmed) }
        }
        return nil
    }
}

/// Something about the configuration that the operator should know.
public struct SettingProblem: Sendable, Equatable, CustomStringConvertible {
    public enum Severity: Sendable { case warning, error }

    public var severity: Severity
    public var source: SettingSource
    public var message: String

    public init(_ severity: Severity, _ source: SettingSource, _ message: String) {
        self.severity = severity
        self.source = source
        self.message = message
    }

    public var description: String { "\(source): \(severity == .error ? "error" : "warning"): \(message)" }
}
