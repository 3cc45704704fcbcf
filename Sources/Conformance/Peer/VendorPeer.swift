// The vendor that is not there: one question in, what arrives and when out.
//
// A plain value under the probe's virtual clock. It has no socket, because between the plugin and it is no network but
// the bench's own services: what a vendor sends, and when, is a list, and the same list in every run. It answers in the
// parent and not in the probe, so that a plugin that overwrites its own memory cannot touch what is said about it.

import JSON

/// A scripted vendor in the middle of a rule.
public struct VendorPeer: Sendable {
    /// A fault that waits for its request.
    struct Armed: Sendable {
        var fault: VendorFault
        /// The URLs that it concerns; empty: all.
        var url: String
        /// Requests that are left alone before the first.
        var skip: Int
        /// How many it hits; nil: all from there on.
        var times: Int?
    }

    struct Connection: Sendable {
        var entry: Int
        var url: String
        var position = 0
        /// Of the expected message of this step.
        var matches = 0
        var bytes = 0
        /// Messages of the vendor's so far.
        var sent = 0
        var fault: VendorFault?
        var isOver = false
        /// Dialogues that were begun on it, by their numbers.
        var runs: [Int] = []
    }

    /// A dialogue by name, on a connection.
    struct Run: Sendable {
        /// 0: none, and none yet.
        var connection: Int
        let steps: [VendorSocketStep]
        /// Its number, and what its patterns found.
        var variables: [String: String]
        var position = 0
        var matches = 0
        var bytes = 0
        /// What the plugin answered otherwise than was expected.
        var problem = ""
        var isOver: Bool { position >= steps.count || !problem.isEmpty }
    }

    public let script: VendorScript
    /// What came, in order. More than this a rule does not look at, and a plugin that asks in a loop fills no memory.
    public private(set) var seen: [VendorSighting] = []
    static let seenMax = 20_000

    private var armed: [Armed] = []
    private var httpUses: [Int]
    private var socketUses: [Int]
    var connections: [Int: Connection] = [:]
    var variables: [String: String]
    private var requestCount = 0
    var runs: [Run] = []
    /// Requests to the plugin that the bench has not fetched yet.
    var servedCalls: [ServedCall] = []
    /// Dialogues of one probe; a rule runs a few.
    static let runsMax = 256

    public init(_ script: VendorScript, variables: [String: String] = [:]) {
        self.script = script
        self.variables = variables
        httpUses = [Int](repeating: 0, count: script.http.count)
        socketUses = [Int](repeating: 0, count: script.sockets.count)
    }

    /// Puts a fault to the requests that follow.
    ///
    /// - Parameters:
    ///   - url: The beginning of the URLs that it concerns; empty: all.
    ///   - skip: Requests that are left alone before the first.
    ///   - times: How many it hits; nil: all from there on.
    public mutating func arm(_ fault: VendorFault, url: String = "", skip: Int = 0, times: Int? = nil) {
        armed.append(Armed(fault: fault, url: url, skip: skip, times: times))
    }

    public mutating func disarm() { armed = [] }

    // MARK: HTTP

    /// A request came.
    public mutating func request(_ request: VendorRequest, id: Int, atNs: UInt64) -> VendorExchange {
        count()
        var sighting = VendorSighting(.http, id: id, atNs: atNs, request)
        var answer = Self.noEntry(request)
        for (index, entry) in script.http.enumerated() where entry.times.map({ httpUses[index] < $0 }) ?? true {
            guard let found = match(request, entry.when, entry.captures) else { continue }
            httpUses[index] += 1
            variables.merge(found) { _, new in new }
            sighting.entry = entry.name
            answer = entry.answer
            break
        }
        asked(request)
        let exchange: VendorExchange
        if let fault = takeFault(request.url) {
            sighting.fault = fault
            exchange = fault.exchange(answer, to: request, variables, errors: script.errors)
        } else {
            exchange = answer.exchange(variables)
        }
        sighting.completeNs = exchange.endMs.map { atNs + UInt64($0) * 1_000_000 }
        see(sighting)
        return exchange
    }

    /// The plugin's side ended a request.
    public mutating func canceled(id: Int, atNs: UInt64) {
        guard let index = seen.lastIndex(where: { $0.kind == .http && $0.id == id }) else { return }
        // What was complete already was not cancelled, whatever the plugin says of it.
        if let completeNs = seen[index].completeNs, completeNs <= atNs { return }
        if seen[index].ending == nil { seen[index].ending = .init(atNs: atNs) }
    }

    private func match(
        _ request: VendorRequest, _ when: VendorCondition, _ captures: [VendorCapture]
    ) -> [String: String]? {
        guard var found = when.match(request, variables) else { return nil }
        for capture in captures {
            guard let value = capture.value(in: request) else { return nil }
            found[capture.name] = value
        }
        return found
    }

    /// A vendor's answer to what it does not know; the text is for the author who reads the report.
    private static func noEntry(_ request: VendorRequest) -> VendorAnswer {
        var answer = VendorAnswer()
        answer.status = 404
        answer.body = .json([
            "error": [
                "message": .string("no entry of the script answers \(request.method) \(request.url)"),
                "type": "not_found", "code": "not_found",
            ]
        ])
        return answer
    }

    // MARK: WebSockets

    /// A connection is asked for.
    public mutating func open(_ request: VendorRequest, id: Int, atNs: UInt64) -> [VendorSocketAction] {
        count()
        var sighting = VendorSighting(.ws, id: id, atNs: atNs, request)
        defer { see(sighting) }
        let fault = takeFault(request.url)
        sighting.fault = fault
        var connection = Connection(entry: -1, url: request.url, fault: fault)
        for (index, entry) in script.sockets.enumerated() where entry.times.map({ socketUses[index] < $0 }) ?? true {
            guard let found = match(request, entry.when, entry.captures) else { continue }
            socketUses[index] += 1
            variables.merge(found) { _, new in new }
            sighting.entry = entry.name
            connection.entry = index
            break
        }
        guard connection.entry >= 0 else { return [Self.refused(request.url, 404)] }
        let entry = script.sockets[connection.entry]
        var actions: [VendorSocketAction]
        if let status = entry.refusal {
            connection.isOver = true
            actions = [Self.refused(request.url, status)]
        } else {
            actions = [
                VendorSocketAction(
                    afterMs: entry.afterMs,
                    kind: .opened(subprotocol: entry.subprotocol, readsBytesPerS: nil, answersPings: true))
            ]
            actions += advance(&connection, from: entry.afterMs)
        }
        return finish(&connection, actions, id: id, isUpgrade: true)
    }

    /// The plugin sent a message.
    public mutating func message(_ bytes: [UInt8], isBinary: Bool, id: Int, atNs: UInt64) -> [VendorSocketAction] {
        guard let index = seen.lastIndex(where: { $0.kind == .ws && $0.id == id }), var connection = connections[id]
        else { return [] }
        var message = VendorSighting.Message(atNs: atNs, bytes: bytes, isBinary: isBinary)
        var actions: [VendorSocketAction] = []
        if !connection.isOver {
            switch take(message, &connection) {
            case .some(let answer): actions = answer
            case nil: message.isUnexpected = true
            }
        }
        seen[index].messages.append(message)
        return finish(&connection, actions, id: id, isUpgrade: false)
    }

    /// The plugin sent a close frame: the vendor answers it (RFC 6455, 5.5.1).
    public mutating func close(code: Int, reason: String, id: Int, atNs: UInt64) -> [VendorSocketAction] {
        ended(id: id, atNs: atNs, code: code, reason: reason)
        for number in connections[id]?.runs ?? [] where !runs[number].isOver {
            guard case .closed = runs[number].steps[runs[number].position] else { continue }
            runs[number].position += 1
            goOnUnconnected(number)
        }
        guard let connection = connections.removeValue(forKey: id), !connection.isOver else { return [] }
        // Whoever is not there, or does not read, answers no close frame either.
        switch connection.fault {
        case .silentPeer, .slowReader(bytesPerS: 0): return []
        default: return [VendorSocketAction(afterMs: 10, kind: .closed(code: code, reason: reason, nil))]
        }
    }

    /// The plugin's side dropped the connection.
    public mutating func gone(id: Int, atNs: UInt64) {
        connections[id] = nil
        ended(id: id, atNs: atNs, code: 0, reason: "")
    }

    private mutating func ended(id: Int, atNs: UInt64, code: Int, reason: String) {
        guard let index = seen.lastIndex(where: { $0.kind == .ws && $0.id == id }), seen[index].ending == nil else {
            return
        }
        seen[index].ending = .init(atNs: atNs, code: code, reason: reason)
    }

    /// Nil: nobody waits for such a message.
    private mutating func take(
        _ message: VendorSighting.Message, _ connection: inout Connection
    ) -> [VendorSocketAction]? {
        guard let entry = entry(of: connection) else { return nil }
        var skip = VendorSocketStep.Skip.nothing
        if connection.position < entry.steps.count,
            case .expect(let pattern, let passedOver) = entry.steps[connection.position]
        {
            skip = passedOver
            if let found = pattern.match(message.bytes, isBinary: message.isBinary, variables) {
                variables.merge(found) { _, new in new }
                connection.matches += 1
                connection.bytes += message.bytes.count
                guard connection.matches >= pattern.times, connection.bytes >= pattern.totalBytesMin else { return [] }
                connection.position += 1
                return advance(&connection, from: 0)
            }
        }
        for run in connection.runs {
            if let actions = take(message, run, &connection) { return actions }
        }
        for handler in entry.handlers {
            guard let found = handler.pattern.match(message.bytes, isBinary: message.isBinary, variables) else {
                continue
            }
            variables.merge(found) { _, new in new }
            var atMs = 0
            return handler.steps.flatMap { actions(of: $0, &atMs, variables, &connection) }
        }
        switch skip {
        case .any: return []
        case .binary where message.isBinary: return []
        case .text where !message.isBinary: return []
        default: return nil
        }
    }

    // MARK: Dialogues by name

    /// Begins a dialogue on the latest connection that has one of that name. Nil: none has, or too many were begun.
    public mutating func begin(_ name: String) -> (run: Int, connection: Int, actions: [VendorSocketAction])? {
        let open = connections.filter { !$0.value.isOver && $0.value.entry >= 0 }.sorted { $0.key > $1.key }
        for (id, found) in open where found.entry != Self.servedEntry {
            guard let steps = script.sockets[found.entry].dialogues[name] else { continue }
            guard runs.count < Self.runsMax else { return nil }
            var connection = found
            let number = runs.count + 1
            runs.append(Run(connection: id, steps: steps, variables: ["run": String(number)]))
            connection.runs.append(number - 1)
            let actions = goOn(number - 1, &connection)
            return (number, id, finish(&connection, actions, id: id, isUpgrade: false))
        }
        guard let steps = script.served?.dialogues[name], runs.count < Self.runsMax else { return nil }
        let number = runs.count + 1
        let digits = String(number, radix: 16)
        let hex = String(repeating: "0", count: 24 - digits.count) + digits
        runs.append(Run(connection: 0, steps: steps, variables: ["run": String(number), "run.hex": hex]))
        goOnUnconnected(number - 1)
        return (number, 0, [])
    }

    /// Nil: the dialogue does not wait for such a message.
    private mutating func take(
        _ message: VendorSighting.Message, _ number: Int, _ connection: inout Connection
    ) -> [VendorSocketAction]? {
        var run = runs[number]
        guard !run.isOver, case .expect(let pattern, _) = run.steps[run.position] else { return nil }
        let known = variables.merging(run.variables) { _, own in own }
        guard let found = pattern.match(message.bytes, isBinary: message.isBinary, known) else { return nil }
        run.variables.merge(found) { _, new in new }
        run.matches += 1
        run.bytes += message.bytes.count
        let isEnough = run.matches >= pattern.times && run.bytes >= pattern.totalBytesMin
        if isEnough {
            run.position += 1
            (run.matches, run.bytes) = (0, 0)
        }
        runs[number] = run
        return isEnough ? goOn(number, &connection) : []
    }

    /// What a dialogue does until it waits for a message again.
    mutating func goOn(_ number: Int, _ connection: inout Connection) -> [VendorSocketAction] {
        var run = runs[number]
        var out: [VendorSocketAction] = []
        var atMs = 0
        let known = variables.merging(run.variables) { _, own in own }
        while !run.isOver, !connection.isOver {
            let step = run.steps[run.position]
            switch step {
            case .expect, .answer, .asked, .closed:
                runs[number] = run
                return out
            case .request(let request, let afterMs), .upgrade(let request, let afterMs):
                atMs += afterMs
                var isUpgrade = false
                if case .upgrade = step { isUpgrade = true }
                servedCalls.append(
                    ServedCall(run: number + 1, afterMs: atMs, request: request.filled(known), isUpgrade: isUpgrade))
                // A WebSocket is waited for where it stands: what follows is said on it.
                guard !isUpgrade else {
                    runs[number] = run
                    return out
                }
            case .send, .sendAudio, .close, .abort: out += actions(of: step, &atMs, known, &connection)
            }
            run.position += 1
        }
        runs[number] = run
        return out
    }

    /// What the vendor does until it waits for a message again.
    private func advance(_ connection: inout Connection, from startMs: Int) -> [VendorSocketAction] {
        let entry = script.sockets[connection.entry]
        var out: [VendorSocketAction] = []
        var atMs = startMs
        connection.matches = 0
        connection.bytes = 0
        while !connection.isOver {
            if connection.position >= entry.steps.count {
                guard let loopStart = entry.loopStart else { break }
                connection.position = loopStart
            }
            let step = entry.steps[connection.position]
            if case .expect = step { break }
            out += actions(of: step, &atMs, variables, &connection)
            connection.position += 1
        }
        return out
    }

    private func actions(
        of step: VendorSocketStep, _ atMs: inout Int, _ variables: [String: String], _ connection: inout Connection
    ) -> [VendorSocketAction] {
        switch step {
        case .expect, .request, .answer, .upgrade, .asked, .closed: return []
        case .send(let body, let isBinary, let afterMs):
            atMs += afterMs
            return [VendorSocketAction(afterMs: atMs, kind: .message(body.bytes(variables), isBinary: isBinary))]
        case .sendAudio(let audio, let frameMs, let everyMs, let afterMs):
            atMs += afterMs
            let bytes = audio.bytes(variables)
            let size = max(2, audio.rateHz * frameMs / 1000 * 2)
            var out: [VendorSocketAction] = []
            for start in stride(from: 0, to: bytes.count, by: size) {
                if start > 0 { atMs += everyMs }
                let frame = Array(bytes[start..<min(start + size, bytes.count)])
                out.append(VendorSocketAction(afterMs: atMs, kind: .message(frame, isBinary: true)))
            }
            return out
        case .close(let code, let reason, let afterMs):
            atMs += afterMs
            connection.isOver = true
            return [VendorSocketAction(afterMs: atMs, kind: .closed(code: code, reason: reason, nil))]
        case .abort(let afterMs):
            atMs += afterMs
            connection.isOver = true
            let failure = VendorFailure.brokenSocket(connection.url)
            return [VendorSocketAction(afterMs: atMs, kind: .closed(code: 0, reason: "", failure))]
        }
    }

    mutating func finish(
        _ connection: inout Connection, _ actions: [VendorSocketAction], id: Int, isUpgrade: Bool
    ) -> [VendorSocketAction] {
        let out =
            connection.fault?.actions(actions, url: connection.url, isUpgrade: isUpgrade, sent: &connection.sent)
            ?? actions
        connection.isOver = connection.isOver || out.contains { if case .closed = $0.kind { true } else { false } }
        connections[id] = connection
        return out
    }

    private static func refused(_ url: String, _ status: Int) -> VendorSocketAction {
        VendorSocketAction(afterMs: 20, kind: .closed(code: 0, reason: "", .notUpgraded(url, status: status)))
    }

    // MARK: Book-keeping

    private mutating func count() {
        requestCount += 1
        variables["request.number"] = String(requestCount)
    }

    mutating func see(_ sighting: VendorSighting) { if seen.count < Self.seenMax { seen.append(sighting) } }

    mutating func takeFault(_ url: String) -> VendorFault? {
        for index in armed.indices where armed[index].url.isEmpty || url.hasPrefix(armed[index].url) {
            if armed[index].skip > 0 {
                armed[index].skip -= 1
                continue
            }
            guard let times = armed[index].times else { return armed[index].fault }
            guard times > 0 else { continue }
            armed[index].times = times - 1
            return armed[index].fault
        }
        return nil
    }
}
