// What came in through the host's listener and how it went, for the operator.

struct ServerCounters: Sendable {
    private let requests: [String: Metric]
    private let connections: [String: Metric]

    init(in metrics: MetricsRegistry) {
        func series(_ name: String, _ help: String, _ outcomes: [String]) -> [String: Metric] {
            var series: [String: Metric] = [:]
            for outcome in outcomes {
                do throws(MetricsRegistry.Refusal) {
                    series[outcome] = try metrics.define(.counter, name, help: help, labels: [("outcome", outcome)])
                } catch {
                    preconditionFailure("\(name): \(error)")
                }
            }
            return series
        }
        requests = series(
            "vchost_server_requests", "Requests to the host's own listener",
            ["answered", "upgraded"] + HostAnswer.allCases.map(\.rawValue))
        connections = series(
            "vchost_server_connections", "Connections to the host's own listener",
            ["accepted", "refused_full", "refused_address", "cut_receiving", "cut_idle", "cut_sending", "cut_body"])
    }

    func request(_ outcome: String) { count(requests, outcome) }

    func request(_ answer: HostAnswer) { count(requests, answer.rawValue) }

    func connection(_ outcome: String) { count(connections, outcome) }

    private func count(_ series: [String: Metric], _ outcome: String) {
        guard let metric = series[outcome] else { preconditionFailure("there is no outcome \(outcome)") }
        metric.increment()
    }
}
