// Time that passes when the bench says so.
//
// Five silent seconds take none, and a report does not depend on how busy the machine is. Whatever is to happen later
// (a timer, a vendor's answer) stands in one queue, by time and then by the order in which it was asked for.

import PluginABI

/// A queue of things that are due. Not locked: the `World` that owns it is.
struct VirtualClock {
    struct Entry {
        let id: Int
        let atNs: UInt64
        /// Whose VC_CONTROL call it will be.
        let owner: vc_handle
        let body: () -> Void
    }

    /// Not 0: a plugin that takes a time of 0 for "not set" is right to.
    private(set) var nowNs: UInt64 = 1_000_000_000_000
    private var entries: [Entry] = []
    private var latest = 0

    mutating func schedule(atNs: UInt64, owner: vc_handle, _ body: @escaping () -> Void) -> Int {
        latest += 1
        entries.append(Entry(id: latest, atNs: max(atNs, nowNs), owner: owner, body: body))
        return latest
    }

    /// False: it is gone already.
    @discardableResult
    mutating func cancel(_ id: Int) -> Bool {
        guard let index = entries.firstIndex(where: { $0.id == id }) else { return false }
        entries.remove(at: index)
        return true
    }

    mutating func cancelAll(of owner: vc_handle) { entries.removeAll { $0.owner == owner } }

    var nextNs: UInt64? { entries.map(\.atNs).min() }

    /// Takes out what is due first, up to `endNs`, and moves the time there; nil: nothing is.
    mutating func takeNext(upTo endNs: UInt64) -> Entry? {
        guard let first = entries.min(by: { ($0.atNs, $0.id) < ($1.atNs, $1.id) }), first.atNs <= endNs else {
            return nil
        }
        entries.removeAll { $0.id == first.id }
        nowNs = max(nowNs, first.atNs)
        return first
    }

    mutating func advance(to timeNs: UInt64) { nowNs = max(nowNs, timeNs) }
}
