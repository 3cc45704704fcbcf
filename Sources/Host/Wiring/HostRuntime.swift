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
import Media
import Providers
import Synchronization

final class HostRuntime: Sendable {
    let logger: Logger
    let desk: CallDesk
    private let loop: CallLoop
    private let pump: FramePump
    private let engine: MediaEngine
    private let providers: [String: ProviderInstance]
    private let telephony: [TelephonyProvider]
    private let events: EventSocket?

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
        MediaService(engine: engine, options: options) { session, stream in
            box.desk?.negotiated(session, stream)
        }.install()

        let log = ProviderLogger(logger)
        let review = try sources.review(log: log)
        for problem in review.problems {
            problem.severity == .error ? logger.error("\(problem)") : logger.warning("\(problem)")
        }
        guard !review.hasErrors else {
            throw SettingsError(.invalid, "the configuration has errors; `vchost config check` lists them")
        }

        services.secrets.replace(Self.secrets(review, configuration))
        let port = try services.reserveListener()
        let started = ProviderStart(review.providers, log: log)
        let providers = started.running
        self.providers = providers
        for (name, failure) in started.failures {
            logger.error("did not start: \(failure.message)", of: LogSubject(name: name))
        }

        var detectors: [String: VoiceActivityProvider] = [:]
        for (name, instance) in providers where instance.kind == .voiceActivity {
            do throws(ProviderFailure) {
                detectors[name] = try VoiceActivityProvider(instance)
            } catch {
                logger.error(error.message, of: LogSubject(name: name))
            }
        }
        let profiles = configuration.sections(of: "profile").map { CallProfile($0, in: configuration) }
        let byName = Dictionary(profiles.map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first })
        let sessions = ProviderSessions(
            chains: { call in
                byName[call.profile]?.chains ?? ProviderChains(speechToText: [], languageModel: [], textToSpeech: [])
            },
            instance: { providers[$0] },
            settings: { _, call in
                var settings = SessionSettings()
                settings.language = byName[call.profile]?.policy.language.tag ?? ""
                settings.tools = BuiltInTools.descriptions
                return settings
            },
            converter: { StreamConverter(from: $0, to: $1) })

        loop = CallLoop()
        loop.start()
        let clips = ClipFiles(
            directory: configuration.text("vchost", "clips"), languages: Set(profiles.map(\.policy.language.tag))
        ) { logger.warning($0) }
        let socketPath = configuration.text("vchost", "events_socket")
        let events = socketPath.isEmpty ? nil : try EventSocket(path: socketPath)
        self.events = events
        desk = CallDesk(
            loop: loop, pump: pump, detection: try DetectionDesk(detectors, logger: logger), sessions: sessions,
            clips: clips, profiles: profiles, configuration: configuration, events: events, logger: logger)
        box.desk = desk

        telephony = started.startTelephony(log: log, logger: logger, desk: desk)
        // A host that nobody can call is no host; whoever started it should hear of that, and not the callers.
        guard !telephony.isEmpty else {
            throw SettingsError(.invalid, started.hasTelephony
                ? "no telephony provider started; the lines above say why"
                : "no [telephony.NAME] is configured: nobody could call")
        }
        try services.openListener()
        if let port { logger.info("vendors that call us are let in at port \(port)") }
        try events?.appear()
        logger.info(
            "ready: \(providers.count + telephony.count) of \(review.providers.count) providers, "
                + "\(profiles.count) profiles")
    }

    /// Ends calls, then what they stood on. Returns when all is done or the time is over.
    func stop() {
        for provider in telephony { provider.instance.drain() }
        if !desk.close(timeoutMs: 3_000) { logger.warning("\(desk.callCount) calls did not end in 3 s") }
        loop.stop()
        for provider in telephony { _ = provider.instance.waitUntilDrained(timeoutMs: 1_000) }
        for instance in telephony.map(\.instance) + Array(providers.values) { instance.destroy() }
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

    /// Where each secret that a plugin may ask for is to be found.
    private static func secrets(
        _ review: ConfigurationReview, _ configuration: Configuration
    ) -> [String: SecretReference] {
        var references: [String: SecretReference] = [:]
        for name in review.providers.flatMap(\.plugin.manifest.secrets) {
            // The review has refused what cannot be parsed and is needed.
            references[name] = try? SecretReference(parsing: configuration.secretReference(name))
        }
        return references
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
