// "vc.metrics/1". A plugin's metrics bear its id and its section as labels, and a prefix, so that no plugin can write
// into the host's own numbers or be taken for them.

import PluginABI
import Providers
import Synchronization

let metricsTable = ServiceTable(
    vc_metrics(size: UInt32(MemoryLayout<vc_metrics>.size), reserved: 0, define: metricsDefine, record: metricsRecord))

/// What `record` finds its series in. It stands outside of `HostServices`, whose look-up takes a lock, and one registry
/// serves the process: series outlive a restart of the services.
let processMetrics = MetricsRegistry()

private let handleTag: UInt64 = 0xa4 << 56
private let prefix = "vchost_plugin_"
private let staleRecords = Atomic<UInt64>(0)

private func metricsDefine(
    _ provider: vc_handle, _ type: UInt32, _ name: UnsafePointer<CChar>, _ help: UnsafePointer<CChar>,
    _ metric: UnsafeMutablePointer<vc_handle>
) -> vc_status {
    guard let services = HostServices.current else { return .closed }
    guard !isNull(name), !isNull(help), !isNull(metric), let kind = Metric.Kind(rawValue: type) else {
        return .badArgument
    }
    metric.pointee = 0
    guard let object = HandleTable.shared.resolve(provider) else { return .stale }
    do throws(MetricsRegistry.Refusal) {
        let number = try services.metrics.defineNumbered(
            kind, prefix + String(cString: name), help: String(cString: help),
            labels: [("plugin", object.plugin), ("name", object.name)], provider: "\(object.plugin)/\(object.name)")
        metric.pointee = handleTag | 1 << 32 | UInt64(number)
        return .ok
    } catch {
        services.logger.pluginFault(error.description, of: LogSubject(object))
        return error == .full ? .again : .badArgument
    }
}

private func metricsRecord(_ metric: vc_handle, _ value: Double) {
    let isOurs = metric >> 32 == (handleTag | 1 << 32) >> 32
    if !isOurs || !processMetrics.record(Int(metric & 0xffff_ffff), value) {
        staleRecords.wrappingAdd(1, ordering: .relaxed)
    }
}
