// "vc.timer/1". One thread sleeps until the next timer is due and posts it to its owner's mailbox; the plugin's
// function runs on a thread of that plugin's lane, so a plugin that hangs in a timer is late for itself only.

import PluginABI
import Providers
import Synchronization

let timerTable = ServiceTable(
    vc_timer(size: UInt32(MemoryLayout<vc_timer>.size), reserved: 0, arm: timerArm, disarm: timerDisarm))

final class TimerService: Sendable {
    /// The bound of the contract, `service/timer.h`.
    static let perOwnerMax = 64

    private struct State {
        var queue = TimerQueue()
        var isOver = false
    }

    private let monitor = Monitor(State())
    private let timers: OwnedTable<ArmedTimer>
    private let lanes: DeliveryLanes
    private let thread = Mutex<ServiceThread?>(nil)

    init(lanes: DeliveryLanes) {
        self.lanes = lanes
        timers = OwnedTable(kind: 1, limitPerOwner: Self.perOwnerMax) { $0.cancel() }
        thread.withLock { $0 = ServiceThread("timers") { [self] in run() } }
    }

    func arm(
        owner: PluginObject, atNs: UInt64, fire: @escaping vc_timer_fn, context: UnsafeMutableRawPointer?
    ) -> (status: vc_status, timer: vc_handle) {
        let mailbox = lanes.mailbox(of: owner)
        let insertion = timers.insert(for: owner) { handle in
            ArmedTimer(handle: handle, mailbox: mailbox, fire: fire, context: context) { [weak self] in
                self?.forget(handle)
            }
        }
        guard case .inserted(let handle) = insertion else { return (.again, 0) }
        let isNext = monitor.withLock { state in
            state.queue.arm(handle, atNs: atNs)
            return state.queue.nextNs == atNs
        }
        if isNext { monitor.signal() }
        // The owner may have ended in between; its timer then left the table, and must not stay in the queue.
        if owner.isEnded { forget(handle) }
        return (.ok, handle)
    }

    func disarm(_ handle: vc_handle) -> vc_status {
        guard let timer = timers.remove(handle) else { return .stale }
        timer.cancel()
        monitor.withLock { $0.queue.disarm(handle) }
        return .ok
    }

    /// Timers that will fire.
    var count: Int { monitor.withLock { $0.queue.count } }

    func stop() {
        monitor.withLock { $0.isOver = true }
        monitor.broadcast()
        thread.withLock { thread in
            thread?.join()
            thread = nil
        }
    }

    private func forget(_ handle: vc_handle) {
        timers.remove(handle)
        monitor.withLock { $0.queue.disarm(handle) }
    }

    private func run() {
        while true {
            let due: [UInt64]? = monitor.wait { state, now in
                if state.isOver { return .ready(nil) }
                let due = state.queue.due(now: now)
                if !due.isEmpty { return .ready(due) }
                return state.queue.nextNs.map { .sleepUntil($0) } ?? .sleep
            }
            guard let due else { return }
            for handle in due {
                guard let timer = timers.resolve(handle) else { continue }  // its owner ended
                timer.post()
            }
        }
    }
}

private final class ArmedTimer: Delivery, @unchecked Sendable {
    private let handle: vc_handle
    private let mailbox: Mailbox
    private let fire: vc_timer_fn
    private let context: UnsafeMutableRawPointer?
    private let forget: @Sendable () -> Void
    private let isOver = Atomic(false)

    init(
        handle: vc_handle, mailbox: Mailbox, fire: @escaping vc_timer_fn, context: UnsafeMutableRawPointer?,
        forget: @escaping @Sendable () -> Void
    ) {
        self.handle = handle
        self.mailbox = mailbox
        self.fire = fire
        self.context = context
        self.forget = forget
    }

    func post() { mailbox.post(self) }

    /// Disarmed, or its owner ended: what is posted already does not fire.
    func cancel() {
        isOver.store(true, ordering: .sequentiallyConsistent)
        forget()
    }

    func deliver() -> Bool {
        guard !isOver.exchange(true, ordering: .sequentiallyConsistent) else { return false }
        // Stale before it fires, so that the plugin may arm its 64th timer anew from within.
        forget()
        fire(context, handle)
        return false
    }
}

private func timerArm(
    _ owner: vc_handle, _ atNs: UInt64, _ fire: @escaping vc_timer_fn, _ context: UnsafeMutableRawPointer?,
    _ timer: UnsafeMutablePointer<vc_handle>
) -> vc_status {
    guard let services = HostServices.current else { return .closed }
    guard !isNullFunction(fire), !isNull(timer) else { return .badArgument }
    timer.pointee = 0
    guard let object = HandleTable.shared.resolve(owner) else { return .stale }
    let result = services.timers.arm(owner: object, atNs: atNs, fire: fire, context: context)
    timer.pointee = result.timer
    return result.status
}

private func timerDisarm(_ timer: vc_handle) -> vc_status {
    HostServices.current?.timers.disarm(timer) ?? .closed
}
