// How services get into a worker without this module knowing them.
//
// Most of what a plugin asks of its host stays where it was: the pools, the TLS, the secrets and the log are the
// host's. What goes between are messages that only the two halves of a service understand; here they are carried. The
// halves live in `Sources/HostServices/Worker`.

import PluginABI
import Synchronization

/// One direction of the line, as a service sees it.
package protocol WorkerLine: AnyObject, Sendable {
    /// Sends a message of a service. False when there is no room, or nobody at the other end.
    func send(
        service operation: UInt16, object: vc_handle, number: UInt64, urgent: Bool,
        _ body: (inout WireWriter) -> Void) -> Bool

    /// What one message may have at most.
    var messageBytesMax: Int { get }
}

/// The host's half of all services, for all workers.
package protocol WorkerServiceHost: Sendable {
    /// The lowest level of log lines that are kept.
    var logLevel: UInt32 { get }

    /// Sent along when a session is opened: what the worker's half needs to know of it beforehand.
    func context(of session: PluginObject) -> String

    /// A message of a worker about `object`, one of its own. On the line's reader: may not wait.
    func received(
        _ operation: UInt16, of object: PluginObject, number: UInt64, _ body: inout WireReader,
        from line: any WorkerLine
    ) throws(WireFault)

    /// The epoch of an object was raised.
    func epochRaised(of object: vc_handle, to epoch: UInt64)

    /// A session or provider of a worker is over.
    func ended(_ object: vc_handle)
}

package enum WorkerServices {
    /// Set when the host's services start.
    package static var host: (any WorkerServiceHost)? {
        get { shared.withLock { $0 } }
        set { shared.withLock { $0 = newValue } }
    }

    private static let shared = Mutex<(any WorkerServiceHost)?>(nil)
}

/// The worker's half of all services.
package protocol WorkerServiceChild: Sendable {
    /// Registers the tables, before the plugin is loaded.
    func install(_ line: any WorkerLine, logLevel: @escaping @Sendable () -> UInt32)

    /// What the host sent along with an object of ours.
    func opened(_ object: PluginObject, context: String)

    /// A message of the host about `object`. On a thread that calls no slot: may not wait.
    func received(
        _ operation: UInt16, of object: PluginObject?, number: UInt64, _ body: inout WireReader) throws(WireFault)
}
