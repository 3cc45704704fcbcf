// What a plugin knows by a handle: one of its providers, or one of its sessions.
//
// The contract promises a plugin that VC_CONTROL calls on one object never overlap, whoever makes them: the call's own
// thread, a timer, the answer to an HTTP request. So the lock is here, one for each object, and everybody who calls
// into a plugin goes through `control`. It is recursive, because a plugin may, within such a call, use a service that
// has to look at the same object.

import Glibc
import JSON
import PluginABI
import Synchronization

public final class PluginObject: @unchecked Sendable {
    public enum Level: Sendable { case provider, session }

    public let level: Level
    /// The plugin's id, and the section of the configuration: who to name in a log line.
    public let plugin: String
    public let name: String
    /// The call's id for a session, else empty.
    public let call: String
    /// What `vc.config/1` reads: checked against the manifest, defaults filled in.
    public let configuration: JSONValue
    /// Names of secrets that the manifest lists.
    public let secrets: [String]
    /// Stands for a worker's object, so that what is done for that one holds up nobody: its calls may wait.
    public let isShadow: Bool

    /// 0 until the object stands in a `HandleTable`.
    public internal(set) var handle: vc_handle = 0

    /// The epoch of the session: events of older ones are dropped. Only ever raised.
    public let epoch = Atomic<UInt64>(0)

    /// Takes an event that the plugin emitted. Runs on the plugin's thread, so it copies and returns.
    private let receive: @Sendable (UnsafePointer<vc_event>) -> vc_status

    private let mutex: UnsafeMutablePointer<pthread_mutex_t>
    private let ended = Mutex<[@Sendable () -> Void]?>([])

    public init(
        level: Level, plugin: String, name: String, call: String = "", configuration: JSONValue = [:],
        secrets: [String] = [], isShadow: Bool = false,
        receive: @escaping @Sendable (UnsafePointer<vc_event>) -> vc_status
    ) {
        self.level = level
        self.plugin = plugin
        self.name = name
        self.call = call
        self.configuration = configuration
        self.secrets = secrets
        self.isShadow = isShadow
        self.receive = receive
        mutex = .allocate(capacity: 1)
        var attributes = pthread_mutexattr_t()
        pthread_mutexattr_init(&attributes)
        pthread_mutexattr_settype(&attributes, Int32(PTHREAD_MUTEX_RECURSIVE))
        pthread_mutex_init(mutex, &attributes)
    }

    deinit {
        pthread_mutex_destroy(mutex)
        mutex.deallocate()
    }

    /// Runs `body` as a VC_CONTROL call of this object: one at a time.
    public func control<Result>(_ body: () throws -> Result) rethrows -> Result {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        return try body()
    }

    /// Hands an event to whoever drives the object.
    public func deliver(_ event: UnsafePointer<vc_event>) -> vc_status { receive(event) }

    /// Has `cleanup` called when the object ends: a service stops what it does for it. Called at once if it has ended.
    public func whenEnded(_ cleanup: @escaping @Sendable () -> Void) {
        let isOver = ended.withLock { waiting in
            waiting?.append(cleanup)
            return waiting == nil
        }
        if isOver { cleanup() }
    }

    /// True from `end` on: nothing may be called on the plugin's side of the object any more.
    public var isEnded: Bool { ended.withLock { $0 == nil } }

    /// Ends the object for all services, before the plugin's `destroy` is called. Idempotent.
    public func end() {
        let cleanups = ended.withLock { waiting in
            defer { waiting = nil }
            return waiting ?? []
        }
        for cleanup in cleanups { cleanup() }
    }
}
