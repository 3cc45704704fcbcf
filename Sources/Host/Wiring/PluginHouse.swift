// What the running host is to its plugins: who wants them, and where calls find what was made of them.
//
// A new version of a plugin is judged by the whole configuration, as at the start: the review says which sections it
// is to serve, and a section that it cannot serve any more is a reason to refuse it.

import Calls
import Control
import Glibc
import HostServices
import Providers
import Synchronization

final class PluginHouse: ProviderHouse {
    private struct State {
        weak var desk: CallDesk?
        weak var detection: DetectionDesk?
        var telephony: [ObjectIdentifier: TelephonyProvider] = [:]
        var detectors: [ObjectIdentifier: VoiceActivityProvider] = [:]
        /// Of every plugin that ever ran: an old generation keeps what it asked for.
        var secrets: [String: SecretReference] = [:]
    }

    let running = RunningProviders()
    private let configuration: Configuration
    private let environment: [String: String]
    private let proof: SmokeProof
    private let services: HostServices
    private let logger: Logger
    private let state = Mutex(State())

    init(_ sources: ConfigurationSources, proof: SmokeProof, services: HostServices) {
        configuration = sources.configuration
        environment = sources.environment
        self.proof = proof
        self.services = services
        logger = services.logger
    }

    /// The desks exist: telephony may start.
    func open(_ desk: CallDesk) {
        state.withLock { state in
            state.desk = desk
            state.detection = desk.detection
        }
    }

    var telephony: [TelephonyProvider] { state.withLock { Array($0.telephony.values) } }

    /// Those that new calls go out by: of each name the newest.
    var callers: [TelephonyProvider] { telephony.filter { running[$0.instance.name] === $0.instance } }

    /// A detector that has been created.
    func detector(of instance: ProviderInstance) -> VoiceActivityProvider? {
        state.withLock { $0.detectors[ObjectIdentifier(instance)] }
    }

    /// Makes the secrets of these plugins known to the services, beside those that are.
    func knowSecrets(of plugins: [LoadedPlugin]) {
        services.secrets.replace(
            state.withLock { state in
                let tools = configuration.sections(of: "tool").flatMap {
                    ToolDeclaration($0, in: configuration).secrets
                }
                for name in plugins.flatMap(\.manifest.secrets) + tools {
                    // The review has refused what cannot be parsed and is needed.
                    state.secrets[name] =
                        configuration.credential(name).map { .value(Array($0.utf8)) }
                        ?? (try? SecretReference(parsing: configuration.secretReference(name)))
                }
                return state.secrets
            })
    }

    // MARK: ProviderHouse

    /// What is decided of a file before any of it is used.
    var steps: PluginSteps {
        PluginSteps(
            prove: { [proof] in proof.refusal(of: $0) },
            isolation: { [configuration] file, manifest, isShipped in
                configuration.isolation(of: file, manifest, isShipped: isShipped)
            })
    }

    func sections(of plugin: LoadedPlugin, in registry: PluginRegistry) throws(PluginRefusal) -> [ProviderSection] {
        let review = ConfigurationReview(configuration, registry: registry, environment: environment)
        if let problem = review.objections(to: plugin).first {
            throw PluginRefusal(
                .didNotStart, "version \(plugin.manifest.version) cannot take its settings: \(problem.message)",
                mend: "Mend the configuration and restart, or install a version that takes them")
        }
        knowSecrets(of: [plugin])
        return review.providers.filter { $0.plugin === plugin }
    }

    func created(_ instance: ProviderInstance) throws(ProviderFailure) {
        let id = ObjectIdentifier(instance)
        switch instance.kind {
        case .telephony:
            let link = WeakProvider()
            let provider = try TelephonyProvider(instance) { [weak self] event in
                self?.state.withLock(\.desk)?.happened(event) { link.provider }
            }
            link.provider = provider
            state.withLock { $0.telephony[id] = provider }
        case .voiceActivity:
            let provider = try VoiceActivityProvider(instance)
            state.withLock { $0.detectors[id] = provider }
        default: break
        }
    }

    func publish(_ instances: [ProviderInstance]) {
        for instance in instances where instance.kind == .voiceActivity {
            guard let provider = detector(of: instance) else { continue }
            state.withLock(\.detection)?.use(provider)
        }
        running.publish(instances)
    }

    func withdraw(_ instances: [ProviderInstance]) {
        for instance in instances where instance.kind == .voiceActivity {
            state.withLock(\.detection)?.withdraw(instance)
        }
        running.withdraw(instances)
    }

    func willDestroy(_ instance: ProviderInstance) {
        let id = ObjectIdentifier(instance)
        if state.withLock({ $0.detectors.removeValue(forKey: id) }) != nil {
            state.withLock(\.detection)?.stop(instance)
        }
        state.withLock { $0.telephony[id] = nil }
    }

    func bereaved(by names: [String]) -> [String] {
        configuration.sections(of: "profile").flatMap { profile in
            ["stt", "llm", "tts"].compactMap { kind in
                let chain = configuration.list(profile.name, kind)
                guard chain.contains(where: names.contains), running.missing(of: chain).count == chain.count else {
                    return nil
                }
                return "[\(profile.name)] has no \(kind) any more: its new calls are declined with 503"
            }
        }
    }
}

extension ProviderChains {
    /// What runs now. A chain of which nothing runs stays as it is, so that a call fails with its names.
    func available(in running: RunningProviders) -> ProviderChains {
        func here(_ names: [String]) -> [String] {
            let missing = running.missing(of: names)
            return missing.isEmpty || missing.count == names.count ? names : names.filter { !missing.contains($0) }
        }
        return ProviderChains(
            speechToText: here(speechToText), languageModel: here(languageModel), textToSpeech: here(textToSpeech),
            turn: running.missing(of: turn).isEmpty ? turn : turn.filter { running[$0] != nil })
    }
}
