// An author's own test: what goes in, what must come out, and what the vendor must have received. It runs in the same
// bench as the rules and is judged like them, under the group OWN.

import JSON

/// A scenario of a provider's author.
public struct OwnScenario: Sendable {
    /// What is done to the session, in order. Time passes in `advance` and `wait` alone.
    enum Step: Sendable, Equatable {
        /// The caller's audio, in frames of 20 ms at the session's rate.
        case audio(ScriptAudio)
        case silence(ms: Int)
        case begin
        case finalize(isTentative: Bool)
        case speak(text: String, request: Int?, isLast: Bool)
        case ask(messages: JSONValue, tools: JSONValue, options: JSONValue)
        case toolResult(call: String, result: String)
        case cancel
        case close
        case advance(ms: Int)
        case wait(event: String, withinMs: Int)
        case fault(VendorFault, times: Int?)
        case noFault
        /// The peer of a telephony plugin begins a dialogue.
        case dialogue(String)
        /// Every dialogue that was begun has come to its end.
        case dialoguesPass(withinMs: Int)
        /// A call is announced, and the host opens a session for it.
        case incoming(withinMs: Int)
        case dial(String)
        case answer
        case hangup
    }

    /// An event that must come.
    struct Expected: Sendable, Equatable {
        var event: String
        /// What must be in it: a subset, as of a vendor's JSON.
        var fields: JSONValue
        /// It may come several times in a row.
        var mayRepeat = false
        /// Sums over the repetitions, "samples" for one.
        var total: [String: Int] = [:]
    }

    /// What the vendor must have got.
    struct Received: Sendable, Equatable {
        enum Kind: Sendable, Equatable {
            case http(VendorCondition)
            case ws(VendorMessagePattern)
        }
        var kind: Kind
        /// The whole body or message, byte by byte; nil: it is not looked at further.
        var exactly: VendorBody?
    }

    /// The file's name without ".json".
    public let name: String
    public let title: String
    /// How the vendor behaves in it.
    public let vendor: VendorScript
    let input: [Step]
    let expected: [Expected]
    /// Nil: the scenario does not say.
    let received: [Received]?

    /// Reads a scenario over the vendor of its folder.
    public init(parsing bytes: [UInt8], file: String, vendor: VendorScript) throws(ScriptError) {
        var object = try VendorScript.document(bytes, file: file)
        name = file.hasSuffix(".json") ? String(file.dropLast(5)) : file
        guard let title = try object.text("title") else {
            throw object.error("title", "is missing; expected one sentence that says what is proven")
        }
        self.title = title
        self.vendor = try VendorScript(&object, over: vendor)
        var input: [Step] = []
        for var step in try object.objects("input") { input.append(try Self.step(&step, self.vendor)) }
        guard !input.isEmpty else { throw object.error("input", "is missing or empty; expected what is done") }
        self.input = input
        var expected: [Expected] = []
        for var event in try object.objects("expect") { expected.append(try Self.expected(&event)) }
        self.expected = expected
        var received: [Received] = []
        for var item in try object.objects("received") { received.append(try Self.received(&item)) }
        self.received = object.has("received") ? received : nil
        guard !expected.isEmpty || self.received != nil else {
            throw object.error("expect", "is missing, and so is `received`: the scenario proves nothing")
        }
        try object.finish()
    }

    private static let stepKeys = [
        "audio", "silenceMs", "begin", "finalize", "speak", "ask", "toolResult", "cancel", "close", "advanceMs", "wait",
        "fault", "noFault", "dialogue", "dialoguesPass", "incoming", "dial", "answer", "hangup",
    ]

    private static func step(_ object: inout ScriptObject, _ vendor: VendorScript) throws(ScriptError) -> Step {
        let step: Step
        switch try object.choice(stepKeys) {
        case "audio":
            guard var inner = try object.object("audio") else { throw object.error("audio", "is missing") }
            step = .audio(try ScriptAudio(&inner))
            try inner.finish()
        case "silenceMs": step = .silence(ms: try object.integer("silenceMs", in: 0...600_000)!)
        case "begin": step = try object.isSet("begin", .begin)
        case "finalize":
            guard let text = try object.text("finalize"), text == "final" || text == "tentative" else {
                throw object.error("finalize", "expected \"final\" or \"tentative\"")
            }
            step = .finalize(isTentative: text == "tentative")
        case "speak":
            step = .speak(
                text: try object.text("speak")!, request: try object.integer("request", in: 1...1_000_000),
                isLast: try object.flag("last") ?? true)
        case "ask":
            guard var inner = try object.object("ask") else { throw object.error("ask", "is missing") }
            let messages = try inner.required("messages", "an array of messages")
            guard messages.array != nil else { throw inner.error("messages", "expected an array") }
            step = .ask(messages: messages, tools: inner.value("tools") ?? [], options: inner.value("options") ?? [:])
            try inner.finish()
        case "toolResult":
            guard var inner = try object.object("toolResult") else { throw object.error("toolResult", "is missing") }
            guard let call = try inner.text("call"), let result = try inner.text("result") else {
                throw inner.error("", "expected `call` and `result`")
            }
            step = .toolResult(call: call, result: result)
            try inner.finish()
        case "cancel": step = try object.isSet("cancel", .cancel)
        case "close": step = try object.isSet("close", .close)
        case "advanceMs": step = .advance(ms: try object.integer("advanceMs", in: 0...600_000)!)
        case "wait":
            step = .wait(
                event: try object.text("wait")!, withinMs: try object.integer("withinMs", in: 1...600_000) ?? 5_000)
        case "fault":
            guard let fault = object.value("fault").flatMap({ VendorFault($0) }) else {
                throw object.error("fault", "expected a fault, {\"name\": \"status\", \"status\": 429} say")
            }
            step = .fault(fault, times: try object.integer("times", in: 1...1_000))
        case "noFault": step = try object.isSet("noFault", .noFault)
        case "dialogue":
            let name = try object.text("dialogue")!
            guard vendor.dialogues[name] != nil else {
                let names = vendor.dialogues.keys.sorted().joined(separator: ", ")
                throw object.error("dialogue", "there is no dialogue \"\(name)\"; there are: \(names)")
            }
            step = .dialogue(name)
        case "dialoguesPass":
            let withinMs = try object.integer("withinMs", in: 1...60_000) ?? 5_000
            step = try object.isSet("dialoguesPass", .dialoguesPass(withinMs: withinMs))
        case "incoming":
            let withinMs = try object.integer("withinMs", in: 1...60_000) ?? 5_000
            step = try object.isSet("incoming", .incoming(withinMs: withinMs))
        case "dial": step = .dial(try object.text("dial")!)
        case "answer": step = try object.isSet("answer", .answer)
        case "hangup": step = try object.isSet("hangup", .hangup)
        default:
            throw object.error("", "expected one of \(stepKeys.map { "`\($0)`" }.joined(separator: ", "))")
        }
        try object.finish()
        return step
    }

    private static func expected(_ object: inout ScriptObject) throws(ScriptError) -> Expected {
        guard let event = try object.text("event") else {
            throw object.error("event", "is missing; expected an event's name, \"TRANSCRIPT\" say")
        }
        var expected = Expected(event: event, fields: [:])
        expected.mayRepeat = try object.flag("repeats") ?? false
        if var total = try object.object("total") {
            for name in total.names { expected.total[name] = try total.integer(name, in: 0...1_000_000_000) }
            try total.finish()
        }
        if let fields = object.value("with") {
            guard fields.object != nil else { throw object.error("with", "expected an object of the event's fields") }
            for name in VendorCondition.badPatterns(in: fields) {
                throw object.error("with", "\(name) is no regular expression")
            }
            expected.fields = fields
        }
        try object.finish()
        return expected
    }

    private static func received(_ object: inout ScriptObject) throws(ScriptError) -> Received {
        var received: Received
        switch try object.choice(["http", "ws"]) {
        case "http":
            guard var inner = try object.object("http") else { throw object.error("http", "is missing") }
            received = Received(kind: .http(try VendorCondition(&inner)))
            try inner.finish()
        case "ws":
            guard var inner = try object.object("ws") else { throw object.error("ws", "is missing") }
            received = Received(kind: .ws(try VendorMessagePattern(&inner)))
            try inner.finish()
        default: throw object.error("", "expected `http` or `ws`")
        }
        if var inner = try object.object("exactly") {
            received.exactly = try VendorBody(&inner)
            try inner.finish()
        }
        try object.finish()
        return received
    }
}

extension ScriptObject {
    fileprivate mutating func isSet<Value>(_ key: String, _ value: Value) throws(ScriptError) -> Value {
        guard try flag(key) == true else { throw error(key, "expected true") }
        return value
    }
}

extension VendorCondition {
    /// Texts between slashes that are no regular expressions.
    static func badPatterns(in json: JSONValue) -> [String] {
        switch json {
        case .string(let text): (try? ScriptPattern(text, .whole)) == nil ? [text] : []
        case .array(let elements): elements.flatMap(badPatterns)
        case .object(let members): members.values.flatMap(badPatterns)
        default: []
        }
    }
}
