// What the host offers to plugins, put together. C tables have no context, so the running set is global, like the
// handle table is; `start` comes before the first plugin, `stop` after the last one. In between everything hangs on
// this object.
//
// Nothing slow happens in `start`: curl and libwebsockets set themselves up on their own threads.

import Glibc
import PluginABI
import Providers
import Synchronization

public final class HostServices: Sendable {
    public struct Configuration: Sendable {
        public var log = Logger.Configuration()
        /// By name, or `section/NAME` for the provider of that section only.
        public var secrets: [String: SecretReference] = [:]
        /// Threads for "vc.task/1".
        public var taskThreads = 4
        public var http = HTTPLimits()
        /// The listener of "vc.server/1".
        public var server = ServerSettings()
        /// Takes the finished spans of "vc.trace/1". Called on the plugin's thread, so it hands them on and returns.
        public var traceCollector: @Sendable (TraceSpan) -> Void = { _ in }
        /// In a worker: HTTP, WebSockets, secrets, the log and the like are asked of the host that it belongs to.
        var isWorker = false

        public init() {}
    }

    public let logger: Logger
    public let secrets: SecretStore
    public let tasks: TaskService
    public let metrics: MetricsRegistry
    public let traces: TraceService

    let keptText = KeptText()
    let lanes: DeliveryLanes
    let timers: TimerService
    let http: HTTPService
    let webSockets: WebSocketService
    let server: ServerService

    /// The running services, or nil before `start` and after `stop`.
    public static var current: HostServices? { running.withLock { $0 } }

    /// Starts the services and registers their tables. Services that run already are stopped first.
    @discardableResult
    public static func start(configuration: Configuration) -> HostServices {
        // A peer that closes must be an error of that write, not the end of the process.
        signal(SIGPIPE, SIG_IGN)
        stop()
        let services = HostServices(configuration)
        running.withLock { $0 = services }
        for (id, table) in tables where !configuration.isWorker || localToWorkers.contains(id) {
            HostTable.register(service: id, table: table.pointer)
        }
        if !configuration.isWorker {
            services.http.begin()
            services.webSockets.begin()
            WorkerServices.host = HostSideServices(services)
        }
        var watch = HostTable.Watch()
        watch.epochRaised = { [weak services] in services?.epochRaised(of: $0) }
        watch.isIdle = { [weak services] in services?.tasks.waitUntilIdle($0, timeoutMs: 0) ?? true }
        HostTable.watch = watch
        return services
    }

    /// Ends all threads. The tables stay and answer VC_E_CLOSED.
    public static func stop() {
        let services = running.withLock { running in
            defer { running = nil }
            return running
        }
        services?.end()
    }

    private static let running = Mutex<HostServices?>(nil)

    private static let tables: [(id: String, table: ServiceTable)] = [
        (VC_SERVICE_LOG, logTable), (VC_SERVICE_CLOCK, clockTable), (VC_SERVICE_TIMER, timerTable),
        (VC_SERVICE_CONFIG, configTable), (VC_SERVICE_SECRET, secretTable), (VC_SERVICE_TASK, taskTable),
        (VC_SERVICE_HTTP, httpTable), (VC_SERVICE_WS, webSocketTable), (VC_SERVICE_METRICS, metricsTable),
        (VC_SERVICE_TRACE, traceTable), (VC_SERVICE_SERVER, serverTable),
    ]

    /// What a worker has of its own: nothing of it is shared with other processes.
    private static let localToWorkers = [VC_SERVICE_CLOCK, VC_SERVICE_TIMER, VC_SERVICE_CONFIG, VC_SERVICE_TASK]

    init(_ configuration: Configuration) {
        let logger = Logger(configuration.log)
        self.logger = logger
        secrets = SecretStore(configuration.secrets, redactor: logger.redactor)
        metrics = processMetrics
        traces = TraceService(collector: configuration.traceCollector)
        tasks = TaskService(threadCount: configuration.taskThreads)
        lanes = DeliveryLanes { object, tookNs in
            logger.pluginFault(
                "a call took longer than the 5 ms of the contract: long work belongs in vc.task/1",
                LogField("took_ms", tookNs / 1_000_000), of: LogSubject(object))
        }
        timers = TimerService(lanes: lanes)
        http = HTTPService(limits: configuration.http, lanes: lanes, metrics: processMetrics)
        webSockets = WebSocketService(
            authoritiesPath: configuration.http.authoritiesPath, servedMax: configuration.server.connectionsMax,
            lanes: lanes, logger: logger, metrics: processMetrics)
        server = ServerService(
            configuration.server, lanes: lanes, sockets: webSockets, logger: logger, metrics: processMetrics)
    }

    /// To be called after `object.epoch` was raised: requests of older epochs stop and their connections close. Their
    /// callbacks ended with the epoch already, whether or not this was called yet.
    public func epochRaised(of object: PluginObject) {
        http.cancelOlder(than: object.epoch.load(ordering: .acquiring), of: object.handle)
    }

    /// Takes the listener's port, before plugins are started: a wrong address should be told at once. Returns the port,
    /// or nil when no listener is configured.
    @discardableResult
    public func reserveListener() throws(ListenFailure) -> UInt16? { try server.reserve() }

    /// Lets clients in. To be called when all providers have started, so that no request comes before its route.
    public func openListener() throws(ListenFailure) { try server.open() }

    func end() {
        server.stop()
        timers.stop()
        http.stop()
        webSockets.stop()
        tasks.stop()
        lanes.stop()
        logger.stop()
    }
}
