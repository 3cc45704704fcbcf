// Where the crashes of workers go: into the store that quarantines files, and to the list of plugins, which has the
// line for the operator. Providers start before that list is made, because it is made of them; until then the store
// and the log are all there is.

import HostServices
import Providers
import Synchronization

final class WorkerCrashes: Sendable {
    private let quarantine: Quarantine
    private let logger: Logger
    private let plugins = Mutex<LivePlugins?>(nil)

    init(quarantine: Quarantine, logger: Logger) {
        self.quarantine = quarantine
        self.logger = logger
    }

    /// Hears of all workers from now on, and lets none start whose file is in quarantine.
    func listen() {
        var reports = WorkerReports()
        reports.crashed = { [self] in crashed($0) }
        reports.quarantineReason = { [quarantine] in quarantine.refusal(of: $0, file: "the file")?.reason }
        WorkerReports.current = reports
    }

    func tell(_ plugins: LivePlugins?) { self.plugins.withLock { $0 = plugins } }

    private func crashed(_ crash: WorkerCrash) {
        let report = CrashReport(
            sha256: crash.sha256, plugin: crash.plugin, version: "", provider: crash.provider, signal: crash.signal,
            breadcrumb: crash.breadcrumb, backtrace: crash.backtrace, reason: crash.reason,
            sessions: crash.sessions, isTooMany: crash.isTooMany)
        if let plugins = plugins.withLock({ $0 }) {
            plugins.crashed(report)
            return
        }
        let verdict = quarantine.record(report)
        var what = "\(report.provider) \(report.summary)"
        if case .quarantined(let refusal) = verdict { what += "; \(refusal)" }
        logger.error(what, of: LogSubject(plugin: report.plugin, name: report.provider))
    }
}
