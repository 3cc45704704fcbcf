// Handles: what the host gives to plugins instead of pointers.
//
// A number of 64 bits, the slot below and the slot's generation above. When an object goes, its slot's generation is
// raised, so a plugin that uses a handle too late is told VC_E_STALE, and can break nothing. The table is one for the
// process because `emit` is a C function and has nothing but the handle to go by.
//
// One lock for the table: a look-up takes some 20 ns, and no media thread ever makes one.

import PluginABI
import Synchronization

public final class HandleTable: Sendable {
    /// The table of this process.
    public static let shared = HandleTable()

    /// More objects than any machine carries calls: reaching it means a leak, and `insert` says so by returning 0.
    public static let slotsMax = 1 << 20

    private struct State {
        var objects: [PluginObject?] = [nil]  // slot 0 is never used: handle 0 is no object
        var generations: [UInt32] = [0]
        var free: [UInt32] = []
    }

    private let state = Mutex(State())
    /// How often a plugin used a handle whose object was gone.
    public let staleUses = Atomic<UInt64>(0)

    public init() {}

    /// Gives `object` a handle, also stored in `object.handle`. 0 when the table is full.
    public func insert(_ object: PluginObject) -> vc_handle {
        state.withLock { state in
            let slot: UInt32
            if let reused = state.free.popLast() {
                slot = reused
            } else {
                guard state.objects.count < Self.slotsMax else { return 0 }
                slot = UInt32(state.objects.count)
                state.objects.append(nil)
                state.generations.append(1)
            }
            state.objects[Int(slot)] = object
            let handle = UInt64(state.generations[Int(slot)]) << 32 | UInt64(slot)
            object.handle = handle
            return handle
        }
    }

    /// Puts `object` where `handle` says: a worker's objects have the handles that the host gave them, so that both
    /// mean the same by a number. False when it is no handle. An object with the slot's earlier handle is stale from
    /// then on: the host has given the slot to another already.
    func place(_ object: PluginObject, at handle: vc_handle) -> Bool {
        let slot = Int(truncatingIfNeeded: handle & 0xffff_ffff)
        guard slot > 0, slot < Self.slotsMax else { return false }
        return state.withLock { state in
            while state.objects.count <= slot {
                state.objects.append(nil)
                state.generations.append(1)
            }
            state.objects[slot] = object
            state.generations[slot] = UInt32(truncatingIfNeeded: handle >> 32)
            object.handle = handle
            return true
        }
    }

    /// The object behind `handle`, or nil when it is gone or never was.
    public func resolve(_ handle: vc_handle) -> PluginObject? {
        let slot = Int(truncatingIfNeeded: handle & 0xffff_ffff)
        let generation = UInt32(truncatingIfNeeded: handle >> 32)
        let found: PluginObject? = state.withLock { state in
            guard slot > 0, slot < state.objects.count, state.generations[slot] == generation else { return nil }
            return state.objects[slot]
        }
        if found == nil { staleUses.wrappingAdd(1, ordering: .relaxed) }
        return found
    }

    /// Makes the handle stale. From here on no event of the object arrives.
    public func remove(_ handle: vc_handle) {
        let slot = Int(truncatingIfNeeded: handle & 0xffff_ffff)
        let generation = UInt32(truncatingIfNeeded: handle >> 32)
        state.withLock { state in
            guard slot > 0, slot < state.objects.count, state.generations[slot] == generation else { return }
            state.objects[slot] = nil
            state.generations[slot] &+= 1
            state.free.append(UInt32(slot))
        }
    }

    public var count: Int { state.withLock { $0.objects.count - 1 - $0.free.count } }
}
