// A vendor, as the author of a plugin describes it: `conform/vendor.json` beside the plugin, and the author's own
// scenarios in the other files of that folder.
//
// The folder belongs to the provider and not to the runner, because who knows the vendor is who wrote the plugin; and
// it is data and not code, because a stranger's script must be readable before it is run, and a plugin in any language
// has it. The format is described in `docs/conform-scripts.md`.

import Glibc
import JSON

/// How a vendor behaves, whatever a rule asks of the plugin.
public struct VendorScript: Sendable {
    /// An entry of `http`.
    struct Entry: Sendable, Equatable {
        var name: String
        var when: VendorCondition
        var captures: [VendorCapture]
        /// How often it answers; nil: always.
        var times: Int?
        var answer: VendorAnswer
    }

    /// The folder that it was read from, absolute: a probe has another current directory.
    public internal(set) var directory = ""
    /// The plugin's settings. Texts may hold `{{plugin.port}}` and `{{peer.port}}`, and `{{scripts}}`, this folder.
    public internal(set) var configuration: JSONValue = [:]
    public internal(set) var session: JSONValue = [:]
    public internal(set) var secrets: [String: String] = [:]
    /// The vendor's own bodies for its error statuses.
    var errors: [Int: VendorBody] = [:]
    var http: [Entry] = []
    var sockets: [VendorSocketScript] = []
    /// A vendor that calls.
    var served: ServedScript?
    /// Dialogues over UDP, by name.
    public internal(set) var dialogues: [String: SignallingScript] = [:]
    /// The author's own scenarios, in the order of their files.
    public internal(set) var scenarios: [OwnScenario] = []

    /// A vendor that knows nothing: whatever is asked, it answers 404.
    public init() {}

    public static let fileName = "vendor.json"
    /// A megabyte of text is a recording and not a script.
    static let fileBytesMax = 1 << 20

    /// The folder with the scripts of the plugin at `path`: `directory` if it is given, else `NAME.conform` beside
    /// `NAME.so`, else `conform` beside it. Nil: it has none.
    public static func find(besidePlugin path: String, directory: String? = nil) -> String? {
        if let directory { return directory }
        let folder = path.lastIndex(of: "/").map { String(path[..<$0]) } ?? "."
        let file = path.lastIndex(of: "/").map { String(path[path.index(after: $0)...]) } ?? path
        let name = file.hasSuffix(".so") ? String(file.dropLast(3)) : file
        return ["\(folder)/\(name).conform", "\(folder)/conform"].first { isFolder($0) }
    }

    /// Reads `vendor.json` and every scenario in `directory`, or in its subfolder that is named like the provider.
    public static func load(directory: String, provider: String = "") throws(ScriptError) -> VendorScript {
        let folder = folder(in: directory, provider: provider)
        guard let names = files(in: folder) else {
            throw ScriptError(file: folder, path: "", problem: "is no folder that can be read")
        }
        guard names.contains(fileName) else {
            // A plugin that talks to nobody may have been fuzzed all the same.
            if names == ["fuzz"] { return VendorScript() }
            throw ScriptError(
                file: fileName, path: "", problem: "is missing in \(folder); it says how the vendor behaves")
        }
        var script = try VendorScript(parsing: try read("\(folder)/\(fileName)", fileName), file: fileName)
        script.directory = absolute(folder)
        for name in names where name != fileName && name.hasSuffix(".json") {
            let scenario = try OwnScenario(parsing: try read("\(folder)/\(name)", name), file: name, vendor: script)
            script.scenarios.append(scenario)
        }
        return script
    }

    /// Where in `directory` the scripts of a provider are.
    static func folder(in directory: String, provider: String) -> String {
        let own = "\(directory)/\(provider)"
        return !provider.isEmpty && isFolder(own) ? own : directory
    }

    /// The settings with the ports of this run.
    public func configuration(pluginPort: Int, peerPort: Int) -> JSONValue {
        configuration.filled(
            ["plugin.port": String(pluginPort), "peer.port": String(peerPort), "scripts": directory])
    }

    public var hasSignalling: Bool { !dialogues.isEmpty }

    // MARK: Reading

    /// Reads a `vendor.json`. Throws with the file, the place, and what is expected there.
    public init(parsing bytes: [UInt8], file: String) throws(ScriptError) {
        var object = try Self.document(bytes, file: file)
        try self.init(&object, over: VendorScript())
        try object.finish()
    }

    /// Reads what a vendor and a scenario have in common, over what `base` says: entries go before those of `base`,
    /// settings in place of them.
    init(_ object: inout ScriptObject, over base: VendorScript) throws(ScriptError) {
        self = base
        scenarios = []
        configuration = try Self.merged(base.configuration, &object, "config")
        session = try Self.merged(base.session, &object, "session")
        for (name, value) in try object.texts("secrets") { secrets[name] = value }
        try object.check(
            variables: configuration.variableNames + session.variableNames,
            known: ["plugin.port", "peer.port", "scripts"], "config")

        if var errors = try object.object("errors") {
            for status in [400, 401, 403, 404, 408, 413, 422, 429, 500, 502, 503, 504] {
                guard var body = try errors.object(String(status)) else { continue }
                self.errors[status] = try VendorBody(&body)
                try body.finish()
            }
            try errors.finish()
        }

        // What one request sets another answer may use, so the names are known for the whole script.
        var known = ScriptVariables.builtIn
        for entry in base.http { known.formUnion(entry.when.names + entry.captures.map(\.name)) }
        let http = try Self.entries(&object, &known)
        var sockets: [VendorSocketScript] = []
        for var entry in try object.objects("ws") {
            sockets.append(try VendorSocketScript(&entry, known: &known))
            try entry.finish()
        }
        self.http = http + base.http
        self.sockets = sockets + base.sockets
        served = try ServedScript.read(&object, known: known) ?? base.served
        for (name, dialogue) in try SignallingScript.read(&object) { dialogues[name] = dialogue }
    }

    private static func entries(
        _ object: inout ScriptObject, _ known: inout Set<String>
    ) throws(ScriptError) -> [Entry] {
        var entries: [Entry] = []
        var answers: [ScriptObject] = []
        for var entry in try object.objects("http") {
            let name = try entry.text("name") ?? entry.path
            var when = VendorCondition()
            if var condition = try entry.object("when") {
                when = try VendorCondition(&condition)
                try condition.finish()
            }
            let captures = try VendorCapture.read(&entry)
            let times = try entry.integer("times", in: 1...10_000)
            guard var inner = try entry.object("answer") else {
                throw entry.error("answer", "is missing; expected {\"json\": ...}, say")
            }
            let answer = try VendorAnswer(&inner)
            try inner.finish()
            try entry.finish()
            known.formUnion(when.names + captures.map(\.name))
            entries.append(Entry(name: name, when: when, captures: captures, times: times, answer: answer))
            answers.append(inner)
        }
        for (entry, answer) in zip(entries, answers) {
            try answer.check(variables: entry.answer.variableNames, known: known, "")
        }
        return entries
    }

    private static func merged(
        _ base: JSONValue, _ object: inout ScriptObject, _ key: String
    ) throws(ScriptError) -> JSONValue {
        guard let value = object.value(key) else { return base }
        guard let members = value.object else { throw object.error(key, "expected an object, found \(value.typeName)") }
        return .object((base.object ?? [:]).merging(members) { _, own in own })
    }

    static func document(_ bytes: [UInt8], file: String) throws(ScriptError) -> ScriptObject {
        let parsed = bytes.withUnsafeBufferPointer { text in
            Result { () throws(JSONSyntaxError) in try JSONValue(parsing: text) }
        }
        switch parsed {
        case .success(let value): return try ScriptObject(value, file: file, path: "")
        case .failure(let error): throw ScriptError(file: file, path: "", problem: "is not JSON: \(error)")
        }
    }

    // MARK: Files

    private static func isFolder(_ path: String) -> Bool {
        var status = stat()
        return stat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFDIR
    }

    static func absolute(_ path: String) -> String {
        guard let resolved = realpath(path, nil) else { return path }
        defer { free(resolved) }
        return String(cString: resolved)
    }

    /// The names in a folder, in order; nil: it cannot be read.
    private static func files(in path: String) -> [String]? {
        guard let directory = opendir(path) else { return nil }
        defer { closedir(directory) }
        var names: [String] = []
        while let entry = readdir(directory) {
            let name = withUnsafeBytes(of: entry.pointee.d_name) { bytes in
                String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
            }
            if !name.hasPrefix(".") { names.append(name) }
        }
        return names.sorted()
    }

    private static func read(_ path: String, _ name: String) throws(ScriptError) -> [UInt8] {
        func refuse(_ problem: String) -> ScriptError { ScriptError(file: name, path: "", problem: problem) }
        guard let file = fopen(path, "rbe") else {
            throw refuse("cannot be read: \(String(cString: strerror(errno)))")
        }
        defer { fclose(file) }
        var bytes = [UInt8](repeating: 0, count: fileBytesMax + 1)
        let count = fread(&bytes, 1, bytes.count, file)
        guard count <= fileBytesMax else { throw refuse("has more than \(fileBytesMax) bytes") }
        return Array(bytes[..<count])
    }
}
