// The caller's end of a call: the shipped SIP plugin and a media engine, without a conversation behind them. What a
// softphone is, as far as `vchost call` needs one.

import Calls
import Control
import Glibc
import HostServices
import Media
import Providers
import Synchronization

final class OutboundLeg: Sendable {
    private struct State {
        var events: [TelephonyEvent] = []
        var stream: MediaStream?
    }

    private let state = Mutex(State())
    private let engine: MediaEngine
    private let provider: TelephonyProvider
    private let session: TelephonySession

    /// Dials. Throws when it cannot even begin to.
    init(to target: String, from: String, plugins: String, plugin name: String, ringTimeoutMs: Int) throws {
        let isLoopback = target.contains("@127.") || target.contains("@localhost")
        let address = isLoopback ? "127.0.0.1" : DefaultRoute.address
        var services = HostServices.Configuration()
        services.log = Logger.Configuration(level: .warning)
        let logger = HostServices.start(configuration: services).logger

        var media = MediaConfiguration()
        media.bindAddress = address
        media.portRange = nil
        media.maximumStreams = 4
        engine = try MediaEngine(configuration: media)
        try engine.start()
        let box = Box()
        MediaService(engine: engine, options: { _ in StreamOptions() }) { _, stream in
            box.leg?.negotiated(stream)
        }.install()

        let log = ProviderLogger(logger)
        let registry = PluginRegistry(directory: plugins, loader: try PluginLoader(log: log), log: QuietLog())
        guard let plugin = registry.plugin(named: name), let declaration = plugin.provider(.telephony) else {
            throw SettingsError(.invalid, "there is no telephony plugin \(name) in \(plugins)")
        }
        let configuration = try declaration.configuration.apply(to: ["host": address, "port": "0"])
        let instance = ProviderInstance(
            plugin: plugin, declaration: declaration, name: "telephony.call", configuration: configuration, log: log)
        try instance.create()
        // A caller is not called.
        let link = WeakProvider()
        provider = try TelephonyProvider(instance) { event in
            if case .incoming(let incoming) = event { link.provider?.decline(key: incoming.key, code: 480) }
        }
        link.provider = provider
        try instance.start()
        try instance.waitUntilReady()
        session = try provider.dial(
            to: target, from: "sip:\(from)@\(address)", ringTimeoutMs: ringTimeoutMs, call: from
        ) { event in
            box.keep(event)
            return .accepted
        }
        box.set(self)
    }

    /// What happened since the last time.
    func takeEvents() -> [TelephonyEvent] {
        state.withLock { state in
            defer { state.events = [] }
            return state.events
        }
    }

    /// The call's audio, once it was agreed on.
    var stream: MediaStream? { state.withLock { $0.stream } }

    func hangUp() { session.hangUp(code: 0) }

    /// After the hang-up: gives everything back.
    func end() {
        session.close()
        provider.instance.drain()
        _ = provider.instance.waitUntilDrained(timeoutMs: 2_000)
        provider.instance.destroy()
        engine.stop()
        HostServices.stop()
    }

    private func negotiated(_ stream: MediaStream) { state.withLock { $0.stream = stream } }

    /// Catches what happens before `init` has returned.
    private final class Box: @unchecked Sendable {
        private struct Early {
            weak var leg: OutboundLeg?
            var events: [TelephonyEvent] = []
        }
        private let early = Mutex(Early())

        var leg: OutboundLeg? { early.withLock { $0.leg } }

        func keep(_ event: TelephonyEvent) {
            let leg = early.withLock { early -> OutboundLeg? in
                if early.leg == nil { early.events.append(event) }
                return early.leg
            }
            leg?.state.withLock { $0.events.append(event) }
        }

        func set(_ leg: OutboundLeg) {
            let events = early.withLock { early in
                early.leg = leg
                return early.events
            }
            leg.state.withLock { $0.events = events + $0.events }
        }
    }
}
