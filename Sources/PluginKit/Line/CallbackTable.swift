// What the host calls back: an exchange, a timer, a socket, a task.
//
// The host gets a number for a context, never a pointer. A call that comes late, after the session was destroyed or the
// request was dropped, finds nothing behind its number and does nothing; with a pointer it would find freed memory.

import Synchronization

/// Something that waits to be called back: what an exchange, a timer and a socket have in common.
public class PendingCallback {
    unowned let owner: HostObject
    fileprivate var token: UInt = 0
    init(owner: HostObject) { self.owner = owner }
}

enum CallbackTable {
    private struct State {
        var entries: [UInt: Confined<PendingCallback>] = [:]
        var latest: UInt = 0
    }
    private static let state = Mutex(State())

    /// Gives `callback` a number, never one that was used before.
    static func insert(_ callback: PendingCallback) -> UnsafeMutableRawPointer? {
        let entry = Confined(callback)
        let token = state.withLock { state in
            state.latest += 1
            state.entries[state.latest] = entry
            return state.latest
        }
        callback.token = token
        callback.owner.pending.withLock { _ = $0.value.insert(token) }
        return UnsafeMutableRawPointer(bitPattern: token)
    }

    static func find<Callback: PendingCallback>(
        _ context: UnsafeMutableRawPointer?, as type: Callback.Type
    ) -> Callback? {
        let token = UInt(bitPattern: context)
        return state.withLock { $0.entries[token] }?.value as? Callback
    }

    static func remove(_ callback: PendingCallback) {
        let token = callback.token
        _ = state.withLock { $0.entries.removeValue(forKey: token) }
        callback.owner.pending.withLock { _ = $0.value.remove(token) }
    }

    /// All that wait for `owner`.
    static func pending(of owner: HostObject) -> [PendingCallback] {
        let tokens = owner.pending.withLock { $0.value }
        return state.withLock { state in tokens.compactMap { state.entries[$0] } }.map(\.value)
    }

    /// For tests: how many wait in the whole plugin.
    static var count: Int { state.withLock { $0.entries.count } }
}
