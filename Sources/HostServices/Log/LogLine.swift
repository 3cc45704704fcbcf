// How a log line looks. On a terminal a person reads it: time, level, who, what. Collectors get one JSON object a line.
// Text of others stands in it (a vendor's message, a SIP header), so control characters are escaped in both forms: a
// line break in a header must not become a line of the log that nobody wrote.

import Glibc
import JSON

public struct LogField: Sendable, Equatable {
    public var name: String
    public var value: String

    public init(_ name: String, _ value: some CustomStringConvertible) {
        self.name = name
        self.value = value.description
    }
}

/// Whom a line is about. Empty is the host itself.
public struct LogSubject: Sendable, Equatable {
    public var plugin = ""
    public var name = ""
    public var call = ""

    public static let host = LogSubject()

    public init(plugin: String = "", name: String = "", call: String = "") {
        self.plugin = plugin
        self.name = name
        self.call = call
    }
}

struct LogLine: Sendable {
    var wallNs: UInt64
    var level: Logger.Level
    var subject: LogSubject
    var message: String
    var fields: [LogField]

    /// `2026-01-31T12:00:00.123Z WARNING stt.main plugin=org.acme.stt call=7f3a connection lost origin=https://…`
    func humanText(coloured: Bool) -> String {
        var line = Self.timestamp(wallNs) + " "
        let level = level.name.uppercased().padded(to: 7)
        line += coloured ? "\(self.level.colour)\(level)\u{1b}[0m" : level
        if !subject.name.isEmpty || !subject.plugin.isEmpty {
            line += " " + Self.escaped(subject.name.isEmpty ? subject.plugin : subject.name)
        }
        if !subject.plugin.isEmpty && !subject.name.isEmpty { line += " plugin=" + Self.quotedIfNeeded(subject.plugin) }
        if !subject.call.isEmpty { line += " call=" + Self.quotedIfNeeded(subject.call) }
        line += " " + Self.escaped(message)
        for field in fields { line += " \(Self.escaped(field.name))=\(Self.quotedIfNeeded(field.value))" }
        return line + "\n"
    }

    /// One object: `time`, `level`, `plugin`, `name`, `call`, `message`, `fields`. What is empty is left out.
    var jsonText: String {
        var line = "{\"time\":\"\(Self.timestamp(wallNs))\",\"level\":\"\(level.name)\""
        func add(_ key: String, _ value: String) {
            if !value.isEmpty { line += ",\"\(key)\":\(JSONValue.string(value).text)" }
        }
        add("plugin", subject.plugin)
        add("name", subject.name)
        add("call", subject.call)
        add("message", message)
        if !fields.isEmpty {
            // A name may come twice; the last one stands, as in every JSON reader.
            let members = Dictionary(fields.map { ($0.name, JSONValue.string($0.value)) }, uniquingKeysWith: { $1 })
            line += ",\"fields\":\(JSONValue.object(members).text)"
        }
        return line + "}\n"
    }

    /// RFC 3339, UTC, milliseconds.
    static func timestamp(_ wallNs: UInt64) -> String {
        var seconds = time_t(wallNs / 1_000_000_000)
        var parts = tm()
        gmtime_r(&seconds, &parts)
        func two(_ value: Int32) -> String { String(value).padded(to: 2, with: "0", onLeft: true) }
        let milliseconds = String(wallNs / 1_000_000 % 1000).padded(to: 3, with: "0", onLeft: true)
        return "\(parts.tm_year + 1900)-\(two(parts.tm_mon + 1))-\(two(parts.tm_mday))"
            + "T\(two(parts.tm_hour)):\(two(parts.tm_min)):\(two(parts.tm_sec)).\(milliseconds)Z"
    }

    private static func quotedIfNeeded(_ text: String) -> String {
        let isPlain =
            !text.isEmpty && text.unicodeScalars.allSatisfy { $0 > " " && $0 != "\"" && $0 != "=" && $0 != "\u{7f}" }
        return isPlain ? text : JSONValue.string(text).text
    }

    private static func escaped(_ text: String) -> String {
        guard text.unicodeScalars.contains(where: { $0.properties.generalCategory == .control }) else { return text }
        var out = ""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\n": out += "\\n"
            case "\r": out += "\\r"
            case "\t": out += "\\t"
            case _ where scalar.properties.generalCategory == .control:
                out += "\\u{\(String(scalar.value, radix: 16))}"
            default: out.unicodeScalars.append(scalar)
            }
        }
        return out
    }
}

extension String {
    func padded(to width: Int, with fill: Character = " ", onLeft: Bool = false) -> String {
        let missing = String(repeating: fill, count: max(0, width - count))
        return onLeft ? missing + self : self + missing
    }
}
