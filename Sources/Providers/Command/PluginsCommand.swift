// `vchost plugins`: what is in the directory, what is wrong with it, how a new one begins, and how a manifest gets into
// a file.

import Glibc
import JSON

/// The subcommand, without the executable around it: arguments in, text out, an exit code back.
public struct PluginsCommand: Sendable {
    /// The directory without `--plugins`.
    public let directory: String
    public let cacheDirectory: String?
    public let probe: PluginProbe
    /// Where crashes and conformance results are remembered; nil when nowhere.
    public let stateDirectory: String?
    public let hostVersion: String
    /// The control socket that is asked without `--host`, if there is one.
    public let socket: String?
    /// Asks a running host.
    public let ask: @Sendable (_ socket: String, _ request: JSONValue) -> Result<JSONValue, Unreachable>

    /// No host answered, and why.
    public struct Unreachable: Error, Sendable {
        public let message: String
        public init(_ message: String) { self.message = message }
    }

    public init(
        directory: String, cacheDirectory: String? = nil, probe: PluginProbe = .host, stateDirectory: String? = nil,
        hostVersion: String = "", socket: String? = nil,
        ask: @escaping @Sendable (String, JSONValue) -> Result<JSONValue, Unreachable> = { socket, _ in
            .failure(Unreachable("\(socket): no way to ask it"))
        }
    ) {
        self.directory = directory
        self.cacheDirectory = cacheDirectory
        self.probe = probe
        self.stateDirectory = stateDirectory
        self.hostVersion = hostVersion
        self.socket = socket
        self.ask = ask
    }

    public static let help = """
        usage: vchost plugins list [--json] [--plugins DIRECTORY]
               vchost plugins list [--json] --host SOCKET
               vchost plugins reload [--host SOCKET]
               vchost plugins pardon NAME|SHA256 [--host SOCKET]
               vchost plugins info NAME [--json] [--plugins DIRECTORY]
               vchost plugins pack FILE.so MANIFEST.json [-o OUT.so]
               vchost plugins new NAME --kind KIND --language LANGUAGE [--directory DIRECTORY] [--templates DIRECTORY]

        list   Every file of the directory: its state, kinds, id, version, ABI, origin and hash,
               and for what was not loaded the reason and the mend. With --host those of a running
               host: each generation with its sessions, crashes and time, and what happened last.
        reload Makes a running host look at its plugin directory again, and tells what changed.
        pardon Lets a plugin out of quarantine, in a running host or in its state directory.
        info   One plugin in full. NAME is its file, its file without .so, or its id.
        pack   Writes the manifest into the library, after checking both. In place without -o.
        new    Writes the folder of a new plugin, which `make` builds and which keeps the contract as it is.
               KIND is tts, stt, llm, vad, turn or telephony; LANGUAGE is c, cpp, swift or rust.
               C has all six, the others have tts, stt and llm.

        SOCKET is the host's [vchost] control_socket; without --host that of ./vchost.ini.

        Exit codes: 0 all is well, 1 something was refused, 2 the command line is wrong.

        """

    /// Runs the subcommand with the arguments after `plugins`.
    public func run(_ arguments: [String], output: (String) -> Void, errors: (String) -> Void) -> Int32 {
        var words: [String] = []
        var json = false
        var directory = directory
        var out: String?
        var beginning: [String: String] = [:]
        var host: String?
        var rest = arguments[...]
        while let argument = rest.popFirst() {
            switch argument {
            case "--json": json = true
            case "--help", "-h":
                output(Self.help)
                return 0
            case "--plugins", "-o", "--host":
                guard let value = rest.popFirst() else { return usage("\(argument) needs a value", errors) }
                switch argument {
                case "-o": out = value
                case "--host": host = value
                default: directory = value
                }
            case "--kind", "--language", "--directory", "--templates":
                guard let value = rest.popFirst() else { return usage("\(argument) needs a value", errors) }
                beginning[argument] = value
            default:
                guard !argument.hasPrefix("-") else { return usage("\(argument) is not an option here", errors) }
                words.append(argument)
            }
        }
        switch (words.first, words.count) {
        case ("list", 1):
            if let host { return listLive(host, json, output, errors) }
            return list(directory, json, output, errors)
        case ("reload", 1): return reload(host, output, errors)
        case ("pardon", 2): return pardon(words[1], host, output, errors)
        case ("info", 2): return info(words[1], directory, json, output, errors)
        case ("pack", 3): return pack(words[1], words[2], out ?? words[1], output, errors)
        case ("new", 2): return new(words[1], beginning, output, errors)
        case ("new", 1): return usage("new needs a name, \"acme-voice\" say", errors)
        case ("help", 1):
            output(Self.help)
            return 0
        default:
            return usage(
                words.isEmpty ? "a subcommand is missing" : "\(words.joined(separator: " ")) is not understood", errors)
        }
    }

    private func usage(_ problem: String, _ errors: (String) -> Void) -> Int32 {
        errors("vchost plugins: \(problem)\n\n" + Self.help)
        return 2
    }

    private func new(
        _ name: String, _ options: [String: String], _ output: (String) -> Void, _ errors: (String) -> Void
    ) -> Int32 {
        guard let kind = options["--kind"], let language = options["--language"] else {
            return usage("new needs --kind and --language", errors)
        }
        let folder = options["--directory"] ?? name
        do throws(TemplateProblem) {
            try PluginTemplate.check(name)
            let template = try PluginTemplate(
                kind: kind, language: language, in: options["--templates"] ?? Installation.own.templates)
            let files = try template.write(plugin: name, to: folder, pkgConfig: Installation.own.pkgConfig)
            output("\(folder)/\n" + files.map { "  \($0)\n" }.joined())
            output("`make` there builds \(name).so, `make check` proves it; what is yours is marked `Yours:`.\n")
            return 0
        } catch {
            errors("vchost plugins new: \(error.sentence)\n")
            return 1
        }
    }

    private func registry(_ directory: String, _ errors: (String) -> Void) -> PluginRegistry? {
        do throws(PluginRefusal) {
            let quarantine = Quarantine(directory: stateDirectory, hostVersion: hostVersion, log: Silence())
            let loader = try PluginLoader(
                cacheDirectory: cacheDirectory, probe: probe, quarantine: quarantine, log: Silence())
            return PluginRegistry(directory: directory, loader: loader, log: Silence())
        } catch {
            errors("vchost plugins: \(error)\n")
            return nil
        }
    }

    private func list(
        _ directory: String, _ json: Bool, _ output: (String) -> Void, _ errors: (String) -> Void
    ) -> Int32 {
        guard let registry = registry(directory, errors) else { return 1 }
        let listing = PluginListing(registry, levels: ConformanceRecords(directory: stateDirectory).all())
        output(json ? listing.json.text + "\n" : listing.text)
        return listing.hasRefused ? 1 : 0
    }

    // MARK: A running host

    private func asked(
        _ request: JSONValue, _ host: String?, _ errors: (String) -> Void
    ) -> JSONValue? {
        guard let path = host ?? socket else {
            errors("vchost plugins: name the host's control socket with --host; it is [vchost] control_socket\n")
            return nil
        }
        switch ask(path, request) {
        case .success(let answer):
            if answer["ok"]?.bool == true { return answer }
            errors("vchost plugins: \(answer["error"]?.string ?? "the host answers nonsense")\n")
        case .failure(let problem): errors("vchost plugins: \(problem.message)\n")
        }
        return nil
    }

    private func listLive(
        _ host: String, _ json: Bool, _ output: (String) -> Void, _ errors: (String) -> Void
    ) -> Int32 {
        guard let answer = asked(["command": "plugins"], host, errors) else { return 1 }
        let listing = LivePluginListing(answer)
        output(json ? answer.text + "\n" : listing.text)
        return listing.hasRefused ? 1 : 0
    }

    private func reload(_ host: String?, _ output: (String) -> Void, _ errors: (String) -> Void) -> Int32 {
        guard let answer = asked(["command": "reload"], host, errors) else { return 1 }
        let lines = (answer["lines"]?.array ?? []).compactMap(\.string)
        output(lines.isEmpty ? "nothing has changed\n" : lines.map { $0 + "\n" }.joined())
        return 0
    }

    private func pardon(
        _ name: String, _ host: String?, _ output: (String) -> Void, _ errors: (String) -> Void
    ) -> Int32 {
        let request: JSONValue = ["command": "pardon", "plugin": .string(name)]
        if let host {
            guard asked(request, host, errors) != nil else { return 1 }
        } else if let socket, case .success(let answer) = ask(socket, request) {
            guard answer["ok"]?.bool == true else {
                errors("vchost plugins: \(answer["error"]?.string ?? "the host answers nonsense")\n")
                return 1
            }
        } else {
            // No host runs: what it would read at its start is what there is to change.
            let quarantine = Quarantine(directory: stateDirectory, hostVersion: hostVersion, log: Silence())
            let pardoned = quarantine.pardon(name)
            quarantine.flush()
            guard !pardoned.isEmpty else {
                errors("vchost plugins: nothing is remembered against \(name)\n")
                return 1
            }
        }
        output("\(name) is pardoned\n")
        return 0
    }

    private func info(
        _ name: String, _ directory: String, _ json: Bool, _ output: (String) -> Void, _ errors: (String) -> Void
    ) -> Int32 {
        guard let registry = registry(directory, errors) else { return 1 }
        guard let entry = registry.entry(named: name) else {
            errors("vchost plugins: there is no \(name) in \(directory). `vchost plugins list` shows what is there.\n")
            return 1
        }
        let row = PluginListing.Row(entry)
        output(json ? row.json(inFull: entry.manifest).text + "\n" : PluginListing.describe(row, entry.manifest))
        return row.state == .refused ? 1 : 0
    }

    private func pack(
        _ library: String, _ manifestPath: String, _ out: String, _ output: (String) -> Void, _ errors: (String) -> Void
    ) -> Int32 {
        func fail(_ problem: String) -> Int32 {
            errors("vchost plugins pack: \(problem)\n")
            return 1
        }
        var status = stat()
        guard let bytes = readWholeFile(library), stat(library, &status) == 0 else {
            return fail("\(library) cannot be read: \(String(cString: strerror(errno)))")
        }
        guard let text = readSmallFile(manifestPath) else {
            return fail("\(manifestPath) cannot be read: \(String(cString: strerror(errno)))")
        }
        do throws(ManifestError) { _ = try Manifest(parsing: text[...]) } catch {
            return fail("\(manifestPath): \(error)")
        }
        let packed: [UInt8]
        do throws(ELFError) {
            let elf = try ELFFile(bytes)
            guard try elf.exports("vc_plugin_entry_v1") else {
                return fail("\(library) does not export vc_plugin_entry_v1. Define it with VC_EXPORT.")
            }
            packed = try elf.packed(manifest: text)
        } catch {
            return fail("\(PluginRefusal(error, file: library))")
        }
        let temporary = "\(out).\(getpid()).packing"
        guard writeWhole(packed, to: temporary, mode: status.st_mode & 0o755) == 0, rename(temporary, out) == 0 else {
            let code = errno
            unlink(temporary)
            return fail("\(out) cannot be written: \(String(cString: strerror(code)))")
        }
        output("packed \(manifestPath) into \(out)\n")
        return 0
    }
}

private struct Silence: ProviderLog {
    func write(_ line: ProviderLogLine) {}
}
