// OWN: the scenarios of a plugin's author.
//
// They are no rules of the contract, and yet they run as one runs: in a probe, on the bench, with the vendor in the
// parent. So a scenario becomes a rule on the spot, "VC-OWN-" and its file's name, and the report needs to know nothing
// of it.
//
// What is expected is told by events that matter to the author. Events whose name the scenario does not mention are
// passed over; those that it mentions must come as they stand there, in order, and no others.

import JSON
import PluginABI
import Providers

extension OwnScenario {
    /// "VC-OWN-tool-call-in-pieces".
    public var ruleId: String { Self.idPrefix + name }
    public static let idPrefix = "VC-OWN-"

    /// The scenario as a rule.
    public var rule: Rule {
        Rule(
            ruleId, .basic, .must, smoke: false, title, because: "The provider's author says so, in \(name).json.",
            check: .probe { bench in try run(on: bench) })
    }

    /// The rule of a job that names a scenario. Nil: it names none, or the folder has no such scenario.
    public static func rule(_ id: String, scripts directory: String, provider: String) -> Rule? {
        guard id.hasPrefix(idPrefix), let script = try? VendorScript.load(directory: directory, provider: provider)
        else { return nil }
        return script.scenarios.first { $0.ruleId == id }?.rule
    }

    /// Does what the scenario says and compares. Throws a `Violation` that names the step or the event.
    func run(on bench: Bench) throws {
        guard let services = VendorServices.current else { throw NotApplicable("the bench has no vendor") }
        var options = SessionOptions()
        if let rateHz = input.firstRateHz { options.rate = rateHz }
        let provider = try bench.provider()
        let isCall = bench.kind == .telephony
        let session = isCall ? nil : try provider.session(options)
        var player = OwnPlayer(bench: bench, provider: provider, session: session, services: services)
        for (index, step) in input.enumerated() { try player.play(step, "input[\(index)]") }
        let events = provider.events + provider.sessions.flatMap(\.events)
        try judge(events.sorted { $0.number < $1.number })
        if let received { try judge(received, services.seen()) }
        try provider.end()
    }

    /// Compares what came with what must come.
    func judge(_ events: [RecordedEvent]) throws {
        let names = Set(expected.map(\.event))
        var rest = events.filter { names.contains($0.name) }[...]
        for (index, wanted) in expected.enumerated() {
            let place = "expect[\(index)]"
            guard let first = rest.first else {
                throw Violation(place, expected: wanted.text, got: "nothing more")
            }
            var json = first.json
            guard first.name == wanted.event, json.match(subset: wanted.fields, [:]) != nil else {
                throw Violation(place, expected: wanted.text, got: json.text)
            }
            rest = rest.dropFirst()
            var sums = wanted.total.mapValues { _ in 0 }
            while true {
                for name in wanted.total.keys { sums[name, default: 0] += Int(json[name]?.integer ?? 0) }
                guard wanted.mayRepeat, let next = rest.first, next.name == wanted.event,
                    next.json.match(subset: wanted.fields, [:]) != nil
                else { break }
                json = next.json
                rest = rest.dropFirst()
            }
            for (name, total) in wanted.total.sorted(by: { $0.key < $1.key }) where sums[name] != total {
                throw Violation(place, expected: "\(total) \(name) in all", got: "\(sums[name] ?? 0)")
            }
        }
        if let extra = rest.first {
            throw Violation("expect", expected: "no further \(extra.name)", got: extra.json.text)
        }
    }

    /// Compares what the vendor got with what it must have got, both in full.
    func judge(_ received: [Received], _ seen: [VendorSighting]) throws {
        var got: [Arrival] = []
        for sighting in seen {
            if sighting.kind == .http { got.append(.request(sighting.request, atNs: sighting.atNs)) }
            got += sighting.messages.map { .message($0) }
        }
        got.sort { $0.atNs < $1.atNs }
        for (index, wanted) in received.enumerated() {
            let place = "received[\(index)]"
            guard index < got.count else { throw Violation(place, expected: "a request", got: "nothing more") }
            let arrival = got[index]
            let isMeant: Bool =
                switch (wanted.kind, arrival) {
                case (.http(let condition), .request(let request, _)): condition.match(request, [:]) != nil
                case (.ws(let pattern), .message(let message)):
                    pattern.match(message.bytes, isBinary: message.isBinary, [:]) != nil
                default: false
                }
            guard isMeant else {
                throw Violation(place, expected: "what the scenario says there", got: arrival.text)
            }
            guard let exactly = wanted.exactly?.bytes([:]), exactly != arrival.bytes else { continue }
            let offset = zip(exactly, arrival.bytes).enumerated().first { $1.0 != $1.1 }?.offset
            throw Violation(
                place, expected: "\(exactly.count) bytes, as written",
                got: "\(arrival.bytes.count) bytes, other from byte "
                    + "\(offset ?? min(exactly.count, arrival.bytes.count)) on: \(arrival.text)")
        }
        if got.count > received.count {
            throw Violation("received", expected: "\(received.count) in all", got: got[received.count].text)
        }
    }

    /// A request or a message that reached the vendor.
    private enum Arrival {
        case request(VendorRequest, atNs: UInt64)
        case message(VendorSighting.Message)

        var atNs: UInt64 {
            switch self {
            case .request(_, let atNs): atNs
            case .message(let message): message.atNs
            }
        }

        var bytes: [UInt8] {
            switch self {
            case .request(let request, _): request.body
            case .message(let message): message.bytes
            }
        }

        var text: String {
            let body = String(validating: bytes, as: UTF8.self).map { String($0.prefix(200)) } ?? "\(bytes.count) bytes"
            return switch self {
            case .request(let request, _): "\(request.method) \(request.url) \(body)"
            case .message: body
            }
        }
    }
}

/// Plays the steps of a scenario.
private struct OwnPlayer {
    let bench: Bench
    let provider: BenchProvider
    /// Nil until a call is there.
    var session: BenchSession?
    let services: VendorServices
    var utterance: UInt64 = 0
    var latestRequest: UInt64 = 0
    var dialogues: [(name: String, run: Int)] = []
    /// Events that a `wait` has used up.
    var usedCount = 0

    mutating func play(_ step: OwnScenario.Step, _ place: String) throws {
        switch step {
        case .advance(let ms): bench.advance(ms: ms)
        case .wait(let event, let ms): try wait(event, ms: ms, place)
        case .fault(let fault, let times): services.arm(fault, times: times)
        case .noFault: services.disarm()
        case .dialogue(let name):
            guard let run = services.beginDialogue(name) else {
                throw Violation(place, expected: "the dialogue \(name) begins", got: "it does not")
            }
            dialogues.append((name, run))
        case .dialoguesPass(let ms):
            for (name, run) in dialogues {
                let services = services
                _ = bench.wait(ms: ms) { services.dialogue(run)["state"] != "running" }
                let end = services.dialogue(run)
                guard end["state"] == "passed" else {
                    throw Violation(
                        place, expected: "the dialogue \(name) comes to its end",
                        got: "\(end["problem"]?.string ?? "") (step \(end["step"]?.text ?? "unknown"))")
                }
            }
        case .incoming(let ms):
            guard let event = provider.waitForIncoming(ms: ms, after: provider.sessions.count),
                case .incoming(let key, _, _, _, _, _, _) = event.body
            else { throw Violation(place, expected: "INCOMING within \(ms) ms", got: "none") }
            var options = SessionOptions()
            options.key = key
            session = try provider.session(options)
        case .dial(let address):
            var options = SessionOptions()
            options.direction = UInt32(VC_CALL_OUTBOUND)
            options.to = address
            session = try provider.session(options)
        default:
            guard let session else { throw Violation(place, expected: "a session", got: "no call is there yet") }
            try play(step, session, place)
        }
    }

    private mutating func play(_ step: OwnScenario.Step, _ session: BenchSession, _ place: String) throws {
        var status = vc_status(VC_OK)
        switch step {
        case .audio(let audio): session.pushInTime(audio.samples())
        case .silence(let ms): session.pushInTime([Int16](repeating: 0, count: session.rateHz * ms / 1000))
        case .begin:
            utterance += 1
            status = session.begin(utterance)
        case .finalize(let isTentative):
            latestRequest = session.nextRequest()
            status = session.finalize(latestRequest, flags: isTentative ? UInt32(VC_STT_TENTATIVE) : 0)
        case .speak(let text, let request, let isLast):
            latestRequest = request.map { UInt64($0) } ?? session.nextRequest()
            status = session.speak(latestRequest, text, last: isLast)
        case .ask(let messages, let tools, let options):
            latestRequest = session.nextRequest()
            status = session.ask(latestRequest, messages, tools: tools, options: options)
        case .toolResult(let call, let result): status = session.toolResult(latestRequest, call: call, result)
        case .answer: status = session.answer()
        case .hangup: session.hangup()
        case .cancel: session.cancel()
        case .close: session.close()
        default: break
        }
        guard status == VC_OK else { throw Violation(place, expected: "VC_OK", got: statusName(status)) }
    }

    private mutating func wait(_ name: String, ms: Int, _ place: String) throws {
        let provider = provider
        func all() -> [RecordedEvent] {
            (provider.events + provider.sessions.flatMap(\.events)).sorted { $0.number < $1.number }
        }
        let used = usedCount
        guard bench.wait(ms: ms, until: { all().dropFirst(used).contains { $0.name == name } }) else {
            let names = all().dropFirst(used).map { $0.failure.map { "ERROR \($0.message)" } ?? $0.name }
            throw Violation(
                place, expected: "\(name) within \(ms) ms", got: names.isEmpty ? "none" : names.joined(separator: ", "))
        }
        usedCount = all().indices.first { $0 >= used && all()[$0].name == name }! + 1
    }
}

extension [OwnScenario.Step] {
    /// The rate of the first audio: that of the session.
    fileprivate var firstRateHz: Int? {
        for case .audio(let audio) in self { return audio.rateHz }
        return nil
    }
}

extension OwnScenario.Expected {
    fileprivate var text: String { fields == [:] ? event : "\(event) with \(fields.text)" }
}

extension RecordedEvent {
    /// The event as a scenario compares it: its name, and its members by their names in the header, in lowerCamelCase.
    var json: JSONValue {
        func integer(_ value: some BinaryInteger) -> JSONValue { .integer(Int64(clamping: value)) }
        var members: [String: JSONValue] = [
            "event": .string(name), "request": integer(request), "epoch": integer(epoch),
        ]
        func add(_ more: [String: JSONValue]) { members.merge(more) { _, new in new } }
        switch body {
        case .none: break
        case .failure(let failure):
            add([
                "code": integer(failure.code), "fatal": .bool(failure.isFatal), "message": .string(failure.message),
                "retryable": .bool(failure.retryable != 0), "retryAfterMs": integer(failure.retryAfterMs),
                "protocolStatus": integer(failure.protocolStatus), "vendor": .string(failure.vendor),
                "vendorCode": .string(failure.vendorCode),
            ])
        case .transcript(
            let utterance, let start, let end, let text, let language, let isFinal, let confidence, _, let words):
            add([
                "utterance": integer(utterance), "start": integer(start), "end": integer(end), "text": .string(text),
                "language": .string(language), "final": .bool(isFinal), "confidence": .number(Double(confidence)),
                "words": .array(words.map { .string($0.text) }),
            ])
        case .turn(let utterance, let position, let text, let turn, _):
            add([
                "utterance": integer(utterance), "position": integer(position), "text": .string(text),
                "turn": integer(turn),
            ])
        case .audio(let audio):
            add([
                "rateHz": integer(audio.rateHz), "samples": integer(audio.declaredSamples),
                "position": integer(audio.position),
            ])
        case .mark(let textStart, let textEnd, let position, let end):
            add([
                "textStart": integer(textStart), "textEnd": integer(textEnd), "position": integer(position),
                "end": integer(end),
            ])
        case .spoken(let reason, let samples): add(["reason": integer(reason), "samples": integer(samples)])
        case .delta(let text): add(["text": .string(text)])
        case .toolCall(let call, let name, let arguments):
            add(["call": .string(call), "name": .string(name), "arguments": .string(arguments)])
        case .usage(let input, let cached, let output):
            add(["inputTokens": integer(input), "cachedTokens": integer(cached), "outputTokens": integer(output)])
        case .answered(let reason): add(["reason": integer(reason)])
        case .verdict(let probability, _): add(["probability": .number(Double(probability))])
        case .incoming(let key, let from, let display, let to, let peer, let protocolCall, _):
            add([
                "key": .string(key), "from": .string(from), "display": .string(display), "to": .string(to),
                "peer": .string(peer), "protocolCall": .string(protocolCall),
            ])
        case .withdrawn(let key): add(["key": .string(key)])
        case .hangup(let cause, let code, let reason):
            add(["cause": integer(cause), "code": integer(code), "reason": .string(reason)])
        case .played(let mark, let cleared): add(["mark": integer(mark), "cleared": integer(cleared)])
        case .dtmf(let digits, let durationMs):
            add(["digits": .string(digits), "durationMs": integer(durationMs)])
        case .held(let isOn): add(["on": .bool(isOn)])
        case .transferred(let succeeded, let code, let reason):
            add(["succeeded": .bool(succeeded), "code": integer(code), "reason": .string(reason)])
        }
        return .object(members)
    }
}
