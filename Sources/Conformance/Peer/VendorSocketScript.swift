// How a vendor behaves on a WebSocket.
//
// Two notations, because vendors are of two sorts. A dialogue (`script`) is an order of messages: first the settings,
// then audio, then the end. A servant (`on`) answers each message by itself, whenever it comes: a keep-alive, a request
// for a sentence. Most are both, so an entry may have both; the dialogue is asked first.
//
// And a vendor of calls does things unasked, when a rule wants them: a call comes in, the caller gives up. Those are
// dialogues by name (`dialogues`), of which any number goes on at once on a connection that is open.

import JSON

/// A message that the vendor waits for.
public struct VendorMessagePattern: Sendable, Equatable {
    var json: JSONValue?
    var text: ScriptPattern?
    /// Nil: either.
    var isBinary: Bool?
    var bytesMin = 0
    /// Of all messages that fit, together: so much audio, in whatever pieces.
    var totalBytesMin = 0
    var times = 1

    func match(_ bytes: [UInt8], isBinary messageIsBinary: Bool, _ variables: [String: String]) -> [String: String]? {
        if let isBinary, isBinary != messageIsBinary { return nil }
        guard bytes.count >= bytesMin else { return nil }
        if json == nil && text == nil { return [:] }
        guard !messageIsBinary else { return nil }
        if let json {
            let document = bytes.withUnsafeBufferPointer { try? JSONValue(parsing: $0) }
            return document?.match(subset: json, variables)
        }
        return text?.match(String(decoding: bytes, as: UTF8.self), variables)
    }

    var names: [String] { (text?.names ?? []) + VendorCondition.names(in: json ?? .null) }

    init(_ object: inout ScriptObject) throws(ScriptError) {
        switch try object.choice(["json", "text", "binary", "any"]) {
        case "json":
            json = object.value("json")
            isBinary = false
        case "text":
            text = try object.pattern("text", .part)
            isBinary = false
        case "binary":
            guard try object.flag("binary") == true else { throw object.error("binary", "expected true") }
            isBinary = true
            bytesMin = try object.integer("bytesMin", in: 0...(1 << 20)) ?? 0
            totalBytesMin = try object.integer("totalBytesMin", in: 0...(64 << 20)) ?? 0
        case "any": guard try object.flag("any") == true else { throw object.error("any", "expected true") }
        default: throw object.error("", "expected `json`, `text`, `binary` or `any`")
        }
        times = try object.integer("times", in: 1...100_000) ?? 1
    }
}

/// A step of a vendor on a WebSocket.
public enum VendorSocketStep: Sendable, Equatable {
    /// What of other messages is passed over until the one that is meant comes; the rest is unexpected.
    public enum Skip: String, Sendable, CaseIterable { case nothing, binary, text, any }

    case expect(VendorMessagePattern, skip: Skip)
    case send(VendorBody, isBinary: Bool, afterMs: Int)
    case sendAudio(ScriptAudio, frameMs: Int, everyMs: Int, afterMs: Int)
    case close(code: Int, reason: String, afterMs: Int)
    /// Ends the connection without a word.
    case abort(afterMs: Int)
    /// Of a vendor that calls: a request to the plugin, its answer, a WebSocket there, and a request of the plugin's to
    /// the vendor that is waited for.
    case request(ServedRequest, afterMs: Int)
    case answer(ServedAnswerPattern)
    case upgrade(ServedRequest, afterMs: Int)
    case asked(VendorCondition)
    /// The plugin has closed the WebSocket.
    case closed

    static func read(_ object: inout ScriptObject, mayExpect: Bool) throws(ScriptError) -> VendorSocketStep {
        let keys = (mayExpect ? ["expect"] : []) + ["send", "sendAudio", "close", "abort"]
        let key = try object.choice(keys)
        let afterMs = try object.integer("afterMs", in: 0...600_000)
        let step: VendorSocketStep
        switch key {
        case "expect":
            guard var inner = try object.object("expect") else { throw object.error("expect", "is missing") }
            let pattern = try VendorMessagePattern(&inner)
            try inner.finish()
            let name = try object.text("skip") ?? "nothing"
            guard let skip = Skip(rawValue: name) else {
                throw object.error("skip", "expected \"nothing\", \"binary\", \"text\" or \"any\", found \"\(name)\"")
            }
            guard afterMs == nil else { throw object.error("afterMs", "is for what the vendor sends") }
            step = .expect(pattern, skip: skip)
        case "send":
            guard var inner = try object.object("send") else { throw object.error("send", "is missing") }
            let body = try VendorBody(&inner)
            if case .none = body { throw inner.error("", "expected `text`, `json`, `base64` or `audio`") }
            if case .events = body { throw inner.error("sse", "is for HTTP; send `json` or `text`") }
            var isBinary = false
            switch body {
            case .bytes, .audio: isBinary = true
            default: break
            }
            try inner.finish()
            step = .send(body, isBinary: isBinary, afterMs: afterMs ?? 20)
        case "sendAudio":
            guard var inner = try object.object("sendAudio") else { throw object.error("sendAudio", "is missing") }
            let audio = try ScriptAudio(&inner)
            let frameMs = try inner.integer("frameMs", in: 1...10_000) ?? 20
            let everyMs = try inner.integer("everyMs", in: 0...10_000) ?? 0
            try inner.finish()
            step = .sendAudio(audio, frameMs: frameMs, everyMs: everyMs, afterMs: afterMs ?? 20)
        case "close":
            guard var inner = try object.object("close") else { throw object.error("close", "is missing") }
            let code = try inner.integer("code", in: 1000...4999) ?? 1000
            let reason = try inner.text("reason") ?? ""
            try inner.finish()
            step = .close(code: code, reason: reason, afterMs: afterMs ?? 20)
        case "abort":
            guard try object.flag("abort") == true else { throw object.error("abort", "expected true") }
            step = .abort(afterMs: afterMs ?? 20)
        default:
            throw object.error("", "expected one of \(keys.map { "`\($0)`" }.joined(separator: ", "))")
        }
        try object.finish()
        return step
    }

    var variableNames: [String] {
        switch self {
        case .send(let body, _, _): body.variableNames
        case .sendAudio(let audio, _, _, _): VendorBody.audio(audio).variableNames
        case .request(let request, _), .upgrade(let request, _): request.variableNames
        default: []
        }
    }
}

/// An entry of `ws`.
public struct VendorSocketScript: Sendable, Equatable {
    struct Handler: Sendable, Equatable {
        var pattern: VendorMessagePattern
        var steps: [VendorSocketStep]
    }

    var name = ""
    var when = VendorCondition()
    var captures: [VendorCapture] = []
    var times: Int?
    /// Until the upgrade is answered.
    var afterMs = 20
    /// The subprotocol that is chosen.
    var subprotocol = ""
    /// The upgrade is refused with this status.
    var refusal: Int?
    var steps: [VendorSocketStep] = []
    /// Where the dialogue goes on after its last step; nil: it is over.
    var loopStart: Int?
    var handlers: [Handler] = []
    /// What the vendor does on this connection when it is told to, by name.
    var dialogues: [String: [VendorSocketStep]] = [:]

    init(_ object: inout ScriptObject, known: inout Set<String>) throws(ScriptError) {
        name = try object.text("name") ?? object.path
        guard var when = try object.object("when") else {
            throw object.error("when", "is missing; expected {\"url\": \"wss://...\"}")
        }
        self.when = try VendorCondition(&when)
        try when.finish()
        captures = try VendorCapture.read(&object)
        times = try object.integer("times", in: 1...10_000)
        afterMs = try object.integer("afterMs", in: 0...600_000) ?? 20
        subprotocol = try object.text("subprotocol") ?? ""
        refusal = try object.integer("refuse", in: 300...599)
        known.formUnion(self.when.names + captures.map(\.name))

        for var step in try object.objects("script") {
            if let loop = try Self.loop(&step) {
                loopStart = steps.count
                for var step in loop { steps.append(try Self.read(&step, mayExpect: true, &known)) }
            } else {
                guard loopStart == nil else { throw step.error("", "stands behind a `loop`, which never ends") }
                steps.append(try Self.read(&step, mayExpect: true, &known))
            }
        }
        if let loopStart {
            guard loopStart < steps.count, case .expect = steps[loopStart] else {
                throw object.error("script", "has a `loop` that does not begin with `expect`: it would never rest")
            }
        }
        try readHandlers(&object, known: &known)
        guard var table = try object.object("dialogues") else { return }
        for name in table.keys {
            var own = known.union(["run"])
            for var step in try table.objects(name) {
                dialogues[name, default: []].append(try Self.read(&step, mayExpect: true, &own))
            }
        }
        try table.finish()
    }

    private mutating func readHandlers(
        _ object: inout ScriptObject, known: inout Set<String>
    ) throws(ScriptError) {
        for var handler in try object.objects("on") {
            guard var expect = try handler.object("expect") else {
                throw handler.error("expect", "is missing; expected which message is answered")
            }
            let pattern = try VendorMessagePattern(&expect)
            try expect.finish()
            known.formUnion(pattern.names)
            var steps: [VendorSocketStep] = []
            for var step in try handler.objects("then") { steps.append(try Self.read(&step, mayExpect: false, &known)) }
            try handler.finish()
            handlers.append(Handler(pattern: pattern, steps: steps))
        }
    }

    /// The half of an entry that a WebSocket has which the vendor opened.
    init(served object: inout ScriptObject, known: inout Set<String>) throws(ScriptError) {
        try readHandlers(&object, known: &known)
    }

    /// A step of a dialogue of a vendor that calls.
    static func readServed(
        _ object: inout ScriptObject, _ known: inout Set<String>
    ) throws(ScriptError) -> VendorSocketStep {
        if try object.flag("closed") == true {
            try object.finish()
            return .closed
        }
        let keys = ["request", "answer", "upgrade", "asked"]
        guard let key = try object.choice(keys), var inner = try object.object(key) else {
            return try read(&object, mayExpect: true, &known)
        }
        let step: VendorSocketStep
        let afterMs = try object.integer("afterMs", in: 0...600_000) ?? 20
        switch key {
        case "request": step = .request(try ServedRequest(&inner, method: "POST"), afterMs: afterMs)
        case "upgrade": step = .upgrade(try ServedRequest(&inner, method: "GET"), afterMs: afterMs)
        case "answer":
            let pattern = try ServedAnswerPattern(&inner)
            known.formUnion(pattern.body?.names ?? [])
            step = .answer(pattern)
        default:
            let condition = try VendorCondition(&inner)
            known.formUnion(condition.names)
            step = .asked(condition)
        }
        try inner.finish()
        try object.check(variables: step.variableNames, known: known, "")
        try object.finish()
        return step
    }

    private static func loop(_ step: inout ScriptObject) throws(ScriptError) -> [ScriptObject]? {
        guard step.has("loop") else { return nil }
        let steps = try step.objects("loop")
        try step.finish()
        return steps
    }

    private static func read(
        _ object: inout ScriptObject, mayExpect: Bool, _ known: inout Set<String>
    ) throws(ScriptError) -> VendorSocketStep {
        let step = try VendorSocketStep.read(&object, mayExpect: mayExpect)
        if case .expect(let pattern, _) = step { known.formUnion(pattern.names) }
        try object.check(variables: step.variableNames, known: known, "")
        return step
    }
}

/// What arrives on a WebSocket, and when, counted from what caused it.
public struct VendorSocketAction: Sendable, Equatable {
    public enum Kind: Sendable, Equatable {
        /// - readsBytesPerS: How fast the vendor reads what is sent; nil: at once; 0: not at all.
        /// - answersPings: False: it is there no more, and nobody was told.
        case opened(subprotocol: String, readsBytesPerS: Int?, answersPings: Bool)
        case message([UInt8], isBinary: Bool)
        case closed(code: Int, reason: String, VendorFailure?)
    }

    public var afterMs: Int
    public var kind: Kind
}
