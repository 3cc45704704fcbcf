// What was found once, as a file beside the plugin: `conform/fuzz/NAME.json`. `vchost conform run` plays all of them.
//
// It holds what a reader needs to understand it (what happened, and in which run) besides the case itself, and nothing
// of it but the case is read again: a file that was corrected by hand is as good.

import Glibc
import JSON

/// A case that failed once.
struct FuzzFile: Sendable, Equatable {
    static let format = 1
    /// Of a plugin's files: each costs a probe in every run.
    static let filesMax = 500

    /// The file's name without ".json".
    var name: String
    /// What went wrong, in one line.
    var finding: String
    var provider: String
    var played: FuzzCase

    /// Reads one. Throws a `ScriptError` that says what is wrong with it.
    init(path: String, name: String) throws(ScriptError) {
        func wrong(_ problem: String) -> ScriptError {
            ScriptError(file: "fuzz/\(name).json", path: "", problem: problem)
        }
        let text: String
        do throws(CommandUsage) { text = try CommandFile.text(path) } catch { throw wrong(error.message) }
        let value: JSONValue
        do throws(JSONSyntaxError) {
            value = try JSONValue(parsing: text)
        } catch {
            throw wrong("is not JSON: \(error)")
        }
        guard value["format"]?.integer == Int64(Self.format) else { throw wrong("wants \"format\": \(Self.format)") }
        guard let played = value["case"].flatMap({ FuzzCase($0) }) else {
            throw wrong("wants a \"case\" with \"steps\" that `vchost conform fuzz` knows")
        }
        self.init(
            name: name, finding: value["finding"]?.string ?? "", provider: value["provider"]?.string ?? "",
            played: played)
    }

    init(name: String, finding: String, provider: String, played: FuzzCase) {
        self.name = name
        self.finding = finding
        self.provider = provider
        self.played = played
    }

    var ruleId: String { FuzzCase.idPrefix + name }

    var rule: Rule { played.rule(name, "What fuzzing found once is mended: \(finding)") }

    /// The file's text: a line for each step.
    var text: String {
        var frame = played
        frame.steps = []
        var members = frame.json.object ?? [:]
        members["steps"] = nil
        let head = members.sorted { $0.key < $1.key }.map { "\"\($0.key)\": \($0.value.text)" }.joined(separator: ", ")
        let steps = played.steps.map { "    \($0.json.text)" }.joined(separator: ",\n")
        return """
            {
              "format": \(Self.format),
              "finding": \(JSONValue.string(finding).text),
              "provider": \(JSONValue.string(provider).text),
              "case": {\(head), "steps": [
            \(steps)
              ]}
            }

            """
    }

    /// All files in the folder `fuzz` of `scripts`, by name. Throws for the first that cannot be read.
    static func all(scripts: String) throws(ScriptError) -> [FuzzFile] {
        let folder = scripts + "/fuzz"
        guard let directory = opendir(folder) else { return [] }
        defer { closedir(directory) }
        var names: [String] = []
        while let entry = readdir(directory) {
            let name = withUnsafeBytes(of: entry.pointee.d_name) { bytes in
                String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
            }
            if name.hasSuffix(".json"), !name.hasPrefix(".") { names.append(String(name.dropLast(5))) }
        }
        guard names.count <= filesMax else {
            throw ScriptError(file: "fuzz", path: "", problem: "holds \(names.count) files; \(filesMax) are the most")
        }
        var files: [FuzzFile] = []
        for name in names.sorted() { files.append(try FuzzFile(path: "\(folder)/\(name).json", name: name)) }
        return files
    }

    /// Writes it into `directory`, which is made. Throws a sentence.
    func write(into directory: String) throws(RunnerFailure) -> String {
        var made = ""
        for part in directory.split(separator: "/", omittingEmptySubsequences: false) {
            made += (made.isEmpty && !directory.hasPrefix("/") ? "" : part.isEmpty ? "" : "/") + part
            if !part.isEmpty { mkdir(made, 0o755) }
        }
        let path = "\(directory)/\(name).json"
        guard let file = fopen(path, "we") else { throw RunnerFailure("cannot write \(path)", errno: errno) }
        let status = fputs(text, file)
        guard fclose(file) == 0, status >= 0 else { throw RunnerFailure("cannot write \(path)", errno: errno) }
        return path
    }
}
