// The host's side of the line: the table that every plugin gets from us, and the door through which its events come.
//
// C functions carry no context, so what they need is global: the handle table, and the services by id. Services are
// registered while the host starts, before the first plugin is loaded, and never change afterwards.

import PluginABI
import Synchronization

public enum HostTable {
    /// Offers the service `id` ("vc.log/1"). `table` is its C table and lives as long as the process.
    public static func register(service id: String, table: UnsafeRawPointer) {
        services.withLock { $0[id] = Table(pointer: table) }
    }

    /// What services must know of an object's life, beyond its end (`PluginObject.whenEnded`).
    public struct Watch: Sendable {
        /// The epoch of the object was raised: what services do for older ones is void.
        public var epochRaised: @Sendable (PluginObject) -> Void = { _ in }
        /// Whether no task of the object runs any more: its `destroy` waits for that.
        public var isIdle: @Sendable (vc_handle) -> Bool = { _ in true }

        public init() {}
    }

    /// Set by the services when they start.
    public static var watch: Watch {
        get { watching.withLock { $0 } }
        set { watching.withLock { $0 = newValue } }
    }

    private static let watching = Mutex(Watch())

    /// What the entry function of a plugin is called with.
    public static var pointer: UnsafePointer<vc_host> { playing.withLock { $0?.host.pointer } ?? hostTable.pointer }

    /// The minor version of the contract that plugins see.
    public static var minor: Int { playing.withLock { $0?.minor } ?? Int(VC_ABI_MINOR) }

    /// Looks like a host of an older minor version from here on: its sizes, its tables, its services (`ABIHistory`).
    /// Before the first plugin is loaded, in a process that exists for the purpose.
    public static func play(minor: Int) { play(minor: minor, of: .headers) }

    static func play(minor: Int, of history: ABIHistory) {
        var host = hostTable.pointer.pointee
        host.minor = UInt32(minor)
        host.size = UInt32(history.bytes(of: "vc_host", in: minor) ?? Int(host.size))
        let table = UnsafeMutablePointer<vc_host>.allocate(capacity: 1)
        table.initialize(to: host)
        let played = Played(minor: minor, history: history, host: HostPointer(pointer: UnsafePointer(table)))
        playing.withLock { $0 = played }
        isPlaying.store(true, ordering: .releasing)
    }

    /// Ends `play`, for tests.
    static func playItself() {
        isPlaying.store(false, ordering: .releasing)
        playing.withLock { $0 = nil }
    }

    fileprivate struct Played {
        let minor: Int
        let history: ABIHistory
        let host: HostPointer
        var services: [String: Table?] = [:]
    }

    fileprivate static let services = Mutex<[String: Table]>([:])
    fileprivate static let playing = Mutex<Played?>(nil)
    fileprivate static let isPlaying = Atomic<Bool>(false)
}

/// What the host writes into the `size` of a struct that it hands to a plugin: that of the version which it plays.
public func sizeOnTheLine<Struct>(_ type: Struct.Type) -> UInt32 {
    let bytes = MemoryLayout<Struct>.size
    guard HostTable.isPlaying.load(ordering: .relaxed) else { return UInt32(bytes) }
    return HostTable.playing.withLock { UInt32($0?.history.bytes(of: "\(type)", in: $0!.minor) ?? bytes) }
}

private struct Table: @unchecked Sendable { let pointer: UnsafeRawPointer }

private struct HostPointer: @unchecked Sendable { let pointer: UnsafePointer<vc_host> }

private let hostTable: HostPointer = {
    let table = UnsafeMutablePointer<vc_host>.allocate(capacity: 1)
    table.initialize(
        to: vc_host(
            size: UInt32(MemoryLayout<vc_host>.size), minor: UInt32(VC_ABI_MINOR), emit: hostEmit, service: hostService)
    )
    return HostPointer(pointer: UnsafePointer(table))
}()

/// `vc_host.emit`.
private func hostEmit(_ handle: vc_handle, _ event: UnsafePointer<vc_event>) -> vc_status {
    guard event.pointee.size >= UInt32(MemoryLayout<vc_event>.size) else { return vc_status(VC_E_ARGUMENT) }
    guard let object = HandleTable.shared.resolve(handle) else { return vc_status(VC_E_STALE) }
    return object.deliver(event)
}

/// `vc_host.service`.
private func hostService(_ id: UnsafePointer<CChar>) -> UnsafeRawPointer? {
    let id = String(cString: id)
    guard let table = HostTable.services.withLock({ $0[id] }) else { return nil }
    return HostTable.playing.withLock { played in
        guard played != nil else { return table.pointer }
        if let made = played!.services[id] { return made?.pointer }
        let masked = played!.history.service(id, table.pointer, in: played!.minor).map(Table.init)
        played!.services[id] = .some(masked)
        return masked?.pointer
    }
}
