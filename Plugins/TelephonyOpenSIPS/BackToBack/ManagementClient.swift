// Commands on their way: numbers, answers, repetitions.
//
// The commands of one call go one after the other, each when the one before is answered or given up: with several
// processes at the management port OpenSIPS keeps no order, and a BYE must not overtake the 200. Calls do not wait for
// each other.
//
// A datagram may be lost either way. What may be said twice is repeated after 250 ms, 500 ms and 1 s; when OpenSIPS
// refuses a repetition with 500, the first one was carried out and its answer lost, and that counts as done. What may
// not be said twice (a digit, a call) is given up after 3 s and reported.

import JSON

struct ManagementClient: Sendable {
    /// What a command was for, so that its end finds its place.
    enum Purpose: Sendable, Equatable {
        case subscribe
        case unsubscribe
        case reply(method: String, code: Int)
        case request(DialogueRequest)
        case acknowledge
        case terminate
        /// Does OpenSIPS know the call still?
        case check
        /// The same, and did the caller confirm the answer?
        case confirmation
        case start

        var isQuestion: Bool { self == .check || self == .confirmation }
    }

    enum Ending: Sendable, Equatable {
        case done(JSONValue)
        case refused(code: Int, String)
        case timeout
    }

    struct Completion: Sendable, Equatable {
        /// The number of the call, or 0.
        var line: Int
        var purpose: Purpose
        var ending: Ending
    }

    private struct Entry: Sendable {
        var line: Int
        var purpose: Purpose
        var command: ManagementCommand
        var text = ""
        var attempts = 0
        var dueNs: UInt64 = 0
    }

    /// A call has a handful of commands under way in its life; what fills this is a peer that floods.
    static let queueMax = 32
    /// Commands of no call (refusals of what is not ours) that may be unanswered at once.
    static let strayMax = 256
    static let attemptsMax = 4
    private static let firstRepetitionNs: UInt64 = 250_000_000

    /// Makes the numbers of this process differ from those of the one before on the same port.
    private let prefix: String
    private var latest = 0
    private var inFlight: [String: Entry] = [:]
    /// The number of the unanswered command of each call.
    private var current: [Int: String] = [:]
    private var queues: [Int: [Entry]] = [:]
    private var strays = 0
    private(set) var repetitions = 0

    init(prefix: String) { self.prefix = prefix }

    var isIdle: Bool { inFlight.isEmpty }
    /// A BYE, say, may have to be repeated still.
    var isSpeakingForCalls: Bool { !current.isEmpty }

    /// Says a command, now or after those of the same call. Nil: too many wait, and it is dropped.
    mutating func submit(
        _ command: ManagementCommand, for purpose: Purpose, line: Int = 0, nowNs: UInt64
    ) -> [String]? {
        let entry = Entry(line: line, purpose: purpose, command: command)
        if line == 0 {
            if case .reply = purpose {
                guard strays < Self.strayMax else { return nil }
                strays += 1
            }
        } else if current[line] != nil {
            guard queues[line, default: []].count < Self.queueMax else { return nil }
            queues[line, default: []].append(entry)
            return []
        }
        return [send(entry, nowNs)]
    }

    private mutating func send(_ entry: Entry, _ nowNs: UInt64) -> String {
        var entry = entry
        latest += 1
        let id = "\(prefix)-\(latest)"
        entry.text = entry.command.text(id: id)
        entry.attempts = 1
        entry.dueNs = nowNs + (entry.command.isRepeatable ? Self.firstRepetitionNs : entry.command.patienceNs)
        inFlight[id] = entry
        if entry.line != 0 { current[entry.line] = id }
        return entry.text
    }

    /// Forgets what waits behind the command of a call that is under way: the call is over, and its key with it.
    mutating func dropQueue(of line: Int) { queues[line] = nil }

    /// An answer came. Nil: to nothing that is known.
    mutating func receive(_ reply: ManagementReply, nowNs: UInt64) -> (Completion, [String])? {
        guard let id = reply.id, let entry = inFlight[id] else { return nil }
        let ending: Ending
        switch reply.outcome {
        case .result(let result): ending = .done(result)
        case .error(let code, _) where code == 500 && entry.attempts > 1 && !entry.purpose.isQuestion:
            ending = .done(.null)
        case .error(let code, let message): ending = .refused(code: code, message)
        }
        return end(id, entry, ending, nowNs)
    }

    private mutating func end(
        _ id: String, _ entry: Entry, _ ending: Ending, _ nowNs: UInt64
    ) -> (Completion, [String]) {
        inFlight[id] = nil
        var texts: [String] = []
        if entry.line == 0 {
            if case .reply = entry.purpose { strays -= 1 }
        } else {
            current[entry.line] = nil
            if var queue = queues[entry.line], !queue.isEmpty {
                let next = queue.removeFirst()
                queues[entry.line] = queue.isEmpty ? nil : queue
                texts.append(send(next, nowNs))
            }
        }
        return (Completion(line: entry.line, purpose: entry.purpose, ending: ending), texts)
    }

    /// Repeats what is due, and gives up what was repeated enough.
    mutating func tick(nowNs: UInt64) -> (completions: [Completion], texts: [String]) {
        var completions: [Completion] = []
        var texts: [String] = []
        for (id, entry) in inFlight where nowNs >= entry.dueNs {
            if entry.command.isRepeatable, entry.attempts < Self.attemptsMax {
                inFlight[id]!.attempts += 1
                inFlight[id]!.dueNs = nowNs + Self.firstRepetitionNs << UInt64(entry.attempts)
                repetitions += 1
                texts.append(entry.text)
            } else {
                let (completion, next) = end(id, entry, .timeout, nowNs)
                completions.append(completion)
                texts += next
            }
        }
        return (completions, texts)
    }
}
