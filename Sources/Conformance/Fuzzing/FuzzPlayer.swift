// The probe's side of a fuzz case: does step after step what a host would do, and lets the judge look at it.
//
// A step whose time has not come (a request before READY, a tool's result that nobody waits for) is left out and not
// waited for: the case stays legal whatever the plugin answers, which is what makes every finding the plugin's.

import CConformance
import Glibc
import JSON
import PluginABI
import Providers

/// Plays one case on a bench.
final class FuzzPlayer {
    /// Service functions that may be refused, as the services count them.
    static let refusable = [
        "http.start", "ws.connect", "ws.send", "timer.arm", "task.run", "metrics.define", "trace.begin", "media.open",
    ]

    private struct Live {
        let session: BenchSession
        var answeredCalls: Set<String> = []
        /// Where the latest utterance ended: the next one does not begin before it.
        var finalizedAt: UInt64 = 0
    }

    private let bench: Bench
    private let played: FuzzCase
    private var world: World { bench.world }
    private var services: VendorServices? { VendorServices.current }
    private var provider: BenchProvider!
    private var live: [Int: Live] = [:]
    private var history: FuzzHistory
    private var random: SeededRandom

    init(_ played: FuzzCase, on bench: Bench) {
        self.bench = bench
        self.played = played
        history = FuzzHistory(kind: bench.kind)
        random = SeededRandom(seed: played.seed)
    }

    /// Plays all rounds. Throws the first breach that the judge finds.
    func play() throws {
        try bench.enter()
        let threads = threadCount() - world.tasks.threadCount
        var grown = Int.max
        for round in 0..<played.rounds {
            let before = Int(vcc_heap_bytes_in_use())
            try playRound(threads)
            world.forgetRound()
            // The first round makes what is made once.
            if round > 0 { grown = min(grown, Int(vcc_heap_bytes_in_use()) - before) }
        }
        guard played.rounds > 2 else { return }
        bench.note("heap bytes a round", "\(grown)")
        // What threads keep back for their next allocations counts as used, and differs from run to run by some
        // kilobytes. Smaller leaks are found by the rules that repeat one thing sixty times.
        let limit = 32 << 10
        guard grown <= limit else {
            throw Violation(
                "the case, \(played.rounds) times", expected: "no memory left behind by each time",
                got: "\(grown >> 10) KiB, of which \(limit >> 10) may be chance", place: "after provider.destroy")
        }
    }

    // MARK: A round

    private func playRound(_ threads: Int) throws {
        live = [:]
        history = FuzzHistory(kind: bench.kind)
        history.lateMs = played.lateMs
        random = SeededRandom(seed: played.seed)
        world.monitor.locked { world.misuse = [] }
        prepareServices()
        defer { mend() }
        bench.lender.guards = Self.guards(played.guards)
        let (made, status, _) = try bench.create(bench.settings(played.settings))
        note(status, "create")
        guard let made else { return }
        provider = made
        try startAndPlay()
        mend()
        try awaitAnswers()
        try endAll()
        history.hasOwnThreads = threadCount() - world.tasks.threadCount > threads
        try FuzzJudge(collected()).judge()
    }

    private func startAndPlay() throws {
        let (status, _) = provider.callStart()
        note(status, "start")
        guard status == VC_OK else { return }
        if provider.table.pointee.start != nil {
            let came = bench.wait(ms: provider.readyTimeoutMs + played.lateMs * 4) {
                provider.events.contains { $0.type == VC_EVENT_READY || ($0.failure?.isFatal ?? false) }
            }
            guard came, provider.events.contains(where: { $0.type == VC_EVENT_READY }) else { return }
        }
        for (index, step) in played.steps.enumerated() {
            let verb = step.verb.rawValue
            Breadcrumbs.leave("step \(index) \(verb)")
            if step.isElsewhere { try bench.elsewhere { try self.play(step) } } else { try play(step) }
            try bench.settle()
        }
    }

    private func play(_ step: FuzzStep) throws {
        switch step.verb {
        case .open: try open(step)
        case .advance: bench.advance(ms: step.count)
        case .drain:
            history.drained = history.drained ?? moment
            provider.drain()
        case .fault:
            guard let fault = VendorFault(step.value) else { return }
            services?.arm(fault, skip: step.count, times: max(1, step.request))
        case .mend: mend()
        case .refuse: refuse(step)
        case .mangle: services?.locked { $0.mangles.append((FuzzMangle(rawValue: step.text) ?? .flip, step.count)) }
        case .detect: try detect(step)
        case .destroy: try destroy(step.session)
        default:
            guard let entry = live[step.session], !entry.session.isDestroyed else { return }
            let session = entry.session
            switch step.verb {
            case .cancel: cancel(session, step)
            case .limit: limit(session, step)
            case .credit: credit(session, step)
            case .close: close(session, step.session)
            default:
                // What the session is for waits for READY, and after a fatal ERROR nothing is wanted of it.
                guard bench.kind == .telephony || session.events.contains(where: { $0.type == VC_EVENT_READY }),
                    session.fatal == nil
                else { return }
                try work(session, step)
            }
        }
    }

    // MARK: Steps of any kind

    private func open(_ step: FuzzStep) throws {
        var options = SessionOptions()
        options.language = step.text
        options.epoch = UInt64(step.request)
        let rates = bench.subject.provider?.capabilities.ratesHz ?? []
        options.rate = rates.isEmpty ? 0 : rates[step.count % rates.count]
        if bench.kind == .telephony {
            guard step.flag else {
                options.direction = UInt32(VC_CALL_OUTBOUND)
                options.to = step.text
                return try open(step, options)
            }
            let known = provider.events.filter { $0.type == VC_EVENT_INCOMING }.count
            guard services?.beginDialogue("incoming") != nil,
                let incoming = provider.waitForIncoming(ms: 2_000, after: known),
                case .incoming(let key, _, _, _, _, _, _) = incoming.body
            else { return }
            options.key = key
        }
        try open(step, options)
    }

    private func open(_ step: FuzzStep, _ options: SessionOptions) throws {
        let (session, status, _) = try provider.open(options)
        note(status, "open")
        guard let session else { return }
        live[step.session] = Live(session: session)
        history.sessions.append(FuzzHistory.Session(index: step.session))
        guard step.flag, bench.kind != .voiceActivity else { return }
        _ = bench.wait(ms: provider.readyTimeoutMs + played.lateMs * 4) {
            session.events.contains { $0.type == VC_EVENT_READY || ($0.failure?.isFatal ?? false) }
        }
    }

    private func cancel(_ session: BenchSession, _ step: FuzzStep) {
        let at = moment
        let epoch = session.cancel(session.epoch + UInt64(step.count))
        change(step.session) { $0.cancels.append((epoch, at)) }
    }

    private func limit(_ session: BenchSession, _ step: FuzzStep) {
        world.monitor.locked {
            session.object.creditEvents = step.count < 0 ? nil : step.count
            session.object.credit = step.count < 0 ? nil : step.count << 10
        }
        if step.count < 0 { give(session, step.session, 1_000_000) }
    }

    private func credit(_ session: BenchSession, _ step: FuzzStep) { give(session, step.session, step.count) }

    private func give(_ session: BenchSession, _ index: Int, _ count: Int) {
        let at = moment
        change(index) { $0.credits.append(at) }
        session.credit(events: UInt32(clamping: count), bytes: UInt64(count) << 10)
    }

    private func close(_ session: BenchSession, _ index: Int) {
        let at = moment
        change(index) { $0.closed = at }
        session.close()
    }

    private func destroy(_ index: Int) throws {
        guard let session = live[index]?.session, !session.isDestroyed else { return }
        // A host waits for five seconds, and then does without CLOSED.
        if bench.kind != .voiceActivity { _ = session.waitUntilClosed(ms: 5_000) }
        session.destroy()
    }

    private func refuse(_ step: FuzzStep) {
        world.monitor.locked { world.refusals[step.text] = (step.count, vc_status(step.request)) }
    }

    // MARK: What the kinds are for

    private func work(_ session: BenchSession, _ step: FuzzStep) throws {
        let number = UInt64(step.request)
        switch step.verb {
        case .speak:
            // A piece that was on its way when the caller interrupted bears the epoch of its request.
            let epoch = request(step.session, number)?.epoch ?? session.epoch
            let text = String(repeating: step.text, count: max(1, min(step.count, 10_000)))
            let status = session.speak(number, text, last: step.flag, epoch: epoch)
            asked(step.session, number, epoch, status, "speak", isComplete: step.flag)
        case .ask:
            let epoch = session.epoch
            let status = session.ask(
                number, step.value["messages"] ?? [], tools: step.value["tools"] ?? [],
                options: step.value["options"] ?? [:], flags: step.flag ? UInt32(VC_LLM_SPECULATIVE) : 0)
            asked(step.session, number, epoch, status, "request", isComplete: true)
        case .toolResult: toolResult(session, step)
        case .begin:
            let floor = live[step.session]!.finalizedAt
            let wanted = session.position >= UInt64(step.count) ? session.position - UInt64(step.count) : 0
            note(session.begin(number, at: max(floor, wanted)), "begin")
        case .push:
            let audio = sound(step.text, rateHz: session.rateHz, frames: step.count)
            for samples in audio.frames(of: session.rateHz / 50) {
                note(session.push(samples), "push")
                if step.flag { bench.advance(ms: 20) }
            }
            change(step.session) { $0.position = session.position }
        case .finalize:
            live[step.session]!.finalizedAt = session.position
            let status = session.finalize(number, flags: step.flag ? UInt32(VC_STT_TENTATIVE) : 0)
            asked(step.session, number, session.epoch, status, "finalize", isComplete: true)
        case .transcript: note(session.transcript(step.text, isFinal: step.flag), "transcript")
        case .decide: asked(step.session, number, session.epoch, session.decide(number), "decide", isComplete: true)
        default: call(session, step)
        }
    }

    private func call(_ session: BenchSession, _ step: FuzzStep) {
        switch step.verb {
        case .ringing: note(session.ringing(), "ringing")
        case .answer: note(session.answer(), "answer")
        case .hangup: note(session.hangup(UInt32(clamping: step.count), reason: step.text), "hangup")
        case .transfer: note(session.transfer(step.text), "transfer")
        case .hold: note(session.hold(step.flag), "hold")
        case .dial: note(session.dial(step.text), "dtmf")
        case .play where session.framesOps != nil:
            for samples in sound(step.text, rateHz: 8_000, frames: step.count).frames(of: 160) {
                note(session.play(samples), "play")
            }
        case .mark where session.framesOps != nil: note(session.mark(UInt64(step.request)), "mark")
        case .flush where session.framesOps != nil: note(session.flush(), "flush")
        default: break
        }
    }

    private func toolResult(_ session: BenchSession, _ step: FuzzStep) {
        var open: [(request: UInt64, call: String)] = []
        for event in session.events where event.epoch == session.epoch && event.answer == vc_status(VC_OK) {
            guard case .toolCall(let call, _, _) = event.body, !live[step.session]!.answeredCalls.contains(call),
                session.answers(to: event.request).contains(where: Self.waitsForTools)
            else { continue }
            open.append((event.request, call))
        }
        guard !open.isEmpty else { return }
        let (request, call) = open[step.count % open.count]
        live[step.session]!.answeredCalls.insert(call)
        let status = session.toolResult(request, call: call, step.text)
        note(status, "tool_result")
        if status == VC_OK { change(step.session) { $0.requests[request]?.toolResults += 1 } }
    }

    private static func waitsForTools(_ event: RecordedEvent) -> Bool {
        if case .answered(let reason) = event.body { reason == UInt32(VC_LLM_TOOL) } else { false }
    }

    private func detect(_ step: FuzzStep) throws {
        let rows = live.sorted { $0.key < $1.key }.filter { index, entry in
            step.count & 1 << index != 0 && history.sessions.contains { $0.index == index && $0.closed == nil }
        }
        guard let first = rows.first?.value.session else { return }
        // A batch has one rate.
        let batch = try rows.map(\.value.session).filter { $0.rateHz == first.rateHz }.map { session in
            let window = try session.detector().window(session.rateHz)
            return (session, Array(sound(step.text, rateHz: session.rateHz, frames: 2).prefix(window)), step.flag)
        }
        history.probabilities += try provider.process(batch)
    }

    private func sound(_ name: String, rateHz: Int, frames: Int) -> [Int16] {
        let ms = frames * 20
        return switch name {
        case "silence": bench.silence(rateHz: rateHz, ms: ms)
        case "noise": bench.noise(rateHz: rateHz, ms: ms, levelDBFS: -20)
        case "tone": bench.tone(rateHz: rateHz, ms: ms, hertz: 440)
        // Full scale: what overflows does it here.
        case "square": (0..<rateHz * ms / 1_000).map { $0 % 40 < 20 ? .max : .min }
        default: bench.speech(rateHz: rateHz, ms: ms)
        }
    }

    // MARK: The end

    /// Everything is well again, and all that was asked gets its time: the longest deadline of a vendor, and more.
    private func awaitAnswers() throws {
        for (index, entry) in live.sorted(by: { $0.key < $1.key }) where !entry.session.isDestroyed {
            guard history.sessions.contains(where: { $0.index == index && $0.closed == nil }) else { continue }
            world.monitor.locked {
                entry.session.object.creditEvents = nil
                entry.session.object.credit = nil
            }
            give(entry.session, index, 1_000_000)
        }
        try bench.settle()
        _ = bench.wait(ms: Self.answersMs) { FuzzJudge(self.collected()).isAnswered }
        for place in history.sessions.indices {
            history.sessions[place].wasAwaited = history.sessions[place].closed == nil
        }
    }

    /// A vendor's deadline is 30 s if the plugin says nothing else, and some try three times.
    private static let answersMs = 300_000

    private func endAll() throws {
        for (index, entry) in live.sorted(by: { $0.key < $1.key }) where !entry.session.isDestroyed {
            if history.sessions.contains(where: { $0.index == index && $0.closed == nil }) {
                close(entry.session, index)
            }
            try destroy(index)
        }
        provider.destroy()
        // What comes now comes from a session that is no more.
        bench.advance(ms: 5_000)
    }

    private func collected() -> FuzzHistory {
        var history = history
        for place in history.sessions.indices {
            history.sessions[place].events = live[history.sessions[place].index]!.session.events
        }
        history.providerEvents = provider.events
        history.misuse = world.monitor.locked { world.misuse } + (services?.serviceBreaches ?? [])
        history.logLines = world.monitor.locked { world.logLines }
        history.secrets = bench.job.secrets.values.filter { $0.count >= 8 }
        return history
    }

    // MARK: Book-keeping

    private var moment: FuzzHistory.Moment {
        world.monitor.locked { FuzzHistory.Moment(before: world.eventCount, atNs: world.clock.nowNs) }
    }

    private func change(_ index: Int, _ body: (inout FuzzHistory.Session) -> Void) {
        guard let place = history.sessions.firstIndex(where: { $0.index == index }) else { return }
        body(&history.sessions[place])
    }

    private func request(_ index: Int, _ number: UInt64) -> FuzzHistory.Request? {
        history.sessions.first { $0.index == index }?.requests[number]
    }

    private func asked(
        _ index: Int, _ number: UInt64, _ epoch: UInt64, _ status: vc_status, _ slot: String, isComplete: Bool
    ) {
        note(status, slot)
        guard status == VC_OK else { return }
        change(index) { session in
            var request = session.requests[number] ?? FuzzHistory.Request(number: number, epoch: epoch)
            request.isComplete = isComplete
            session.requests[number] = request
        }
    }

    private func note(_ status: vc_status, _ slot: String) {
        if statusName(status).hasPrefix("status ") { history.unknownStatuses.append("\(slot): \(statusName(status))") }
    }

    private func prepareServices() {
        world.monitor.locked {
            let lateMs = played.lateMs
            world.latenessNs = { [self] in
                lateMs == 0 ? 0 : UInt64.random(in: 0...UInt64(lateMs) * 1_000_000, using: &self.random)
            }
            world.refusals = [:]
        }
        services?.refuse { [world] name in world.refusal(name) }
        services?.locked { state in
            state.latencyNs = UInt64(played.latencyMs) * 1_000_000
            state.breaches = []
        }
    }

    private func mend() {
        services?.disarm()
        services?.locked { $0.mangles = [] }
        world.monitor.locked { world.refusals = [:] }
    }

    private static func guards(_ names: [String]) -> Lender.Guards {
        names.reduce(into: []) { guards, name in
            switch name {
            case "end": guards.insert(.end)
            case "begin": guards.insert(.begin)
            case "readOnly": guards.insert(.readOnly)
            case "retired": guards.insert(.retired)
            default: break
            }
        }
    }
}
