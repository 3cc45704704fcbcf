// Where a report goes: `-f junit=report.xml` to a file, `-f tap` to standard output, pretty there when nothing else does.

import Glibc

struct ReportOutlet {
    let format: ReportFormat
    /// Nil: standard output.
    let path: String?

    static func all(_ words: [String]) throws(CommandUsage) -> [ReportOutlet] {
        if words.isEmpty { return [ReportOutlet(format: .pretty, path: nil)] }
        var outlets: [ReportOutlet] = []
        for word in words {
            let parts = word.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
            guard let format = ReportFormat(rawValue: parts[0]) else {
                let known = ReportFormat.allCases.map(\.rawValue).joined(separator: ", ")
                throw CommandUsage("there is no format \(parts[0]); there are \(known)")
            }
            if parts.count == 2, parts[1].isEmpty { throw CommandUsage("--format \(word) names no file") }
            outlets.append(ReportOutlet(format: format, path: parts.count == 2 ? parts[1] : nil))
        }
        guard outlets.count(where: { $0.path == nil }) < 2 else {
            throw CommandUsage("only one format can go to standard output; write the others as FORMAT=FILE")
        }
        return outlets
    }

    func write(_ run: RunReport, _ output: (String) -> Void) throws(RunnerFailure) {
        let text = format.text(run)
        guard let path else { return output(text) }
        guard let file = fopen(path, "we") else { throw RunnerFailure("\(path) cannot be written", errno: errno) }
        let count = Array(text.utf8).withUnsafeBytes { fwrite($0.baseAddress, 1, $0.count, file) }
        let code = errno
        guard fclose(file) == 0, count == text.utf8.count else {
            throw RunnerFailure("\(path) cannot be written", errno: code)
        }
    }
}
