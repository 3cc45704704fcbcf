// Every bound of a worker, with its reason.

import Synchronization

/// How workers are run.
public struct WorkerOptions: Sendable {
    /// What to run: this very program, which must answer `__worker` with `WorkerChild.run`.
    public var command = ["/proc/self/exe", "__worker"]
    /// Address space of a worker; 0: no limit. Reserved memory counts as well as used, so it is several times what a
    /// plugin needs.
    public var memoryBytes: UInt64 = 4 << 30
    /// Open files of a worker: a plugin with a model and some pipes has twenty.
    public var filesMax: UInt64 = 1_024
    /// Variables of the environment that workers do not get: those in which the operator keeps secrets.
    public var withheldVariables: Set<String> = []
    /// Added to a worker's environment.
    public var environment: [String: String] = [:]

    /// From the spawn to the handshake; the library is opened within it.
    public var handshakeMs = 2_000
    /// `create` and `start`, which may read files.
    public var createMs = 2_000
    /// `open`, and what a call waits for the status of.
    public var openMs = 500
    /// Hangs are found within three of these.
    public var heartbeatMs = 300
    /// From the end of a provider until its worker is killed.
    public var goodbyeMs = 1_000
    /// Pauses before a crashed worker starts again, from the first to the longest.
    public var restartFirstMs = 100
    public var restartMaxMs = 10_000
    /// More crashes than this within the window are too many.
    public var crashesMax = 3
    public var crashWindowMs = 600_000

    public init() {}

    /// Of this process; set by the host before the first provider is created.
    public static var current: WorkerOptions {
        get { shared.withLock { $0 } }
        set { shared.withLock { $0 = newValue } }
    }

    private static let shared = Mutex(WorkerOptions())

    var supervision: WorkerSupervision.Limits {
        var limits = WorkerSupervision.Limits()
        limits.handshakeMs = handshakeMs
        limits.restartFirstMs = restartFirstMs
        limits.restartMaxMs = restartMaxMs
        limits.crashesMax = crashesMax
        limits.crashWindowMs = crashWindowMs
        return limits
    }
}

/// One provider that is to run in a worker.
struct WorkerPlan: Sendable {
    /// The plugin's id.
    var plugin: String
    var sha256: String
    /// The verified copy.
    var path: String
    /// Of the provider within the plugin.
    var kind: PluginKind
    var provider: String
    /// The section, "stt.local".
    var name: String
    var configuration: String
    var options: WorkerOptions
    var log: any ProviderLog

    /// `create` is a C function and has nothing but the provider's handle to find its plan by.
    static let waiting = Mutex<[UInt64: WorkerPlan]>([:])
}
