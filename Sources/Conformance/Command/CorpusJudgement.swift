// What the self-test makes of one plugin's results: the sentence that is proven, apart from how the results came about,
// so that it can be given wrong results on purpose.

/// Judges results against what is known of the plugin.
struct CorpusJudgement {
    let entry: Corpus.Entry

    /// Everything that is not as it should be; empty: green.
    func problems(_ results: [RuleResult]) -> [String] {
        guard let rule = entry.rule else { return good(results) }
        let own = results.filter { $0.rule == rule }
        var problems: [String] = []
        if own.isEmpty {
            problems.append("\(rule) was not run")
        } else if !own.contains(where: { $0.status.isBreach }) {
            let how = own.first { $0.status == .skip }.map { "is skipped (\($0.why))" } ?? "passes"
            problems.append("\(rule) \(how), though the plugin breaks it")
        }
        for result in results where result.rule != rule && result.weight == .must && result.status.isBreach {
            if !entry.also.contains(result.rule) { problems.append("another rule fails: \(result.message)") }
        }
        for result in results where !result.blockedBy.isEmpty && result.blockedBy != rule {
            if !entry.also.contains(result.blockedBy) && !entry.also.contains(result.rule) {
                problems.append("\(result.rule) is skipped, because \(result.why)")
            }
        }
        return problems
    }

    private func good(_ results: [RuleResult]) -> [String] {
        var problems = results.filter { $0.status.isBreach && !entry.also.contains($0.rule) }.map { "a good plugin fails: \($0.message)" }
        if !results.contains(where: { $0.status == .pass }) { problems.append("no rule was run") }
        return problems
    }
}
