// What a provider and a session have in common: a handle, an epoch, services, and one thread at a time.
//
// The contract lets `cancel` come on any thread, in the middle of another call. The kit therefore only notes the epoch
// there, and has the host call it back on the object's own turn by a timer that is due at once; whichever comes first,
// that timer or the next ordinary call, carries the cancel out. So an author's code runs one call at a time without
// exception, and no event of an old epoch can slip in behind CANCELED. The results of tasks come home on the same road.

import PluginABI
import Synchronization

/// The base of `ProviderHost` and `SessionHost`.
public class HostObject: @unchecked Sendable {
    /// 63 timers of the author and one of the kit make the 64 that the host allows an owner.
    static let timersMax = 63

    let handle: vc_handle
    /// The settings of the provider, or of this session.
    public let configuration: Configuration

    /// The newest epoch that the host has named; raised from any thread.
    let newestEpoch: Atomic<UInt64>
    private let wakeIsArmed = Atomic(false)
    private let finishedTasks = Mutex(Confined<[() -> Void]>([]))

    /// The numbers of this object's entries in the `CallbackTable`.
    struct Tokens: @unchecked Sendable { var value: Set<UInt> = [] }
    let pending = Mutex(Tokens())
    let timerCount = Atomic(0)

    init(handle: vc_handle, configuration: Configuration, epoch: UInt64 = 0) {
        self.handle = handle
        self.configuration = configuration
        newestEpoch = Atomic(epoch)
    }

    public var log: Log { Log(handle: handle) }
    public var clock: Clock { Clock() }
    public var secrets: Secrets { Secrets(handle: handle) }

    /// Runs a call of the host on this object, after what an earlier `cancel` or task has left to do.
    final func enter<Result>(_ body: () -> Result) -> Result {
        settle()
        return body()
    }

    /// Notes that nothing older than `epoch` matters. True when that is news.
    final func raiseEpoch(to epoch: UInt64) -> Bool {
        var known = newestEpoch.load(ordering: .acquiring)
        while known < epoch {
            let (exchanged, original) = newestEpoch.compareExchange(
                expected: known, desired: epoch, ordering: .acquiringAndReleasing)
            if exchanged { return true }
            known = original
        }
        return false
    }

    /// Has `settle` called on the object's own turn, soon. Any thread.
    final func wake() {
        guard !wakeIsArmed.exchange(true, ordering: .acquiringAndReleasing) else { return }
        let callback = WakeCallback(owner: self)
        let context = CallbackTable.insert(callback)
        var timer: vc_handle = 0
        let line = HostLine.shared!
        let status = line.timer.map { $0.pointee.arm(handle, line.nowNs, wakeFired, context, &timer) }
        if status != vc_status(VC_OK) {
            // No timers, or the object is gone: the next ordinary call settles it.
            CallbackTable.remove(callback)
            wakeIsArmed.store(false, ordering: .releasing)
        }
    }

    fileprivate final func woken() {
        wakeIsArmed.store(false, ordering: .releasing)
        settle()
    }

    /// Brings a task's result to the object's own turn. Any thread.
    final func deliver(_ completion: @escaping () -> Void) {
        let added = Confined(completion)
        finishedTasks.withLock { $0 = Confined($0.value + [added.value]) }
        wake()
    }

    func settle() {
        let completions = finishedTasks.withLock { waiting in
            defer { if !waiting.value.isEmpty { waiting = Confined([]) } }
            return waiting
        }
        for completion in completions.value { completion() }
    }

    /// Drops everything that waits for a call back: nothing is heard of it any more.
    final func dropCallbacks(where shouldDrop: (PendingCallback) -> Bool = { _ in true }) {
        for callback in CallbackTable.pending(of: self) where shouldDrop(callback) {
            if let stoppable = callback as? any Stoppable { stoppable.stop() } else { CallbackTable.remove(callback) }
        }
    }
}

/// Something under way that the host can be told to stop.
protocol Stoppable: AnyObject {
    func stop()
}

private final class WakeCallback: PendingCallback {}

private func wakeFired(_ context: UnsafeMutableRawPointer?, _ timer: vc_handle) {
    guard let callback = CallbackTable.find(context, as: WakeCallback.self) else { return }
    let owner = callback.owner
    CallbackTable.remove(callback)
    owner.woken()
}
