// What the contract had in each of its minor versions, and so how a host of an older one looks to a plugin.
//
// A plugin built today must run on last year's host: that is half of what the growth rules promise, and nothing would
// test it, because the host that we have is today's. So today's host can play an older minor: it writes the sizes of
// that version into what it hands over, its tables end where they ended then, and services that came later are not
// there. The alternative, frozen hosts kept for ever, is heavier and tests the same.
//
// It masks, and does not forget: what a plugin does is judged by today's rules, so an event that the older host did
// not know is still understood. A plugin learns of new events from the manifest's `hostMinorMin` and `vc_host.minor`.

import PluginABI

public struct ABIHistory: Sendable {
    /// Bytes of each struct that can grow, oldest version first; a version that changed nothing has no entry.
    let sizes: [String: [(minor: Int, bytes: Int)]]
    /// Each service's table, and the version that brought it.
    let services: [String: (table: String, minor: Int)]

    init(sizes: [String: [(minor: Int, bytes: Int)]], services: [String: (table: String, minor: Int)]) {
        self.sizes = sizes
        self.services = services
    }

    /// Bytes of the struct in a version; nil when it was not there yet, or cannot grow.
    public func bytes(of name: String, in minor: Int) -> Int? { sizes[name]?.last { $0.minor <= minor }?.bytes }

    /// A service's table as a host of that version would hand it out: nil before the service was there, the table
    /// itself where it had its present size, and else a copy that says the older size and is empty behind it.
    ///
    /// A copy lives as long as the process, as the contract promises of tables; so each is made once.
    public func service(_ id: String, _ table: UnsafeRawPointer, in minor: Int) -> UnsafeRawPointer? {
        guard let known = services[id] else { return table }
        guard known.minor <= minor, let bytes = bytes(of: known.table, in: minor) else { return nil }
        return truncated(table, to: bytes)
    }

    /// `table`, or a copy of its first `bytes`.
    func truncated(_ table: UnsafeRawPointer, to bytes: Int) -> UnsafeRawPointer {
        let present = Int(table.load(as: UInt32.self))
        guard bytes < present else { return table }
        let copy = UnsafeMutableRawPointer.allocate(byteCount: present, alignment: MemoryLayout<UInt64>.alignment)
        copy.initializeMemory(as: UInt8.self, repeating: 0, count: present)
        copy.copyMemory(from: table, byteCount: bytes)
        copy.storeBytes(of: UInt32(bytes), as: UInt32.self)
        return UnsafeRawPointer(copy)
    }
}
