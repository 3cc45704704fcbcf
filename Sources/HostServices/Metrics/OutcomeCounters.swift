// How requests and sockets ended, for the operator: one series for each outcome, the same for both services.

/// Counters `NAME_total{outcome="…"}`.
struct OutcomeCounters: Sendable {
    /// Ended as the peer and the plugin wanted it.
    let completed: Metric
    /// The plugin was told an error.
    let failed: Metric
    /// Cancelled, outdated, or its owner ended.
    let canceled: Metric
    /// Not begun, because the owner had as many as it may.
    let refused: Metric

    init(_ name: String, help: String, in metrics: MetricsRegistry) {
        func counter(_ outcome: String) -> Metric {
            do throws(MetricsRegistry.Refusal) {
                return try metrics.define(.counter, name, help: help, labels: [("outcome", outcome)])
            } catch {
                preconditionFailure("\(name): \(error)")
            }
        }
        completed = counter("completed")
        failed = counter("failed")
        canceled = counter("canceled")
        refused = counter("refused")
    }
}
