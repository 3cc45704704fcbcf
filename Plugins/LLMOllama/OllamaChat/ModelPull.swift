// A download of a model, told in lines a person can follow.
//
// Ollama reports each layer for itself, hundreds of times a second. What is said of it is the whole in steps of ten
// percent, because that is what somebody who waits for it in a log wants to see.

import ChatStream
import JSON
public import PluginKit

public struct ModelPull: Sendable {
    public enum Step: Sendable, Equatable {
        /// So much of what is known to come is there.
        case progress(percent: Int, megabytes: Int)
        case done
        case failed(PluginError)
    }

    private let model: String
    private var lines = OllamaLines()
    private var layers: [String: (completed: Int64, total: Int64)] = [:]
    private var reported = -1
    private var isOver = false

    /// 0 ... 100 of the layers that were named so far.
    public private(set) var percent = 0

    public init(model: String) { self.model = model }

    public mutating func feed(_ bytes: [UInt8]) -> [Step] {
        var steps: [Step] = []
        for line in lines.feed(bytes) { steps += take(line) }
        if lines.isOverflown { steps += end(.failed(failure("a line of more than a mebibyte"))) }
        return steps
    }

    /// The connection ended.
    public mutating func end() -> [Step] {
        var steps: [Step] = []
        for line in lines.end() { steps += take(line) }
        return steps + end(.failed(failure("the connection ended before it was complete")))
    }

    private mutating func take(_ line: String) -> [Step] {
        guard !isOver else { return [] }
        guard let report = try? JSONValue(parsing: line), report.object != nil else {
            return end(.failed(failure("a line that is no JSON object")))
        }
        if let error = report["error"]?.string { return end(.failed(failure(error))) }
        if report["status"]?.string == "success" { return end(.done) }
        guard let layer = report["digest"]?.string, let total = report["total"]?.integer, total > 0 else { return [] }
        layers[layer] = (min(max(0, report["completed"]?.integer ?? 0), total), total)
        let sum = layers.values.reduce(into: (completed: 0.0, total: 0.0)) {
            $0.completed += Double($1.completed)
            $0.total += Double($1.total)
        }
        percent = Int(sum.completed * 100 / sum.total)
        // A layer that is named later makes the whole larger: what was said once is not taken back.
        guard percent / 10 > reported else { return [] }
        reported = percent / 10
        return [.progress(percent: percent, megabytes: Int(sum.total / 1_000_000))]
    }

    private mutating func end(_ step: Step) -> [Step] {
        guard !isOver else { return [] }
        isOver = true
        return [step]
    }

    private func failure(_ reason: String) -> PluginError {
        PluginError(
            .vendor,
            "\(model) could not be pulled: \(reason); is the name right, and can the server reach its library?",
            isRetryable: true, vendor: "Ollama")
    }
}
