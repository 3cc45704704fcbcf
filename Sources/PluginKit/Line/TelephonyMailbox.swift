// What the host asks of a telephony plugin, on its way to the plugin's thread.
//
// A descriptor wakes the thread, because it waits in `poll` for its sockets anyway; a condition variable would need a
// second thread. It is one end of a socket pair, since `eventfd` is no part of the module Glibc.
//
// What may be refused is refused when too much waits: 32 orders of one session, 256 refusals. `close`,
// `destroy` and `hangup` are never refused; a session has one of the first two, and a host that repeats the third
// fills its own 32 places.

import Glibc
import PluginABI
import Synchronization

/// What the host orders.
public enum TelephonyOrder: Sendable, Equatable {
    /// The session is new: READY, and then its call.
    case open
    case ringing
    case answer
    /// `code` is a SIP status, or 0 for the usual one.
    case hangup(code: Int, reason: String)
    case transfer(String)
    case hold(Bool)
    case dtmf(String)
    case credit
    /// End the call, and emit `closed`.
    case close
    /// The session is gone: forget it, and emit nothing.
    case destroy
}

/// Orders that wait for the plugin's thread. Any thread may leave one.
public final class TelephonyMailbox: Sendable {
    /// One order.
    public enum Item: Sendable {
        case order(TelephonyOrder, TelephonySession)
        /// Refuse the call with this key; no session will be opened for it.
        case decline(key: String, code: Int, retryAfterS: Int)
        case drain
        /// The provider is gone: say nothing more to the host, and end the thread.
        case stop
    }

    static let declinesMax = 256

    /// Readable while something waits.
    public let descriptor: Int32
    private let bell: Int32
    private struct State {
        var items: [Item] = []
        var declines = 0
    }
    private let state = Mutex(State())

    /// Throws when no descriptor is left.
    public init() throws(PluginError) {
        var pair: [Int32] = [-1, -1]
        let type = SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue
        guard socketpair(AF_UNIX, Int32(type), 0, &pair) == 0 else {
            throw PluginError(.memory, "no file descriptor is left: raise the limit of open files (ulimit -n)")
        }
        descriptor = pair[0]
        bell = pair[1]
    }

    deinit {
        close(descriptor)
        close(bell)
    }

    /// All that waits, in order. The thread's.
    public func take() -> [Item] {
        var rung: UInt8 = 0
        while read(descriptor, &rung, 1) > 0 {}
        let items = state.withLock { state in
            defer { state = State() }
            return state.items
        }
        for case .order(_, let session) in items { session.waitingOrders.wrappingSubtract(1, ordering: .relaxed) }
        return items
    }

    /// Ends the plugin's thread; called by the author when the provider is gone.
    public func stop() { append(.stop) }

    func drain() { append(.drain) }

    @discardableResult
    func leave(_ order: TelephonyOrder, of session: TelephonySession) -> vc_status {
        let (waiting, _) = session.waitingOrders.wrappingAdd(1, ordering: .relaxed)
        let canBeRefused: Bool
        switch order {
        case .open, .hangup, .close, .destroy: canBeRefused = false
        case .ringing, .answer, .transfer, .hold, .dtmf, .credit: canBeRefused = true
        }
        guard waiting < TelephonySession.ordersMax || !canBeRefused else {
            session.waitingOrders.wrappingSubtract(1, ordering: .relaxed)
            return vc_status(VC_E_AGAIN)
        }
        append(.order(order, session))
        return vc_status(VC_OK)
    }

    func decline(key: String, code: Int, retryAfterS: Int) -> vc_status {
        let fits = state.withLock { state in
            guard state.declines < Self.declinesMax else { return false }
            state.declines += 1
            state.items.append(.decline(key: key, code: code, retryAfterS: retryAfterS))
            return true
        }
        guard fits else { return vc_status(VC_E_AGAIN) }
        wake()
        return vc_status(VC_OK)
    }

    private func append(_ item: Item) {
        state.withLock { $0.items.append(item) }
        wake()
    }

    private func wake() {
        var one: UInt8 = 1
        // It can only fail when the pair is full, and then the thread is awake.
        _ = write(bell, &one, 1)
    }
}
