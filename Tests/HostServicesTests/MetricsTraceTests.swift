import Glibc
import PluginABI
import Providers
import Synchronization
import Testing

@testable import HostServices

@Suite("Metrics")
struct MetricsTests {
    @Test("Counters add, gauges hold the last value, and what would make a counter fall is dropped")
    func values() throws {
        let registry = MetricsRegistry()
        let counter = try registry.define(.counter, "calls", help: "Calls taken")
        counter.record(1)
        counter.record(2.5)
        counter.record(-4)
        counter.record(.nan)
        counter.increment()
        #expect(counter.value == 4.5)
        let gauge = try registry.define(.gauge, "load", help: "Load")
        gauge.record(3)
        gauge.record(-1.25)
        #expect(gauge.value == -1.25)
    }

    @Test("The text is what Prometheus reads: sorted, escaped, with buckets that sum up")
    func exposition() throws {
        let registry = MetricsRegistry()
        let histogram = try registry.define(
            .histogram, "turn_seconds", help: "From silence\nto speech", labels: [("name", "a\"b\\c\n")])
        for value in [0.0005, 0.02, 0.020_1, 0.9, 1_000] { histogram.record(value) }
        try registry.define(.counter, "calls", help: "Calls").record(3)
        let text = registry.exposition
        #expect(
            text.hasPrefix(
                "# HELP calls_total Calls\n# TYPE calls_total counter\ncalls_total 3\n"
                    + "# HELP turn_seconds From silence\\nto speech\n# TYPE turn_seconds histogram\n"
            ))
        let label = "name=\"a\\\"b\\\\c\\n\""
        #expect(text.contains("turn_seconds_bucket{\(label),le=\"0.001\"} 1\n"))
        #expect(text.contains("turn_seconds_bucket{\(label),le=\"0.02\"} 2\n"))
        #expect(text.contains("turn_seconds_bucket{\(label),le=\"0.04\"} 3\n"))
        #expect(text.contains("turn_seconds_bucket{\(label),le=\"30\"} 4\n"))
        #expect(text.contains("turn_seconds_bucket{\(label),le=\"+Inf\"} 5\n"))
        #expect(text.contains("turn_seconds_count{\(label)} 5\n") && text.hasSuffix("\n"))
        #expect(abs(histogram.value - 1_000.9406) < 1e-6)
    }

    @Test("Eight threads lose nothing")
    func concurrent() throws {
        let registry = MetricsRegistry()
        let counter = try registry.define(.counter, "steps", help: "")
        let histogram = try registry.define(.histogram, "step_seconds", help: "")
        let threads = (0..<8).map { _ in
            ServiceThread("recorder") {
                for _ in 0..<10_000 {
                    counter.record(0.5)
                    histogram.record(0.03)
                }
            }
        }
        for thread in threads { thread.join() }
        #expect(counter.value == 40_000 && histogram.buckets.reduce(0, +) == 80_000)
    }

    @Test("A plugin's metric bears its labels, and is the same series when the plugin comes again")
    func table() {
        let metrics = Stage.table(VC_SERVICE_METRICS, vc_metrics.self)
        let object = Stage.object(plugin: "org.acme.metrics", name: "stt.metrics")
        var first: vc_handle = 0
        #expect(
            metrics.define(object.handle, UInt32(VC_METRIC_COUNTER), "words", "Words heard", &first) == status(VC_OK))
        metrics.record(first, 2)
        Stage.destroy(object)
        let next = Stage.object(plugin: "org.acme.metrics", name: "stt.metrics")
        var second: vc_handle = 0
        #expect(
            metrics.define(next.handle, UInt32(VC_METRIC_COUNTER), "words", "Words heard", &second) == status(VC_OK))
        metrics.record(second, 3)
        metrics.record(0, 100)
        metrics.record(second + 4_000, 100)
        let line = "vchost_plugin_words_total{plugin=\"org.acme.metrics\",name=\"stt.metrics\"} 5\n"
        #expect(Stage.services.metrics.exposition.contains(line))
        Stage.destroy(next)
    }

    @Test("Names that Prometheus cannot read, another type, and the 33rd metric are refused")
    func refusals() {
        let metrics = Stage.table(VC_SERVICE_METRICS, vc_metrics.self)
        let object = Stage.object(plugin: "org.acme.refused", name: "stt.refused")
        var metric: vc_handle = 0
        func define(_ type: Int, _ name: String) -> vc_status {
            metrics.define(object.handle, UInt32(type), name, "", &metric)
        }
        #expect(define(2, "has-dash") == status(VC_E_ARGUMENT) && define(9, "x") == status(VC_E_ARGUMENT))
        #expect(define(3, "no_unit") == status(VC_E_ARGUMENT))
        #expect(
            define(2, "refused_things_total") == status(VC_OK) && define(1, "refused_things") == status(VC_E_ARGUMENT))
        for number in 1..<32 { #expect(define(2, "refused_\(number)") == status(VC_OK)) }
        #expect(define(2, "refused_33") == status(VC_E_AGAIN))
        Stage.destroy(object)
    }
}

@Suite("Traces")
struct TraceTests {
    @Test("A span is collected once, with its times, its turn and its detail")
    func span() {
        let collected = Recorder<[TraceSpan]>([])
        let service = TraceService { span in collected.change { $0.append(span) } }
        let session = Stage.object(plugin: "org.acme.trace", name: "llm.main", call: "call-9")
        let span = service.begin(session, request: 4, name: "first token")
        sleep(milliseconds: 2)
        service.end(span.span, detail: "cached")
        service.end(span.span, detail: "again")
        let spans = collected.state
        #expect(
            spans.count == 1 && spans[0].name == "first token" && spans[0].detail == "cached" && spans[0].request == 4)
        #expect(spans[0].call == "call-9" && spans[0].provider == "llm.main" && spans[0].isComplete)
        #expect(spans[0].endNs - spans[0].beginNs >= 2_000_000)
        Stage.destroy(session)
    }

    @Test("A span that the session leaves open is collected as incomplete when it ends, and 64 may be open")
    func open() {
        let collected = Recorder<[TraceSpan]>([])
        let service = TraceService { span in collected.change { $0.append(span) } }
        let session = Stage.object()
        for _ in 0..<64 { #expect(service.begin(session, request: 0, name: "open").status == status(VC_OK)) }
        #expect(service.begin(session, request: 0, name: "open").status == status(VC_E_AGAIN))
        Stage.destroy(session)
        #expect(collected.state.count == 64 && collected.state.allSatisfy { !$0.isComplete })
    }

    @Test("The traceparent has the form of W3C, is the call's own, and stays where it is")
    func traceparent() {
        let trace = Stage.table(VC_SERVICE_TRACE, vc_trace.self)
        let (one, other) = (Stage.object(name: "llm", call: "c-1"), Stage.object(name: "tts", call: "c-1"))
        let foreign = Stage.object(call: "c-2")
        var texts = [vc_str(), vc_str(), vc_str(), vc_str()]
        for (index, session) in [one, other, foreign, one].enumerated() {
            #expect(trace.context(session.handle, &texts[index]) == status(VC_OK))
        }
        let parts = texts.map { $0.text().split(separator: "-").map(String.init) }
        for part in parts {
            #expect(part.count == 4 && part[0] == "00" && part[1].count == 32 && part[2].count == 16 && part[3] == "01")
            #expect((part[1] + part[2]).allSatisfy { $0.isHexDigit && !$0.isUppercase })
        }
        #expect(parts[0][1] == parts[1][1] && parts[0][2] != parts[1][2] && parts[0][1] != parts[2][1])
        #expect(texts[0].data == texts[3].data)
        #expect(parts[0][1] == Stage.services.traces.traceID(ofCall: "c-1"))
        for session in [one, other, foreign] { Stage.destroy(session) }
    }
}
