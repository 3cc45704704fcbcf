// All series of the host, its own and those of plugins, and their text for Prometheus (exposition format 0.0.4).
//
// A series lives as long as the process: Prometheus wants counters that go on, so the next generation of a plugin
// continues the numbers of the one before, under the same name and labels. That also makes handles simple: a number in
// a table that only grows, and `record` needs no lock to find its series.

import PluginABI
import Synchronization

public final class MetricsRegistry: Sendable {
    /// A hundred providers with the 32 series that each may have, and the host's own.
    static let seriesMax = 4_096
    static let perProviderMax = 32

    public enum Refusal: Error, Equatable, CustomStringConvertible {
        case badName(String)
        case otherKind(String)
        case full

        public var description: String {
            switch self {
            case .badName(let name):
                "\"\(name)\" cannot be the name of a metric: letters, digits and underscores, no digit first; "
                    + "a histogram's name ends with _seconds or _bytes"
            case .otherKind(let name):
                "the metric \(name) exists with another type: choose another name"
            case .full:
                "no room for another metric: \(MetricsRegistry.perProviderMax) for a provider, "
                    + "\(MetricsRegistry.seriesMax) for the host"
            }
        }
    }

    private struct Family {
        var kind: Metric.Kind
        var help: String
        var series: [Int] = []
    }

    private struct State {
        var families: [String: Family] = [:]
        var series: [Metric] = []
        var perProvider: [String: Int] = [:]
    }

    private let state = Mutex(State())
    /// The same series for `record`: slots are filled once, before their number is given out, and never change.
    private let slots: Slots

    private struct Slots: @unchecked Sendable {
        let base: UnsafeMutablePointer<Atomic<UnsafeRawPointer?>>
    }

    public init() {
        slots = Slots(base: .allocate(capacity: Self.seriesMax))
        for index in 0..<Self.seriesMax { (slots.base + index).initialize(to: Atomic(nil)) }
    }

    deinit {
        slots.base.deinitialize(count: Self.seriesMax)
        slots.base.deallocate()
    }

    /// The series of that name and labels: a new one, or the one that is there.
    ///
    /// - Parameters:
    ///   - name: As Prometheus has it; a counter without `_total` at its end gets that.
    ///   - provider: For whom it counts against the limit, or nil for the host's own.
    public func define(
        _ kind: Metric.Kind, _ name: String, help: String, labels: [(name: String, value: String)] = [],
        provider: String? = nil
    ) throws(Refusal) -> Metric {
        try state.withLock { state throws(Refusal) in
            try Self.define(&state, slots, kind, name, help, labels, provider).metric
        }
    }

    func defineNumbered(
        _ kind: Metric.Kind, _ name: String, help: String, labels: [(name: String, value: String)], provider: String
    ) throws(Refusal) -> Int {
        try state.withLock { state throws(Refusal) in
            try Self.define(&state, slots, kind, name, help, labels, provider).number
        }
    }

    /// Records into the series with that number. Wait-free. False when there is none.
    func record(_ number: Int, _ value: Double) -> Bool {
        guard number >= 0, number < Self.seriesMax, let pointer = slots.base[number].load(ordering: .acquiring) else {
            return false
        }
        Unmanaged<Metric>.fromOpaque(pointer)._withUnsafeGuaranteedRef { $0.record(value) }
        return true
    }

    private static func define(
        _ state: inout State, _ slots: Slots, _ kind: Metric.Kind, _ name: String, _ help: String,
        _ labels: [(name: String, value: String)], _ provider: String?
    ) throws(Refusal) -> (metric: Metric, number: Int) {
        let name = kind == .counter && !name.hasSuffix("_total") ? name + "_total" : name
        guard isValid(name), kind != .histogram || name.hasSuffix("_seconds") || name.hasSuffix("_bytes") else {
            throw .badName(name)
        }
        var family = state.families[name] ?? Family(kind: kind, help: help)
        guard family.kind == kind else { throw .otherKind(name) }
        if let known = family.series.first(where: { same(state.series[$0].labels, labels) }) {
            return (state.series[known], known)
        }
        let count = provider.map { state.perProvider[$0, default: 0] } ?? 0
        guard state.series.count < seriesMax, count < perProviderMax else { throw .full }
        let metric = Metric(kind: kind, name: name, labels: labels)
        let number = state.series.count
        state.series.append(metric)
        family.series.append(number)
        state.families[name] = family
        if let provider { state.perProvider[provider] = count + 1 }
        slots.base[number].store(UnsafeRawPointer(Unmanaged.passUnretained(metric).toOpaque()), ordering: .releasing)
        return (metric, number)
    }

    private static func same(_ one: [(name: String, value: String)], _ other: [(name: String, value: String)]) -> Bool {
        one.count == other.count && zip(one, other).allSatisfy { $0 == $1 }
    }

    private static func isValid(_ name: String) -> Bool {
        guard let first = name.utf8.first, !(0x30...0x39).contains(first), name.utf8.count <= 200 else { return false }
        return name.utf8.allSatisfy {
            (0x30...0x39).contains($0) || (0x41...0x5a).contains($0) || (0x61...0x7a).contains($0) || $0 == 0x5f
        }
    }

    // MARK: The text

    /// All series in Prometheus' text format, families in order of their names.
    /// https://prometheus.io/docs/instrumenting/exposition_formats/
    public var exposition: String {
        let (families, series) = state.withLock { ($0.families, $0.series) }
        var text = ""
        for (name, family) in families.sorted(by: { $0.key < $1.key }) {
            text += "# HELP \(name) \(Self.escaped(family.help, quotes: false))\n# TYPE \(name) \(family.kind.name)\n"
            for number in family.series { Self.write(series[number], to: &text) }
        }
        return text
    }

    private static func write(_ metric: Metric, to text: inout String) {
        guard metric.kind == .histogram else {
            text += "\(metric.name)\(labels(metric.labels)) \(number(metric.value))\n"
            return
        }
        var count: UInt64 = 0
        for (bound, observations) in zip(metric.bounds + [.infinity], metric.buckets) {
            count += observations
            let all = metric.labels + [("le", number(bound))]
            text += "\(metric.name)_bucket\(labels(all)) \(count)\n"
        }
        text += "\(metric.name)_sum\(labels(metric.labels)) \(number(metric.value))\n"
        // The buckets' own sum, so that both agree although others record meanwhile.
        text += "\(metric.name)_count\(labels(metric.labels)) \(count)\n"
    }

    private static func labels(_ labels: [(name: String, value: String)]) -> String {
        guard !labels.isEmpty else { return "" }
        return "{" + labels.map { "\($0.name)=\"\(escaped($0.value, quotes: true))\"" }.joined(separator: ",") + "}"
    }

    private static func number(_ value: Double) -> String {
        if value.isInfinite { return value > 0 ? "+Inf" : "-Inf" }
        if value == value.rounded(), abs(value) < 9e15 { return String(Int64(value)) }
        return "\(value)"
    }

    private static func escaped(_ text: String, quotes: Bool) -> String {
        var out = ""
        for character in text.unicodeScalars {
            switch character {
            case "\\": out += "\\\\"
            case "\n": out += "\\n"
            case "\"" where quotes: out += "\\\""
            default: out.unicodeScalars.append(character)
            }
        }
        return out
    }
}
