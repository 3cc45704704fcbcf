// A provider: what one section of the configuration makes, for as long as that configuration holds.
//
// Sessions of many calls use it at the same time, on many threads, so it is `Sendable`: constants, and a `Mutex` around
// what is not constant. Everything that belongs to one call is in the session, where nothing is ever concurrent.

import PluginABI
import Synchronization

/// The kind of a provider, by its id in the contract.
public enum ProviderKind: String, Sendable {
    case speechToText = "vc.stt/1"
    case languageModel = "vc.llm/1"
    case textToSpeech = "vc.tts/1"
    case telephony = "vc.telephony/1"
}

/// What `SpeechToText`, `LanguageModel` and `TextToSpeech` have in common. A plugin's type conforms to one of those.
public protocol Provider: AnyObject, Sendable {
    /// As in the manifest, "org.acme.stt".
    static var id: String { get }

    /// Checks the configuration and takes memory, but opens nothing yet. An error names the setting and the mend.
    init(_ host: ProviderHost) throws(PluginError)

    /// Begins to work: warms connections. Answers at once; the provider is ready when it returned, unless
    /// `ProviderHost.defersReady` was called. Without it the provider has nothing to begin.
    func start() throws(PluginError)

    /// Given by the kind's protocol.
    static var _kind: ProviderKind { get }
    /// Given by the kind's protocol.
    func _open(_ request: OpenRequest) throws(PluginError) -> OpenSession
}

extension Provider {
    public func start() throws(PluginError) {}
}

/// The host, as a provider sees it. It may be used from any thread.
public final class ProviderHost: HostObject, @unchecked Sendable {
    /// The section of the configuration, "stt.local".
    public let name: String
    public var metrics: Metrics { Metrics(handle: handle) }

    private let isDeferringReady = Atomic(false)
    private let isReady = Atomic(false)

    init(_ request: vc_create) throws(PluginError) {
        name = String(request.name)
        super.init(handle: request.provider, configuration: try Configuration(parsing: String(request.config)))
    }

    /// Opens a connection to the origin of `url` ahead of the request that will need it. Best effort.
    public func prewarm(_ url: String) { HTTP(owner: self).prewarm(url) }

    /// Starts a request of the provider itself, a health check say. `onEvent` may run at the same time as any session.
    @discardableResult
    public func start(
        _ request: HTTPRequest, _ onEvent: @escaping @Sendable (HTTPEvent) -> Void
    ) throws(PluginError) -> HTTPExchange {
        try HTTP(owner: self).start(request, onEvent)
    }

    /// The provider is not ready when `start` returns: `ready` or `fail` will be called within `readyTimeoutMs`.
    public func defersReady() { isDeferringReady.store(true, ordering: .relaxed) }

    /// The provider can work.
    public func ready() {
        guard !isReady.exchange(true, ordering: .relaxed) else { return }
        _ = Outbound(body: .ready, epoch: 0, request: 0).offer(from: handle)
    }

    /// The provider cannot work, and says why.
    public func fail(_ error: PluginError) {
        _ = Outbound(body: .error(error, isFatal: true), epoch: 0, request: 0).offer(from: handle)
    }

    func started() { if !isDeferringReady.load(ordering: .relaxed) { ready() } }
}

/// What `open` is called with, on its way to the kind's own type of host.
public final class OpenRequest {
    let open: vc_open
    init(_ open: vc_open) { self.open = open }
}

/// What the contract's `self` of a provider points at.
private final class ProviderBox {
    let host: ProviderHost
    let provider: any Provider
    init(_ host: ProviderHost, _ provider: any Provider) {
        self.host = host
        self.provider = provider
    }
}

func createProvider(
    _ index: Int, _ request: UnsafePointer<vc_create>, _ self_: UnsafeMutablePointer<UnsafeMutableRawPointer?>,
    _ error: UnsafeMutablePointer<vc_error>
) -> vc_status {
    guard request.pointee.size >= UInt32(MemoryLayout<vc_create>.size) else { return vc_status(VC_E_ARGUMENT) }
    do throws(PluginError) {
        let host = try ProviderHost(request.pointee)
        let box = ProviderBox(host, try ExportedProviders.types[index].init(host))
        self_.pointee = Unmanaged.passRetained(box).toOpaque()
        return vc_status(VC_OK)
    } catch let failure {
        return failure.write(to: error)
    }
}

func providerStart(_ self_: UnsafeMutableRawPointer?, _ error: UnsafeMutablePointer<vc_error>) -> vc_status {
    let box = providerBox(self_)
    do throws(PluginError) {
        try box.provider.start()
        box.host.started()
        return vc_status(VC_OK)
    } catch let failure {
        return failure.write(to: error)
    }
}

func providerOpen(
    _ self_: UnsafeMutableRawPointer?, _ request: UnsafePointer<vc_open>, _ session: UnsafeMutablePointer<vc_session>,
    _ error: UnsafeMutablePointer<vc_error>
) -> vc_status {
    guard request.pointee.size >= UInt32(MemoryLayout<vc_open>.size),
        session.pointee.size >= UInt32(MemoryLayout<vc_session>.size)
    else { return vc_status(VC_E_ARGUMENT) }
    do throws(PluginError) {
        if let telephony = providerBox(self_).provider as? any SignallingTelephony {
            try openTelephony(telephony, request.pointee, session)
            return vc_status(VC_OK)
        }
        let opened = try providerBox(self_).provider._open(OpenRequest(request.pointee))
        opened.host.session = opened
        session.pointee.state = Unmanaged.passRetained(opened).toOpaque()
        session.pointee.ops = sessionOps.pointer
        session.pointee.kind_ops = opened.kindOps
        opened.host.opened()
        return vc_status(VC_OK)
    } catch let failure {
        return failure.write(to: error)
    }
}

func providerDestroy(_ self_: UnsafeMutableRawPointer?) {
    let box = Unmanaged<ProviderBox>.fromOpaque(self_!)
    box.takeUnretainedValue().host.dropCallbacks()
    box.release()
}

private func providerBox(_ self_: UnsafeMutableRawPointer?) -> ProviderBox {
    Unmanaged<ProviderBox>.fromOpaque(self_!).takeUnretainedValue()
}

func telephonyMailbox(ofProvider self_: UnsafeMutableRawPointer?) -> TelephonyMailbox? {
    (providerBox(self_).provider as? any SignallingTelephony)?.mailbox
}
