import JSON
import PluginKit
import Testing

@testable import BackToBack

/// A switchboard, its clock, and an OpenSIPS that says OK unless a test answers for it.
struct Line {
    static let session: UInt64 = 7
    static let inbound = TelephonyCall.inbound(key: Capture.key)

    struct Command: Equatable {
        var id: String
        var method: String
        var params: JSONValue
    }

    var board: Switchboard
    var nowNs: UInt64 = 0
    /// False: commands stay unanswered until `answer`.
    var answers = true
    var mediaAnswer = MediaAnswer.text("v=0\r\nours\r\n")
    var commands: [Command] = []
    var events: [TelephonyEvent] = []
    var announced: [IncomingCall] = []
    var questions: [MediaQuestion] = []
    var others: [Action] = []

    init(_ change: (inout SwitchboardSettings) -> Void = { _ in }) {
        var settings = SwitchboardSettings()
        settings.outboundSocket = "udp:127.0.0.1:15060"
        settings.commandPrefix = "t"
        change(&settings)
        board = Switchboard(settings, nowNs: 0)
    }

    mutating func perform(_ actions: [Action]) {
        for action in actions {
            switch action {
            case .send(let text):
                let document = try! JSONValue(parsing: text)
                let command = Command(id: document["id"]!.string!, method: document["method"]!.string!, params: document["params"]!)
                commands.append(command)
                if answers { answer(command.id) }
            case .incoming(let call): announced.append(call)
            case .emit(let event, _): events.append(event)
            case .describe(let question, let session):
                questions.append(question)
                perform(board.described(mediaAnswer, session: session, nowNs: nowNs))
            case .withdrawn, .closeMedia, .drained: others.append(action)
            case .count, .log: break
            }
        }
    }

    mutating func receive(_ text: String) { perform(board.receive(Array(text.utf8), from: "127.0.0.1:50890", nowNs: nowNs)) }

    mutating func answer(_ id: String, _ result: String = #""OK""#) { receive(#"{"jsonrpc":"2.0","result":\#(result),"id":"\#(id)"}"#) }

    mutating func refuse(_ id: String, _ code: Int, _ message: String) {
        receive(#"{"jsonrpc":"2.0","error":{"code":\#(code),"message":"\#(message)"},"id":"\#(id)"}"#)
    }

    mutating func order(_ order: TelephonyOrder, _ call: TelephonyCall = inbound) {
        perform(board.order(order, session: Self.session, call: call, nowNs: nowNs))
    }

    /// Lets time pass in steps of 50 ms.
    mutating func pass(_ seconds: Double) {
        let end = nowNs + UInt64(seconds * 1e9)
        while nowNs < end {
            nowNs += 50_000_000
            perform(board.tick(nowNs: nowNs))
        }
    }

    /// A call that was announced and has its session.
    mutating func taken() {
        receive(Capture.new)
        order(.open)
        clear()
    }

    /// A call that is up.
    mutating func up() {
        taken()
        order(.answer)
        if board.settings.reportsACK { receive(Capture.ack) }
        clear()
    }

    mutating func clear() {
        commands = []
        events = []
        others = []
    }

    var last: Command { commands.last! }
    var codes: [Int64] { commands.compactMap { $0.params["code"]?.integer } }
}

extension JSONValue {
    init(_ captured: String) { self = try! JSONValue(parsing: captured) }
}
