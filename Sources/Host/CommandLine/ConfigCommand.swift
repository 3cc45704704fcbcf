// `vchost config check|show`: what the host would start with, and what would keep it from starting.

import Control
import Glibc
import JSON
import Providers

enum ConfigCommand: Command {
    static let name = "config"
    static let summary = "check a configuration, or show every value with its source"

    private static let options = [
        Option("--config", "FILE", "the configuration; vchost.ini when it is not given and exists"),
        Option("--plugins", "DIRECTORY", "the plugins whose manifests type it; plugins.d, or those installed"),
        Option("--json", "for programs"),
    ]

    static let help = """
        usage: vchost config check [--config FILE] [--plugins DIRECTORY] [--json]
               vchost config show  [--config FILE] [--plugins DIRECTORY] [--json]

        check  Every unknown key, wrong type, missing plugin and missing secret, with its file and line.
        show   Every effective value with its source: default, file and line, or environment.

        \(Arguments.help(options))

        VCHOST__SECTION__KEY in the environment overrides the file; dots and dashes of a section are underscores there.
        Exit status: 0 no errors, 1 errors, 2 usage.
        """

    static func run(_ words: [String]) throws -> Int32 {
        let arguments = try Arguments(words, options: options)
        guard let verb = arguments.positional.first, arguments.positional.count == 1, ["check", "show"].contains(verb)
        else {
            throw UsageError(message: "say `config check` or `config show`")
        }
        let sources = try ConfigurationSources(config: arguments["--config"], plugins: arguments["--plugins"])
        let review = try sources.review(log: QuietLog())
        if verb == "show" {
            let listing = ConfigurationListing(sources.configuration, review)
            print(arguments.has("--json") ? listing.json.text + "\n" : listing.text, terminator: "")
        } else if arguments.has("--json") {
            print(JSONValue.array(review.problems.map(\.json)).text)
        } else {
            for problem in review.problems { print(problem) }
            if let dialect = sources.configuration.dialect {
                print("read as a configuration of \(dialect.title); `vchost config show` tells what became of it")
            }
            let errors = review.problems.count { $0.severity == .error }
            let warnings = review.problems.count - errors
            print("\(sources.path ?? "no file, built-in values"): \(errors) errors, \(warnings) warnings")
        }
        return review.hasErrors ? 1 : 0
    }
}

/// Where a command's configuration comes from: the file, the environment, the plugin directory.
struct ConfigurationSources {
    let path: String?
    let configuration: Configuration
    let pluginsDirectory: String
    let environment: [String: String]

    init(config: String?, plugins: String?) throws {
        let environment = ProcessEnvironment.all
        self.environment = environment
        path = ConfigurationPath.find(given: config, environment: environment) { access($0, R_OK) == 0 }
        configuration = try path.map { Configuration(file: try INIFile(contentsOf: $0), environment: environment) }
            ?? Configuration(environment: environment)
        pluginsDirectory = plugins ?? Installation.own.plugins
    }

    /// Where the host remembers things of plugins; nil when nothing names a place.
    var stateDirectory: String? { StateDirectory.path(configuration.text("vchost", "state")).map(AbsolutePath.of) }

    func loader(quarantine: Quarantine? = nil, log: any ProviderLog) throws -> PluginLoader {
        let cache = configuration.text("vchost", "plugin_cache")
        // The loader wants an absolute path, because the linker searches for anything else.
        return try PluginLoader(
            cacheDirectory: cache.isEmpty ? nil : AbsolutePath.of(cache), quarantine: quarantine, log: log)
    }

    func registry(loader: PluginLoader, log: any ProviderLog) -> PluginRegistry {
        PluginRegistry(directory: pluginsDirectory, loader: loader, log: log)
    }

    func review(log: any ProviderLog) throws -> ConfigurationReview {
        ConfigurationReview(
            configuration, registry: registry(loader: try loader(log: log), log: log), environment: environment)
    }
}

/// A command that reports through its own output needs no log beside it.
struct QuietLog: ProviderLog {
    func write(_ line: ProviderLogLine) {}
}

extension SettingProblem {
    var json: JSONValue {
        [
            "severity": severity == .error ? "error" : "warning", "source": .string("\(source)"),
            "message": .string(message),
        ]
    }
}

enum AbsolutePath {
    /// `path` from the root, as seen from where the process was started.
    static func of(_ path: String) -> String {
        guard !path.hasPrefix("/"), let here = getcwd(nil, 0) else { return path }
        defer { free(here) }
        return String(cString: here) + "/" + path
    }
}

enum ProcessEnvironment {
    static var all: [String: String] {
        var variables: [String: String] = [:]
        var next = environ
        while let entry = next.pointee {
            let text = String(cString: entry)
            if let equals = text.firstIndex(of: "=") {
                variables[String(text[..<equals])] = String(text[text.index(after: equals)...])
            }
            next += 1
        }
        return variables
    }
}
