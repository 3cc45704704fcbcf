// How an answer gets from an I/O thread into a plugin.
//
// The contract lets one call at a time into an object, so whoever delivers may have to wait for the object's lock; and
// a broken plugin may hold that lock for ever. The thread that serves everybody's sockets must not wait there. So each
// plugin has a lane: at most four threads, started when they are needed, that carry deliveries to its objects. Each
// object has a mailbox which one thread at a time works on, so order is kept and a stuck session takes one thread. A
// plugin that blocks all four stops its own deliveries and nobody else's.
//
// Refused: delivering on the I/O thread (one stuck plugin stops every vendor), and one pool for all (four stuck
// sessions of one plugin stop the rest just as well). The hand-over costs some 20 µs.

import CPlatform
import Glibc
import PluginABI
import Providers
import Synchronization

/// Something that wants to call into a plugin's object. It posts itself to the owner's mailbox once at a time, so a
/// mailbox is never longer than what its owner may hold: timers, requests and sockets.
protocol Delivery: AnyObject, Sendable {
    /// Runs as VC_CONTROL of the owner, which has not ended. True when there is more: it is called again after
    /// the others in the mailbox.
    func deliver() -> Bool
}

/// The lanes of all plugins.
final class DeliveryLanes: Sendable {
    private let lanes = Mutex<[String: Lane]>([:])
    private let mailboxes = Mutex<[vc_handle: Mailbox]>([:])
    private let slowCall: @Sendable (PluginObject, _ tookNs: UInt64) -> Void

    /// `slowCall` hears of each call that took longer than the 5 ms of the contract.
    init(slowCall: @escaping @Sendable (PluginObject, _ tookNs: UInt64) -> Void) {
        self.slowCall = slowCall
    }

    /// The mailbox of an object; it goes when the object ends.
    func mailbox(of object: PluginObject) -> Mailbox {
        let handle = object.handle
        let (mailbox, isNew): (Mailbox, Bool) = mailboxes.withLock { mailboxes in
            if let known = mailboxes[handle] { return (known, false) }
            let lane = lanes.withLock { lanes in
                if let known = lanes[object.plugin] { return known }
                let lane = Lane(plugin: object.plugin)
                lanes[object.plugin] = lane
                return lane
            }
            let mailbox = Mailbox(object: object, lane: lane, slowCall: slowCall)
            mailboxes[handle] = mailbox
            return (mailbox, true)
        }
        if isNew {
            object.whenEnded { [weak self] in
                _ = self?.mailboxes.withLock { $0.removeValue(forKey: handle) }
                mailbox.close()
            }
        }
        return mailbox
    }

    /// Ends the threads. One that hangs in a plugin is left behind.
    func stop() {
        let all = lanes.withLock { lanes in
            defer { lanes = [:] }
            return lanes.values.map { $0 }
        }
        for lane in all { lane.stop() }
    }
}

/// What waits to be delivered to one object, in order.
final class Mailbox: Sendable {
    private struct State {
        var waiting: [any Delivery] = []
        var isScheduled = false
        var isClosed = false
    }

    private let state = Mutex(State())
    private let object: PluginObject
    private let lane: Lane
    private let slowCall: @Sendable (PluginObject, UInt64) -> Void

    fileprivate init(object: PluginObject, lane: Lane, slowCall: @escaping @Sendable (PluginObject, UInt64) -> Void) {
        self.object = object
        self.lane = lane
        self.slowCall = slowCall
    }

    func post(_ delivery: any Delivery) {
        let mustSchedule = state.withLock { state in
            guard !state.isClosed else { return false }
            state.waiting.append(delivery)
            defer { state.isScheduled = true }
            return !state.isScheduled
        }
        if mustSchedule { lane.schedule(self) }
    }

    fileprivate func close() {
        state.withLock { state in
            state.isClosed = true
            state.waiting = []
        }
    }

    /// Makes one delivery. True when more wait.
    fileprivate func run() -> Bool {
        let next: (any Delivery)? = state.withLock { $0.waiting.isEmpty ? nil : $0.waiting.removeFirst() }
        if let next {
            let (hasMore, tookNs) = object.control { () -> (Bool, UInt64) in
                // Whoever destroys an object ends it first, and then takes the lock that we hold now.
                guard !object.isEnded else { return (false, 0) }
                let begun = Monotonic.nowNs()
                // In a worker a crash tells where it was.
                vch_breadcrumb(workerCallbackSlot, object.handle)
                let hasMore = next.deliver()
                vch_breadcrumb(0, 0)
                return (hasMore, Monotonic.nowNs() - begun)
            }
            if tookNs > 5_000_000, !object.isShadow { slowCall(object, tookNs) }
            if hasMore {
                state.withLock { state in
                    if !state.isClosed { state.waiting.append(next) }
                }
            }
        }
        return state.withLock { state in
            state.isScheduled = !state.waiting.isEmpty
            return state.isScheduled
        }
    }
}

/// The threads of one plugin.
private final class Lane: Sendable {
    static let threadsMax = 4

    struct State {
        var ready: [Mailbox] = []
        var head = 0
        var threads = 0
        var idle = 0
        var isOver = false

        mutating func next() -> Mailbox? {
            guard head < ready.count else { return nil }
            let mailbox = ready[head]
            head += 1
            if head == ready.count {
                ready.removeAll(keepingCapacity: true)
                head = 0
            }
            return mailbox
        }
    }

    private let monitor = Monitor(State())
    private let plugin: String

    init(plugin: String) { self.plugin = plugin }

    /// `alsoFree` counts the calling thread, when it is one of ours and comes back for work at once.
    func schedule(_ mailbox: Mailbox, alsoFree: Int = 0) {
        let needsThread = monitor.withLock { state in
            guard !state.isOver else { return false }
            state.ready.append(mailbox)
            guard state.ready.count - state.head > state.idle + alsoFree, state.threads < Self.threadsMax else {
                return false
            }
            state.threads += 1
            return true
        }
        if needsThread {
            ServiceThread("to \(plugin.split(separator: ".").last ?? "plugin")") { [self] in work() }.detach()
        } else {
            monitor.signal()
        }
    }

    func stop() {
        monitor.withLock { $0.isOver = true }
        monitor.broadcast()
    }

    private func work() {
        while true {
            var isIdle = false
            let mailbox: Mailbox? = monitor.wait { state, _ in
                if isIdle { state.idle -= 1 }
                isIdle = false
                if state.isOver { return .ready(nil) }
                if let next = state.next() { return .ready(next) }
                isIdle = true
                state.idle += 1
                return .sleep
            }
            guard let mailbox else { return }
            if mailbox.run() { schedule(mailbox, alsoFree: 1) }
        }
    }
}
