// "vc.metrics/1": numbers for the operator's dashboards.

import PluginABI

/// Metrics of a provider, defined in its `init` or `start`; at most 32.
public struct Metrics: Sendable {
    let handle: vc_handle

    public func counter(_ name: String, _ help: String) -> Metric { define(VC_METRIC_COUNTER, name, help) }
    public func gauge(_ name: String, _ help: String) -> Metric { define(VC_METRIC_GAUGE, name, help) }
    /// Of seconds or of bytes: the name ends with the unit, "_seconds" or "_bytes".
    public func histogram(_ name: String, _ help: String) -> Metric { define(VC_METRIC_HISTOGRAM, name, help) }

    private func define<Type: BinaryInteger>(_ type: Type, _ name: String, _ help: String) -> Metric {
        var metric: vc_handle = 0
        _ = HostLine.shared.metrics?.pointee.define(handle, UInt32(type), name, help, &metric)
        return Metric(handle: metric)
    }
}

/// One number. Recording is wait-free; on a host without metrics it does nothing.
public struct Metric: Sendable {
    let handle: vc_handle

    /// Adds to a counter, sets a gauge, observes in a histogram.
    public func record(_ value: Double = 1) {
        guard handle != 0 else { return }
        HostLine.shared.metrics?.pointee.record(handle, value)
    }
}
