// "vc.task/1": work that computes or waits, off the session's thread.

import PluginABI

/// Work on the host's threads.
public struct Tasks {
    let owner: HostObject

    /// Runs `work` on another thread, and then `completion` with its result as a call of this session.
    ///
    /// Throws when 256 tasks wait already, or the host has none. Neither is called after the session was destroyed.
    public func run<Result: Sendable>(
        _ work: @escaping @Sendable () -> Result, then completion: @escaping (Result) -> Void
    ) throws(PluginError) {
        guard let table = HostLine.shared.task else {
            throw PluginError(.unsupported, "this host offers no \(VC_SERVICE_TASK), which the plugin needs")
        }
        let completion = Confined(completion)
        let callback = TaskCallback(owner: owner) { owner in
            let result = work()
            owner.deliver { completion.value(result) }
        }
        let context = CallbackTable.insert(callback)
        let status = table.pointee.run(owner.handle, taskBegun, context)
        guard status == vc_status(VC_OK) else {
            CallbackTable.remove(callback)
            throw PluginError(status: status, "a task")
        }
    }
}

private final class TaskCallback: PendingCallback {
    let run: (HostObject) -> Void
    init(owner: HostObject, run: @escaping (HostObject) -> Void) {
        self.run = run
        super.init(owner: owner)
    }
}

private func taskBegun(_ context: UnsafeMutableRawPointer?) {
    guard let callback = CallbackTable.find(context, as: TaskCallback.self) else { return }
    CallbackTable.remove(callback)
    callback.run(callback.owner)
}
