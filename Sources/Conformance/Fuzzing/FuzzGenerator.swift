// From a number to a case: everything that is drawn is drawn here, before anything runs.
//
// A case that is a value can be shortened, kept in a file and read by the plugin's author; one that is drawn while it
// runs can only be repeated. So the generator knows nothing of what the plugin answers. It walks the typestate and
// takes what a host could do next.
//
// Purely random calls hardly ever reach the places where plugins break. So each case has a mood (a slow host, a failing
// vendor, a caller who interrupts all the time), and values come from short lists of what has broken plugins before.

import JSON
import Providers

/// Makes the cases of one provider.
struct FuzzGenerator: Sendable {
    static let stepsMin = 4
    static let stepsMax = 40

    let provider: ProviderDeclaration
    let kind: PluginKind
    let seed: UInt64

    /// Nil: the kind is none of this host's.
    init?(provider: ProviderDeclaration, seed: UInt64) {
        guard let kind = provider.knownKind else { return nil }
        self.provider = provider
        self.kind = kind
        self.seed = seed
    }

    /// Case `number`, the same whenever it is asked for.
    func make(_ number: Int) -> FuzzCase {
        // Not the sum: case 1 of seed 0 would be case 0 of seed 1.
        var random = SeededRandom(seed: seed)
        random = SeededRandom(seed: random.next() ^ UInt64(number) &* 0x9e37_79b9_7f4a_7c15)
        var draw = FuzzDraw(self, random)
        return draw.make(number)
    }
}

/// What is drawn in one case.
private struct FuzzDraw {
    /// How likely things are in this case, in percent of the steps.
    private struct Mood {
        var faults = 0
        var refusals = 0
        var stalls = 0
        var cancels = 5
        /// Of calls, from a thread that nobody knew before.
        var elsewhere = 0
        /// That sessions come and go.
        var churn = 3
        var sessions = 1
    }

    private let generator: FuzzGenerator
    private var random: SeededRandom
    private var state: FuzzTypestate
    private var mood = Mood()

    init(_ generator: FuzzGenerator, _ random: SeededRandom) {
        self.generator = generator
        self.random = random
        state = FuzzTypestate(
            kind: generator.kind, canBeTentative: generator.provider.capabilities.flag("tentative"))
    }

    mutating func make(_ number: Int) -> FuzzCase {
        var made = FuzzCase()
        made.number = number
        made.seed = random.next()
        mood = drawMood()
        if chance(20) { made.settings = drawSettings() }
        if chance(30) { made.guards = [pick(["end", "begin", "readOnly", "retired"])] }
        if chance(25) { made.latencyMs = pick([1, 15, 120, 900, 4_000]) }
        if chance(25) { made.lateMs = pick([1, 10, 80, 500]) }
        if chance(15) { made.rounds = 4 }
        let count = Int.random(in: FuzzGenerator.stepsMin...FuzzGenerator.stepsMax, using: &random)
        // What the typestate refuses is drawn again; a state that refuses everything ends the case.
        var tries = 0
        while made.steps.count < count, tries < count * 20 {
            tries += 1
            var step = draw()
            step.isElsewhere = chance(mood.elsewhere) && step.verb.isCall
            if state.accept(step) { made.steps.append(step) }
        }
        return made
    }

    private mutating func drawMood() -> Mood {
        var mood = Mood()
        mood.sessions = pick([1, 1, 1, 2, 3])
        if chance(35) { mood.faults = pick([5, 15, 30]) }
        if chance(15) { mood.refusals = pick([5, 15]) }
        if chance(35) { mood.stalls = pick([10, 25]) }
        if chance(40) { mood.cancels = pick([0, 15, 30]) }
        // A caller who interrupts an answer that is held up: where most of the state is.
        if chance(20) { (mood.stalls, mood.cancels) = (25, 20) }
        if chance(15) { mood.elsewhere = pick([30, 100]) }
        if chance(25) { mood.churn = pick([10, 30]) }
        return mood
    }

    // MARK: Steps

    private mutating func draw() -> FuzzStep {
        if state.nextSession == 0 { return open() }
        if state.open.count < mood.sessions, chance(20) { return open() }
        if chance(mood.churn) { return chance(40) ? open() : life() }
        if chance(15) { return advance() }
        if chance(mood.faults) { return fault() }
        if chance(mood.refusals) { return refuse() }
        guard let session = state.open.randomElement(using: &random) else {
            return chance(50) ? open() : life()
        }
        if chance(mood.stalls) { return credit(session) }
        if chance(mood.cancels) { return FuzzStep(.cancel, session: session) { $0.count = 1 } }
        return work(session)
    }

    private mutating func open() -> FuzzStep {
        var step = FuzzStep(.open, session: state.nextSession)
        let languages = generator.provider.capabilities.languages + ["", "en"]
        step.text = pick(languages)
        step.count = Int.random(in: 0..<max(1, generator.provider.capabilities.ratesHz.count), using: &random)
        step.request = pick([1, 1, 1, 0, 7, 1 << 40])
        // Most sessions get somewhere; the others are told what to do, or closed, while they still connect.
        step.flag = chance(85)
        return step
    }

    /// The end of something.
    private mutating func life() -> FuzzStep {
        if chance(4) { return FuzzStep(.drain) }
        if let closed = state.closed.randomElement(using: &random), chance(60) {
            return FuzzStep(.destroy, session: closed)
        }
        let session = state.open.randomElement(using: &random) ?? 0
        return FuzzStep(.close, session: session)
    }

    private mutating func advance() -> FuzzStep {
        let ms = pick([0, 1, 10, 20, 50, 100, 100, 250, 500, 1_000, 3_000, 10_000, 31_000, 65_000])
        return FuzzStep(.advance) { $0.count = ms }
    }

    private mutating func credit(_ session: Int) -> FuzzStep {
        let count = pick([-1, 0, 0, 1, 2, 7])
        if chance(50) { return FuzzStep(.limit, session: session) { $0.count = count } }
        let given = pick([0, 1, 1, 2, 5, 50, 1_000_000])
        return FuzzStep(.credit, session: session) { $0.count = given }
    }

    private mutating func fault() -> FuzzStep {
        switch Int.random(in: 0..<10, using: &random) {
        case 0..<2: return FuzzStep(.mend)
        case 2..<4:
            let (how, place) = (pick(FuzzMangle.allCases).rawValue, pick([0, 1, 3, 17, 64, 500]))
            return FuzzStep(.mangle) {
                $0.text = how
                $0.count = place
            }
        default:
            let (fault, skip, times) = (drawFault(), pick([0, 0, 0, 1, 2]), pick([1, 1, 2, 10]))
            return FuzzStep(.fault) {
                $0.value = fault.json
                $0.count = skip
                $0.request = times
            }
        }
    }

    private mutating func drawFault() -> VendorFault {
        let simple: [VendorFault] = [
            .refused, .dnsFailure, .tlsFailure, .resetBeforeFirstByte, .resetInTheMiddle, .halfClose, .cutShort, .stall,
            .slowLoris, .notJSON, .truncatedJSON, .wrongContentType, .invalidUTF8, .oneByteChunks, .missingDone,
            .emptyBody, .fragmented, .silentPeer, .slowReader(bytesPerS: 0), .slowReader(bytesPerS: 2_000),
        ]
        switch Int.random(in: 0..<10, using: &random) {
        case 0: return .slowFirstByte(ms: pick([50, 1_000, 7_000, 29_000]))
        case 1, 2:
            return .status(pick([400, 401, 403, 404, 408, 413, 422, 429, 500, 502, 503, 504, 204, 302]),
                retryAfterS: chance(30) ? pick([0, 1, 30]) : nil)
        case 3: return .splitAt(pick([1, 2, 7, 44, 45, 100]))
        case 4: return .lineEnd(pick([.lf, .crlf, .cr]))
        case 5: return .closeCode(pick([1000, 1001, 1011, 4000]), afterMessages: pick([0, 1, 3]))
        case 6: return .abruptEnd(afterMessages: pick([0, 1, 3]))
        default: return pick(simple)
        }
    }

    private mutating func refuse() -> FuzzStep {
        let name = pick(FuzzPlayer.refusable)
        // Who is told AGAIN by `ws.send` waits for `writable`, which only a socket that is full brings.
        let status = name == "ws.send" ? pick([-30, -32]) : pick([-1, -30, -32])
        let count = pick([1, 1, 2, 20])
        return FuzzStep(.refuse) {
            $0.text = name
            $0.request = status
            $0.count = count
        }
    }

    // MARK: What the kinds are for

    private mutating func work(_ session: Int) -> FuzzStep {
        switch generator.kind {
        case .textToSpeech: return speak(session)
        case .languageModel: return ask(session)
        case .speechToText: return hear(session)
        case .turn: return turn(session)
        case .voiceActivity: return detect()
        case .telephony: return call(session)
        }
    }

    private mutating func speak(_ session: Int) -> FuzzStep {
        let number = state.unfinished(session) ?? state.nextRequest(session)
        let (text, isLast, times) = (pick(FuzzTexts.spoken), chance(65), chance(5) ? 40 : 0)
        return FuzzStep(.speak, session: session) {
            $0.request = number
            $0.text = text
            $0.count = times
            $0.flag = isLast
        }
    }

    private mutating func ask(_ session: Int) -> FuzzStep {
        if chance(15) {
            let (which, text) = (Int.random(in: 0..<3, using: &random), pick(FuzzTexts.results))
            return FuzzStep(.toolResult, session: session) {
                $0.count = which
                $0.text = text
            }
        }
        let number = state.nextRequest(session)
        let value: JSONValue = [
            "messages": pick(FuzzTexts.conversations), "tools": pick(FuzzTexts.tools),
            "options": pick(FuzzTexts.options),
        ]
        let isSpeculative = chance(20)
        return FuzzStep(.ask, session: session) {
            $0.request = number
            $0.value = value
            $0.flag = isSpeculative
        }
    }

    private mutating func hear(_ session: Int) -> FuzzStep {
        switch Int.random(in: 0..<10, using: &random) {
        case 0, 1:
            let (number, back) = (state.nextUtterance(session), pick([0, 0, 160, 4_000]))
            return FuzzStep(.begin, session: session) {
                $0.request = number
                $0.count = back
            }
        case 2, 3:
            let (number, isTentative) = (state.nextRequest(session), chance(30))
            return FuzzStep(.finalize, session: session) {
                $0.request = number
                $0.flag = isTentative
            }
        default: return push(session)
        }
    }

    private mutating func push(_ session: Int) -> FuzzStep {
        let (sound, count, inTime) = (pick(FuzzTexts.sounds), pick([1, 5, 10, 30, 60]), chance(80))
        return FuzzStep(.push, session: session) {
            $0.text = sound
            $0.count = count
            $0.flag = inTime
        }
    }

    private mutating func turn(_ session: Int) -> FuzzStep {
        switch Int.random(in: 0..<3, using: &random) {
        case 0: return push(session)
        case 1:
            let (text, isFinal) = (pick(FuzzTexts.spoken), chance(50))
            return FuzzStep(.transcript, session: session) {
                $0.text = text
                $0.flag = isFinal
            }
        default:
            let number = state.nextRequest(session)
            return FuzzStep(.decide, session: session) { $0.request = number }
        }
    }

    private mutating func detect() -> FuzzStep {
        let (sound, gap) = (pick(FuzzTexts.sounds), chance(10))
        let rows = Int.random(in: 1..<1 << FuzzTypestate.sessionsMax, using: &random)
        return FuzzStep(.detect) {
            $0.text = sound
            $0.count = rows
            $0.flag = gap
        }
    }

    private mutating func call(_ session: Int) -> FuzzStep {
        let verbs: [FuzzStep.Verb] = [
            .ringing, .answer, .answer, .answer, .hangup, .transfer, .hold, .dial, .play, .mark, .flush,
        ]
        let verb = pick(verbs)
        let (text, number) = (pick(["", "1", "5#", "sip:other@127.0.0.1"]), Int.random(in: 1..<6, using: &random))
        return FuzzStep(verb, session: session) {
            $0.text = verb == .play ? "tone" : text
            $0.count = verb == .hangup ? [0, 486, 603][number % 3] : number
            $0.request = number
            $0.flag = number % 2 == 0
        }
    }

    // MARK: Values

    /// Settings with few values: what else stands there (an address, a name of a model) the vendor's script knows best.
    private mutating func drawSettings() -> JSONValue {
        var values: [String: JSONValue] = [:]
        for (name, property) in generator.provider.configuration.properties.sorted(by: { $0.key < $1.key }) {
            guard chance(40) else { continue }
            if let choices = property.choices {
                values[name] = pick(choices)
            } else if property.type == .boolean {
                values[name] = .bool(chance(50))
            } else if property.type == .integer, let least = property.minimum, let most = property.maximum {
                values[name] = .integer(Int64(clamping: Int(pick([least, most]))))
            }
        }
        return .object(values)
    }

    private mutating func chance(_ percent: Int) -> Bool { Int.random(in: 0..<100, using: &random) < percent }

    private mutating func pick<Value>(_ values: [Value]) -> Value { values.randomElement(using: &random)! }
}

extension FuzzStep.Verb {
    /// Whether it is a call of the plugin.
    var isCall: Bool {
        switch self {
        case .advance, .fault, .mend, .refuse, .mangle, .limit: false
        default: true
        }
    }
}
