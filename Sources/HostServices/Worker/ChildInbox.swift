// What came from the host for one request or one socket of a plugin, in its order, until the plugin's lane takes it.
//
// It has no limit of its own: the host sends no more than what it was told of as taken (`httpTaken`, `socketTaken`).

import Providers
import Synchronization

final class ChildInbox<Part: Sendable>: Sendable {
    private struct State {
        var parts: [Part] = []
        var isPosted = false
        var isClosed = false
    }

    private let mailbox: Mailbox
    private let state = Mutex(State())

    init(_ mailbox: Mailbox) {
        self.mailbox = mailbox
    }

    var isClosed: Bool { state.withLock(\.isClosed) }

    /// Posts `owner` to its lane, unless it waits there already.
    func put(_ part: Part, for owner: any Delivery) {
        let mustPost = state.withLock { state in
            guard !state.isClosed else { return false }
            state.parts.append(part)
            defer { state.isPosted = true }
            return !state.isPosted
        }
        if mustPost { mailbox.post(owner) }
    }

    /// The next part; nil: there is none, and the owner must be posted again for the one after.
    func next() -> Part? {
        state.withLock { state in
            guard !state.isClosed, !state.parts.isEmpty else {
                state.isPosted = false
                return nil
            }
            return state.parts.removeFirst()
        }
    }

    /// Forgets what waits; nothing is delivered any more.
    func close() {
        state.withLock { state in
            state.isClosed = true
            state.parts = []
        }
    }
}
