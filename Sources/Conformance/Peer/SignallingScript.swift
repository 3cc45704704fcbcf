// What a peer of a signalling telephony plugin says over UDP, and what it waits for.
//
// SIP is a text of lines, so a script has the lines. Only what no author should count is done here: Content-Length, and
// messages that are repeated (RFC 3261, 17: over UDP everything is, until it is answered).

import JSON

/// A start line, headers and a body: SIP's messages, and those of its kin.
public struct SignallingMessage: Sendable, Equatable {
    public var start: String
    public var headers: [(name: String, value: String)]
    public var body: String

    public static func == (one: Self, other: Self) -> Bool { one.text == other.text }

    public init(start: String, headers: [(name: String, value: String)], body: String) {
        self.start = start
        self.headers = headers
        self.body = body
    }

    /// Nil for what has no start line.
    public init?(parsing bytes: some Collection<UInt8>) {
        let text = String(decoding: bytes, as: UTF8.self)
        let head = text.firstRange(of: "\r\n\r\n").map { text[..<$0.lowerBound] } ?? text[...]
        var lines = head.split(separator: "\r\n", omittingEmptySubsequences: false)
        guard let start = lines.first, !start.isEmpty else { return nil }
        lines.removeFirst()
        self.start = String(start)
        headers = []
        for line in lines {
            if line.first == " " || line.first == "\t", !headers.isEmpty {
                // A folded line (RFC 3261, 7.3.1).
                headers[headers.count - 1].value += " " + line.drop { $0 == " " || $0 == "\t" }
            } else if let colon = line.firstIndex(of: ":") {
                let name = line[..<colon].filter { $0 != " " }
                headers.append((name, String(line[line.index(after: colon)...].drop { $0 == " " || $0 == "\t" })))
            }
        }
        body = text.firstRange(of: "\r\n\r\n").map { String(text[$0.upperBound...]) } ?? ""
    }

    /// The first header of this name, whatever its case, also by the short name that SIP allows.
    public func header(_ name: String) -> String? {
        let names = Self.names(of: name)
        return headers.first { names.contains($0.name.lowercased()) }?.value
    }

    private static func names(of name: String) -> [String] {
        let name = name.lowercased()
        // RFC 3261, 7.3.3.
        let short = ["call-id": "i", "contact": "m", "from": "f", "to": "t", "via": "v", "content-type": "c",
            "content-length": "l", "subject": "s", "supported": "k"]
        return [name] + (short[name].map { [$0] } ?? [])
    }

    /// As it is sent, with Content-Length as the last header.
    public var text: String {
        var lines = [start]
        for header in headers where !Self.names(of: "content-length").contains(header.name.lowercased()) {
            lines.append("\(header.name): \(header.value)")
        }
        lines.append("Content-Length: \(body.utf8.count)")
        return lines.joined(separator: "\r\n") + "\r\n\r\n" + body
    }
}

/// An entry of `udp.dialogues`.
public struct SignallingScript: Sendable, Equatable {
    struct Expectation: Sendable, Equatable {
        var start: ScriptPattern
        var headers: [VendorCondition.NamedPattern] = []
        var body: ScriptPattern?
        /// Start lines that may come before.
        var skip: [ScriptPattern] = []
        var withinMs = 2_000

        func match(_ message: SignallingMessage, _ variables: [String: String]) -> [String: String]? {
            guard var found = start.match(message.start, variables) else { return nil }
            for header in headers {
                guard let value = message.header(header.name),
                    let groups = header.pattern.match(value, variables)
                else { return nil }
                found.merge(groups) { _, last in last }
            }
            if let body {
                guard let groups = body.match(message.body, variables) else { return nil }
                found.merge(groups) { _, last in last }
            }
            return found
        }

        var names: [String] {
            start.names + headers.flatMap(\.pattern.names) + (body?.names ?? [])
        }
    }

    enum Step: Sendable, Equatable {
        case send(lines: [String], body: String, afterMs: Int)
        /// A datagram as it stands: what is no message of lines, JSON say.
        case sendText(String, afterMs: Int)
        case expect(Expectation)
        case pause(ms: Int)
    }

    var steps: [Step] = []

    /// Reads `udp`, which has the dialogues by name.
    static func read(_ object: inout ScriptObject) throws(ScriptError) -> [(String, SignallingScript)] {
        guard var udp = try object.object("udp") else { return [] }
        guard var dialogues = try udp.object("dialogues") else {
            throw udp.error("dialogues", "is missing; expected an object of dialogues by name")
        }
        try udp.finish()
        var read: [(String, SignallingScript)] = []
        for name in dialogues.names {
            var script = SignallingScript()
            var known = ScriptVariables.builtIn
            for var step in try dialogues.objects(name) { script.steps.append(try Self.step(&step, &known)) }
            read.append((name, script))
        }
        try dialogues.finish()
        return read
    }

    private static func step(_ object: inout ScriptObject, _ known: inout Set<String>) throws(ScriptError) -> Step {
        let step: Step
        switch try object.choice(["send", "sendText", "expect", "pauseMs"]) {
        case "send":
            let lines = try object.lines("send")
            guard let first = lines.first, !first.isEmpty else {
                throw object.error("send", "expected an array of lines, the start line first")
            }
            for (index, line) in lines.enumerated().dropFirst() where !line.contains(":") {
                throw object.error("send[\(index)]", "expected a header, NAME: VALUE, found \"\(line)\"")
            }
            let body = try object.lines("body").map { $0 + "\r\n" }.joined()
            let used = (lines + [body]).flatMap(ScriptVariables.names)
            try object.check(variables: used, known: known, "send")
            step = .send(lines: lines, body: body, afterMs: try object.integer("afterMs", in: 0...60_000) ?? 0)
        case "sendText":
            guard let text = try object.text("sendText"), !text.isEmpty else {
                throw object.error("sendText", "expected a text")
            }
            try object.check(variables: ScriptVariables.names(in: text), known: known, "sendText")
            step = .sendText(text, afterMs: try object.integer("afterMs", in: 0...60_000) ?? 0)
        case "expect":
            guard var inner = try object.object("expect") else { throw object.error("expect", "is missing") }
            guard let start = try inner.pattern("start", .prefix) else {
                throw inner.error("start", "is missing; expected the beginning of the start line, \"SIP/2.0 200\" say")
            }
            var expectation = Expectation(start: start)
            expectation.headers = try inner.patterns("headers")
            expectation.body = try inner.pattern("body", .part)
            try inner.finish()
            for (index, line) in try object.lines("skip").enumerated() {
                expectation.skip.append(try object.pattern(line, .prefix, "skip[\(index)]"))
            }
            expectation.withinMs = try object.integer("withinMs", in: 1...60_000) ?? 2_000
            known.formUnion(expectation.names)
            step = .expect(expectation)
        case "pauseMs": step = .pause(ms: try object.integer("pauseMs", in: 0...60_000) ?? 0)
        default: throw object.error("", "expected one of `send`, `sendText`, `expect`, `pauseMs`")
        }
        try object.finish()
        return step
    }
}

extension ScriptObject {
    /// The names of all members, in order.
    var names: [String] { keys.sorted() }

    mutating func lines(_ key: String) throws(ScriptError) -> [String] {
        var lines: [String] = []
        for (index, element) in try array(key).enumerated() {
            guard let line = element.string else {
                throw error("\(key)[\(index)]", "expected a string, found \(element.typeName)")
            }
            lines.append(line)
        }
        return lines
    }
}
