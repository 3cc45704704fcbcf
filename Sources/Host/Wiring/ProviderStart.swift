// From the sections of the configuration to running providers: all are created and started, and then waited for
// together, so that a host with five models is ready when the slowest is, and not when their sum is.

import Calls
import Control
import HostServices
import Providers

struct ProviderStart {
    typealias Failure = (name: String, plugin: LoadedPlugin, failure: ProviderFailure)

    /// Telephony is not among them.
    let running: [ProviderInstance]
    let failures: [Failure]
    private let telephonySections: [ProviderSection]
    var hasTelephony: Bool { !telephonySections.isEmpty }

    init(_ sections: [ProviderSection], house: PluginHouse, log: any ProviderLog) {
        var started: [ProviderInstance] = []
        var failures: [Failure] = []
        for section in sections where section.kind != .telephony {
            let instance = ProviderInstance(section, log: log)
            do throws(ProviderFailure) {
                try instance.create()
                try house.created(instance)
                try instance.start()
                started.append(instance)
            } catch {
                failures.append((section.name, section.plugin, error))
            }
        }
        var running: [ProviderInstance] = []
        for instance in started {
            do throws(ProviderFailure) {
                try instance.waitUntilReady()
                running.append(instance)
            } catch {
                failures.append((instance.name, instance.plugin, error))
            }
        }
        self.running = running
        self.failures = failures
        telephonySections = sections.filter { $0.kind == .telephony }
    }

    /// Opens the doors. A provider that does not start is said in the log.
    func startTelephony(house: PluginHouse, log: any ProviderLog, logger: Logger) -> (
        running: [ProviderInstance], failures: [Failure]
    ) {
        var running: [ProviderInstance] = []
        var failures: [Failure] = []
        for section in telephonySections {
            let instance = ProviderInstance(section, log: log)
            do throws(ProviderFailure) {
                try instance.create()
                try house.created(instance)
                try instance.start()
                try instance.waitUntilReady()
                running.append(instance)
            } catch {
                house.willDestroy(instance)
                failures.append((section.name, section.plugin, error))
                logger.error("did not start: \(error.message)", of: LogSubject(name: section.name))
            }
        }
        return (running, failures)
    }
}

/// The provider, for a closure that must exist before it. Written before the provider starts, only read afterwards.
final class WeakProvider: @unchecked Sendable {
    weak var provider: TelephonyProvider?
}
