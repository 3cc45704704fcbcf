// The host, as a session of a plugin sees it.
//
// Everything the contract asks of a session whatever its kind is kept here: READY once, events in order and with
// credit, nothing of an old epoch, CANCELED in answer to every cancel, nothing after a fatal error but CLOSED, and
// CLOSED once and last.

import PluginABI
import Synchronization

/// What became of something that a plugin handed to the host.
public enum Outcome: Sendable, Equatable {
    /// It is on its way, or waits in order for room.
    case accepted
    /// The request was canceled: stop producing for it.
    case canceled
    /// It was not taken: too much waits already. Offer it again after `creditReturned`.
    case noCredit
    /// The session is closing, has failed, or is gone.
    case gone
}

/// One call's session: who it is for, its settings, and the services that it may use.
///
/// Used from the methods of the session and from what these had called back, which the kit never lets overlap.
public class SessionHost: HostObject, @unchecked Sendable {
    /// The call's id, the same in all its sessions and in the logs.
    public let call: String
    /// "caller" or "agent": whose audio or words these are.
    public let leg: String
    /// For whom the call is, or empty.
    public let tenant: String
    /// BCP 47, "en" or "tr-TR"; empty when unknown.
    public let language: String
    /// The rate of the call's audio; 0 for kinds without.
    public let rateHz: Int

    private var life = SessionLife()
    private var outbox = Outbox<Outbound>()
    private var canceledEpoch: UInt64
    private var isDeferringReady = false
    /// A stream was told `noCredit` and waits to hear that there is room.
    private var isStarved = false
    /// The kind's side of the session, which holds the author's.
    weak var session: OpenSession?

    init(_ request: vc_open) throws(PluginError) {
        call = String(request.call)
        leg = String(request.leg)
        tenant = String(request.tenant)
        language = String(request.language)
        rateHz = Int(request.rate_hz)
        canceledEpoch = request.epoch
        super.init(
            handle: request.session, configuration: try Configuration(parsing: String(request.config)),
            epoch: request.epoch)
    }

    public var http: HTTP { HTTP(owner: self) }
    public var webSockets: WebSockets { WebSockets(owner: self) }
    public var timers: Timers { Timers(owner: self) }
    public var tasks: Tasks { Tasks(owner: self) }

    /// The epoch of what is done now.
    public var epoch: UInt64 { newestEpoch.load(ordering: .acquiring) }

    /// The session is not ready when `open` returns: `ready` will be called within the manifest's `readyTimeoutMs`.
    public func defersReady() { isDeferringReady = true }

    /// The session can work.
    public func ready() {
        if life.becomeReady() { _ = offer(Outbound(body: .ready, epoch: epoch, request: 0)) }
    }

    /// The session cannot go on, and says why. It emits nothing more, and waits for the host to close it.
    public func fail(_ error: PluginError) { failed(error, request: 0) }

    func opened() { if !isDeferringReady { ready() } }

    /// A fatal error, perhaps because of a request.
    func failed(_ error: PluginError, request: UInt64) {
        guard life.fail() else { return }
        outbox = Outbox()
        _ = offer(Outbound(body: .error(error, isFatal: true), epoch: epoch, request: request))
        dropCallbacks()
    }

    /// An error that costs one request and not the session.
    func report(_ error: PluginError, request: UInt64) {
        guard life.isOpen else { return }
        _ = offer(Outbound(body: .error(error, isFatal: false), epoch: epoch, request: request))
    }

    /// Hands an event over, or puts it behind those that wait.
    ///
    /// A stream is refused where too much waits, unless `evenIfFull`: it is part of something that was taken already.
    func post(_ body: Outbound.Body, epoch: UInt64, request: UInt64, evenIfFull: Bool = false) -> Outcome {
        guard life.isOpen else { return .gone }
        guard epoch >= newestEpoch.load(ordering: .acquiring) else { return .canceled }
        let event = Outbound(body: body, epoch: epoch, request: request)
        if outbox.isEmpty {
            let status = offer(event)
            if status != vc_status(VC_E_AGAIN) { return outcome(of: status) }
        } else if event.isStream && outbox.isFull && !evenIfFull {
            return starve()
        }
        outbox.append(event, bytes: event.bytes)
        return .accepted
    }

    /// `TTS_DONE` and `LLM_DONE` of requests that a new epoch ends: they carry the old epoch, so `post` would refuse
    /// them.
    func postCanceled(_ body: Outbound.Body, epoch: UInt64, request: UInt64) {
        guard life.isOpen else { return }
        _ = offer(Outbound(body: body, epoch: epoch, request: request))
    }

    /// Refuses more of a stream, and remembers to say when there is room.
    func starve() -> Outcome {
        isStarved = true
        return .noCredit
    }

    var isFull: Bool { outbox.isFull }
    var isOpen: Bool { life.isOpen }

    /// The host has room again.
    func credited() {
        while let event = outbox.first {
            let status = offer(event)
            if status == vc_status(VC_E_AGAIN) { return }
            outbox.removeFirst()
            // The epoch is over, and the host has only not said so by `cancel` yet: the rest of it is void too.
            if status == vc_status(VC_E_CANCELED) { outbox.removeAll { $0.epoch <= event.epoch && !$0.isControl } }
            if outcome(of: status) == .gone { return }
        }
        guard isStarved else { return }
        isStarved = false
        session?.creditReturned()
    }

    /// Carries out what `cancel` noted: in the order that the contract asks for, CANCELED after all that is older.
    override func settle() {
        let newest = newestEpoch.load(ordering: .acquiring)
        if newest > canceledEpoch {
            canceledEpoch = newest
            var unheard: [Outbound] = []
            outbox.removeAll { event in
                guard event.epoch < newest && !event.isControl else { return false }
                if case .spoken = event.body { unheard.append(event) }
                return true
            }
            dropCallbacks { ($0 as? HTTPExchange).map { $0.epoch < newest } ?? false }
            // Said to the end, and not heard to the end: what was complete for the voice is canceled for the call.
            for event in unheard {
                guard case .spoken(_, let samples) = event.body else { continue }
                postCanceled(
                    .spoken(isCanceled: true, samples: samples), epoch: event.epoch, request: event.request)
            }
            if life.isOpen { session?.canceled() }
            if life.phase != .closed && life.phase != .gone {
                _ = offer(Outbound(body: .canceled, epoch: newest, request: 0))
            }
        }
        super.settle()
    }

    func close() {
        guard life.phase != .closed, life.phase != .gone else { return }
        if life.isOpen { session?.closing() }
        outbox = Outbox()
        dropCallbacks()
        if life.close() { _ = offer(Outbound(body: .closed, epoch: epoch, request: 0)) }
    }

    /// The session is destroyed: nothing is called back, and nothing goes out.
    func abandon() {
        life.vanish()
        outbox = Outbox()
        dropCallbacks()
    }

    private func offer(_ event: Outbound) -> vc_status { event.offer(from: handle) }

    private func outcome(of status: vc_status) -> Outcome {
        switch status {
        case vc_status(VC_OK): return .accepted
        case vc_status(VC_E_CANCELED): return .canceled
        case vc_status(VC_E_AGAIN): return .noCredit
        case vc_status(VC_E_STALE), vc_status(VC_E_CLOSED):
            life.vanish()
            outbox = Outbox()
            return .gone
        default:
            log.pluginFault(
                "the host refused an event with status \(status); its log says what is wrong with the event")
            return .gone
        }
    }
}
