// The results side by side: a table for a person, JSON for a program.

import JSON

struct ModelTable {
    let results: [ModelResult]
    let targetMs: Int
    let prompts: Int
    let runs: Int

    init(_ results: [ModelResult], targetMs: Int, prompts: Int, runs: Int) {
        self.results = results.sorted(by: ModelResult.isBefore)
        self.targetMs = targetMs
        self.prompts = prompts
        self.runs = runs
    }

    var text: String {
        let heads = ["MODEL", "FIRST TOKEN", "95 %", "TOKENS/S", "ANSWER", "TOKENS", "FAILED", "\(targetMs) MS"]
        let rows = [heads] + results.map(row)
        let widths = heads.indices.map { column in rows.map { $0[column].count }.max() ?? 0 }
        var text = ""
        for row in rows {
            let cells = zip(row, widths).enumerated().map { column, cell in
                let space = String(repeating: " ", count: cell.1 - cell.0.count)
                return column == 0 ? cell.0 + space : space + cell.0
            }
            text += cells.joined(separator: "  ") + "\n"
        }
        if results.contains(where: { !$0.countsTokens && $0.answers > 0 }) {
            text += "~ the provider counts no tokens: pieces of text were counted\n"
        }
        for result in results {
            if let failure = result.failures.first { text += "\(result.name): \(failure)\n" }
        }
        return text
    }

    private func row(_ result: ModelResult) -> [String] {
        func ms(_ share: Double, _ values: [Double]) -> String {
            ModelResult.quantile(share, of: values).map { "\(Int($0.rounded())) ms" } ?? "-"
        }
        let sign = result.countsTokens ? "" : "~"
        return [
            result.name, ms(0.5, result.firstMs), ms(0.95, result.firstMs),
            ModelResult.quantile(0.5, of: result.tokensPerSecond).map { sign + Self.decimal($0) } ?? "-",
            ms(0.5, result.wholeMs), result.answers > 0 ? "\(sign)\(result.outputTokens / result.answers)" : "-",
            result.failures.isEmpty ? "0" : "\(result.failures.count) of \(result.failures.count + result.answers)",
            result.answers == 0 ? "-" : result.meets(targetMs: targetMs) ? "yes" : "no",
        ]
    }

    /// With one digit behind the point.
    private static func decimal(_ value: Double) -> String {
        let tenths = Int((value * 10).rounded())
        return "\(tenths / 10).\(tenths % 10)"
    }

    var json: JSONValue {
        [
            "targetMs": .integer(Int64(targetMs)), "prompts": .integer(Int64(prompts)), "runs": .integer(Int64(runs)),
            "models": .array(results.map(json)),
        ]
    }

    private func json(_ result: ModelResult) -> JSONValue {
        func number(_ value: Double?) -> JSONValue { value.map { .number(($0 * 100).rounded() / 100) } ?? .null }
        func spread(_ values: [Double]) -> JSONValue {
            [
                "median": number(ModelResult.quantile(0.5, of: values)),
                "p95": number(ModelResult.quantile(0.95, of: values)), "min": number(values.min()),
                "max": number(values.max()),
            ]
        }
        return [
            "name": .string(result.name), "plugin": .string(result.plugin), "model": .string(result.model),
            "answers": .integer(Int64(result.answers)), "failed": .integer(Int64(result.failures.count)),
            "firstTokenMs": spread(result.firstMs), "answerMs": spread(result.wholeMs),
            "tokensPerSecond": spread(result.tokensPerSecond), "tokensAreCounted": .bool(result.countsTokens),
            "outputTokens": .integer(Int64(result.outputTokens)), "warmUpMs": number(result.warmUpMs),
            "meetsTarget": .bool(result.meets(targetMs: targetMs)),
            "error": result.failures.first.map { .string($0) } ?? .null,
        ]
    }
}
