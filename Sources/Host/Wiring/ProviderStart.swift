// From the sections of the configuration to running providers: all are created and started, and then waited for
// together, so that a host with five models is ready when the slowest is, and not when their sum is.

import Calls
import Control
import HostServices
import Providers

struct ProviderStart {
    /// Running, by the name of their section; telephony is not among them.
    let running: [String: ProviderInstance]
    let failures: [(name: String, failure: ProviderFailure)]
    private let telephonySections: [ProviderSection]
    var hasTelephony: Bool { !telephonySections.isEmpty }

    init(_ sections: [ProviderSection], log: any ProviderLog) {
        var started: [ProviderInstance] = []
        var failures: [(name: String, failure: ProviderFailure)] = []
        for section in sections where section.kind != .telephony {
            let instance = ProviderInstance(section, log: log)
            do throws(ProviderFailure) {
                try instance.create()
                try instance.start()
                started.append(instance)
            } catch {
                failures.append((section.name, error))
            }
        }
        var running: [String: ProviderInstance] = [:]
        for instance in started {
            do throws(ProviderFailure) {
                try instance.waitUntilReady()
                running[instance.name] = instance
            } catch {
                failures.append((instance.name, error))
            }
        }
        self.running = running
        self.failures = failures
        telephonySections = sections.filter { $0.kind == .telephony }
    }

    /// Opens the doors. A provider that does not start is said in the log.
    func startTelephony(log: any ProviderLog, logger: Logger, desk: CallDesk) -> [TelephonyProvider] {
        var providers: [TelephonyProvider] = []
        for section in telephonySections {
            let instance = ProviderInstance(section, log: log)
            do throws(ProviderFailure) {
                try instance.create()
                let link = WeakProvider()
                let provider = try TelephonyProvider(instance) { event in desk.happened(event) { link.provider } }
                link.provider = provider
                try instance.start()
                try instance.waitUntilReady()
                providers.append(provider)
            } catch {
                logger.error("did not start: \(error.message)", of: LogSubject(name: section.name))
            }
        }
        return providers
    }
}

/// The provider, for a closure that must exist before it. Written before the provider starts, only read afterwards.
final class WeakProvider: @unchecked Sendable {
    weak var provider: TelephonyProvider?
}

extension ProviderInstance {
    convenience init(_ section: ProviderSection, log: any ProviderLog) {
        self.init(
            plugin: section.plugin, declaration: section.declaration, name: section.name,
            configuration: section.configuration, isolation: section.isolation, log: log)
    }
}
