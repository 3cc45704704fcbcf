// Where workers and whoever keeps the plugin directory meet, in one small file so that neither depends on the other.
//
// A worker tells of each crash, and asks before each start whether the file may run at all. What is remembered of that
// beyond the life of the process, and who pardons it, is not the worker's affair: it counts the crashes of its own
// provider in the last ten minutes (`WorkerSupervision`) and says "this was one too many"; the store of quarantined
// files decides what that means for the next start of the host.

import Synchronization

/// A worker's end that nobody asked for.
public struct WorkerCrash: Sendable, Equatable {
    /// The plugin's id, the file's hash, and the provider's section ("stt.local").
    public var plugin: String
    public var sha256: String
    public var provider: String
    /// "SIGSEGV", "exit(0)", "hung", "SIGKILL": what ended it.
    public var signal: String
    /// Where it was: "push, session of call X", or "between calls".
    public var breadcrumb: String
    /// Of the thread that crashed, a frame a line; empty when the kernel ended it.
    public var backtrace: String
    /// Why it was killed, if it was us who did: "it hung: push did not return within 900 ms".
    public var reason: String
    /// Open sessions, which are lost.
    public var sessions: Int
    /// The third crash in ten minutes: the worker is not started again, and the file should be quarantined.
    public var isTooMany: Bool

    public init(
        plugin: String, sha256: String, provider: String, signal: String, breadcrumb: String, backtrace: String,
        reason: String = "", sessions: Int = 0, isTooMany: Bool
    ) {
        self.plugin = plugin
        self.sha256 = sha256
        self.provider = provider
        self.signal = signal
        self.breadcrumb = breadcrumb
        self.backtrace = backtrace
        self.reason = reason
        self.sessions = sessions
        self.isTooMany = isTooMany
    }
}

/// What workers tell, and ask. Set once by the host before the first provider is created; tests set their own.
public struct WorkerReports: Sendable {
    /// Called for every crash, on the workers' own thread: hand on what takes long. Whoever is called says it in the
    /// log; without anybody the worker does.
    public var crashed: (@Sendable (WorkerCrash) -> Void)?

    /// Why a file may not run, as a sentence, or nil when it may. Asked before each start of a worker, the first
    /// included.
    public var quarantineReason: @Sendable (_ sha256: String) -> String? = { _ in nil }

    public init() {}

    public static var current: WorkerReports {
        get { shared.withLock { $0 } }
        set { shared.withLock { $0 = newValue } }
    }

    private static let shared = Mutex(WorkerReports())

    public func isQuarantined(_ sha256: String) -> Bool { quarantineReason(sha256) != nil }
}
