// What a provider's plugin did against the contract: counted always, logged once of each sort, so that a plugin that
// breaks a rule a thousand times a second fills neither the log nor the disk.

import Synchronization

/// The rules that are checked while calls run.
public enum Breach: UInt8, Sendable, CaseIterable {
    /// `vc_event.size` is smaller than the type's struct.
    case eventSize
    /// A type that does not belong to the kind, or to no kind, without VC_EVENT_OPTIONAL.
    case eventType
    /// An epoch that the host has not reached.
    case eventEpoch
    /// A member that must not be so: a NULL, a text that is not UTF-8, a reason that does not exist.
    case eventBody
    /// A request that was not made, or is answered already.
    case eventRequest
    case beforeReady
    case afterClosed
    case closedUnasked
    case readyTwice
    /// LLM_DONE with DECLINED after the first DELTA.
    case declinedAfterDelta
    /// A slot without which the kind cannot work is NULL.
    case slotMissing
    case tableBroken
    /// A VC_CONTROL call took longer than 5 ms.
    case slowCall
    /// No CLOSED in time.
    case neverClosed
    case neverReady
    /// A status outside of the contract's, or one that this call may not give.
    case status
}

public final class PluginFaults: Sendable {
    private struct State {
        var counts = [UInt64](repeating: 0, count: Breach.allCases.count)
        var logged: Set<String> = []
    }

    private let plugin: String
    private let provider: String
    private let log: any ProviderLog
    private let state = Mutex(State())

    /// Sorts of one breach that are told apart in the log: one for each slot, say.
    private static let loggedMax = 64

    init(plugin: String, provider: String, log: any ProviderLog) {
        self.plugin = plugin
        self.provider = provider
        self.log = log
    }

    /// Counts a breach; the first of each `sort` is logged.
    func note(_ breach: Breach, sort: String = "", call: String, _ message: @autoclosure () -> String) {
        let isFirst = state.withLock { state in
            state.counts[Int(breach.rawValue)] += 1
            return state.logged.count < Self.loggedMax && state.logged.insert("\(breach) \(sort)").inserted
        }
        guard isFirst else { return }
        log.write(
            ProviderLogLine(
                breach == .slowCall ? .warning : .pluginFault, message() + " (logged once, counted always)",
                plugin: plugin,
                provider: provider, call: call))
    }

    public func count(of breach: Breach) -> UInt64 { state.withLock { $0.counts[Int(breach.rawValue)] } }

    public var total: UInt64 { state.withLock { $0.counts.reduce(0, +) } }
}
