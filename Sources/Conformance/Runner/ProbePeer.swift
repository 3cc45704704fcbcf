// The vendor at the other end of the peer channel, as the runner sees it: somebody who answers lines with lines.
//
// It lives in the parent, so that it sees what really arrived, and so that a plugin which corrupts its own process
// cannot corrupt the witness.

import JSON

/// Answers what a probe asks. One for each probe; it is used by one thread.
public protocol ProbePeer {
    /// The answer to a line, or nil when there is none to give (a `tell`). Neither has a line break.
    mutating func answer(_ line: String) -> String?
}

/// Where peers come from: the scripts in a provider's folder.
public protocol PeerSource: Sendable {
    /// Fills in what the scripts say about a job: configuration, session, secrets. What is there already stays.
    ///
    /// Throws when the vendor cannot be played: without it the plugin would be blamed for what nobody answered.
    func prepare(_ job: inout Job, for subject: Subject) throws(RunnerFailure)
    /// The peer of a job; nil when the plugin has no vendor.
    func peer(of job: Job, for subject: Subject) -> (any ProbePeer)?
    /// The author's own scenarios for a provider, as rules.
    func ownRules(of subject: Subject, provider: String) -> [Rule]
    /// Whether a provider's vendor is played.
    func hasScript(of subject: Subject, provider: String) -> Bool
    /// What is wrong with a plugin's scripts; nil: nothing.
    func problem(of subject: Subject) -> String?
}

extension PeerSource {
    public func ownRules(of subject: Subject, provider: String) -> [Rule] { [] }
    public func hasScript(of subject: Subject, provider: String) -> Bool { false }
    public func problem(of subject: Subject) -> String? { nil }
}

/// For plugins that talk to nobody.
public struct NoPeers: PeerSource {
    public init() {}
    public func prepare(_ job: inout Job, for subject: Subject) {}
    public func peer(of job: Job, for subject: Subject) -> (any ProbePeer)? { nil }
}

/// The parent's end of the channel: lines in, lines out, all of it bounded.
struct PeerChannel {
    /// A minute of audio in base64 has two million bytes.
    static let lineBytesMax = 16 << 20
    /// Answers that the probe has not read yet.
    static let pendingBytesMax = 64 << 20

    private var incoming: [UInt8] = []
    private(set) var outgoing: [UInt8] = []
    private var peer: (any ProbePeer)?

    init(job: Job, peer: (any ProbePeer)?) {
        self.peer = peer
        outgoing = Array((job.line + "\n").utf8)
    }

    /// Takes what came, and queues the answers. False when the bounds are exceeded and the channel must be closed.
    mutating func take(_ bytes: ArraySlice<UInt8>) -> Bool {
        var rest = bytes
        while let end = rest.firstIndex(of: UInt8(ascii: "\n")) {
            let line = String(decoding: incoming + rest[..<end], as: UTF8.self)
            incoming.removeAll(keepingCapacity: true)
            rest = rest[(end + 1)...]
            if let answer = answer(to: line) { outgoing += Array((answer + "\n").utf8) }
        }
        incoming += rest
        return incoming.count <= Self.lineBytesMax && outgoing.count <= Self.pendingBytesMax
    }

    mutating func sent(_ count: Int) { outgoing.removeFirst(count) }

    private mutating func answer(to line: String) -> String? {
        if peer != nil { return peer!.answer(line) }
        // Nobody is there, and every line is answered all the same, or the probe would wait for ever.
        guard let question = try? JSONValue(parsing: line), let ask = question["ask"]?.string else {
            return JSONValue.object(["ok": true]).text
        }
        var answer: [String: JSONValue] = ["error": .string("there is no vendor script that could answer \"\(ask)\"")]
        answer["id"] = question["id"]
        return JSONValue.object(answer).text
    }
}
