// The INI dialect of the systems that vchost replaces: Python's configparser, because their files must be read
// unchanged.
//
// Section names keep their case, key names do not; [DEFAULT] is inherited by every section; `=` and `:` both assign; a
// line that is indented goes on with the value above it; `%(name)s` inserts another value and `%%` is a percent sign. A
// `#` or `;` begins a comment only at the beginning of a line: what follows a value on its line belongs to the value.
// Files in the field have comments there all the same, so whoever reads a number, a switch or an address strips them
// and says so (`Setting.withoutTrailingComment`).
//
// Unlike configparser the reader goes on after an error, and every value knows its line: an operator with five mistakes
// should hear of five.

import Glibc

/// A file of settings: sections of keys and values, in the order of the file.
public struct INIFile: Sendable {
    public struct Entry: Sendable, Equatable {
        public var key: String
        public var value: String
        public var line: Int
    }

    public struct Section: Sendable, Equatable {
        public var name: String
        public var line: Int
        public var entries: [Entry]
    }

    public struct Mistake: Sendable, Equatable, CustomStringConvertible {
        public var path: String
        public var line: Int
        public var message: String
        /// Only the value of one key is in doubt; it stays as it is written.
        public var isOfValue = false
        public var description: String { "\(path):\(line): \(message)" }
    }

    public let path: String
    public private(set) var sections: [Section] = []
    public private(set) var mistakes: [Mistake] = []

    /// A configuration is read by people; past this size it is another file, given by accident.
    static let bytesMax = 1 << 20

    /// Reads the file at `path`. Throws `SettingsError` when it cannot be read at all.
    public init(contentsOf path: String) throws(SettingsError) {
        let text = try TextFile.read(path, bytesMax: Self.bytesMax)
        self.init(parsing: text, path: path)
    }

    public init(parsing text: String, path: String) {
        self.path = path
        parse(text)
        interpolate()
    }

    // MARK: Lines to sections

    private mutating func parse(_ text: String) {
        var number = 0
        // Where the value that an indented line would continue stands.
        var open: (section: Int, entry: Int)?
        for rawLine in text.split(separator: "\n", omittingEmptySubsequences: false) {
            number += 1
            let line = rawLine.last == "\r" ? rawLine.dropLast() : rawLine
            let content = line.trimmed
            guard let first = content.first else { continue }
            if first == "#" || first == ";" { continue }
            let isIndented = line.first?.isWhitespace == true
            if isIndented, let open {
                sections[open.section].entries[open.entry].value += "\n" + content
                continue
            }
            if first == "[" {
                open = nil
                parseSection(content, number)
                continue
            }
            open = parseEntry(content, number)
        }
    }

    private mutating func parseSection(_ content: Substring, _ number: Int) {
        guard let end = content.lastIndex(of: "]"), end > content.startIndex else {
            mistakes.append(mistake(number, "the section's name has no closing bracket: write [name]"))
            return
        }
        let name = String(content[content.index(after: content.startIndex)..<end])
        if let twin = sections.first(where: { $0.name == name }) {
            mistakes.append(
                mistake(number, "[\(name)] stands here a second time, first in line \(twin.line): join the two"))
        }
        sections.append(Section(name: name, line: number, entries: []))
    }

    private mutating func parseEntry(_ content: Substring, _ number: Int) -> (section: Int, entry: Int)? {
        guard let separator = content.firstIndex(where: { $0 == "=" || $0 == ":" }) else {
            mistakes.append(mistake(number, "\"\(content)\" is neither [section] nor key = value"))
            return nil
        }
        let key = content[..<separator].trimmed.lowercased()
        guard !key.isEmpty else {
            mistakes.append(mistake(number, "a value without a key"))
            return nil
        }
        guard !sections.isEmpty else {
            mistakes.append(mistake(number, "\(key) stands before the first [section]"))
            return nil
        }
        let section = sections.count - 1
        if let twin = sections[section].entries.first(where: { $0.key == key }) {
            mistakes.append(
                mistake(
                    number, "\(key) is set a second time in [\(sections[section].name)], first in line \(twin.line)"))
        }
        let value = String(content[content.index(after: separator)...].trimmed)
        sections[section].entries.append(Entry(key: key, value: value, line: number))
        return (section, sections[section].entries.count - 1)
    }

    // MARK: Inherited and inserted values

    private mutating func interpolate() {
        let defaults = sections.first { $0.name == "DEFAULT" }?.entries ?? []
        sections.removeAll { $0.name == "DEFAULT" }
        for index in sections.indices {
            let own = Set(sections[index].entries.map(\.key))
            sections[index].entries += defaults.filter { !own.contains($0.key) }
            let raw = Dictionary(sections[index].entries.map { ($0.key, $0.value) }, uniquingKeysWith: { $1 })
            for entry in sections[index].entries.indices {
                let line = sections[index].entries[entry].line
                do {
                    sections[index].entries[entry].value = try Self.insert(
                        into: sections[index].entries[entry].value, from: raw, depth: 0)
                } catch {
                    var found = mistake(line, "\(sections[index].entries[entry].key): \(error.message)")
                    found.isOfValue = true
                    mistakes.append(found)
                }
            }
        }
        mistakes.sort { $0.line < $1.line }
    }

    private struct InsertionError: Error { let message: String }

    /// configparser's own limit: a value that refers to itself would never end.
    private static let depthMax = 10

    private static func insert(
        into value: String, from values: [String: String], depth: Int
    ) throws(InsertionError) -> String {
        guard value.contains("%") else { return value }
        guard depth < depthMax else { throw InsertionError(message: "%(…)s refers to itself") }
        var out = ""
        var rest = value[...]
        while let percent = rest.firstIndex(of: "%") {
            out += rest[..<percent]
            rest = rest[rest.index(after: percent)...]
            if rest.first == "%" {
                out += "%"
                rest = rest.dropFirst()
            } else if rest.first == "(", let end = rest.firstIndex(of: ")"),
                rest.index(after: end) < rest.endIndex, rest[rest.index(after: end)] == "s"
            {
                let name = rest[rest.index(after: rest.startIndex)..<end].lowercased()
                guard let inserted = values[name] else {
                    throw InsertionError(message: "%(\(name))s names a key that this section does not have")
                }
                out += try insert(into: inserted, from: values, depth: depth + 1)
                rest = rest[rest.index(end, offsetBy: 2)...]
            } else {
                throw InsertionError(message: "a lone % sign; write %% for a percent sign")
            }
        }
        return out + rest
    }

    private func mistake(_ line: Int, _ message: String) -> Mistake {
        Mistake(path: path, line: line, message: message)
    }
}

extension Substring {
    var trimmed: Substring {
        var text = self
        while text.first?.isWhitespace == true { text.removeFirst() }
        while text.last?.isWhitespace == true { text.removeLast() }
        return text
    }
}
