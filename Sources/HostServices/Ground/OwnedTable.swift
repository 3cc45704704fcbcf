// What a service holds for a plugin: timers, requests, sockets, spans. Each has a handle, an owner and a limit.
//
// The handles have the form of those in `HandleTable`, slot below and generation above, with the kind of thing in the
// top byte, so that a timer's handle given to `cancel` of a request is stale and not somebody else's request.
//
// Whatever an owner holds goes when it ends. Nothing can slip through: an entry that is made after the owner's clean-up
// finds no set for that owner, makes a new one, registers its clean-up again, and an object that has ended calls it at
// once.

import PluginABI
import Providers
import Synchronization

final class OwnedTable<Resource: AnyObject & Sendable>: Sendable {
    enum Insertion {
        case inserted(vc_handle)
        /// The owner has as many as it may.
        case full
    }

    private struct State {
        var resources: [(resource: Resource, owner: vc_handle)?] = [nil]
        var generations: [UInt32] = [0]
        var free: [UInt32] = []
        var owned: [vc_handle: Set<vc_handle>] = [:]
    }

    private let state = Mutex(State())
    private let kind: UInt64
    private let limitPerOwner: Int
    private let release: @Sendable (Resource) -> Void

    /// How often a plugin used a handle whose object was gone.
    let staleUses = Atomic<UInt64>(0)

    /// - Parameters:
    ///   - kind: A number of this table's own, 1 to 15.
    ///   - release: Called for each resource whose owner ended.
    init(kind: UInt64, limitPerOwner: Int, release: @escaping @Sendable (Resource) -> Void) {
        self.kind = (0xa0 | kind) << 56
        self.limitPerOwner = limitPerOwner
        self.release = release
    }

    /// Gives the resource that `make` builds around its handle to `owner`.
    func insert(for owner: PluginObject, _ make: (vc_handle) -> Resource) -> Insertion {
        let ownerHandle = owner.handle
        let (handle, isFirst): (vc_handle?, Bool) = state.withLock { state in
            let isFirst = state.owned[ownerHandle] == nil
            guard state.owned[ownerHandle, default: []].count < limitPerOwner else { return (nil, isFirst) }
            let slot: UInt32
            if let reused = state.free.popLast() {
                slot = reused
            } else {
                slot = UInt32(state.resources.count)
                state.resources.append(nil)
                state.generations.append(1)
            }
            let handle = kind | UInt64(state.generations[Int(slot)]) << 32 | UInt64(slot)
            state.resources[Int(slot)] = (make(handle), ownerHandle)
            state.owned[ownerHandle, default: []].insert(handle)
            return (handle, isFirst)
        }
        if isFirst { owner.whenEnded { [weak self] in self?.releaseAll(of: ownerHandle) } }
        return handle.map { .inserted($0) } ?? .full
    }

    func resolve(_ handle: vc_handle) -> Resource? {
        let found = state.withLock { state in slot(of: handle, in: state).flatMap { state.resources[$0]?.resource } }
        if found == nil { staleUses.wrappingAdd(1, ordering: .relaxed) }
        return found
    }

    /// Makes the handle stale. Nil when it was already.
    @discardableResult
    func remove(_ handle: vc_handle) -> Resource? {
        state.withLock { state in remove(handle, from: &state) }
    }

    /// Whether a handle is of this table's kind, stale or not.
    func isOurs(_ handle: vc_handle) -> Bool { handle & 0xff << 56 == kind }

    func all(of owner: vc_handle) -> [Resource] {
        state.withLock { state in
            (state.owned[owner] ?? []).compactMap { handle in
                slot(of: handle, in: state).flatMap { state.resources[$0]?.resource }
            }
        }
    }

    var all: [Resource] { state.withLock { $0.resources.compactMap { $0?.resource } } }

    var count: Int { state.withLock { $0.resources.count - 1 - $0.free.count } }

    private func releaseAll(of owner: vc_handle) {
        let released = state.withLock { state in
            (state.owned.removeValue(forKey: owner) ?? []).compactMap { remove($0, from: &state) }
        }
        for resource in released { release(resource) }
    }

    private func slot(of handle: vc_handle, in state: borrowing State) -> Int? {
        let slot = Int(handle & 0xffff_ffff)
        guard isOurs(handle), slot > 0, slot < state.resources.count,
            UInt64(state.generations[slot]) == handle >> 32 & 0xff_ffff
        else { return nil }
        return slot
    }

    private func remove(_ handle: vc_handle, from state: inout State) -> Resource? {
        guard let slot = slot(of: handle, in: state), let entry = state.resources[slot] else { return nil }
        state.resources[slot] = nil
        // 24 bits remain for the generation. 0 is left out, so that a handle of zeroes is never valid.
        state.generations[slot] = max(1, (state.generations[slot] + 1) & 0xff_ffff)
        state.free.append(UInt32(slot))
        state.owned[entry.owner]?.remove(handle)
        return entry.resource
    }
}
