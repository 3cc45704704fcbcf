// One call of a fuzz case, or one thing that happens to the world around it.
//
// All verbs share one set of arguments. An enum with values of its own for each verb would say more, but then the
// minimiser, the file and the checker would each need a case for each of thirty verbs; so they treat arguments alike,
// and the table below says which verb reads which.

import JSON

/// A step of a fuzz case.
struct FuzzStep: Sendable, Equatable {
    enum Verb: String, Sendable, CaseIterable {
        /// Session `session` is opened: language `text`, rate number `count` of the manifest's, epoch `request`. With
        /// `flag` its READY is waited for before the next step. Telephony: with `flag` for an incoming call, else to
        /// the address `text`.
        case open
        /// Barge-in: the epoch grows by `count`.
        case cancel
        /// The session has room for `count` more stream events and `count` KiB of audio until more is given; below 0
        /// for any number.
        case limit
        /// Room for `count` events and `count` KiB of audio.
        case credit
        case close
        case destroy
        /// The provider is drained.
        case drain

        /// Text `text`, `count` times if that is not 0, of request `request`; with `flag` the last piece.
        case speak
        /// Request `request`: messages, tools and options in `value`; with `flag` speculative.
        case ask
        /// `text` as the result of the tool call number `count` that the model made and nobody answered.
        case toolResult
        /// Utterance `request` begins, `count` samples before what was pushed last.
        case begin
        /// `count` frames of 20 ms of the sound `text`, one each 20 ms with `flag`, else at once.
        case push
        /// Request `request`; tentative with `flag`.
        case finalize
        /// The words `text`; final with `flag`.
        case transcript
        /// Request `request`.
        case decide
        /// A window of the sound `text` for each session whose bit is set in `count`; with `flag` after a gap.
        case detect

        case ringing, answer, flush
        /// With the status `count` and the reason `text`.
        case hangup
        /// To `text`.
        case transfer
        /// On with `flag`, else off.
        case hold
        /// The digits `text`.
        case dial
        /// `count` frames of the sound `text`.
        case play
        /// Number `request`.
        case mark

        /// `count` ms pass.
        case advance
        /// The vendor's next `request` answers, after `count` good ones, fail as `value` says.
        case fault
        /// Vendors are well again.
        case mend
        /// Of the calls of the service function `text` the next `count` are refused with the status `request`.
        case refuse
        /// The vendor's next stretch of bytes arrives changed: `text` says how, `count` where.
        case mangle
    }

    var verb: Verb
    var session = 0
    var request = 0
    var count = 0
    var text = ""
    var flag = false
    var value = JSONValue.null
    /// Called from a thread that nobody knew before.
    var isElsewhere = false

    init(_ verb: Verb) { self.verb = verb }

    /// With some of its arguments.
    init(_ verb: Verb, session: Int = 0, _ fill: (inout FuzzStep) -> Void = { _ in }) {
        self.verb = verb
        self.session = session
        fill(&self)
    }
}

extension FuzzStep {
    /// What is at its default is left out, so that a file shows what matters.
    var json: JSONValue {
        var members: [String: JSONValue] = ["do": .string(verb.rawValue)]
        if session != 0 { members["session"] = .integer(Int64(session)) }
        if request != 0 { members["request"] = .integer(Int64(request)) }
        if count != 0 { members["count"] = .integer(Int64(count)) }
        if !text.isEmpty { members["text"] = .string(text) }
        if flag { members["flag"] = .bool(true) }
        if value != .null { members["value"] = value }
        if isElsewhere { members["elsewhere"] = .bool(true) }
        return .object(members)
    }

    /// Nil: there is no such verb.
    init?(_ json: JSONValue) {
        guard let verb = json["do"]?.string.flatMap(Verb.init) else { return nil }
        self.verb = verb
        func integer(_ name: String) -> Int { Int(clamping: json[name]?.integer ?? 0) }
        session = integer("session")
        request = integer("request")
        count = integer("count")
        text = json["text"]?.string ?? ""
        flag = json["flag"]?.bool ?? false
        value = json["value"] ?? .null
        isElsewhere = json["elsewhere"]?.bool ?? false
    }
}

/// What is run: a provider, and what happens to it.
struct FuzzCase: Sendable, Equatable {
    /// The number that it has in its run, for people.
    var number = 0
    /// For what is drawn while it runs: sounds, and how late timers are.
    var seed: UInt64 = 0
    /// Settings that differ from what the scripts and the manifest say.
    var settings = JSONValue.object([:])
    /// Which sins against lent memory are caught: "end", "begin", "readOnly", "retired".
    var guards: [String] = []
    /// The vendor is so far away.
    var latencyMs = 0
    /// Timers are late by up to this.
    var lateMs = 0
    /// How often all of it is done, from `create` to `destroy`. Above 1 what each time adds is measured.
    var rounds = 1
    var steps: [FuzzStep] = []
}

extension FuzzCase {
    /// Four rounds, the first to warm up, show a slope; more show nothing more.
    static let roundsMax = 8

    var json: JSONValue {
        var members: [String: JSONValue] = [
            "number": .integer(Int64(number)), "seed": .string(String(seed, radix: 16)),
            "steps": .array(steps.map(\.json)),
        ]
        if settings != .object([:]) { members["settings"] = settings }
        if !guards.isEmpty { members["guards"] = .array(guards.map { .string($0) }) }
        if latencyMs != 0 { members["latencyMs"] = .integer(Int64(latencyMs)) }
        if lateMs != 0 { members["lateMs"] = .integer(Int64(lateMs)) }
        if rounds != 1 { members["rounds"] = .integer(Int64(rounds)) }
        return .object(members)
    }

    /// Nil: a step is unknown, or there are none.
    init?(_ json: JSONValue) {
        guard let list = json["steps"]?.array else { return nil }
        steps = list.compactMap { FuzzStep($0) }
        guard steps.count == list.count else { return nil }
        number = Int(clamping: json["number"]?.integer ?? 0)
        seed = UInt64(json["seed"]?.string ?? "", radix: 16) ?? 0
        settings = json["settings"] ?? .object([:])
        guards = (json["guards"]?.array ?? []).compactMap(\.string)
        latencyMs = Int(clamping: json["latencyMs"]?.integer ?? 0)
        lateMs = Int(clamping: json["lateMs"]?.integer ?? 0)
        rounds = max(1, min(Self.roundsMax, Int(clamping: json["rounds"]?.integer ?? 1)))
    }
}
