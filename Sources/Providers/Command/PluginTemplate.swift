// A new plugin's folder, put together from parts.
//
// One folder for each of six kinds and four languages would be 24 copies of nearly the same: a manifest says the same
// in every language, and a Makefile the same for every kind. So there are parts, and a folder is the sum of those that
// apply, later ones over earlier ones:
//
//     kinds/KIND  →  LANGUAGE/every  →  LANGUAGE/http (kinds whose templates ask a server)  →  LANGUAGE/KIND
//
// The parts are files that compile as they stand: what changes is a name, `plugin-name` in its three spellings, and
// not a notation of its own that no compiler and no editor knows.

import Glibc

/// Why there is no new folder, in a sentence for the author.
struct TemplateProblem: Error {
    let sentence: String
}

struct PluginTemplate {
    static let kinds = ["tts", "stt", "llm", "vad", "turn", "telephony"]
    static let languages = ["c", "cpp", "swift", "rust"]
    /// Those whose templates ask a server, with what that takes in each language.
    private static let kindsOverHTTP: Set = ["tts", "stt", "llm"]
    /// Longer than any sensible name, and short enough for every file system.
    private static let nameBytesMax = 64
    private static let fileBytesMax = 1 << 20

    let kind: String
    let language: String
    private let directory: String

    /// - Parameter directory: Where the parts are.
    init(kind: String, language: String, in directory: String) throws(TemplateProblem) {
        guard Self.kinds.contains(kind) else {
            throw TemplateProblem(sentence: "there is no kind \(kind); --kind is one of \(Self.list(Self.kinds))")
        }
        guard Self.languages.contains(language) else {
            throw TemplateProblem(
                sentence: "there is no template in \(language); --language is one of \(Self.list(Self.languages))")
        }
        guard directoryEntries(directory + "/kinds") != nil else {
            throw TemplateProblem(
                sentence: "\(directory) holds no templates; name their directory with --templates, "
                    + "PREFIX/share/vchost/templates in an installation")
        }
        guard directoryEntries("\(directory)/\(language)/\(kind)") != nil else {
            let there = Self.languages.map { language in
                let kinds = Self.kinds.filter { directoryEntries("\(directory)/\(language)/\($0)") != nil }
                return "\(language) has \(Self.list(kinds))"
            }
            throw TemplateProblem(
                sentence: "there is no \(kind) template in \(language): \(there.joined(separator: "; "))")
        }
        self.kind = kind
        self.language = language
        self.directory = directory
    }

    /// Writes the folder. Returns the paths of its files, relative to it.
    ///
    /// - Parameter pkgConfig: The directory with vchost-plugin.pc, written into the Makefile.
    func write(plugin name: String, to folder: String, pkgConfig: String) throws(TemplateProblem) -> [String] {
        if let present = directoryEntries(folder), !present.isEmpty {
            throw TemplateProblem(sentence: "\(folder) is not empty; name another directory with --directory")
        }
        var files: [String: [UInt8]] = [:]
        for part in parts { try collect(part, "", into: &files) }
        let names = Spellings(name)
        var written: [String] = []
        for (path, bytes) in files.sorted(by: { $0.key < $1.key }) {
            let target = names.replaced(in: path.replacing("gitignore", with: ".gitignore"))
            var text = names.replaced(in: String(decoding: bytes, as: UTF8.self))
                .replacing("/usr/local/lib/pkgconfig", with: pkgConfig)
            if path == "manifest.json" { text = text.replacing(#""language": "c""#, with: runtime) }
            try Self.make("\(folder)/\(target)", text)
            written.append(target)
        }
        return written
    }

    private var parts: [String] {
        ["kinds/\(kind)", "\(language)/every"] + (Self.kindsOverHTTP.contains(kind) ? ["\(language)/http"] : [])
            + ["\(language)/\(kind)"]
    }

    /// What the manifest says of the language.
    private var runtime: String {
        switch language {
        case "cpp": #""language": "c++""#
        case "swift": #""language": "swift", "stdlib": "static""#
        default: "\"language\": \"\(language)\""
        }
    }

    private func collect(
        _ part: String, _ path: String, into files: inout [String: [UInt8]]
    ) throws(TemplateProblem) {
        for entry in directoryEntries("\(directory)/\(part)/\(path)") ?? [] {
            let inner = path.isEmpty ? entry : "\(path)/\(entry)"
            let full = "\(directory)/\(part)/\(inner)"
            var status = stat()
            guard stat(full, &status) == 0 else { continue }
            if status.st_mode & S_IFMT == S_IFDIR {
                try collect(part, inner, into: &files)
            } else if let bytes = readSmallFile(full), bytes.count < Self.fileBytesMax {
                files[inner] = bytes
            } else {
                throw TemplateProblem(sentence: "\(full) cannot be read: \(String(cString: strerror(errno)))")
            }
        }
    }

    /// Throws unless `name` can name a file, an identifier and a part of an id.
    static func check(_ name: String) throws(TemplateProblem) {
        let isPlain = name.utf8.allSatisfy { byte in
            (97...122).contains(byte) || (48...57).contains(byte) || byte == 45
        }
        let first = name.utf8.first ?? 0
        guard isPlain, (97...122).contains(first), name.utf8.count <= nameBytesMax, !name.hasSuffix("-"),
            !name.contains("--")
        else {
            throw TemplateProblem(
                sentence: "\(name) is no name for a plugin: expected a-z, 0-9 and single dashes, beginning with a "
                    + "letter, at most \(nameBytesMax) of them, \"acme-voice\" say")
        }
    }

    private static func make(_ path: String, _ text: String) throws(TemplateProblem) {
        var slash = path.startIndex
        while let next = path[slash...].dropFirst().firstIndex(of: "/") {
            mkdir(String(path[..<next]), 0o755)
            slash = next
        }
        guard writeWhole(Array(text.utf8), to: path, mode: 0o644) == 0 else {
            throw TemplateProblem(sentence: "\(path) cannot be written: \(String(cString: strerror(errno)))")
        }
    }

    private static func list(_ words: [String]) -> String {
        guard let last = words.last, words.count > 1 else { return words.first ?? "none" }
        return words.dropLast().joined(separator: ", ") + " and " + last
    }
}

/// A plugin's name as a file, as an identifier of C and Rust, and as a type.
private struct Spellings {
    let pairs: [(placeholder: String, name: String)]

    init(_ name: String) {
        let words = name.split(separator: "-")
        pairs = [
            ("plugin-name", name),
            ("plugin_name", words.joined(separator: "_")),
            ("PluginName", words.map { $0.prefix(1).uppercased() + $0.dropFirst() }.joined()),
        ]
    }

    func replaced(in text: String) -> String {
        pairs.reduce(text) { $0.replacing($1.placeholder, with: $1.name) }
    }
}
