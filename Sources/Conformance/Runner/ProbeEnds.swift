// The pipes between parent and probe, and the page that both see.

import CConformance
import Glibc

/// Descriptors of one probe. All are closed on exec, and above those that the probe gets them as.
struct ProbeEnds {
    struct Pair {
        var mine: Int32 = -1
        var theirs: Int32 = -1
    }

    /// The probe's own numbers end at 5, and nothing of ours may lie where one of them will be put.
    private static let lowest: Int32 = 16

    var verdict = Pair()
    var output = Pair()
    var error = Pair()
    var peer = Pair()
    var page: Int32 = -1

    mutating func open() throws(RunnerFailure) {
        try Self.pipe(&verdict)
        try Self.pipe(&output)
        try Self.pipe(&error)
        var ends: [Int32] = [-1, -1]
        guard socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &ends) == 0 else { throw Self.failure(errno) }
        try Self.take(ends, &peer)
        let made = vcc_page_create()
        guard made >= 0 else { throw Self.failure(-made) }
        page = try Self.raised(made)
    }

    /// Those that the probe gets as 1 to 5.
    var probes: [Int32] { [output.theirs, error.theirs, verdict.theirs, page, peer.theirs] }

    mutating func closeChildSide() {
        for path in [\Self.verdict.theirs, \.output.theirs, \.error.theirs, \.peer.theirs] {
            if self[keyPath: path] >= 0 { Glibc.close(self[keyPath: path]) }
            self[keyPath: path] = -1
        }
    }

    mutating func close() {
        closeChildSide()
        for descriptor in [verdict.mine, output.mine, error.mine, peer.mine, page] where descriptor >= 0 {
            Glibc.close(descriptor)
        }
    }

    private static func pipe(_ pair: inout Pair) throws(RunnerFailure) {
        var ends: [Int32] = [-1, -1]
        guard Glibc.pipe(&ends) == 0 else { throw failure(errno) }
        try take(ends, &pair)
    }

    private static func take(_ ends: [Int32], _ pair: inout Pair) throws(RunnerFailure) {
        var ends = ends
        defer { for end in ends where end >= 0 { Glibc.close(end) } }
        for index in 0..<2 {
            let end = ends[index]
            ends[index] = -1
            let raised = try raised(end)
            if index == 0 { pair.mine = raised } else { pair.theirs = raised }
        }
        // Only our end: the probe, and what runs in it, expects a descriptor that blocks.
        guard fcntl(pair.mine, F_SETFL, fcntl(pair.mine, F_GETFL) | O_NONBLOCK) == 0 else { throw failure(errno) }
    }

    private static func raised(_ descriptor: Int32) throws(RunnerFailure) -> Int32 {
        defer { Glibc.close(descriptor) }
        let copy = fcntl(descriptor, F_DUPFD_CLOEXEC, lowest)
        guard copy >= 0 else { throw failure(errno) }
        return copy
    }

    private static func failure(_ code: Int32) -> RunnerFailure {
        RunnerFailure("there is no pipe for a probe (raise `ulimit -n`)", errno: code)
    }
}
