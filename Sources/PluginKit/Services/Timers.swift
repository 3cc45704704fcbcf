// "vc.timer/1": one call back, later, on the session's own turn.

import PluginABI
import Synchronization

/// Timers of a session. They die with it.
public struct Timers {
    let owner: HostObject

    /// Calls `fire` once, `delayMs` from now or up to 2 ms later. nil: 63 timers run already, or the host has none.
    @discardableResult
    public func after(_ delayMs: Int, _ fire: @escaping () -> Void) -> ScheduledTimer? {
        let timer = ScheduledTimer(owner: owner, fire: fire)
        return timer.arm(atNs: HostLine.shared.nowNs + UInt64(max(0, delayMs)) * 1_000_000) ? timer : nil
    }
}

/// A timer that runs, until it fires or is canceled.
public final class ScheduledTimer: PendingCallback, Stoppable {
    private var fire: (() -> Void)?
    private var timer: vc_handle = 0

    fileprivate init(owner: HostObject, fire: @escaping () -> Void) {
        self.fire = fire
        super.init(owner: owner)
    }

    fileprivate func arm(atNs: UInt64) -> Bool {
        guard let table = HostLine.shared.timer,
            owner.timerCount.load(ordering: .relaxed) < HostObject.timersMax
        else { return false }
        let context = CallbackTable.insert(self)
        guard table.pointee.arm(owner.handle, atNs, timerFired, context, &timer) == vc_status(VC_OK) else {
            CallbackTable.remove(self)
            return false
        }
        owner.timerCount.wrappingAdd(1, ordering: .relaxed)
        return true
    }

    /// It does not fire any more.
    public func cancel() {
        guard fire != nil else { return }
        finish()
        _ = HostLine.shared.timer?.pointee.disarm(timer)
    }

    func stop() { cancel() }

    fileprivate func fired() {
        guard let fire else { return }
        finish()
        owner.enter(fire)
    }

    private func finish() {
        fire = nil
        CallbackTable.remove(self)
        owner.timerCount.wrappingSubtract(1, ordering: .relaxed)
    }
}

private func timerFired(_ context: UnsafeMutableRawPointer?, _ timer: vc_handle) {
    CallbackTable.find(context, as: ScheduledTimer.self)?.fired()
}
