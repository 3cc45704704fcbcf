// The providers of one kind that a command works with, without a host around them: found, judged, given their secrets,
// started and ended exactly as the host would.

import Calls
import Control
import Glibc
import HostServices
import Providers

struct ConfiguredProviders {
    let kind: String
    let sources: ConfigurationSources
    let log: any ProviderLog
    private let review: ConfigurationReview
    private let store: SecretStore

    /// Starts the services that providers need; whoever asked for it says `HostServices.stop()`.
    init(kind: String, of arguments: Arguments) throws {
        self.kind = kind
        sources = try ConfigurationSources(config: arguments["--config"], plugins: arguments["--plugins"])
        var services = HostServices.Configuration()
        services.log = Logger.Configuration(level: .warning)
        let running = HostServices.start(configuration: services)
        store = running.secrets
        let log = ProviderLogger(running.logger)
        self.log = log
        let loader = try sources.loader(log: log)
        review = ConfigurationReview(
            sources.configuration, registry: sources.registry(loader: loader, log: log),
            environment: sources.environment)
    }

    private var configuration: Control.Configuration { sources.configuration }

    /// The names of all sections of the kind, in the order of the file.
    var known: [String] { configuration.sections(of: kind).map(\.name) }

    /// "tts.cartesia" of "cartesia", in the order given; all when none is. Throws for names that are not there.
    func names(_ given: some Sequence<String>) throws -> [String] {
        let known = known
        guard !known.isEmpty else {
            throw SettingsError(.invalid, "the configuration has no section [\(kind).NAME]")
        }
        let names = given.map { $0.hasPrefix("\(kind).") ? $0 : "\(kind).\($0)" }
        for name in names where !known.contains(name) {
            let hint = Spelling.nearest(to: name, among: known).map { "; did you mean \($0)?" } ?? ""
            throw UsageError(message: "there is no section [\(name)]\(hint)")
        }
        return names.isEmpty ? known : names
    }

    /// A section as the host would start it. Throws what is wrong with it.
    func section(_ name: String) throws(SettingsError) -> ProviderSection {
        let complaints = review.problems.filter { $0.severity == .error && $0.message.hasPrefix("[\(name)]") }
        guard complaints.isEmpty, let section = review.provider(named: name) else {
            throw SettingsError(
                .invalid, complaints.first.map { "\($0)" } ?? "[\(name)] cannot be used; run `vchost config check`")
        }
        return section
    }

    /// Makes the secrets of these plugins known, and no others.
    func lendSecrets(of sections: [ProviderSection]) {
        var secrets: [String: SecretReference] = [:]
        for name in sections.flatMap(\.plugin.manifest.secrets) {
            secrets[name] = configuration.credential(name).map { .value(Array($0.utf8)) }
                ?? (try? SecretReference(parsing: configuration.secretReference(name)))
        }
        store.replace(secrets)
    }
}

extension ProviderInstance {
    /// Runs a provider for as long as `body` takes.
    static func run<Result>(
        _ section: ProviderSection, log: any ProviderLog,
        _ body: (ProviderInstance) throws(ProviderFailure) -> Result
    ) throws(ProviderFailure) -> Result {
        let instance = ProviderInstance(section, log: log)
        defer { instance.end() }
        try instance.create()
        try instance.start()
        try instance.waitUntilReady()
        return try body(instance)
    }

    private func end() {
        if case .running = state {
            drain()
            _ = waitUntilDrained(timeoutMs: 2_000)
        }
        destroy()
    }
}
