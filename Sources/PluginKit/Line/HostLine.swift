// The host's tables, adopted once.
//
// A table of an older host is shorter than the one in our headers, so a table is never read past the size that the host
// wrote. All slots of version 1.0 must be there: a service that is shorter counts as not offered, and whoever needs it
// says so by name. A slot of a later version is looked up by `MemoryLayout.offset(of:)` and may be missing for ever.

import PluginABI

struct HostLine: @unchecked Sendable {
    /// Written once, by the entry function, before any other function of the plugin is called.
    nonisolated(unsafe) static var shared: HostLine! = nil

    let host: UnsafePointer<vc_host>
    let log: UnsafePointer<vc_log>?
    let clock: UnsafePointer<vc_clock>?
    let timer: UnsafePointer<vc_timer>?
    let http: UnsafePointer<vc_http>?
    let webSocket: UnsafePointer<vc_ws>?
    let secret: UnsafePointer<vc_secret>?
    let task: UnsafePointer<vc_task>?
    let metrics: UnsafePointer<vc_metrics>?
    let media: UnsafePointer<vc_media>?

    /// nil: the host is older than the contract's first version.
    init?(adopting host: UnsafePointer<vc_host>) {
        guard host.pointee.size >= UInt32(MemoryLayout<vc_host>.size) else { return nil }
        self.host = host
        log = Self.service(VC_SERVICE_LOG, of: host)
        clock = Self.service(VC_SERVICE_CLOCK, of: host)
        timer = Self.service(VC_SERVICE_TIMER, of: host)
        http = Self.service(VC_SERVICE_HTTP, of: host)
        webSocket = Self.service(VC_SERVICE_WS, of: host)
        secret = Self.service(VC_SERVICE_SECRET, of: host)
        task = Self.service(VC_SERVICE_TASK, of: host)
        metrics = Self.service(VC_SERVICE_METRICS, of: host)
        media = Self.service(VC_SERVICE_MEDIA, of: host)
    }

    private static func service<Table>(_ id: String, of host: UnsafePointer<vc_host>) -> UnsafePointer<Table>? {
        guard let table = host.pointee.service(id) else { return nil }
        let size = table.load(as: UInt32.self)
        return size >= UInt32(MemoryLayout<Table>.size) ? table.assumingMemoryBound(to: Table.self) : nil
    }

    /// Nanoseconds on the host's clock; 0 on a host without one.
    var nowNs: UInt64 { clock?.pointee.now_ns() ?? 0 }
}
