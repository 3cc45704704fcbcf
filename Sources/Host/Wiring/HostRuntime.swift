// The running host: everything is made here, in the order in which one needs the other, and ended in the opposite
// order.
//
//     log and services ─► media engine ─► plugins ─► providers ─► detectors, conversations ─► telephony ─► listener
//     ─► event socket
//
// Telephony comes last, so that the first call finds everything. The listener takes its port early, so that a wrong
// address is told at once, and lets clients in after telephony, when every path has its provider; the event socket
// comes after that, because its appearance is how scripts see that the host is up. A provider that does not start
// costs its profile a place in a chain, not the host its start: what cannot work is said in the log, and the chain goes
// on with the next.

import Calls
import Control
import Glibc
import HostServices
import JSON
import Media
import Providers
import Synchronization

final class HostRuntime: Sendable {
    let logger: Logger
    let desk: CallDesk
    private let loop: CallLoop
    private let pump: FramePump
    private let engine: MediaEngine
    private let house: PluginHouse
    private let plugins: LivePlugins
    private let events: EventSocket?
    private let control: ControlSocket?

    /// Starts a host. Throws what keeps it from starting at all.
    init(_ sources: ConfigurationSources) throws {
        let configuration = sources.configuration
        let services = HostServices.start(configuration: Self.services(sources))
        let logger = services.logger
        self.logger = logger

        pump = FramePump()
        engine = try MediaEngine(configuration: Self.media(configuration))
        try engine.start()
        if let refusal = engine.statistics.realtimeErrors.first(where: { $0 > 0 }) {
            logger.warning(
                "media threads run without real-time priority (\(String(cString: strerror(refusal)))): packets may "
                    + "leave late under load; grant CAP_SYS_NICE, or set [media] realtime = no")
        }
        let box = Box()
        var options = StreamOptions()
        options.eventWake = pump.wake
        options.callFrameWake = pump.wake
        var frameOptions = options
        frameOptions.kind = .frames(sampleRateHz: 8_000)
        // A call that goes out gets its rate before the callee has chosen a codec, because its sessions are opened
        // while it rings: that of the codec which we offer first.
        var outboundOptions = options
        outboundOptions.kind = .rtp(sampleRateHz: engine.configuration.codecs.first?.conversationRateHz ?? 8_000)
        MediaService(
            engine: engine, options: { [options, outboundOptions] call in
                box.desk?.isOutbound(call) == true ? outboundOptions : options
            },
            opened: { call, stream in box.desk?.opened(call, stream) }
        ) { session, stream in box.desk?.negotiated(session, stream) }.install()

        let log = ProviderLogger(logger)
        // Before the directory is read, so that what changes meanwhile is seen.
        let watch = DirectoryWatch(directory: sources.pluginsDirectory)
        let quarantine = Quarantine(directory: sources.stateDirectory, hostVersion: VCHost.version, log: log)
        let loader = try sources.loader(quarantine: quarantine, log: log)
        let proof = SmokeProof(
            configuration: configuration, directory: sources.pluginsDirectory,
            proven: ProvenFiles(directory: sources.stateDirectory, hostVersion: VCHost.version))
        let registry = Self.proven(sources.registry(loader: loader, log: log), proof, configuration, logger)
        let review = ConfigurationReview(
            sources.configuration, registry: registry, environment: sources.environment)
        if let dialect = configuration.dialect {
            logger.info("the configuration is one of \(dialect.title); `vchost config show` tells what became of it")
        }
        for problem in review.problems {
            problem.severity == .error ? logger.error("\(problem)") : logger.warning("\(problem)")
        }
        guard !review.hasErrors else {
            throw SettingsError(.invalid, "the configuration has errors; `vchost config check` lists them")
        }

        let port = try services.reserveListener()
        WorkerOptions.current = Self.workers(review, configuration)
        let crashes = WorkerCrashes(quarantine: quarantine, logger: logger)
        crashes.listen()
        let house = PluginHouse(sources, proof: proof, services: services)
        self.house = house
        house.knowSecrets(of: review.providers.map(\.plugin))
        let started = ProviderStart(review.providers, house: house, log: log)
        for (name, _, failure) in started.failures {
            logger.error("did not start: \(failure.message)", of: LogSubject(name: name))
        }

        let profiles = configuration.sections(of: "profile").map { CallProfile($0, in: configuration) }
        let byName = Dictionary(profiles.map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first })
        let tools = ToolDesk(profiles, configuration) { box.desk?.takesDigits($0) ?? false }
        let socketPath = configuration.text("vchost", "events_socket")
        let events = socketPath.isEmpty ? nil : try EventSocket(path: socketPath)
        self.events = events
        let health = ProviderHealth(
            pauseMs: configuration.integer("vchost", "provider_pause_s") * 1_000, logger: logger, events: events,
            metrics: services.metrics)
        let sessions = ProviderSessions(
            chains: { call in
                guard let chains = byName[call.profile]?.chains.available(in: house.running) else {
                    return ProviderChains(speechToText: [], languageModel: [], textToSpeech: [])
                }
                return health.order(chains, for: call, at: CallLoop.monotonicClock())
            },
            instance: { house.running[$0] },
            settings: { provider, call in
                var settings = SessionSettings()
                settings.language = byName[call.profile]?.policy.language.tag ?? ""
                if let voice = byName[call.profile]?.voices[provider.name] {
                    let known = house.running[provider.name]?.declaration.capabilities
                    settings.configuration = ["voice": .string(known?.spelling(ofVoice: voice) ?? voice)]
                }
                settings.tools = tools.offer(to: call.profile)
                return settings
            },
            converter: { StreamConverter(from: $0, to: $1) })

        loop = CallLoop()
        loop.start()
        let clips = ClipFiles(
            directory: configuration.text("vchost", "clips"), languages: Set(profiles.map(\.policy.language.tag))
        ) { logger.warning($0) }
        desk = CallDesk(
            loop: loop, pump: pump, detection: try DetectionDesk(logger: logger), sessions: sessions,
            health: health, tools: tools, clips: clips,
            openFrames: { [engine, frameOptions] in try? engine.openStream(frameOptions) },
            telephony: { house.callers }, missing: { house.running.missing(of: $0) }, profiles: profiles,
            configuration: configuration, events: events, logger: logger)
        box.desk = desk

        house.open(desk)
        house.publish(started.running)
        let telephony = started.startTelephony(house: house, log: log, logger: logger)
        house.publish(telephony.running)
        var limits = PluginGenerations.Limits()
        limits.drainNs = UInt64(configuration.integer("vchost", "drain_timeout_s")) * 1_000_000_000
        let plugins = LivePlugins(
            registry: registry, watch: watch, instances: house.running.all,
            failures: started.failures + telephony.failures, loader: loader, house: house,
            steps: house.steps, quarantine: quarantine,
            records: ConformanceRecords(directory: sources.stateDirectory), limits: limits, log: log)
        self.plugins = plugins
        crashes.tell(plugins)
        let controlPath = configuration.text("vchost", "control_socket")
        let pluginControl = PluginControl(plugins: plugins, health: health, version: VCHost.version)
        let dialControl = DialControl(desk: desk)
        let control = controlPath.isEmpty ? nil : try ControlSocket(path: controlPath) { request, answer in
            request["command"]?.string == "dial"
                ? dialControl.handle(request, answer) : pluginControl.handle(request, answer)
        }
        self.control = control
        // A host that nobody can call is no host; whoever started it should hear of that, and not the callers.
        guard !telephony.running.isEmpty else {
            throw SettingsError(.invalid, started.hasTelephony
                ? "no telephony provider started; the lines above say why"
                : "no [telephony.NAME] is configured: nobody could call")
        }
        plugins.start()
        try control?.appear()
        try services.openListener()
        if let port { logger.info("vendors that call us are let in at port \(port)") }
        try events?.appear()
        logger.info(
            "ready: \(house.running.all.count) of \(review.providers.count) providers, "
                + "\(profiles.count) profiles")
    }

    /// Looks at the plugin directory again.
    func reload() {
        logger.info("SIGHUP: looking at \(plugins.directory); the configuration is read at the start only")
        plugins.reload()
    }

    /// Ends calls, then what they stood on. Returns when all is done or the time is over.
    func stop() {
        control?.stop()
        plugins.stop()
        let telephony = house.telephony
        for provider in telephony { provider.instance.drain() }
        if !desk.close(timeoutMs: 3_000) { logger.warning("\(desk.callCount) calls did not end in 3 s") }
        loop.stop()
        for provider in telephony { _ = provider.instance.waitUntilDrained(timeoutMs: 1_000) }
        for instance in plugins.instances where instance.state != .destroyed {
            if instance.sessionCount == 0 { house.willDestroy(instance) }
            instance.destroy()
        }
        pump.stop()
        engine.stop()
        events?.stop()
        logger.info("stopped")
        HostServices.stop()
    }

    // MARK: Settings

    private static func services(_ sources: ConfigurationSources) -> HostServices.Configuration {
        let configuration = sources.configuration
        var services = HostServices.Configuration()
        let level = configuration.text("vchost", "log_level")
        services.log = Logger.Configuration(
            level: Logger.Level.allCases.first { $0.name == level } ?? .info,
            format: configuration.text("vchost", "log_format") == "json" ? .json : .human)
        services.server.listen = ListenAddress(parsing: configuration.text("server", "listen"))
        services.server.connectionsMax = configuration.integer("server", "connections_max")
        services.server.connectionsPerAddressMax = configuration.integer("server", "connections_per_address_max")
        return services
    }

    /// The directory without what some section names, the build did not make, and the smoke rules refuse. Each file is
    /// proven once, so this costs a start nothing but the first time.
    private static func proven(
        _ registry: PluginRegistry, _ proof: SmokeProof, _ configuration: Configuration, _ logger: Logger
    ) -> PluginRegistry {
        var registry = registry
        for plugin in registry.plugins where !plugin.isShipped {
            let candidate = PluginToProve(plugin)
            guard !configuration.wanting(candidate.file, plugin.manifest).isEmpty,
                let refusal = proof.refusal(of: candidate)
            else { continue }
            logger.warning("\(refusal)", of: LogSubject(plugin: plugin.id))
            registry = registry.refusing(plugin, refusal)
        }
        return registry
    }

    private static func workers(_ review: ConfigurationReview, _ configuration: Configuration) -> WorkerOptions {
        var options = WorkerOptions.current
        options.memoryBytes = UInt64(configuration.integer("vchost", "worker_memory_mib")) << 20
        // A secret is lent by name to the plugin whose manifest lists it, and not left in everybody's environment.
        let tools = configuration.sections(of: "tool").flatMap { ToolDeclaration($0, in: configuration).secrets }
        for name in review.providers.flatMap(\.plugin.manifest.secrets) + tools {
            let reference = configuration.secretReference(name)
            if reference.hasPrefix("env:") { options.withheldVariables.insert(String(reference.dropFirst(4))) }
        }
        return options
    }

    private static func media(_ configuration: Configuration) -> MediaConfiguration {
        var media = MediaConfiguration()
        media.bindAddress = configuration.text("media", "bind_address")
        let advertised = configuration.text("media", "advertised_address")
        let own = media.bindAddress == "0.0.0.0" ? DefaultRoute.address : nil
        media.advertisedAddress = advertised.isEmpty ? own : advertised
        let low = configuration.integer("media", "port_min")
        media.portRange = UInt16(low)...UInt16(max(low + 1, configuration.integer("media", "port_max")))
        media.threads = configuration.integer("media", "threads")
        media.realtimePriority = configuration.flag("media", "realtime") ? media.realtimePriority : 0
        media.maximumStreams = max(16, configuration.integer("vchost", "calls_max") + 16)
        return media
    }

    /// The desk, for those that must exist before it.
    private final class Box: @unchecked Sendable {
        private let content = Mutex<CallDesk?>(nil)
        var desk: CallDesk? {
            get { content.withLock { $0 } }
            set { content.withLock { $0 = newValue } }
        }
    }
}

/// Our address as the default route has it, without sending anything.
enum DefaultRoute {
    static var address: String {
        let descriptor = socket(AF_INET, Int32(SOCK_DGRAM.rawValue), 0)
        defer { close(descriptor) }
        var peer = sockaddr_in()
        peer.sin_family = sa_family_t(AF_INET)
        peer.sin_port = UInt16(9).bigEndian
        // A documentation address (RFC 5737): only the routing table is asked.
        inet_pton(AF_INET, "192.0.2.1", &peer.sin_addr)
        var own = sockaddr_in()
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let found = withUnsafePointer(to: &peer) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { connect(descriptor, $0, length) }
        } == 0 && withUnsafeMutablePointer(to: &own) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(descriptor, $0, &length) }
        } == 0
        guard found else { return "127.0.0.1" }
        // In network order, so the first byte of the memory is the first number.
        return withUnsafeBytes(of: own.sin_addr) { $0.map(String.init).joined(separator: ".") }
    }
}

/// The media engine's resampler, as the providers' adapters want it.
final class StreamConverter: SampleRateConverter {
    private let resampler: Resampler

    init?(from: Int, to: Int) {
        guard let resampler = Resampler(from: from, to: to) else { return nil }
        self.resampler = resampler
    }

    func convert(_ samples: UnsafeBufferPointer<Int16>) -> [Int16] {
        var converted: [Int16] = []
        resampler.process(samples, into: &converted)
        return converted
    }
}

/// What providers say, in the host's log.
struct ProviderLogger: ProviderLog {
    private let logger: Logger

    init(_ logger: Logger) { self.logger = logger }

    func write(_ line: ProviderLogLine) {
        let level: Logger.Level =
            switch line.level {
            case .debug: .debug
            case .info: .info
            case .warning: .warning
            case .error: .error
            case .pluginFault: .pluginFault
            }
        logger.write(level, line.message, of: LogSubject(plugin: line.plugin, name: line.provider, call: line.call))
    }
}
